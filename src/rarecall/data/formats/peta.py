"""PETA: `PETA.mat` with numbered images, as papers use it, or the owners' folders with a Label.txt in each.

Deng et al., Pedestrian Attribute Recognition At Far Distance, ACM MM 2014. The identity-disjoint lists are of Jia et
al., Rethinking of Pedestrian Attribute Recognition, arXiv 2107.03576.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rarecall.data.formats import _pedestrian
from rarecall.data.formats._files import Files, count_notes, left_out_note
from rarecall.data.formats._layout import choose
from rarecall.data.table import PART_NAMES, PARTS, LabelTable
from rarecall.errors import DataError, OptionError
from rarecall.labels import PRESENT, UNKNOWN, LabelMatrix

NAME = "peta"
HOME = "http://mmlab.ie.cuhk.edu.hk/projects/PETA.html"
LICENCE = "research only, no commercial use"
PUBLISHED = {"images": 19_000, "attributes": 105}
PUBLISHED_PARTS = {"train images": 9_500, "val images": 1_900, "test images": 7_600}
COLOURS = ("Black", "Blue", "Brown", "Green", "Grey", "Orange", "Pink", "Purple", "Red", "White", "Yellow")
COLOURED = ("upperBody", "lowerBody", "hair", "footwear")
CONVENTIONAL = (  # the 35 that papers evaluate
    "personalLess30", "personalLess45", "personalLess60", "personalLarger60", "carryingBackpack", "carryingOther",
    "lowerBodyCasual", "upperBodyCasual", "lowerBodyFormal", "upperBodyFormal", "accessoryHat", "upperBodyJacket",
    "lowerBodyJeans", "footwearLeatherShoes", "upperBodyLogo", "hairLong", "personalMale", "carryingMessengerBag",
    "accessoryMuffler", "accessoryNothing", "carryingNothing", "upperBodyPlaid", "carryingPlasticBags",
    "footwearSandals", "footwearShoes", "lowerBodyShorts", "upperBodyShortSleeve", "lowerBodyShortSkirt",
    "footwearSneaker", "upperBodyThinStripes", "accessorySunglasses", "lowerBodyTrousers", "upperBodyTshirt",
    "upperBodyOther", "upperBodyVNeck",
)  # fmt: skip
COLOUR_GROUPS = tuple(tuple(part + colour for colour in COLOURS) for part in COLOURED)
ATTRIBUTES = (
    *CONVENTIONAL,
    *(name for group in COLOUR_GROUPS for name in group),
    "accessoryHeadphone", "personalLess15", "carryingBabyBuggy", "hairBald", "footwearBoots", "lowerBodyCapri",
    "carryingShoppingTro", "carryingUmbrella", "personalFemale", "carryingFolder", "accessoryHairBand",
    "lowerBodyHotPants", "accessoryKerchief", "lowerBodyLongSkirt", "upperBodyLongSleeve", "lowerBodyPlaid",
    "lowerBodyThinStripes", "carryingLuggageCase", "upperBodyNoSleeve", "hairShort", "footwearStocking",
    "upperBodySuit", "carryingSuitcase", "lowerBodySuits", "upperBodySweater", "upperBodyThickStripes",
)  # fmt: skip
ALIASES = {"footwearSneakers": "footwearSneaker"}  # Label.txt has the one, PETA.mat the other
DISCARDED = {"accessoryFaceMask", "accessoryShawl", "lowerBodyLogo", "lowerBodyThickStripes"}  # by the owners: rare
TOPS = ("", "PETA", "PETA dataset")
PARTITIONS = 5
IDENTIFYING = 4  # columns of the matrix before the labels
LABEL_FILE = "Label.txt"
_PLACE = {name: position for position, name in enumerate(ATTRIBUTES)}
_PART_OF_LINE = re.compile(r"\"?(.+?)\"?[,;\s]+(\w+)")


@dataclass(frozen=True)
class _Found:
    """What one of the two layouts holds.

    Attributes:
        names: images, relative to the source.
        named_by: how many of a name's last components tell the image from others.
        attributes: of the labels' columns.
        labels: (N, C).
        partitions: fields of PETA.mat; none in the owners' folders.
        columns: of the table.
        notes: of the table.
    """

    names: list[str]
    named_by: int
    attributes: list[str]
    labels: LabelMatrix
    partitions: Any = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recognises(path: Path) -> bool:
    """A folder or an archive with PETA.mat, that file itself, or folders with an archive/Label.txt in each."""
    return path.name == "PETA.mat" or _matlab_top(path) is not None or bool(_label_files(path))


def read(
    path: Path,
    *,
    attributes: str = "35",
    split: str | None = None,
    partition: int = 0,
    split_file: str | None = None,
    seed: int = 0,
    no_colour: str = "unknown",
) -> LabelTable:
    """Read images and attributes of either layout.

    Args:
        path: PETA.mat, the folder or archive that it is in, or that with the owners' folders.
        attributes: `35`, those that papers evaluate, or `105`, colours and rare ones too.
        split: `random`, a partition of PETA.mat (default there); `identity`, our own for the owners' folders, which
            keeps the images of a person together; `zs`, the lists of `split_file`. Default of the owners' folders: all
            images are in the train part.
        partition: 0 to 4, of PETA.mat's random partitions.
        split_file: JSON of lists `train`, `val` and `test`, or text with an image and its part in each line. Images are
            named, or are rows of PETA.mat counted from 0.
        seed: of `split=identity`.
        no_colour: what the colours of a group are of which none is named: `unknown` or `absent`. Bald hair has none.
    """
    choose("attributes", attributes, ("35", "105"))
    choose("no_colour", no_colour, ("unknown", "absent"))
    if partition not in range(PARTITIONS):
        raise OptionError(f"partition = {partition}: PETA.mat has those from 0 to {PARTITIONS - 1}")
    source, is_matlab = _open(path)
    split = _chosen_split(path, split, split_file, is_matlab)
    found = _read_matlab(source) if is_matlab else _read_folders(source, path)
    names, labels = _chosen_attributes(found, attributes, no_colour)
    parts, notes = _parts(found, source, split, partition, split_file, seed)
    table = LabelTable(
        items=[source.item(name) for name in found.names],
        names=names,
        labels=labels,
        split=np.where(parts == "", "train", parts),
        source=f"{NAME}:{path}",
        root=source.root,
        columns=found.columns,
        notes=found.notes + notes,
    )
    return table if (parts != "").all() else table.select(parts != "")


def _matlab_top(path: Path) -> str | None:
    return _pedestrian.top_of(path, "PETA.mat", TOPS)


def _label_files(path: Path) -> list[str]:
    """The owners' Label.txt files, each below a subset's archive/."""
    ending = f"/archive/{LABEL_FILE}"
    if not path.is_dir():
        return sorted(name for name in _pedestrian.packed(path) if f"/{name}".endswith(ending) and name.count("/") > 1)
    patterns = (str(PurePosixPath(top) / f"*{ending}") for top in TOPS)
    return sorted(file.relative_to(path).as_posix() for pattern in patterns for file in path.glob(pattern))


def _open(path: Path) -> tuple[Files, bool]:
    """The source, and whether PETA.mat is in it."""
    if path.name == "PETA.mat":
        return Files(path.parent), True
    top = _matlab_top(path)
    if top is None and path.is_dir() and not _label_files(path):
        raise DataError(f"{path}: neither PETA.mat nor the owners' SUBSET/archive/{LABEL_FILE} in it")
    return Files(path, top or ""), top is not None


def _chosen_split(path: Path, split: str | None, split_file: str | None, is_matlab: bool) -> str:
    """The split to make, empty for none."""
    if split is not None:
        choose("split", split, ("random", "zs", "identity"))
    if split_file is not None and split not in (None, "zs"):
        raise OptionError(f"split = {split!r} takes no split_file: leave one of them out")
    if split == "zs" and split_file is None:
        raise DataError(
            f"{path}: the zs lists are published as a pickle, which is never loaded: write its three lists to a JSON "
            "and name that with split_file"
        )
    if split == "random" and not is_matlab:
        raise DataError(f"{path}: no PETA.mat with random partitions in it: use split=identity or a split_file")
    if split == "identity" and is_matlab:
        raise DataError(f"{path}: PETA.mat does not name persons: use the owners' folders or a split_file")
    if split_file is not None:
        return "zs"
    return split or ("random" if is_matlab else "")


# --- PETA.mat ----------------------------------------------------------------------------------------------


def _read_matlab(source: Files) -> _Found:
    where = source.where("PETA.mat")
    matlab = source.matlab("PETA.mat")
    if "peta" not in matlab:
        raise DataError(f"{where}: no structure 'peta' in it: fetch the file again")
    fields = list(_pedestrian.structure(matlab["peta"], f"{where}: 'peta'").values())
    if len(fields) < 4:  # readers go by position: their names are documented nowhere
        raise DataError(f"{where}: 'peta' has {len(fields)} fields in place of 4: fetch the file again")
    matrix, names = np.asarray(fields[0]), _pedestrian.strings(fields[1], f"{where}: the list of attributes")
    if matrix.ndim != 2 or matrix.dtype.kind not in "buif" or matrix.shape[1] != IDENTIFYING + len(names):
        raise DataError(f"{where}: a matrix {matrix.shape} for {len(names)} attributes and {IDENTIFYING} other columns")
    labels = _pedestrian.require_binary(matrix[:, IDENTIFYING:], f"{where}: labels")
    return _Found(
        names=[f"images/{row:05d}.png" for row in range(1, len(labels) + 1)],
        named_by=1,
        attributes=[ALIASES.get(name, name) for name in names],
        labels=labels,
        partitions=fields[3],
        notes=count_notes({"images": len(labels), "attributes": len(names)}, PUBLISHED),
    )


def _random_partition(partitions: Any, number: int, rows: int, where: str) -> np.ndarray:
    """(rows,) of parts, empty for rows in none."""
    cells = np.asarray(partitions).ravel()
    if number >= len(cells):
        raise DataError(f"{where}: no partition {number} in it, counted from 0: fetch the file again")
    lists = list(_pedestrian.structure(cells[number], f"{where}: partition {number}").values())
    if len(lists) < len(PARTS):
        raise DataError(f"{where}: partition {number} has {len(lists)} lists in place of 3: fetch the file again")
    places = [
        _pedestrian.numbers(values, f"{where}: {part} of partition {number}") - 1
        for part, values in zip(PARTS, lists, strict=False)
    ]
    return _dealt(dict(zip(PARTS, places, strict=True)), rows, f"{where}: partition {number}", first=1)


def _dealt(places: Mapping[str, np.ndarray], rows: int, where: str, first: int = 0) -> np.ndarray:
    """(rows,) of the parts that rows are dealt to, empty for rows in none.

    Args:
        places: the rows of each part, from 0.
        rows: how many there are.
        where: a message begins with.
        first: what the file calls row 0.

    Raises:
        DataError: a row that is not there, or that stands twice.
    """
    listed = np.concatenate(list(places.values())) if places else np.zeros(0, np.int64)
    if (outside := (listed < 0) | (listed >= rows)).any():
        raise DataError(f"{where}: row {listed[outside][0] + first} is not among {rows:,} rows from {first}")
    times = np.bincount(listed, minlength=rows)
    if (times > 1).any():
        raise DataError(f"{where}: row {times.argmax() + first} stands in it twice")
    parts = np.full(rows, "", "<U5")
    for part, own in places.items():
        parts[own] = part
    return parts


# --- the owners' folders -----------------------------------------------------------------------------------


def _read_folders(source: Files, path: Path) -> _Found:
    files = _label_files(path)
    if not files:
        raise DataError(f"{path}: neither PETA.mat nor the owners' SUBSET/archive/{LABEL_FILE} in it")
    names: list[str] = []
    labels: list[np.ndarray] = []
    without_row: list[str] = []
    notes: tuple[str, ...] = ()
    for file in files:
        persons, odd = _read_persons(source, file)
        folder, used = file.removesuffix(f"/{LABEL_FILE}"), set()
        for name in source.files(folder):
            person = persons.of(name)
            if person is None:
                without_row.append(name)
                continue
            used.add(person)
            names.append(name)
            labels.append(persons.labels[person])
        notes += odd + left_out_note(sorted(set(persons.labels) - used), "row", "rows", f"of {file} without an image")
    if not names:
        raise DataError(f"{path}: no image beside its {LABEL_FILE} files that they name")
    subsets = [PurePosixPath(name).parts[-3] for name in names]
    persons_of = [f"{subset}/{_prefix(name)}" for subset, name in zip(subsets, names, strict=True)]
    notes = count_notes({"images": len(names)}, {"images": PUBLISHED["images"]}) + notes
    return _Found(
        names=names,
        named_by=3,
        attributes=list(ATTRIBUTES),
        labels=np.stack(labels),
        columns={"identity": np.array(persons_of), "subset": np.array(subsets)},
        notes=notes + left_out_note(without_row, "image", "images", f"without a row in {LABEL_FILE} left out"),
    )


class _Persons:
    """The rows of a Label.txt by the persons, or in CUHK the images, that they name."""

    def __init__(self, labels: dict[str, np.ndarray]) -> None:
        self.labels = labels
        self.numbers: dict[int, str | None] = {}
        for key in labels:
            if (number := _number(key)) is not None:
                self.numbers[number] = None if number in self.numbers else key  # what fits two fits none

    def of(self, name: str) -> str | None:
        """The row of an image: by its whole name, by what stands before the first `_`, or by that as a number."""
        base = PurePosixPath(name).name
        exact = next((key for key in (base, base.partition("_")[0], _prefix(name)) if key in self.labels), None)
        number = _number(base)
        return exact if exact is not None or number is None else self.numbers.get(number)


def _number(text: str) -> int | None:
    digits = re.search(r"[0-9]{1,18}", text)
    return int(digits[0]) if digits else None


def _prefix(name: str) -> str:
    """What names the person in an image's name.

    >>> _prefix("PRID/archive/0001_a.png"), _prefix("CUHK/archive/0002.png")
    ('0001', '0002')
    """
    return PurePosixPath(name).stem.partition("_")[0]


def _read_persons(source: Files, file: str) -> tuple[_Persons, tuple[str, ...]]:
    labels: dict[str, np.ndarray] = {}
    bare, twice = [], []
    unknown: set[str] = set()
    for number, line in source.lines(file):
        key, *attributes = line.split()
        named = [ALIASES.get(name, name) for name in attributes]
        unknown.update(name for name in named if name not in _PLACE and name not in DISCARDED)
        if not attributes:
            bare.append(f"line {number}")
            continue
        row = np.zeros(len(ATTRIBUTES), np.int8)
        row[[_PLACE[name] for name in named if name in _PLACE]] = PRESENT
        if key in labels and (labels[key] != row).any():
            twice.append(key)
            row = np.where(labels[key] == row, row, np.int8(UNKNOWN))
        labels[key] = row
    return _Persons(labels), (
        *left_out_note(bare, "line", "lines", f"of {file} without an attribute left out"),
        *left_out_note(sorted(unknown), "name", "names", f"in {file} of no attribute of PETA passed over"),
        *left_out_note(twice, "person has", "persons have", f"rows in {file} that differ: unknown where they do"),
    )


# --- attributes and parts ----------------------------------------------------------------------------------


def _chosen_attributes(found: _Found, attributes: str, no_colour: str) -> tuple[list[str], LabelMatrix]:
    place = {name: position for position, name in enumerate(found.attributes)}
    names = found.attributes if attributes == "105" else list(CONVENTIONAL)
    if missing := [name for name in names if name not in place]:
        raise DataError(f"PETA.mat: no attribute {missing[0]!r} among its {len(place)}: fetch the file again")
    labels = found.labels[:, [place[name] for name in names]]
    if no_colour == "absent":
        return names, labels
    bald = found.labels[:, place["hairBald"]] == PRESENT if "hairBald" in place else None
    for group in COLOUR_GROUPS:
        labels = _pedestrian.blank_colours(labels, names, [group], bald if group[0].startswith("hair") else None)
    return names, labels


def _parts(
    found: _Found, source: Files, split: str, partition: int, split_file: str | None, seed: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(N,) of parts, empty for images in none; and notes."""
    rows = len(found.names)
    if split == "":
        note = "no parts are published for the owners' folders: all images are in train (split=identity makes parts)"
        return np.full(rows, "train"), (note,)
    if split == "identity":
        return np.array([_identity_part(person, seed) for person in found.columns["identity"].tolist()]), ()
    if split == "random":
        parts = _random_partition(found.partitions, partition, rows, source.where("PETA.mat"))
        counts = {f"{part} images": int((parts == part).sum()) for part in PARTS}
        notes = count_notes(counts, PUBLISHED_PARTS)
    else:
        assert split_file is not None
        parts, notes = _listed_parts(Path(split_file).expanduser(), found)
    unlisted = [found.names[row] for row in np.flatnonzero(parts == "").tolist()]
    return parts, notes + left_out_note(unlisted, "image is", "images are", "in no part and left out")


def _identity_part(person: str, seed: int) -> str:
    """Train, val or test at 60, 20 and 20 %, by a hash of the person's name, so whatever images are there.

    >>> _identity_part("VIPeR/0001", 0)
    'train'
    """
    digest = hashlib.sha256(f"{seed}:{person}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < 0.6 else "val" if share < 0.8 else "test"


def _listed_parts(file: Path, found: _Found) -> tuple[np.ndarray, tuple[str, ...]]:
    lists = _read_split_file(file)
    place = {_tail(name, found.named_by): row for row, name in enumerate(found.names)}
    missing: list[str] = []
    places: dict[str, np.ndarray] = {}
    for part, entries in lists.items():
        rows = [_row(entry, place, found, file) for entry in entries]
        missing += [str(entry) for entry, row in zip(entries, rows, strict=True) if row is None]
        places[part] = np.array([row for row in rows if row is not None], np.int64)
    if not any(len(rows) for rows in places.values()):
        raise DataError(f"{file}: none of its {len(missing):,} images is here: name them as in {found.names[0]}")
    notes = left_out_note(missing, "image", "images", f"of {file.name} not here")
    return _dealt(places, len(found.names), str(file)), notes


def _tail(name: str, components: int) -> str:
    return "/".join(name.replace("\\", "/").split("/")[-components:])


def _row(entry: int | str, place: Mapping[str, int], found: _Found, file: Path) -> int | None:
    """The row that an entry names, none if it names no image here."""
    text = str(entry)
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        return place.get(_tail(text, found.named_by))
    if found.partitions is None:
        raise DataError(f"{file}: {text} is a row of PETA.mat, which is not here: name images as SUBSET/archive/IMAGE")
    return int(text)


def _read_split_file(file: Path) -> dict[str, list[int | str]]:
    """The entries of each part, from JSON or from lines."""
    if file.suffix.lower() in (".pkl", ".pickle"):
        raise DataError(f"{file}: a pickle, which is never loaded: write its three lists to a JSON")
    source = Files(file.parent)
    if file.suffix.lower() != ".json":
        return _by_part(_lines(source, file.name), str(file))
    lists = source.json(file.name, dict[str, list[int | str]])
    if "train" in lists:
        lists.pop("trainval", None)  # stands beside its two halves where a partition is written out whole
    return _by_part(((part.removesuffix("_idx"), entry) for part, own in lists.items() for entry in own), str(file))


def _lines(source: Files, name: str) -> Iterable[tuple[str, int | str]]:
    for number, line in source.lines(name):
        match = _PART_OF_LINE.fullmatch(line)
        part = match[2].lower() if match else ""
        if match and part in PART_NAMES:
            yield part, match[1]
        elif number > 1 or not match:  # the first line may be a header
            raise DataError(f"{source.where(name)} line {number}: not an image and its part (train, val or test)")


def _by_part(entries: Iterable[tuple[str, int | str]], where: str) -> dict[str, list[int | str]]:
    lists: dict[str, list[int | str]] = {}
    for part, entry in entries:
        if part.lower() not in PART_NAMES:
            raise DataError(f"{where}: unknown part {part!r}: use train, val and test")
        lists.setdefault(PART_NAMES[part.lower()], []).append(entry)
    if not lists:
        raise DataError(f"{where}: no image in it: expected an image and its part in each line, or a JSON of lists")
    return lists

"""PETA, PA-100K, Market-1501 and DukeMTMC-reID: their layouts, and the one line they answer to what is wrong."""

import hashlib
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from rarecall import data
from rarecall.audit import count_facts
from rarecall.data.formats import dukemtmc, market1501, pa100k, peta, recognise
from rarecall.errors import DataError, OptionError
from rarecall.images.decoding import read_image
from tests.files import write_image


def cells(values: list[Any]) -> np.ndarray:
    """MATLAB's column of cells."""
    column = np.empty((len(values), 1), object)
    column[:, 0] = values
    return column


def write(path: Path, content: str | bytes = "") -> Path:
    """Write a file and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def photo(path: Path) -> None:
    """Write an image and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, 1, 0)


def zipped(folder: Path, top: str = "") -> Path:
    """A folder as a zip beside it, with a folder on top."""
    file = folder.parent / "packed" / f"{folder.name}.zip"
    file.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return file


def tarred(folder: Path, top: str = "") -> Path:
    """A folder as an uncompressed tar beside it."""
    file = folder.parent / "packed" / f"{folder.name}.tar"
    file.parent.mkdir(exist_ok=True)
    with tarfile.open(file, "w:") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.add(path, f"{top}{path.relative_to(folder).as_posix()}")
    return file


def one_line(spec: str, message: str, **options: object) -> None:
    """What cannot be loaded says so in one line."""
    with pytest.raises(DataError, match=message) as caught:
        data.load(spec, **options)
    assert "\n" not in str(caught.value)


# --- PETA.mat ----------------------------------------------------------------------------------------------

ROWS = 12
DEALT = ([1, 2, 3, 4, 5, 6], [7, 8], [9, 10, 11, 12])  # of partition 0, as the file counts: from 1


def peta_labels() -> np.ndarray:
    """(12, 105): no upper colour in row 0, no hair colour in rows 1 and 2, of which row 2 is bald."""
    labels = np.random.default_rng(3).integers(0, 2, (ROWS, 105))
    place = {name: column for column, name in enumerate(peta.ATTRIBUTES)}
    assert [place[name] for name in ("upperBodyBlack", "hairBlack", "hairYellow", "hairBald")] == [35, 57, 67, 82]
    labels[:, [35, 46, 57, 68]] = 1
    labels[0, 35:46] = 0
    labels[1:3, 57:68] = 0
    labels[:3, 82] = [0, 0, 1]
    return labels


def peta_matlab(folder: Path, **changes: Any) -> Path:
    """PETA.mat as it is distributed, with 12 rows; of the fields, names mean nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    others = [([first], [first + 1], list(range(first + 2, 13))) for first in (1, 2, 3, 4)]
    partitions = [DEALT, *others]
    content = {
        "matrix": np.hstack([np.arange(1, ROWS + 1)[:, None], np.full((ROWS, 3), 7), peta_labels()]).astype(float),
        "names": cells(list(peta.ATTRIBUTES)),
        "chosen": np.arange(1, 36)[:, None],
        "parts": cells(
            [
                {name: np.array(rows, float)[:, None] for name, rows in zip("abc", lists, strict=True)}
                for lists in partitions
            ]
        ),
    }
    savemat(folder / "PETA.mat", {"peta": {**content, **changes}})
    photo(folder / "images/00001.png")
    return folder


def test_peta_matlab_label_by_label(tmp_path: Path) -> None:
    folder = peta_matlab(tmp_path / "PETA")
    assert recognise(folder).NAME == recognise(folder / "PETA.mat").NAME == "peta"
    table = data.load(str(folder))
    assert list(table.items) == [f"images/{row:05d}.png" for row in range(1, 13)]
    assert len(table.names) == 35
    assert (table.names[0], table.names[16], table.names[34]) == ("personalLess30", "personalMale", "upperBodyVNeck")
    assert table.labels.tolist() == peta_labels()[:, :35].tolist()
    assert table.split.tolist() == ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    assert "12 of 19,000 images" in table.notes[0]
    assert not isinstance(read_image(table.image(0), (8, 8)), str)
    assert data.load(str(folder / "PETA.mat")).labels.tolist() == table.labels.tolist()


def test_peta_with_105_attributes_knows_no_colour_where_none_is_named(tmp_path: Path) -> None:
    folder = peta_matlab(tmp_path / "PETA")
    wanted = peta_labels()
    assert data.load(str(folder), attributes="105", no_colour="absent").labels.tolist() == wanted.tolist()
    wanted[0, 35:46] = -1
    wanted[1, 57:68] = -1
    assert data.load(str(folder), attributes="105").labels.tolist() == wanted.tolist()


@pytest.mark.parametrize("partition", [2, "2"])
def test_another_partition_of_peta(tmp_path: Path, partition: int | str) -> None:
    table = data.load(str(peta_matlab(tmp_path / "PETA")), partition=partition)
    assert list(table.items)[:2] == ["images/00002.png", "images/00003.png"]
    assert table.split.tolist() == ["train", "val"] + ["test"] * 9
    assert table.labels.tolist() == peta_labels()[1:, :35].tolist()
    assert any("1 image is in no part and left out (images/00001.png)" in note for note in table.notes)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_peta_in_an_archive(tmp_path: Path, pack: Callable[[Path, str], Path]) -> None:
    folder = peta_matlab(tmp_path / "PETA")
    file = pack(folder, "PETA/")
    assert recognise(file).NAME == "peta"
    table = data.load(str(file))
    assert table.labels.tolist() == data.load(str(folder)).labels.tolist()
    assert table.items[0] == f"{file.name}/PETA/images/00001.png"
    assert not isinstance(read_image(table.image(0), (8, 8)), str)


def test_the_name_that_label_files_give_to_sneakers(tmp_path: Path) -> None:
    names = [name.replace("footwearSneaker", "footwearSneakers") for name in peta.ATTRIBUTES]
    assert "footwearSneaker" in data.load(str(peta_matlab(tmp_path / "PETA", names=cells(names)))).names


def parts(train: list[float], val: list[float], test: list[float]) -> np.ndarray:
    """One partition."""
    return cells([{"a": np.array(train), "b": np.array(val), "c": np.array(test)}])


BAD_PETA: dict[str, tuple[dict[str, Any], str]] = {
    "too few columns": ({"matrix": np.zeros((12, 108))}, r"a matrix \(12, 108\) for 105 attributes and 4 other"),
    "a label of 2": ({"matrix": np.full((12, 109), 2)}, "labels row 1, column 1: 2 is not 0 or 1"),
    "a text for a matrix": ({"matrix": "labels"}, "a matrix .* for 105 attributes"),
    "numbers for names": ({"names": np.zeros((105, 2))}, r"a matrix \(12, 109\) for 210 attributes"),
    "empty names": ({"names": cells([""] * 105)}, "list of attributes is not a column of names"),
    "other names": ({"names": cells([f"a{n}" for n in range(105)])}, "no attribute 'personalLess30' among its 105"),
    "row 0": ({"parts": parts([0, 1], [2], [3])}, "partition 0: row 0 is not among 12 rows from 1"),
    "a row too high": ({"parts": parts([1], [13], [3])}, "row 13 is not among"),
    "a row twice": ({"parts": parts([1, 2], [5], [5])}, "partition 0: row 5 stands in it twice"),
    "half a row": ({"parts": parts([1.5], [2], [3])}, "train of partition 0 is not a list of whole numbers"),
    "two lists": ({"parts": cells([{"a": np.ones(1), "b": np.ones(1)}])}, "2 lists in place of 3"),
    "numbers for partitions": ({"parts": np.ones((5, 1))}, "partition 0 is not a MATLAB structure"),
    "no partitions": ({"parts": np.zeros((0, 1))}, "no partition 0 in it"),
}


@pytest.mark.parametrize("case", BAD_PETA)
def test_a_bad_peta_matlab_is_named(tmp_path: Path, case: str) -> None:
    changes, message = BAD_PETA[case]
    one_line(str(peta_matlab(tmp_path / "PETA", **changes)), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"other": 1}, "no structure 'peta' in it"),
        ({"peta": np.zeros((2, 2))}, "'peta' is not a MATLAB structure"),
        ({"peta": {"a": 1, "b": 2}}, "'peta' has 2 fields in place of 4"),
    ],
)
def test_a_matlab_file_that_is_not_petas(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    savemat(tmp_path / "PETA.mat", content)
    one_line(str(tmp_path / "PETA.mat"), message)


def test_a_truncated_and_an_empty_peta_matlab(tmp_path: Path) -> None:
    file = peta_matlab(tmp_path / "PETA") / "PETA.mat"
    file.write_bytes(file.read_bytes()[:1000])
    one_line(str(file), "not a readable MATLAB file")
    file.write_bytes(b"")
    one_line(str(file), "not a readable MATLAB file")


@pytest.mark.parametrize(
    "options",
    [
        {"attributes": "45"}, {"split": "zss"}, {"partition": 5}, {"partition": "-1"}, {"partition": "two"},
        {"no_colour": "none"}, {"seed": "x"}, {"split": "random", "split_file": "x.json"},
    ],
)  # fmt: skip
def test_peta_options_that_are_unknown(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        data.load(str(peta_matlab(tmp_path / "PETA")), **options)


# --- lists of parts ----------------------------------------------------------------------------------------

GOOD_LISTS = {
    "rows.json": json.dumps({"train_idx": [0, 3], "val_idx": [5], "test_idx": [11]}),
    "whole.json": json.dumps({"train": [0, 3], "val": [5], "trainval": [0, 3, 5], "test": [11]}),
    "names.json": json.dumps({"train": ["00001.png", "00004.png"], "val": ["00006.png"], "test": ["00012.png"]}),
    "names.txt": "\ufeff00001.png train\r\n00004.png  train\r\n\r\nimages/00006.png\tval\r\n00012.png TEST\r\n",
    "names.csv": 'image,part\n"00001.png",train\n00004.png,train\n00006.png,valid\n00012.png,test\n',
    "rows.csv": "0,train\n3,train\n5,val\n11,test\n",
}


@pytest.mark.parametrize("name", GOOD_LISTS)
def test_parts_of_a_list(tmp_path: Path, name: str) -> None:
    lists = write(tmp_path / name, GOOD_LISTS[name])
    table = data.load(str(peta_matlab(tmp_path / "PETA")), split="zs", split_file=str(lists))
    assert list(table.items) == [f"images/{row:05d}.png" for row in (1, 4, 6, 12)]
    assert table.split.tolist() == ["train", "train", "val", "test"]
    assert table.labels.tolist() == peta_labels()[[0, 3, 5, 11], :35].tolist()
    assert any("8 images are in no part and left out" in note for note in table.notes)


BAD_LISTS: dict[str, tuple[str | bytes, str]] = {
    "row.json": ('{"train": [12]}', "row 12 is not among 12 rows from 0"),
    "negative.json": ('{"train": [-1]}', "row -1 is not among"),
    "twice.json": ('{"train": [3], "test": ["00004.png"]}', "row 3 stands in it twice"),
    "part.json": ('{"train": [3], "holdout": [4]}', "unknown part 'holdout'"),
    "type.json": ('{"train": 3}', "not the JSON that is expected"),
    "broken.json": ('{"train": [3', "not the JSON that is expected"),
    "none.json": ('{"train": []}', "no image in it"),
    "other.json": ('{"train": ["x.png"]}', "none of its 1 images is here"),
    "list.txt": ("0 train\n1 holdout\n", r"list\.txt line 2: not an image and its part"),
    "bare.txt": ("0\n1\n", r"bare\.txt line 1: not an image"),
    "empty.txt": ("", "no image in it"),
    "latin.txt": ("caf\u00e9.png train\n".encode("latin-1"), "byte 3 is not UTF-8"),
    "long.txt": ("x" * 2_000_000 + " train", "2,000,006 characters: not a list"),
    "lists.pkl": (b"\x80\x04N.", "a pickle, which is never loaded"),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_bad_list_of_parts_is_named(tmp_path: Path, name: str) -> None:
    content, message = BAD_LISTS[name]
    one_line(str(peta_matlab(tmp_path / "PETA")), message, split_file=str(write(tmp_path / name, content)))


def test_listed_images_that_are_not_here_are_counted(tmp_path: Path) -> None:
    lists = write(tmp_path / "l.txt", "00001.png train\n00099.png test\n00002.png test\n")
    table = data.load(str(peta_matlab(tmp_path / "PETA")), split_file=str(lists))
    assert table.split.tolist() == ["train", "test"]
    assert "1 image of l.txt not here (00099.png)" in table.notes


def test_parts_that_peta_matlab_cannot_give(tmp_path: Path) -> None:
    folder = str(peta_matlab(tmp_path / "PETA"))
    one_line(folder, "published as a pickle, which is never loaded", split="zs")
    one_line(folder, "PETA.mat does not name persons", split="identity")
    one_line(folder, "nowhere.txt: no such file", split_file=str(tmp_path / "nowhere.txt"))


# --- PETA's folders ----------------------------------------------------------------------------------------

SUBSETS = {  # rows of Label.txt, images, and the attributes that an image must have
    "VIPeR": (
        "0001 personalMale upperBodyBlack\n0002 personalFemale footwearSneakers\n",
        {"0001_0_1.bmp": "personalMale upperBodyBlack", "0002_45_9.bmp": "personalFemale footwearSneaker"},
    ),
    "CUHK": ("0002.png hairLong\n3.png hairBald\n", {"0002.png": "hairLong", "0003.png": "hairBald"}),
    "TownCentre": ("0 personalLess45\n10 accessoryHat\n", {"0_16.jpg": "personalLess45", "10_2.jpg": "accessoryHat"}),
    "SARC3D": ("1 carryingOther\n", {"001_Right.bmp": "carryingOther", "001_front.bmp": "carryingOther"}),
    "GRID": ("0127 lowerBodyJeans\n", {"0127_1_28046_104_4_59_177.jpeg": "lowerBodyJeans"}),
    "i-LID": ("0009 accessoryMuffler accessoryShawl\n", {"0009_2.jpg": "accessoryMuffler"}),
    "PRID": ("0005 upperBodyLogo\n", {"0005_a.png": "upperBodyLogo", "0005_b.png": "upperBodyLogo"}),
}


def peta_folders(folder: Path) -> Path:
    """The owners' tree with images of seven of the ten subsets."""
    for subset, (rows, images) in SUBSETS.items():
        write(folder / subset / "archive/Label.txt", rows)
        for name in images:
            photo(folder / subset / "archive" / name)
    return folder


def expected_peta() -> dict[str, list[int]]:
    """The 105 labels of each image of the owners' tree, without regard to colours."""
    return {
        f"{subset}/archive/{name}": [int(attribute in said.split()) for attribute in peta.ATTRIBUTES]
        for subset, (_, images) in SUBSETS.items()
        for name, said in images.items()
    }


def test_petas_folders_label_by_label(tmp_path: Path) -> None:
    folder = peta_folders(tmp_path / "PETA dataset")
    assert recognise(folder).NAME == recognise(tmp_path).NAME == "peta"
    table = data.load(str(folder), attributes="105", no_colour="absent")
    assert dict(zip(table.items, table.labels.tolist(), strict=True)) == expected_peta()
    assert tuple(table.names) == peta.ATTRIBUTES
    assert set(table.split) == {"train"}
    identity = dict(zip(table.items, table.columns["identity"].tolist(), strict=True))
    assert identity["SARC3D/archive/001_Right.bmp"] == identity["SARC3D/archive/001_front.bmp"] == "SARC3D/001"
    assert identity["CUHK/archive/0002.png"] == "CUHK/0002"
    assert len(set(identity.values())) == 10
    assert [item.split("/")[0] for item in table.items] == table.columns["subset"].tolist()
    assert "12 of 19,000 images" in table.notes[0]
    assert any("no parts are published" in note for note in table.notes)
    above = data.load(str(tmp_path), no_colour="absent")
    assert list(above.items) == [f"PETA dataset/{item}" for item in table.items]
    assert above.labels.tolist() == [row[:35] for row in table.labels.tolist()]


def test_colours_of_petas_folders_are_unknown_where_none_is_named(tmp_path: Path) -> None:
    table = data.load(str(peta_folders(tmp_path / "p")), attributes="105")
    row = dict(zip(table.items, table.labels, strict=True))
    assert row["VIPeR/archive/0001_0_1.bmp"][35:46].tolist() == [1] + [0] * 10
    assert (row["VIPeR/archive/0002_45_9.bmp"][35:79] == -1).all()
    assert (row["CUHK/archive/0003.png"][57:68] == 0).all()
    assert (row["CUHK/archive/0003.png"][68:79] == -1).all()


def test_petas_folders_in_a_zip(tmp_path: Path) -> None:
    file = zipped(peta_folders(tmp_path / "p"), "PETA dataset/")
    assert recognise(file).NAME == "peta"
    table = data.load(str(file), attributes="105", no_colour="absent")
    found = {
        item.removeprefix("p.zip/PETA dataset/"): row
        for item, row in zip(table.items, table.labels.tolist(), strict=True)
    }
    assert found == expected_peta()
    assert not isinstance(read_image(table.image(0), (8, 8)), str)


def test_what_is_odd_in_petas_folders_is_said(tmp_path: Path) -> None:
    archive = tmp_path / "p/3DPeS/archive"
    rows = (
        "1 personalMale hairLong\r\n7\r\n1 personalMale\r\n2 hairShrot personalFemale\r\n04 hairLong\r\n4 hairBald\r\n"
    )
    write(archive / "Label.txt", b"\xef\xbb\xbf" + (rows + "9 accessoryHat").encode())
    for name in ("1_7_FRAME_5_RGB.bmp", "2_B_1_FRAME_1_RGB.bmp", "2_a b,c.bmp", "7_1.bmp", "04_1.bmp", "004_1.bmp"):
        photo(archive / name)
    table = data.load(str(tmp_path / "p"))
    said = dict(zip(table.items, table.labels.tolist(), strict=True))
    male, long_hair = list(table.names).index("personalMale"), list(table.names).index("hairLong")
    assert [name.removeprefix("3DPeS/archive/") for name in table.items] == [
        "04_1.bmp", "1_7_FRAME_5_RGB.bmp", "2_B_1_FRAME_1_RGB.bmp", "2_a b,c.bmp",
    ]  # fmt: skip
    contradicted = said["3DPeS/archive/1_7_FRAME_5_RGB.bmp"]
    assert (contradicted[male], contradicted[long_hair], sum(contradicted)) == (1, -1, 0)
    assert said["3DPeS/archive/04_1.bmp"][long_hair] == 1
    notes = " | ".join(table.notes)
    assert "1 line of 3DPeS/archive/Label.txt without an attribute left out (line 2)" in notes
    assert "1 name in 3DPeS/archive/Label.txt of no attribute of PETA passed over (hairShrot)" in notes
    assert "1 person has rows in 3DPeS/archive/Label.txt that differ: unknown where they do (1)" in notes
    assert "2 rows of 3DPeS/archive/Label.txt without an image (4, 9)" in notes
    assert "2 images without a row in Label.txt left out" in notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no image beside its Label.txt files"),
        (b"0008 personalMale\n", "no image beside its Label.txt files"),
        ("0001 caf\u00e9".encode("latin-1"), "byte 8 is not UTF-8"),
        (b"0001 " + b"x" * 2_000_000, "not a list"),
    ],
)
def test_a_bad_label_file(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path / "p/VIPeR/archive/Label.txt", content)
    photo(tmp_path / "p/VIPeR/archive/0001_1_2.bmp")
    one_line(str(tmp_path / "p"), message)


def test_parts_of_petas_folders_keep_persons_together(tmp_path: Path) -> None:
    archive = tmp_path / "p/PRID/archive"
    persons = [f"{number:04d}" for number in range(300)]
    write(archive / "Label.txt", "".join(f"{person} personalMale\n" for person in persons))
    for person in persons:
        for camera in "ab":
            write(archive / f"{person}_{camera}.png")
    first = data.load(str(tmp_path / "p"), split="identity")
    for person, part in zip(first.columns["identity"].tolist(), first.split.tolist(), strict=True):
        share = int(hashlib.sha256(f"0:{person}".encode()).hexdigest()[:16], 16) / 16**16
        assert part == ("train" if share < 0.6 else "val" if share < 0.8 else "test")
    assert [len(first.part(part)) / 600 for part in ("train", "val", "test")] == pytest.approx(
        [0.6, 0.2, 0.2], abs=0.06
    )
    other = data.load(str(tmp_path / "p"), split="identity", seed="1")
    assert (first.split != other.split).any()


def test_lists_of_parts_for_petas_folders(tmp_path: Path) -> None:
    folder = peta_folders(tmp_path / "PETA dataset")
    lists = write(tmp_path / "l.csv", "CUHK/archive/0002.png,train\nPETA dataset/PRID/archive/0005_b.png,test\n")
    table = data.load(str(folder), split_file=str(lists))
    assert list(table.items) == ["CUHK/archive/0002.png", "PRID/archive/0005_b.png"]
    assert table.columns["identity"].tolist() == ["CUHK/0002", "PRID/0005"]
    assert table.split.tolist() == ["train", "test"]
    one_line(str(folder), "0 is a row of PETA.mat", split_file=str(write(tmp_path / "r.csv", "0,train\n")))
    one_line(str(folder), "no PETA.mat with random partitions", split="random")


def test_a_folder_or_archive_that_is_not_peta(tmp_path: Path) -> None:
    one_line(f"peta:{tmp_path}", r"neither PETA.mat nor the owners' SUBSET/archive/Label.txt")
    photo(tmp_path / "x/a.png")
    one_line(f"peta:{zipped(tmp_path / 'x')}", r"neither PETA.mat nor the owners'")
    one_line(f"peta:{write(tmp_path / 'p.zip', b'PK')}", r"p\.zip is not a readable zip")
    one_line(f"peta:{write(tmp_path / 'p.rar', b'Rar')}", "so no image can be read from it alone: unpack it")


# --- PA-100K -----------------------------------------------------------------------------------------------


def pa100k_folder(folder: Path, images: str = "data", matlab: str = "annotation.mat", **changes: Any) -> Path:
    """PA-100K's layout with 3 attributes: 3 training, 2 validation and 2 test images."""
    content: dict[str, Any] = {"attributes": cells(["Female", "AgeOver60", "Skirt&Dress"])}
    number = 0
    for part, size in (("train", 3), ("val", 2), ("test", 2)):
        names = [f"{number + place:06d}.jpg" for place in range(1, size + 1)]
        number += size
        content[f"{part}_images_name"] = cells(names)
        content[f"{part}_label"] = (np.arange(size * 3).reshape(size, 3) % 2).astype(np.uint8)
        for name in names:
            photo(folder / images / name)
    (folder / matlab).parent.mkdir(parents=True, exist_ok=True)
    savemat(folder / matlab, {**content, **changes})
    return folder


PA100K_LABELS = [[0, 1, 0], [1, 0, 1], [0, 1, 0]] + [[0, 1, 0], [1, 0, 1]] * 2


@pytest.mark.parametrize("images", pa100k.IMAGE_FOLDERS)
@pytest.mark.parametrize("matlab", pa100k.FILES)
@pytest.mark.parametrize("pack", [None, zipped, tarred])
def test_pa100k_wherever_its_images_are(
    tmp_path: Path, images: str, matlab: str, pack: Callable[[Path, str], Path] | None
) -> None:
    path = pa100k_folder(tmp_path / "p", images, matlab)
    (path / "release_data").mkdir(exist_ok=True)
    path = pack(path, "PA-100K/") if pack else path
    assert recognise(path).NAME == "pa100k"
    table = data.load(str(path))
    assert list(table.names) == ["Female", "AgeOver60", "Skirt&Dress"]
    assert table.labels.tolist() == PA100K_LABELS
    assert table.split.tolist() == ["train"] * 3 + ["val"] * 2 + ["test"] * 2
    assert [Path(item).name for item in table.items] == [f"{number:06d}.jpg" for number in range(1, 8)]
    assert not any(isinstance(read_image(image, (8, 8)), str) for image in table.images())
    assert "3 of 80,000 train images" in table.notes[0]


def test_pa100k_by_its_file_alone(tmp_path: Path) -> None:
    folder = pa100k_folder(tmp_path / "p", matlab="annotation/annotation.mat")
    table = data.load(str(folder / "annotation/annotation.mat"))
    assert table.image(0).exists()


def test_pa100k_with_a_part_of_its_images(tmp_path: Path) -> None:
    folder = pa100k_folder(tmp_path / "p", "data/release_data/release_data")
    (folder / "data/release_data/release_data/000001.jpg").unlink()
    assert [image.exists() for image in data.load(str(folder)).images()] == [False] + [True] * 6


def test_pa100k_with_an_image_twice_says_so(tmp_path: Path) -> None:
    table = data.load(str(pa100k_folder(tmp_path / "p", test_images_name=cells(["000001.jpg", "a b,\u00e9\n.jpg"]))))
    assert table.items[-1] == "a b,\u00e9\n.jpg"
    assert any("1 image stands in more than one row (000001.jpg)" in note for note in table.notes)


BAD_PA100K: dict[str, tuple[dict[str, Any], str]] = {
    "a name that leads out": ({"val_images_name": cells(["../../x.jpg", "y.jpg"])}, "leads out of the folder"),
    "an absolute name": ({"val_images_name": cells(["/etc/passwd", "y.jpg"])}, "leads out of the folder"),
    "an empty name": ({"val_images_name": cells(["", "y.jpg"])}, "'val_images_name' is not a column of names"),
    "labels that are texts": ({"val_label": cells(["a", "b"])}, r"val_label is \(2, 1\)"),
    "a label that is not a number": ({"val_label": np.full((2, 3), np.nan)}, "row 1, column 1: nan is not 0 or 1"),
    "no attributes": ({"attributes": np.zeros((0, 1), object)}, "for 3 names and 0 attributes"),
}


@pytest.mark.parametrize("case", BAD_PA100K)
def test_a_bad_pa100k_is_named(tmp_path: Path, case: str) -> None:
    changes, message = BAD_PA100K[case]
    one_line(str(pa100k_folder(tmp_path / "p", **changes)), message)


def test_a_folder_without_pa100k(tmp_path: Path) -> None:
    one_line(f"pa100k:{tmp_path}", r"no annotation\.mat or annotation/annotation\.mat in it")
    savemat(tmp_path / "annotation.mat", {"x": 1})
    one_line(str(tmp_path), "no key 'attributes': expected the 7 keys")


# --- Market-1501 and DukeMTMC-reID -------------------------------------------------------------------------

UP = ("black", "white", "red", "purple", "yellow", "gray", "blue", "green")
DOWN = ("black", "white", "pink", "purple", "yellow", "gray", "blue", "green", "brown")
PLAIN = ("gender", "hair", "up", "down", "clothes", "hat", "backpack", "bag", "handbag")
MARKET_FIELDS = (*PLAIN, *("up" + colour for colour in UP), *("down" + colour for colour in DOWN))
DUKE_FIELDS = (
    "gender", "top", "boots", "hat", "backpack", "bag", "handbag", "shoes",
    "upblack", "upwhite", "upred", "uppurple", "upgray", "upblue", "upgreen", "upbrown",
    "downblack", "downwhite", "downred", "downgray", "downblue", "downgreen", "downbrown",
)  # fmt: skip
MARKET_TRAIN = ["0002_c1s1_000451_03.jpg", "0002_c3s2_000010_00.jpg", "0007_c2s1_000100_01.jpg"]
MARKET_QUERY = ["0005_c1s1_000001_00.jpg"]
MARKET_TEST = ["0005_c6s3_000777_02.jpg", "0009_c1s1_000003_01.jpg", "-1_c1s1_000401_03.jpg", "0000_c4s6_026266_05.jpg"]


def attribute_part(fields: tuple[str, ...], persons: list[str], yes: dict[str, list[str]], **other: Any) -> dict:
    """One part of an attribute file: 2 in the fields named for a person, else 1."""
    values = {
        field: np.array([[2 if field in yes.get(person, ()) else 1 for person in persons]], np.uint8)
        for field in fields
    }
    return {**values, "image_index": cells(persons).T, **other}


def market(folder: Path, attributes: str | None = "attribute/market_attribute.mat", **changes: Any) -> Path:
    """Market-1501's tree: persons 2 and 7 for training, 5 and 9 for testing, junk and a distractor."""
    for part, names in (
        ("bounding_box_train", MARKET_TRAIN),
        ("query", MARKET_QUERY),
        ("bounding_box_test", MARKET_TEST),
    ):
        for name in names:
            photo(folder / part / name)
        write(folder / part / "Thumbs.db")
    photo(folder / "gt_bbox/0002_c1s1_000451_00.jpg")
    if attributes:
        train = attribute_part(
            ("age", *reversed(MARKET_FIELDS)), ["0002", "0007"],
            {"0002": ["gender", "up", "upred", "downblue", "hat"], "0007": ["clothes", "downbrown"]},
            age=np.array([[1, 4]]),
        )  # fmt: skip
        test = attribute_part(
            ("age", *MARKET_FIELDS), ["0009", "0005"], {"0005": ["hair", "upgreen"], "0009": ["bag", "upblack"]},
            age=np.array([[3, 2]]),
        )  # fmt: skip
        content = {"test": {**test, **changes.pop("test", {})}, "train": {**train, **changes.pop("train", {})}}
        (folder / attributes).parent.mkdir(parents=True, exist_ok=True)
        savemat(folder / attributes, {"market_attribute": content} | changes)
    return folder


MARKET_CLASSES = [
    "age:young", "age:teenager", "age:adult", "age:old",
    "gender:female", "hair:long", "up:short-sleeve", "down:short", "clothes:pants", "hat", "backpack", "bag", "handbag",
    *("up" + colour for colour in UP), *("down" + colour for colour in DOWN),
]  # fmt: skip


def person_labels(present: str, up_known: bool = True, down_known: bool = True) -> list[int]:
    """The 30 labels of a person."""
    labels = [int(name in present.split()) for name in MARKET_CLASSES]
    labels[13:21] = labels[13:21] if up_known else [-1] * 8
    labels[21:] = labels[21:] if down_known else [-1] * 9
    return labels


PERSONS = {
    2: person_labels("age:young gender:female up:short-sleeve hat upred downblue"),
    7: person_labels("age:old clothes:pants downbrown", up_known=False),
    5: person_labels("age:teenager hair:long upgreen", down_known=False),
    9: person_labels("age:adult bag upblack", down_known=False),
}


def test_market_label_by_label(tmp_path: Path) -> None:
    folder = market(tmp_path / "m")
    assert recognise(folder).NAME == "market1501"
    table = data.load(str(folder))
    assert list(table.names) == MARKET_CLASSES
    assert list(table.items) == [
        *(f"bounding_box_train/{name}" for name in MARKET_TRAIN),
        *(f"query/{name}" for name in MARKET_QUERY),
        *(f"bounding_box_test/{name}" for name in MARKET_TEST[:2]),
    ]
    assert table.columns["identity"].tolist() == [2, 2, 7, 5, 5, 9]
    assert table.columns["camera"].tolist() == [1, 3, 2, 1, 6, 1]
    assert table.columns["role"].tolist() == ["train"] * 3 + ["query", "gallery", "gallery"]
    assert table.split.tolist() == ["train"] * 3 + ["test"] * 3
    assert table.labels.tolist() == [PERSONS[person] for person in (2, 2, 7, 5, 5, 9)]
    notes = " | ".join(table.notes)
    assert "4 of 19,732 gallery images" in notes
    assert "2 images of junk and distractors, of no person: left out" in notes


def test_market_with_unknown_junk_and_absent_colours(tmp_path: Path) -> None:
    table = data.load(str(market(tmp_path / "m")), junk="unknown", no_colour="absent")
    assert table.columns["identity"].tolist() == [2, 2, 7, 5, -1, -1, 5, 9]
    assert (table.labels[4:6] == -1).all()
    assert (np.delete(table.labels, [4, 5], 0) >= 0).all()
    assert table.labels[2].tolist() == [max(label, 0) for label in PERSONS[7]]


def test_market_without_attributes_has_persons_for_classes(tmp_path: Path) -> None:
    folder = market(tmp_path / "m", attributes=None)
    one_line(str(folder), r"no market_attribute\.mat in it .*https://github.com/vana77/.* labels=identity")
    table = data.load(str(folder), labels="identity")
    assert list(table.names) == ["0002", "0007"]
    assert table.labels.tolist() == [[1, 0], [1, 0], [0, 1]] + [[0, 0]] * 3
    with_junk = data.load(str(folder), labels="identity", junk="unknown")
    assert with_junk.labels[with_junk.columns["identity"] < 1].tolist() == [[-1, -1]] * 2


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("top", ["", "Market-1501-v15.09.15/"])
def test_market_in_an_archive(tmp_path: Path, pack: Callable[[Path, str], Path], top: str) -> None:
    folder = market(tmp_path / "m")
    wanted = data.load(str(folder))
    file = pack(folder, top)
    assert recognise(file).NAME == "market1501"
    table = data.load(str(file))
    assert table.labels.tolist() == wanted.labels.tolist()
    assert list(table.items) == [f"{file.name}/{top}{item}" for item in wanted.items]
    assert not isinstance(read_image(table.image(0), (8, 8)), str)


def test_where_the_attribute_file_may_be(tmp_path: Path) -> None:
    wanted = data.load(str(market(tmp_path / "m"))).labels.tolist()
    for place in ("market_attribute.mat", "Market-1501_Attribute-master/market_attribute.mat"):
        assert data.load(str(market(tmp_path / place[:9], place))).labels.tolist() == wanted
    bare = market(tmp_path / "bare", attributes=None)
    given = str(tmp_path / "m/attribute/market_attribute.mat")
    assert data.load(str(bare), attribute_file=given).labels.tolist() == wanted
    beside = zipped(bare)
    (beside.parent / "market_attribute.mat").write_bytes(Path(given).read_bytes())
    assert data.load(str(beside)).labels.tolist() == wanted
    above = tmp_path / "above"
    market(above / "Market-1501-v15.09.15", attributes=None)
    write(above / "attribute/market_attribute.mat", Path(given).read_bytes())
    assert data.load(str(above)).labels.tolist() == wanted
    one_line(
        str(bare), r"nowhere\.mat: no such file: fetch market_attribute", attribute_file=str(tmp_path / "nowhere.mat")
    )


def test_persons_on_one_side_only_are_said(tmp_path: Path) -> None:
    folder = market(tmp_path / "m")
    photo(folder / "bounding_box_train/0011_c1s1_000001_00.jpg")
    photo(folder / "bounding_box_train/holiday photo.jpg")
    photo(folder / "query/0007_c1s1_000001_00.jpg")  # a training person, whom the test part does not name
    for file in (folder / "bounding_box_test").glob("0009*"):
        file.unlink()
    table = data.load(str(folder))
    assert table.columns["identity"].tolist() == [2, 2, 7, 5, 5]
    notes = " | ".join(table.notes)
    assert "1 file is not named as the data set names its images: left out (bounding_box_train/holiday" in notes
    assert "2 images of persons that the attribute file does not name left out (bounding_box_train/0011" in notes
    assert "1 person of the attribute file without an image here (0009)" in notes


def row(*values: float) -> np.ndarray:
    """A row of one part of an attribute file."""
    return np.array([values])


BAD_MARKET: dict[str, tuple[dict[str, Any], str]] = {
    "a value of 3": ({"train": {"hat": row(1, 3)}}, "train: hat: 3 of person 7 is not 1 to 2"),
    "an age of 5": ({"test": {"age": row(5, 1)}}, "test: age: 5 of person 9 is not 1 to 4"),
    "a value too few": ({"train": {"hat": row(1)}}, "hat: 1 values for 2 persons"),
    "a fraction": ({"train": {"hat": row(1.5, 1)}}, "hat is not a list of whole numbers"),
    "an infinite value": ({"train": {"hat": row(np.inf, 1)}}, "hat is not a list of whole numbers"),
    "texts": ({"train": {"hat": cells(["no", "yes"])}}, "hat is not a list of whole numbers"),
    "a person twice": ({"train": {"image_index": cells(["0002", "2"])}}, "image_index: person 2 stands twice"),
    "no person": ({"train": {"image_index": cells(["0002", "x"])}}, "'x' is not the number of a person"),
    "other persons": (
        {"train": {"image_index": cells(["21", "22"])}, "test": {"image_index": cells(["23", "24"])}},
        "names none of its persons: it belongs to other images",
    ),
    "another structure": ({"market_attribute": {"train": 1}}, "'train' is not a MATLAB structure|no part 'test'"),
    "a number": ({"market_attribute": 3}, "'market_attribute' is not a MATLAB structure"),
}


@pytest.mark.parametrize("case", BAD_MARKET)
def test_a_bad_market_attribute_file_is_named(tmp_path: Path, case: str) -> None:
    changes, message = BAD_MARKET[case]
    one_line(str(market(tmp_path / "m", **changes)), message)


def test_attribute_files_without_a_field_or_cut_short(tmp_path: Path) -> None:
    folder = market(tmp_path / "m")
    file = folder / "attribute/market_attribute.mat"
    whole = file.read_bytes()
    savemat(file, {"market_attribute": {"train": {"age": row(1, 1)}, "test": {"age": row(1, 1)}}})
    one_line(str(folder), "market_attribute.mat train: no field gender, hair, up")
    savemat(file, {"duke_attribute": 1})
    one_line(str(folder), "no structure 'market_attribute' in it")
    file.write_bytes(whole[: len(whole) // 2])
    one_line(str(folder), "not a readable MATLAB file")
    file.write_bytes(b"")
    one_line(str(folder), "not a readable MATLAB file")


def test_re_identification_folders_without_images(tmp_path: Path) -> None:
    one_line(f"market1501:{tmp_path}", "no bounding_box_train in it")
    write(tmp_path / "bounding_box_train/x.jpg")
    one_line(f"market1501:{tmp_path}", "no image is named as those of market1501")
    write(tmp_path / "bounding_box_train/-1_c1s1_000401_03.jpg")
    one_line(f"market1501:{tmp_path}", "no person in bounding_box_train", labels="identity")


@pytest.mark.parametrize("option", ["labels", "junk", "no_colour"])
def test_market_options_that_are_unknown(tmp_path: Path, option: str) -> None:
    with pytest.raises(OptionError, match=f"unknown value of {option} 'x'"):
        data.load(str(market(tmp_path / "m")), **{option: "x"})


def duke(folder: Path) -> Path:
    """DukeMTMC-reID's tree: persons 1 and 370 for training, 5 for testing, 30 in the gallery alone."""
    for name in (
        "bounding_box_train/0001_c2_f0046182.jpg", "bounding_box_train/0370_c8_f0046985.jpg",
        "query/0005_c2_f0046985.jpg",
        "bounding_box_test/0005_c1_f0000001.jpg", "bounding_box_test/0030_c5_f0000002.jpg",
    ):  # fmt: skip
        photo(folder / name)
    train = attribute_part(
        DUKE_FIELDS, ["0001", "0370"], {"0001": ["top", "shoes", "upred"], "0370": ["boots", "upblue", "downred"]},
        top=row(2, 0),
    )  # fmt: skip
    test = attribute_part(tuple(reversed(DUKE_FIELDS)), ["0005", "0030"], {"0030": ["gender", "downbrown"]})
    savemat(folder / "duke_attribute.mat", {"duke_attribute": {"train": train, "test": test}})
    return folder


def test_duke_label_by_label(tmp_path: Path) -> None:
    folder = duke(tmp_path / "d")
    assert recognise(folder).NAME == "dukemtmc"
    table = data.load(str(folder))
    assert list(table.names) == [
        "gender:female", "top:long", "boots", "hat", "backpack", "bag", "handbag", "shoes:light", *DUKE_FIELDS[8:],
    ]  # fmt: skip
    assert table.columns["identity"].tolist() == [1, 370, 5, 5, 30]
    assert table.columns["camera"].tolist() == [2, 8, 2, 1, 5]
    assert table.columns["role"].tolist() == ["train", "train", "query", "gallery", "gallery"]
    nobody = [*[0] * 8, *[-1] * 15]
    assert table.labels.tolist() == [
        [*(0, 1, 0, 0, 0, 0, 0, 1), *(0, 0, 1, 0, 0, 0, 0, 0), *[-1] * 7],
        [*(0, -1, 1, 0, 0, 0, 0, 0), *(0, 0, 0, 0, 0, 1, 0, 0), *(0, 0, 1, 0, 0, 0, 0)],
        nobody,
        nobody,
        [*(1, 0, 0, 0, 0, 0, 0, 0), *[-1] * 8, *(0, 0, 0, 0, 0, 0, 1)],
    ]
    assert "top of 1 person of the train part is 0 in the attribute file: unknown" in table.notes
    assert recognise(zipped(folder, "DukeMTMC-reID/")).NAME == "dukemtmc"
    assert data.load(str(folder), labels="identity").labels[:2].tolist() == [[1, 0], [0, 1]]


# --- damaged MATLAB files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [peta_matlab, pa100k_folder, market, duke])
def test_a_byte_that_is_wrong_is_refused_or_harmless(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make(tmp_path / "x")
    file = next(folder.rglob("*.mat"))
    whole, random = file.read_bytes(), np.random.default_rng(0)
    refused = []
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[random.integers(128, len(whole))] = random.integers(256)
        file.write_bytes(damaged)
        try:
            data.load(f"{recognise(folder).NAME}:{folder}")
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert not any("\n" in line for line in refused)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (16, 6 + 256),
        (20, 9),
        (24, 6 | 8 << 8),
        (24, 17),
        (32, 6),
        (40, 0xFFFFFFFF),
        (48, 14),
        (56, 11),
        (56, 200),
        (60, 9999),
    ],
)
def test_a_wrong_code_in_a_matlab_file_never_reaches_scipy(tmp_path: Path, place: int, value: int) -> None:
    savemat(tmp_path / "annotation.mat", {"x": np.ones((2, 2))})
    content = bytearray((tmp_path / "annotation.mat").read_bytes())
    content[120 + place : 124 + place] = value.to_bytes(4, "little")
    write(tmp_path / "annotation.mat", bytes(content))
    one_line(str(tmp_path), r"annotation\.mat: not a readable MATLAB file \(damaged\): fetch it again")


def test_a_compressed_matlab_file(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(2)]
    content = {f"{part}_images_name": cells(names) for part in ("train", "val", "test")}
    labels = {f"{part}_label": np.array([[0.0], [1.0]]) for part in ("train", "val", "test")}
    file = tmp_path / "annotation.mat"
    savemat(file, {"attributes": cells(["hat"]), **content, **labels}, do_compression=True)
    assert data.load(str(tmp_path)).labels.tolist() == [[0], [1]] * 3
    file.write_bytes(file.read_bytes()[:-40])
    one_line(str(tmp_path), "not a readable MATLAB file")


def test_no_format_claims_the_folders_of_another(tmp_path: Path) -> None:
    paths = {
        "peta": peta_matlab(tmp_path / "PETA"), "pa100k": pa100k_folder(tmp_path / "p"),
        "market1501": market(tmp_path / "m"), "dukemtmc": duke(tmp_path / "d"),
    }  # fmt: skip
    photo(tmp_path / "f/cat/1.png")
    others = [tmp_path / "f", tmp_path, write(tmp_path / "x.zip", b"PK"), write(tmp_path / "x.csv", "image,a\nb,1\n")]
    for module in (peta, pa100k, market1501, dukemtmc):
        for name, path in paths.items():
            assert module.recognises(path) == (name == module.NAME)
        if module is not peta:  # whose folder may be called PETA in another
            assert not any(module.recognises(path) for path in others)


# --- real files --------------------------------------------------------------------------------------------


def test_the_real_market_has_its_known_counts(data_folder: Path) -> None:
    table = data.load(str(data_folder / "market1501"))
    roles = table.columns["role"]
    assert {role: int((roles == role).sum()) for role in ("train", "query", "gallery")} == {
        "train": 6790, "query": 420, "gallery": 1243,
    }  # fmt: skip
    identity, first = np.unique(table.columns["identity"], return_index=True)
    persons = table.labels[first]
    assert len(identity) == 500
    assert [(persons[:, place] == -1).sum() for place in (13, 21)] == [58, 25]
    assert (persons[:, :4].sum(1) == 1).all()
    assert ((persons[:, 13:21] == 1).sum(1) <= 1).all()
    train, test = table.labels[table.part("train")], table.labels[table.part("test")]
    assert [name for name, column in zip(table.names, train.T, strict=True) if not (column == 1).any()] == [
        "downpurple"
    ]
    assert [name for name, column in zip(table.names, test.T, strict=True) if not (column == 1).any()] == ["downgreen"]
    assert not count_facts(table).missing_files
    assert data.load(str(data_folder / "market1501"), labels="identity").labels.shape == (8453, 400)


def test_the_real_pa100k_and_peta_lists_have_their_known_counts(data_folder: Path) -> None:
    pa = data.load(str(data_folder / "pa100k"))
    assert pa.source.startswith("pa100k:")
    positives = dict(zip(pa.names, pa.labels.sum(0).tolist(), strict=True))
    assert {name: positives[name] for name in ("LowerStripe", "boots", "HoldObjectsInFront", "AgeOver60")} == {
        "LowerStripe": 4, "boots": 13, "HoldObjectsInFront": 21, "AgeOver60": 32,
    }  # fmt: skip
    lists = data.load(str(data_folder / "peta"))
    assert lists.source.startswith("csv:")
    assert (len(lists.part("train")), len(lists.part("test"))) == (11_400, 7_600)
    assert list(lists.names) == (data_folder / "peta/attributes.txt").read_text().splitlines()
    assert len(lists.names) == len(peta.CONVENTIONAL) == 35


def test_the_real_names_of_petas_images_tell_the_persons(data_folder: Path) -> None:
    items = data.load(str(data_folder / "peta")).items
    persons = {f"{item.split('/')[0]}/{peta._prefix(item)}" for item in items}
    of_subset = {subset: sum(person.startswith(f"{subset}/") for person in persons) for subset in ("GRID", "SARC3D")}
    assert (len(persons), of_subset) == (8699, {"GRID": 1025, "SARC3D": 50})

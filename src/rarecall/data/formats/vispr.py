"""VISPR (Visual Privacy) as published: 68 privacy attributes of photos, one JSON for each image.

Orekondy et al., Towards a Visual Privacy Advisor, ICCV 2017. A listed attribute is present, all others are absent.
The archives unpack to annotations/ and images/ with train2017/, val2017/ and test2017/ in each, or to such folders
alone; both are read, by the name of the folder that a file is in.
"""

import re
from pathlib import Path

import numpy as np
from msgspec import Struct

from rarecall.data.formats._files import Files, count_notes, left_out_note
from rarecall.data.formats._objects import repeated
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing
from rarecall.labels import ABSENT, PRESENT

NAME = "vispr"
HOME = "https://tribhuvanesh.github.io/vpa/"
LICENCE = "none stated; photos under their own Flickr licences"
PUBLISHED = {"train images": 10000, "val images": 4167, "test images": 8000, "attributes": 68}
_NUMBERED = """
    a0_safe a1_age_approx a2_weight_approx a3_height_approx a4_gender a5_eye_color a6_hair_color a7_fingerprint
    a8_signature a9_face_complete a10_face_partial a11_tattoo a12_semi_nudity a13_full_nudity a16_race a17_color
    a18_ethnic_clothing a19_name_full a20_name_first a21_name_last a23_birth_city a24_birth_date a25_nationality
    a26_handwriting a27_marital_status a29_ausweis a30_credit_card a31_passport a32_drivers_license a33_student_id
    a35_mail a37_receipt a38_ticket a39_disability_physical a41_injury a43_medicine a46_occupation
    a48_occassion_work a49_phone a55_religion a56_sexual_orientation a57_culture a58_hobbies a59_sports
    a60_occassion_personal a61_opinion_general a62_opinion_political a64_rel_personal a65_rel_social
    a66_rel_professional a67_rel_competitors a68_rel_spectators a69_rel_views a70_education_history a73_landmark
    a74_address_current_complete a75_address_current_partial a78_address_home_complete a79_address_home_partial
    a82_date_time a85_username a90_email a92_email_content a97_online_conversation a99_legal_involvement
    a102_vehicle_ownership a103_license_plate_complete a104_license_plate_partial
"""
ATTRIBUTES = tuple(_NUMBERED.split())
INDEX = "attributes.tsv"
_PART = re.compile(r"(?:^|/)(train|val|test)2017[^/]*/")
_STEM = re.compile(r"[\w-]+")


class _Photo(Struct, gc=False):
    labels: list[str]
    image_path: str = ""


def recognises(path: Path) -> bool:
    """A folder with attributes.tsv, or with JSON of VISPR's names in a folder of its training part."""
    if not path.is_dir():
        return False
    folders = ("annotations/train2017", "train2017_annotation", "train2017_annotations", "train2017")
    return (path / INDEX).is_file() or any(next((path / folder).glob("2017_*.json"), None) for folder in folders)


def read(path: Path) -> LabelTable:
    """Read the three parts with the attributes in the order of attributes.tsv."""
    source = Files(path)
    names, notes = _names(source)
    found = _annotations(source)
    photos = [source.json(name, _Photo) for name, _, _ in found]
    parts = [part for _, part, _ in found]
    unlisted = [stem for (_, _, stem), photo in zip(found, photos, strict=True) if not photo.labels]
    counts = {f"{part} images": parts.count(part) for part in ("train", "val", "test")} | {"attributes": len(names)}
    return LabelTable(
        items=_items(source, found, photos),
        names=names,
        labels=_labels(source, names, found, photos),
        split=np.array(parts),
        source=f"{NAME}:{path}",
        root=source.root,
        notes=(
            *count_notes(counts, PUBLISHED),
            *notes,
            *left_out_note(unlisted, "image lists", "images list", "no attribute, not even a0_safe: all absent"),
        ),
    )


def _annotations(source: Files) -> list[tuple[str, str, str]]:
    """The name, part and stem of each annotation, part by part.

    Raises:
        DataError: there is none, or one stands twice.
    """
    found = []
    for name in source.files("", (".json",)):
        part, stem = _PART.findall(name), name.rpartition("/")[2].removesuffix(".json")
        if part and _STEM.fullmatch(stem):
            found.append((name, part[-1], stem))
    if not found:
        raise DataError(f"{source.path}: no JSON in train2017/, val2017/ or test2017/: expected VISPR's layout")
    if twice := repeated(stem for _, _, stem in found):
        raise DataError(f"{source.path}: annotations stand twice: {listing(twice)}: keep one tree of them")
    order = ("train", "val", "test")
    return sorted(found, key=lambda one: (order.index(one[1]), one[2]))


def _labels(source: Files, names: list[str], found: list[tuple[str, str, str]], photos: list[_Photo]) -> np.ndarray:
    place = {name: column for column, name in enumerate(names)}
    labels = np.full((len(photos), len(names)), ABSENT, np.int8)
    for row, photo in enumerate(photos):
        if unknown := [name for name in photo.labels if name not in place]:
            where = source.where(found[row][0])
            raise DataError(f"{where}: {unknown[0][:80]!r} is not one of the {len(names)} attributes")
        labels[row, [place[name] for name in photo.labels]] = PRESENT
    return labels


def _items(source: Files, found: list[tuple[str, str, str]], photos: list[_Photo]) -> list[str]:
    """The image of each annotation: of the path that it gives, else of its part and name."""
    files = source.files()
    known = set(files)
    by_stem = {(part[-1], _stem(name)): name for name in files if (part := _PART.findall(name))}
    items = []
    for (_, part_name, stem), photo in zip(found, photos, strict=True):
        given = photo.image_path
        name = given if given in known else by_stem.get((part_name, stem), f"images/{part_name}2017/{stem}.jpg")
        items.append(source.item(name))
    return items


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _names(source: Files) -> tuple[list[str], tuple[str, ...]]:
    """The attributes: rows of attributes.tsv whose idx is blank are headings."""
    if not source.has(INDEX):
        return list(ATTRIBUTES), (f"no {INDEX}: the attributes stand in the order of their numbers",)
    where = source.where(INDEX)
    rows = list(source.rows(INDEX, "\t"))
    header = rows[0][1] if rows else []
    if "idx" not in header or "attribute_id" not in header:
        raise DataError(f"{where}: no columns idx and attribute_id: expected the owners' table")
    idx, attribute = header.index("idx"), header.index("attribute_id")
    found: dict[int, str] = {}
    for number, row in rows[1:]:
        cells = [*row, *[""] * len(header)]
        if cells[idx].strip():
            place = f"{where} row {number}"
            found[_position(cells[idx].strip(), found, place)] = _attribute(cells[attribute].strip(), place)
    if not found or sorted(found) != list(range(len(found))):
        raise DataError(f"{where}: its idx do not count from 0 without a gap")
    return [found[position] for position in range(len(found))], ()


def _position(text: str, found: dict[int, str], where: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6) or int(text) in found:
        raise DataError(f"{where}: idx {text[:20]!r} is no number, or stands twice")
    return int(text)


def _attribute(text: str, where: str) -> str:
    if not text:
        raise DataError(f"{where}: an idx without an attribute_id")
    return text

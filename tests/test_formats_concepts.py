"""Concepts, birds, clothes, single-label sets and shards: what is read, and the line to a file that is wrong."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from rarecall import data
from rarecall.data import LabelTable
from rarecall.data.formats import FORMATS, cifar, recognise, transfer, webdataset
from rarecall.errors import DataError, OptionError
from rarecall.images.decoding import decode
from tests.files import write_image


def write(path: Path, content: str | bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def change(path: Path, old: str, new: str) -> None:
    """Replace what stands once in a file."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def photo(path: Path, level: int = 0) -> Path:
    """A small image of one grey level, lossless whatever its name says."""
    return write(path, png(level))


def png(level: int) -> bytes:
    """A small image of one grey level."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (level, level, level)).save(stream, "PNG")
    return stream.getvalue()


def zipped(folder: Path, top: str = "") -> Path:
    """An archive of a folder beside it."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{top}{file.relative_to(folder).as_posix()}")
    return target


def shard(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    """A tar of these members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def refused(spec: str | Path, message: str, **options: str) -> None:
    """The one line that a data set is refused with."""
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(spec), **options)
    assert "\n" not in str(caught.value)


def is_grey(table: LabelTable, row: int, level: int) -> bool:
    """Whether the image of a row opens and has this level."""
    image = decode(table.image(row), (6, 8))
    return not isinstance(image, str) and image.getpixel((2, 2)) == (level, level, level)


# --- NUS-WIDE ----------------------------------------------------------------------------------------------

NUS_TRAIN = {"actor\\0001_11.jpg": (1, 0), "sky scenes\\0002_22.jpg": (0, 0), "actor\\0003_33.jpg": (1, 1)}
NUS_TEST = {"zoo\\0001_44.jpg": (0, 1), "zoo\\0002_11.jpg": (0, 0)}
CONCEPTS = ("animal", "lake")


def nus_wide(folder: Path, kinds: Iterable[str] = ("TrainTestLabels", "AllLabels")) -> Path:
    """NUS-WIDE's layout with 2 concepts."""
    parts = {"Train": NUS_TRAIN, "Test": NUS_TEST, "": NUS_TEST | NUS_TRAIN}
    for part, images in parts.items():
        write(folder / f"ImageList/{part}Imagelist.txt", "\r\n".join(images) + "\r\n")
        for column, concept in enumerate(CONCEPTS):
            name = f"TrainTestLabels/Labels_{concept}_{part}.txt" if part else f"AllLabels/Labels_{concept}.txt"
            if name.partition("/")[0] in kinds:
                write(folder / "Groundtruth" / name, "".join(f"{row[column]}\n" for row in images.values()))
    write(folder / "ConceptsList/Concepts81.txt", "\n".join(CONCEPTS) + "\n")
    for name in NUS_TRAIN | NUS_TEST:
        photo(folder / "Flickr" / name.replace("\\", "/"), 9)
    return folder


def test_nus_wide_is_read_with_its_parts(tmp_path: Path) -> None:
    table = data.load(str(nus_wide(tmp_path / "nus")))
    assert table.source.startswith("nus-wide:")
    assert list(table.names) == ["animal", "lake"]
    assert list(table.items) == [f"Flickr/{name}".replace("\\", "/") for name in (*NUS_TRAIN, *NUS_TEST)]
    assert [tuple(row) for row in table.labels.tolist()] == [*NUS_TRAIN.values(), *NUS_TEST.values()]
    assert table.split.tolist() == ["train"] * 3 + ["test"] * 2
    assert table.columns["flickr"].tolist() == ["11", "22", "33", "44", "11"]
    assert "3 of 161,789 train images" in table.notes[0]
    assert is_grey(table, 1, 9)


def test_nus_wide_from_all_labels_has_the_same_labels(tmp_path: Path) -> None:
    one = data.load(str(nus_wide(tmp_path / "a")))
    other = data.load(str(nus_wide(tmp_path / "b", ["AllLabels"])))
    assert dict(zip(one.items, map(tuple, one.labels.tolist()), strict=True)) == dict(
        zip(other.items, map(tuple, other.labels.tolist()), strict=True)
    )
    assert dict(zip(one.items, one.split, strict=True)) == dict(zip(other.items, other.split, strict=True))


def test_nus_wide_leaves_out_what_is_in_no_part(tmp_path: Path) -> None:
    folder = nus_wide(tmp_path / "nus", ["AllLabels"])
    write(folder / "ImageList/TestImagelist.txt", "zoo\\0001_44.jpg\n")
    table = data.load(str(folder))
    assert "Flickr/zoo/0002_11.jpg" not in table.items
    assert len(table) == 4
    assert any("1 image is in neither part" in note for note in table.notes)


def test_nus_wide_without_lists_of_parts_is_all_train(tmp_path: Path) -> None:
    folder = nus_wide(tmp_path / "nus", ["AllLabels"])
    (folder / "ImageList/TestImagelist.txt").unlink()
    table = data.load(str(folder))
    assert set(table.split) == {"train"}
    assert any("every image is taken as train" in note for note in table.notes)


def test_the_malformed_value_of_nus_wide_is_unknown_and_no_other_is_taken(tmp_path: Path) -> None:
    folder = nus_wide(tmp_path / "nus")
    lake = write(folder / "Groundtruth/TrainTestLabels/Labels_lake_Train.txt", "0\n-1130179\n1\n")
    table = data.load(str(folder))
    assert table.labels[:3, 1].tolist() == [0, -1, 1]
    assert any("Labels_lake_Train.txt: 1 value -1130179 is read as unknown" in note for note in table.notes)
    write(lake, "0\n2\n1\n")
    refused(folder, "Labels_lake_Train.txt line 2: '2' is not 0 or 1")


def test_nus_wide_images_without_a_concept_are_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    folder = nus_wide(tmp_path / "nus")
    table = data.load(str(folder), empty="drop")
    assert table.labels.max(1).tolist() == [1, 1, 1]
    assert "2 images without any concept left out, as asked" in table.notes
    with pytest.raises(OptionError, match="unknown value of empty 'no'"):
        data.load(str(folder), empty="no")


def test_conflicting_copies_in_nus_wide_are_one_image_with_unknown_labels(tmp_path: Path) -> None:
    folder = nus_wide(tmp_path / "nus")
    write(folder / "ImageList/TrainImagelist.txt", "a\\1.jpg\na\\2.jpg\na\\1.jpg\n")
    table = data.load(str(folder))
    assert list(table.items[:2]) == ["Flickr/a/1.jpg", "Flickr/a/2.jpg"]
    assert table.labels[:2].tolist() == [[1, -1], [0, 0]]
    assert any("labels that disagree" in note for note in table.notes)
    write(folder / "ImageList/TestImagelist.txt", "a\\1.jpg\nz\\9.jpg\n")
    refused(folder, "stands in the train list and in the test list")


def test_nus_wide_stays_packed(tmp_path: Path) -> None:
    folder = nus_wide(tmp_path / "nus")
    table, packed = data.load(str(folder)), data.load(str(zipped(folder, "NUS-WIDE/")))
    assert packed.labels.tolist() == table.labels.tolist()
    assert packed.items[0] == f"nus.zip/NUS-WIDE/{table.items[0]}"
    assert is_grey(packed, 0, 9)


BAD_NUS: dict[str, tuple[str, str | bytes, str]] = {
    "too few values": ("Groundtruth/TrainTestLabels/Labels_lake_Test.txt", "1\n", "1 values for the 2 images"),
    "no values": ("Groundtruth/TrainTestLabels/Labels_lake_Test.txt", "", "0 values for the 2 images"),
    "a concept without a file": ("ConceptsList/Concepts81.txt", "animal\nmoon\n", "Labels_moon_Train.txt: no such"),
    "an empty list": ("ImageList/TestImagelist.txt", "\n", "TestImagelist.txt: the file is empty"),
    "another encoding": ("ImageList/TestImagelist.txt", b"caf\xe9.jpg\nb.jpg\n", "byte 3 is not UTF-8"),
    "a long line": ("ImageList/TestImagelist.txt", "a" * (1 << 21), "2,097,152 characters: not a list"),
    "a name that leads out": ("ImageList/TestImagelist.txt", "..\\..\\..\\etc\\x.jpg\nb.jpg\n", "leads out of"),
    "a concept twice": ("ConceptsList/Concepts81.txt", "lake\nlake\n", "class names stand twice: lake"),
}


@pytest.mark.parametrize("case", BAD_NUS)
def test_a_bad_nus_wide_is_named(tmp_path: Path, case: str) -> None:
    file, content, message = BAD_NUS[case]
    folder = nus_wide(tmp_path / "nus")
    write(folder / file, content)
    refused(folder, message)


def test_nus_wide_reads_over_a_byte_order_mark(tmp_path: Path) -> None:
    folder = nus_wide(tmp_path / "nus")
    before = data.load(str(folder))
    for file in ("ImageList/TrainImagelist.txt", "Groundtruth/TrainTestLabels/Labels_lake_Train.txt"):
        write(folder / file, b"\xef\xbb\xbf" + (folder / file).read_bytes())
    assert data.load(str(folder)).fingerprint() == before.fingerprint()


# --- CUB ---------------------------------------------------------------------------------------------------

BIRDS = ("001.Auk/Auk 1,a.jpg", "002.Owl/Owl_2.jpg", "001.Auk/Auk_3.jpg")
# For each image and attribute: present, certainty.
SEEN = [[(1, 4), (0, 1), (1, 2)], [(0, 3), (1, 3), (0, 4)], [(1, 1), (0, 2), (1, 4)]]


def cub(folder: Path) -> Path:
    """CUB's archive, unpacked, with 3 images, 2 species and 3 attributes."""
    top = folder / "CUB_200_2011"
    write(top / "images.txt", "".join(f"{number} {name}\n" for number, name in enumerate(BIRDS, 1)))
    write(top / "classes.txt", "1 001.Auk\n2 002.Owl\n")
    write(top / "image_class_labels.txt", "1 1\n2 2\n3 1\n")
    write(top / "train_test_split.txt", "1 1\n2 0\n3 1\n")
    write(top / "bounding_boxes.txt", "1 1.0 2.0 3.6 4.0\n2 0.0 0.0 8.0 6.0\n3 1.0 1.0 2.0 2.0\n")
    lines = [
        f"{image} {attribute} {present} {certain} 1.5"
        for image, row in enumerate(SEEN, 1)
        for attribute, (present, certain) in enumerate(row, 1)
    ]
    lines[4] = lines[4].replace(" 1.5", " 0 1.509 2")  # seven fields, as in some of the owners' lines
    write(top / "attributes/image_attribute_labels.txt", "\n".join(lines) + "\n")
    write(folder / "attributes.txt", "1 has_bill::curved_(up_or_down)\n2 has_wing::red\n3 has_wing::blue\n")
    for level, name in enumerate(BIRDS):
        photo(top / "images" / name, level)
    return folder


def test_cub_attributes_follow_the_certainty(tmp_path: Path) -> None:
    folder = cub(tmp_path / "cub")
    table = data.load(str(folder))
    assert table.source.startswith("cub:")
    assert list(table.names) == ["has_bill::curved_(up_or_down)", "has_wing::red", "has_wing::blue"]
    assert list(table.items) == [f"CUB_200_2011/images/{name}" for name in BIRDS]
    assert table.split.tolist() == ["train", "test", "train"]
    assert table.columns["species"].tolist() == ["001.Auk", "002.Owl", "001.Auk"]
    assert is_grey(table, 2, 2)
    for least, word in enumerate(("not-visible", "guessing", "probably", "definitely"), start=1):
        expected = [[present if certain >= least else -1 for present, certain in row] for row in SEEN]
        assert data.load(str(folder), certainty=word).labels.tolist() == expected
    assert table.labels.tolist() == data.load(str(folder), certainty="guessing").labels.tolist()


def test_cub_species_and_boxes(tmp_path: Path) -> None:
    folder = cub(tmp_path / "cub")
    table = data.load(str(folder), labels="species", crop="box")
    assert list(table.names) == ["001.Auk", "002.Owl"]
    assert table.labels.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert table.items[0] == "CUB_200_2011/images/001.Auk/Auk 1,a.jpg#xywh=1,2,4,4"
    image = decode(table.image(0), (4, 4))
    assert not isinstance(image, str)
    assert image.size == (4, 4)


def test_cub_by_its_own_folder_and_packed(tmp_path: Path) -> None:
    folder = cub(tmp_path / "cub")
    table, packed = data.load(str(folder)), data.load(str(zipped(folder)))
    assert packed.labels.tolist() == table.labels.tolist()
    assert is_grey(packed, 1, 1)
    top = folder / "CUB_200_2011"
    refused(top, "no attributes.txt in it: the archive has it beside CUB_200_2011")
    assert data.load(str(top), labels="species").items[0] == "images/001.Auk/Auk 1,a.jpg"
    shutil.move(folder / "attributes.txt", top / "attributes")
    assert data.load(str(top)).labels.tolist() == table.labels.tolist()


def test_a_part_of_cub_reads_with_a_note(tmp_path: Path) -> None:
    folder = cub(tmp_path / "cub")
    change(folder / "CUB_200_2011/images.txt", "2 002.Owl/Owl_2.jpg\n", "")
    table = data.load(str(folder))
    assert table.labels.tolist() == [[1, -1, 1], [-1, 0, 1]]
    assert "2 of 5,994 train images (5,992 missing)" in table.notes[0]


ATTRIBUTE_LINES = "CUB_200_2011/attributes/image_attribute_labels.txt"
BAD_CUB: dict[str, tuple[str, str, str, str]] = {
    "a cut file": (ATTRIBUTE_LINES, "3 3 1 4 1.5\n", "", "image 3, attribute 3 has 0 lines in place of 1: truncated"),
    "a line twice": (ATTRIBUTE_LINES, "3 3 1 4 1.5\n", "3 2 1 4 1.5\n", "image 3, attribute 2 has 2 lines"),
    "a certainty of 5": (ATTRIBUTE_LINES, "3 3 1 4", "3 3 1 5", "row 9: 3 1 5 is not an attribute"),
    "a cut line": (ATTRIBUTE_LINES, "3 3 1 4 1.5\n", "3 3", "line 9: not 4 whole numbers"),
    "a word for a number": (ATTRIBUTE_LINES, "3 3 1 4", "3 three 1 4", "line 9: not 4 whole numbers"),
    "an unknown attribute": (ATTRIBUTE_LINES, "3 3 1 4", "3 33 1 4", "row 9: 33 1 4 is not an attribute"),
    "an image twice": ("CUB_200_2011/images.txt", "2 002", "1 002", "images.txt line 2: '1' stands twice"),
    "no number": ("CUB_200_2011/images.txt", "2 002", "two 002", "images.txt line 2: 'two' is no number"),
    "no species of an image": (
        "CUB_200_2011/image_class_labels.txt",
        "3 1\n",
        "",
        "image 3 .001.Auk/Auk_3.jpg. is not",
    ),
    "an unknown species": ("CUB_200_2011/image_class_labels.txt", "3 1\n", "3 7\n", "7 is none of the 2 values"),
    "a part twice": ("CUB_200_2011/train_test_split.txt", "3 1\n", "3 1\n3 0\n", "an image stands twice"),
    "a box of words": ("CUB_200_2011/bounding_boxes.txt", "3.6", "wide", "line 1: '1.0 2.0 wide 4.0' are not numbers"),
    "an endless box": ("CUB_200_2011/bounding_boxes.txt", "3.6", "nan", "line 1: '1.0 2.0 nan 4.0' are not numbers"),
    "no box": ("CUB_200_2011/bounding_boxes.txt", "3 1.0 1.0 2.0 2.0\n", "", "image 3 has no box"),
    "a path that leads out": ("CUB_200_2011/images.txt", "001.Auk/Auk_3", "../../../../x", "leads out of"),
    "no path": ("CUB_200_2011/images.txt", "3 001.Auk/Auk_3.jpg", "3", "line 3: 1 fields in place of 2"),
}


@pytest.mark.parametrize("case", BAD_CUB)
def test_a_bad_cub_is_named(tmp_path: Path, case: str) -> None:
    file, old, new, message = BAD_CUB[case]
    folder = cub(tmp_path / "cub")
    change(folder / file, old, new)
    refused(folder, message, crop="box")


def test_empty_and_binary_files_of_cub_are_named(tmp_path: Path) -> None:
    folder = cub(tmp_path / "cub")
    write(folder / ATTRIBUTE_LINES, "")
    refused(folder, "image_attribute_labels.txt: the file is empty")
    write(folder / ATTRIBUTE_LINES, b"\xff\xfe1\x00 \x00")
    refused(folder, "image_attribute_labels.txt")
    with pytest.raises(OptionError, match="unknown value of certainty 'guess'"):
        data.load(str(folder), certainty="guess")


# --- DeepFashion -------------------------------------------------------------------------------------------

CLOTHES = ("img/Maxi_Dress/img_1.jpg", "img/Tee/img_1.jpg", "img/Tee/img_2.jpg")
WORN = [[1, -1, 0], [-1, 1, -1], [0, 0, 1]]
MEANING = {1: 1, -1: 0, 0: -1}


def listed(header: str, rows: Iterable[str]) -> str:
    """A list of theirs: the number of rows, what they hold, the rows."""
    rows = list(rows)
    return "\n".join([str(len(rows)), header, *rows]) + "\n"


def deepfashion(folder: Path, annotations: str = "Anno_coarse") -> Path:
    """DeepFashion's layout with 3 attributes and 3 images, one for each part."""
    own = folder / annotations
    names = ["abstract chevron print      1", "a-line   3", "striped 1"]
    write(own / "list_attr_cloth.txt", listed("attribute_name  attribute_type", names))
    rows = [f"{name}     " + "  ".join(map(str, row)) for name, row in zip(CLOTHES, WORN, strict=True)]
    write(own / "list_attr_img.txt", listed("image_name  attribute_labels", rows))
    write(own / "list_category_cloth.txt", listed("category_name category_type", ["Tee  1", "Maxi Dress  3"]))
    kinds = zip(CLOTHES, (2, 1, 1), strict=True)
    write(own / "list_category_img.txt", listed("image_name  category_label", (f"{a} {b}" for a, b in kinds)))
    write(own / "list_bbox.txt", listed("image_name x_1 y_1 x_2 y_2", (f"{name}  1 2 5 6" for name in CLOTHES)))
    parts = zip(CLOTHES, ("train", "val", "test"), strict=True)
    write(folder / "Eval/list_eval_partition.txt", listed("image_name  status", (f"{a}  {b}" for a, b in parts)))
    for level, name in enumerate(CLOTHES):
        photo(folder / "Img" / name, level)
    return folder


@pytest.mark.parametrize("annotations", ["Anno_coarse", "Anno", "Anno_fine"])
def test_deepfashion_is_read(tmp_path: Path, annotations: str) -> None:
    table = data.load(str(deepfashion(tmp_path / "df", annotations)))
    assert table.source.startswith("deepfashion:")
    assert list(table.names) == ["abstract chevron print", "a-line", "striped"]
    assert table.labels.tolist() == [[MEANING[value] for value in row] for row in WORN]
    assert table.split.tolist() == ["train", "val", "test"]
    assert list(table.items) == [f"Img/{name}" for name in CLOTHES]
    assert table.columns["category"].tolist() == ["Maxi Dress", "Tee", "Tee"]
    total = "26" if annotations == "Anno_fine" else "1,000"
    assert f"3 of {total} attributes" in table.notes[0]
    assert is_grey(table, 2, 2)


def test_deepfashion_boxes_are_corners(tmp_path: Path) -> None:
    table = data.load(str(deepfashion(tmp_path / "df")), crop="box")
    assert table.items[0] == f"Img/{CLOTHES[0]}#xywh=1,2,4,4"


def test_deepfashion_coarse_before_fine_and_packed(tmp_path: Path) -> None:
    folder = deepfashion(deepfashion(tmp_path / "df", "Anno_fine"), "Anno_coarse")
    change(folder / "Anno_fine/list_attr_cloth.txt", "striped", "plain")
    assert data.load(str(folder)).names[2] == "striped"
    assert data.load(str(folder), labels="fine").names[2] == "plain"
    packed = data.load(str(zipped(folder)), labels="coarse")
    assert packed.labels.tolist() == data.load(str(folder)).labels.tolist()
    assert is_grey(packed, 1, 1)
    shutil.rmtree(folder / "Anno_fine")
    refused(folder, "no Anno_fine/list_attr_cloth.txt", labels="fine")


def test_deepfashion_fine_lists_of_parts(tmp_path: Path) -> None:
    folder = deepfashion(tmp_path / "df", "Anno_fine")
    (folder / "Anno_fine/list_attr_img.txt").unlink()
    for part, names, rows in (("train", CLOTHES[:2], "1 0 0 \n0 1 1 \n"), ("test", CLOTHES[2:], "0 0 1 \n")):
        write(folder / f"Anno_fine/{part}.txt", "\n".join(names) + "\n")
        write(folder / f"Anno_fine/{part}_attr.txt", rows)
    table = data.load(str(folder))
    assert table.labels.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert table.split.tolist() == ["train", "train", "test"]
    write(folder / "Anno_fine/train_attr.txt", "1 0 0\n")
    refused(folder, r"train_attr.txt: 1 rows for the 2 images of train.txt")


def test_deepfashion_images_in_no_part_are_left_out(tmp_path: Path) -> None:
    folder = deepfashion(tmp_path / "df")
    write(folder / "Eval/list_eval_partition.txt", listed("image_name status", [f"{CLOTHES[1]} train"]))
    table = data.load(str(folder))
    assert list(table.items) == [f"Img/{CLOTHES[1]}"]
    assert any("2 images are in no part and left out" in note for note in table.notes)


BAD_FASHION: dict[str, tuple[str, str, str, str]] = {
    "rows missing": ("list_attr_img.txt", "3\n", "4\n", "3 rows where its first line says 4: truncated"),
    "no count": ("list_attr_img.txt", "3\nimage_name", "image_name", "line 1: .* is not a number of rows"),
    "too many values": ("list_attr_img.txt", "-1  0\n", "-1  0 1\n", "line 3: 4 values for 3 attributes"),
    "values together": ("list_attr_img.txt", "-1  0\n", "-10\n", "line 3: 2 values for 3 attributes"),
    "a value of two": ("list_attr_img.txt", "-1  0\n", "2  0\n", "line 3: a value is not 1, 0 or -1"),
    "a word": ("list_attr_img.txt", "-1  0\n", "no  0\n", "line 3: a value is not 1, 0 or -1"),
    "an image twice": ("list_attr_img.txt", "Tee/img_2", "Tee/img_1", "'img/Tee/img_1.jpg' stands twice"),
    "no type": ("list_attr_cloth.txt", "a-line   3", "a-line cut", "this is another of DeepFashion's benchmarks"),
    "an unknown category": ("list_category_img.txt", "img_2.jpg 1", "img_2.jpg 3", "has category 3, of 2"),
    "a box inside out": ("list_bbox.txt", "Tee/img_2.jpg  1 2 5", "Tee/img_2.jpg  9 2 5", "ends before it begins"),
    "no box": ("list_bbox.txt", "Tee/img_2", "Tee/img_9", "'img/Tee/img_2.jpg' has no box"),
    "an unknown part": ("../Eval/list_eval_partition.txt", "val", "dev", "is in 'dev', not in train, val or test"),
    "a path that leads out": ("list_attr_img.txt", "img/Tee/img_1", "../../../x", "leads out of"),
}


@pytest.mark.parametrize("case", BAD_FASHION)
def test_a_bad_deepfashion_is_named(tmp_path: Path, case: str) -> None:
    file, old, new, message = BAD_FASHION[case]
    folder = deepfashion(tmp_path / "df")
    change(folder / "Anno_coarse" / file, old, new)
    if case == "a path that leads out":
        change(folder / "Eval/list_eval_partition.txt", old, new)
        change(folder / "Anno_coarse/list_bbox.txt", old, new)
    refused(folder, message, crop="box")


def test_deepfashion_in_another_encoding_and_empty(tmp_path: Path) -> None:
    folder = deepfashion(tmp_path / "df")
    write(folder / "Anno_coarse/list_attr_cloth.txt", b"1\nname type\ncaf\xe9 1\n")
    refused(folder, "list_attr_cloth.txt line 3: not UTF-8")
    write(folder / "Anno_coarse/list_attr_cloth.txt", "")
    refused(folder, "line 1: '' is not a number of rows")


# --- CIFAR -------------------------------------------------------------------------------------------------


def records(*labels: tuple[int, ...]) -> bytes:
    """Records with these labels; the red of each is 10 for every row, its green 100, its blue 200."""
    pixels = [np.full(1024, level, np.uint8).tobytes() for level in (100, 200)]
    return b"".join(
        bytes(codes) + np.full(1024, 10 * row, np.uint8).tobytes() + b"".join(pixels)
        for row, codes in enumerate(labels)
    )


def cifar_10(folder: Path) -> Path:
    """The binary version with 5 images."""
    write(folder / "batches.meta.txt", "cat\ndog\nowl\n\n")
    write(folder / "data_batch_1.bin", records((2,), (0,)))
    write(folder / "data_batch_2.bin", records((1,)))
    write(folder / "test_batch.bin", records((0,), (2,)))
    return folder


def cifar_100(folder: Path) -> Path:
    """The binary version with 3 images."""
    write(folder / "coarse_label_names.txt", "pets\nbirds\n")
    write(folder / "fine_label_names.txt", "cat\ndog\nowl\n")
    write(folder / "train.bin", records((0, 1), (1, 2)))
    write(folder / "test.bin", records((0, 0)))
    return folder


@pytest.mark.parametrize("top", ["", "cifar-10-batches-bin"])
def test_cifar_10_is_read_record_by_record(tmp_path: Path, top: str) -> None:
    cifar_10(tmp_path / "c" / top)
    table = data.load(str(tmp_path / "c"))
    assert table.source.startswith("cifar:")
    assert list(table.names) == ["cat", "dog", "owl"]
    assert table.labels.argmax(1).tolist() == [2, 0, 1, 0, 2]
    assert table.labels.sum(1).tolist() == [1] * 5
    assert table.labels.min() == 0
    assert table.split.tolist() == ["train"] * 3 + ["test"] * 2
    assert [item.removeprefix(f"{top}/") for item in table.items[1:3]] == ["data_batch_1.bin/1", "data_batch_2.bin/0"]
    image = decode(table.image(1), (32, 32))
    assert not isinstance(image, str)
    assert image.getpixel((5, 5)) == (10, 100, 200)


def test_cifar_100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    folder = cifar_100(tmp_path / "cifar-100-binary")
    fine, coarse = data.load(str(folder)), data.load(str(folder), labels="coarse")
    assert (list(fine.names), fine.labels.argmax(1).tolist()) == (["cat", "dog", "owl"], [1, 2, 0])
    assert (list(coarse.names), coarse.labels.argmax(1).tolist()) == (["pets", "birds"], [0, 1, 0])
    assert fine.columns["coarse"].tolist() == ["pets", "birds", "pets"]
    with pytest.raises(OptionError, match="CIFAR-10 has one kind of labels"):
        data.load(str(cifar_10(tmp_path / "ten")), labels="coarse")


def test_the_pickled_version_of_cifar_is_refused_and_the_other_named(tmp_path: Path) -> None:
    for file in ("data_batch_1", "batches.meta"):
        write(tmp_path / "py/cifar-10-batches-py" / file, b"cos\nsystem\n(S'touch ran'\ntR.")
    for file in ("train", "test", "meta"):
        write(tmp_path / "hundred" / file, b"\x80\x02")
    for folder in ("py", "hundred"):
        refused(tmp_path / folder, "fetch the binary version .cifar-10-binary.tar.gz or cifar-100-binary.tar.gz.")


BAD_CIFAR: dict[str, tuple[str, bytes, str]] = {
    "a cut file": ("test_batch.bin", records((0,))[:-5], "3,068 bytes are not records of 3,073"),
    "an empty file": ("test_batch.bin", b"", "0 bytes are not records"),
    "too few names": ("batches.meta.txt", b"cat\ndog\n", "2 names, but a record has class 2"),
    "names in another encoding": ("batches.meta.txt", b"caf\xe9\n", "byte 3 is not UTF-8"),
    "a name twice": ("batches.meta.txt", b"cat\ncat\nowl\n", "class names stand twice: cat"),
}


@pytest.mark.parametrize("case", BAD_CIFAR)
def test_a_bad_cifar_is_named(tmp_path: Path, case: str) -> None:
    file, content, message = BAD_CIFAR[case]
    write(cifar_10(tmp_path / "c") / file, content)
    refused(tmp_path / "c", message)


def test_cifar_is_read_from_its_folder_only(tmp_path: Path) -> None:
    packed = zipped(cifar_10(tmp_path / "c"))
    refused(f"cifar:{packed}", "images are records of its files, so it is read from its folder: unpack it")
    (tmp_path / "e").mkdir()
    refused(f"cifar:{tmp_path / 'e'}", "no batches.meta.txt or fine_label_names.txt")
    write(tmp_path / "e/batches.meta.txt", "cat\n")
    refused(tmp_path / "e", "none of data_batch_1.bin, ")
    assert cifar.recognises(tmp_path / "c")
    assert not cifar.recognises(tmp_path)


# --- Tiny ImageNet -----------------------------------------------------------------------------------------


def tiny_imagenet(folder: Path) -> Path:
    """Its layout with 3 classes, two of which share their first word."""
    write(folder / "wnids.txt", "n03\nn01\nn02\n")
    write(folder / "words.txt", "n00\tentity\nn01\tcrane\nn02\tgoldfish, Carassius auratus\nn03\tcrane, machine\n")
    for place, name in enumerate(("n01", "n02", "n03")):
        photo(folder / f"train/{name}/images/{name}_0.JPEG", place)
        write(folder / f"train/{name}/{name}_boxes.txt", f"{name}_0.JPEG\t0\t0\t5\t5\n")
    write(folder / "val/val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t5\t5\nval_1.JPEG\tn01\t0\t0\t5\t5\n")
    for number in range(2):
        photo(folder / f"val/images/val_{number}.JPEG", 9)
        photo(folder / f"test/images/test_{number}.JPEG", 8)
    return folder


def test_tiny_imagenet_is_read(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    table = data.load(str(folder))
    assert table.source.startswith("tiny-imagenet:")
    assert list(table.names) == ["crane (n01)", "goldfish", "crane (n03)"]
    assert table.labels.argmax(1).tolist() == [0, 1, 2, 1, 0]
    assert table.labels.sum(1).tolist() == [1] * 5
    assert table.split.tolist() == ["train"] * 3 + ["val"] * 2
    assert table.columns["wnid"].tolist() == ["n01", "n02", "n03", "n02", "n01"]
    assert table.items[3] == "val/images/val_0.JPEG"
    assert any("2 test images have no labels" in note for note in table.notes)
    assert data.load(str(folder), val="test").split.tolist() == ["train"] * 3 + ["test"] * 2
    assert list(data.load(str(folder), names="wnid").names) == ["n01", "n02", "n03"]
    packed = data.load(str(zipped(folder, "tiny-imagenet-200/")))
    assert packed.labels.tolist() == table.labels.tolist()
    assert is_grey(packed, 3, 9)


def test_tiny_imagenet_with_val_sorted_into_classes(tmp_path: Path) -> None:
    folder = tiny_imagenet(tmp_path / "t")
    shutil.rmtree(folder / "val")
    photo(folder / "val/n02/images/val_0.JPEG")
    photo(folder / "val/n01/val_1.JPEG")
    (folder / "words.txt").unlink()
    table = data.load(str(folder))
    assert dict(zip(table.items, table.columns["wnid"], strict=True))["val/n02/images/val_0.JPEG"] == "n02"
    assert dict(zip(table.items, table.columns["wnid"], strict=True))["val/n01/val_1.JPEG"] == "n01"
    assert list(table.names) == ["n01", "n02", "n03"]


BAD_TINY: dict[str, tuple[str, str, str]] = {
    "an unknown class": ("val/val_annotations.txt", "val_0.JPEG\tn99\t0\t0\t5\t5\n", "'n99' is none of its 3 classes"),
    "no class": ("val/val_annotations.txt", "val_0.JPEG\n", "line 1: no class after the image"),
    "an image twice": ("val/val_annotations.txt", "a.JPEG\tn01\na.JPEG\tn02\n", "line 2: 'a.JPEG' stands twice"),
    "no classes": ("wnids.txt", "\n", "wnids.txt: the file is empty"),
    "a class that is not listed": ("wnids.txt", "n01\nn02\n", "'n03' is none of its 2 classes"),
    "a path that leads out": ("val/val_annotations.txt", "../../../a.JPEG\tn01\n", "leads out of"),
}


@pytest.mark.parametrize("case", BAD_TINY)
def test_a_bad_tiny_imagenet_is_named(tmp_path: Path, case: str) -> None:
    file, content, message = BAD_TINY[case]
    write(tiny_imagenet(tmp_path / "t") / file, content)
    refused(tmp_path / "t", message)


# --- folders of images, packed -----------------------------------------------------------------------------


def image_folder(folder: Path) -> Path:
    """Two classes in two parts."""
    for level, name in enumerate(("train/cat/1.jpg", "train/dog/deep/2.jpg", "test/dog/3 b.jpg")):
        photo(folder / name, level)
    return folder


@pytest.mark.parametrize("top", ["", "photos/"])
def test_a_folder_of_images_stays_packed(tmp_path: Path, top: str) -> None:
    folder = image_folder(tmp_path / "f")
    table, packed = data.load(str(folder)), data.load(str(zipped(folder, top)))
    assert packed.source.startswith("folder:")
    assert list(packed.items) == [f"f.zip/{top}{item}" for item in table.items]
    assert (list(packed.names), packed.labels.tolist()) == (["cat", "dog"], [[0, 1], [1, 0], [0, 1]])
    assert packed.split.tolist() == ["test", "train", "train"]
    assert is_grey(packed, 0, 2)
    tarred = shard(tmp_path / "g.tar", [(f"{top}{name}", png(5)) for name in table.items])
    assert data.load(str(tarred)).labels.tolist() == table.labels.tolist()


def test_folders_called_train_test_and_meta_are_no_pickles(tmp_path: Path) -> None:
    image_folder(tmp_path / "f")
    (tmp_path / "f/meta").mkdir()
    assert not cifar.recognises(tmp_path / "f")


def test_class_folders_without_parts_and_an_empty_class(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "cat-a/1.jpg", "dog/._1.jpg"):
        photo(tmp_path / "f" / name)
    table = data.load(str(tmp_path / "f"))
    assert list(table.names) == ["cat", "cat-a", "dog"]
    assert list(table.items) == ["cat/1.jpg", "cat-a/1.jpg"]
    assert set(table.split) == {"train"}


def test_damaged_and_compressed_archives_of_images_are_named(tmp_path: Path) -> None:
    packed = zipped(image_folder(tmp_path / "f"))
    packed.write_bytes(packed.read_bytes()[:-30])
    refused(packed, "f.zip is not a readable zip")
    refused(f"folder:{write(tmp_path / 'f.tar.gz', b'x')}", "compressed as a whole")
    escaping = shard(tmp_path / "e.tar", [("cat/../../1.jpg", png(1))])
    refused(escaping, "leads out of it")
    shard(tmp_path / "n.tar", [("1.jpg", png(1))])
    refused(f"folder:{tmp_path / 'n.tar'}", "no image in any class folder")


def test_the_real_photos_of_cifar_load_packed(data_folder: Path) -> None:
    table = data.load(str(data_folder / "cifar10.zip"))
    assert len(table) == 60_000
    assert table.labels.sum(0).tolist() == [6_000] * 10
    assert [len(table.part(part)) for part in ("train", "val", "test")] == [50_000, 0, 10_000]
    first = table.items.index("cifar10.zip/train/truck/0000.jpg")
    assert table.labels[first].argmax() == table.names.index("truck")
    assert not isinstance(decode(table.image(first), (32, 32)), str)


# --- WebDataset --------------------------------------------------------------------------------------------


def as_json(value: object) -> bytes:
    """JSON, in bytes."""
    return json.dumps(value).encode()


def test_shards_with_tags_in_json(tmp_path: Path) -> None:
    shard(
        tmp_path / "s/train-000.tar",
        [
            ("a/1.jpg", png(1)), ("a/1.json", as_json({"labels": ["owl", "cat"], "url": "x"})), ("a/1.pyd", b"\x80"),
            ("./b 2.v1.png", png(2)), ("./b 2.json", as_json({"labels": []})),
            ("__key__", b""), ("lonely.json", as_json({"labels": ["dog"]})), ("bare.jpg", png(3)),
        ],
    )  # fmt: skip
    shard(tmp_path / "s/val/000.tar", [("a/1.json", as_json({"labels": ["dog"]})), ("a/1.webp", png(4))])
    table = data.load(str(tmp_path / "s"))
    assert table.source.startswith("webdataset:")
    assert list(table.items) == ["train-000.tar/a/1.jpg", "train-000.tar/b 2.v1.png", "val/000.tar/a/1.webp"]
    assert list(table.names) == ["cat", "dog", "owl"]
    assert table.labels.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert table.split.tolist() == ["train", "train", "val"]
    assert [is_grey(table, row, level) for row, level in enumerate((1, 2, 4))] == [True] * 3
    assert any("1 sample has no image: left out (lonely)" in note for note in table.notes)
    assert any("1 image has no .json: left out (bare)" in note for note in table.notes)
    unknown = data.load(str(tmp_path / "s"), unlisted="unknown")
    assert unknown.labels.tolist() == [[1, -1, 1], [-1, -1, -1], [-1, 1, -1]]


JSONS: dict[str, tuple[list[object], dict[str, str], list[str], list[list[int]]]] = {
    "values by name": (
        [{"tags": {"cat": 1, "dog": None}}, {"tags": {"dog": False, "owl": -1}}],
        {},
        ["cat", "dog", "owl"],
        [[1, -1, -1], [-1, 0, -1]],
    ),
    "one name": ([{"label": "cat"}, {"label": "dog"}], {}, ["cat", "dog"], [[1, 0], [0, 1]]),
    "one number": ([{"label": 2}, {"label": -1}], {}, ["0", "1", "2"], [[0, 0, 1], [-1, -1, -1]]),
    "numbers of classes": ([{"labels": [0, 2]}, {"labels": [1]}], {}, ["0", "1", "2"], [[1, 0, 1], [0, 1, 0]]),
    "true and false": ([{"labels": [True, False]}, {"labels": [False, None]}], {"coding": "vector"}, ["0", "1"],
                       [[1, 0], [0, -1]]),
    "a vector": ([{"labels": [0, 1, -1]}, {"labels": [1, 0, 0]}], {"coding": "vector"}, ["0", "1", "2"],
                 [[0, 1, -1], [1, 0, 0]]),
    "a field by name": ([{"labels": 7, "what": ["x"]}, {"what": []}], {"field": "what"}, ["x"], [[1], [0]]),
    "null": ([{"labels": None}, {"labels": ["x"]}], {}, ["x"], [[-1], [1]]),
}  # fmt: skip


@pytest.mark.parametrize("case", JSONS)
def test_what_json_may_hold(tmp_path: Path, case: str) -> None:
    documents, options, names, labels = JSONS[case]
    members = [
        pair
        for number, document in enumerate(documents)
        for pair in ((f"{number}.jpg", png(number)), (f"{number}.json", as_json(document)))
    ]
    table = data.load(str(shard(tmp_path / "s.tar", members)), **options)
    assert (list(table.names), table.labels.tolist()) == (names, labels)


def test_shards_with_numbers_of_classes_and_with_tags(tmp_path: Path) -> None:
    shard(tmp_path / "c/0.tar", [("1.jpg", png(1)), ("1.cls", b"1\n"), ("2.jpg", png(2)), ("2.cls", b"0")])
    assert data.load(str(tmp_path / "c")).labels.tolist() == [[0, 1], [1, 0]]
    write(tmp_path / "c/classes.txt", "cat\ndog\nowl\n")
    table = data.load(str(tmp_path / "c"))
    assert (list(table.names), table.labels.tolist()) == (["cat", "dog", "owl"], [[0, 1, 0], [1, 0, 0]])
    write(tmp_path / "c/classes.txt", "cat\n")
    refused(tmp_path / "c", "class 1, from 0, but its list of classes has 1")
    tags = shard(tmp_path / "t.tar", [("1.jpg", png(1)), ("1.txt", "caf\u00e9, red hat\n".encode()), ("2.jpg", png(1)),
                                      ("2.TXT", b"")])  # fmt: skip
    refused(tags, "no known format")
    table = data.load(f"webdataset:{tags}")
    assert (list(table.names), table.labels.tolist()) == (["caf\u00e9", "red hat"], [[1, 1], [0, 0]])


def test_braces_stand_for_several_shards(tmp_path: Path) -> None:
    for number in (8, 9, 10):
        shard(tmp_path / f"s-{number:02d}.tar", [("1.jpg", png(number)), ("1.cls", str(number - 8).encode())])
    table = data.load(f"webdataset:{tmp_path}/s-{{08..10}}.tar")
    assert list(table.items) == ["s-08.tar/1.jpg", "s-09.tar/1.jpg", "s-10.tar/1.jpg"]
    assert table.labels.argmax(1).tolist() == [0, 1, 2]
    refused(f"webdataset:{tmp_path}/s-{{08..12}}.tar", r"2 of 5 shards are not there: s-11.tar, s-12.tar")
    refused(f"webdataset:{tmp_path}/s-{{9..8}}.tar", "no range of shards")
    refused(f"webdataset:{tmp_path}/s-{{0..999999999}}.tar", "no range of shards")
    refused(f"webdataset:{tmp_path}/{{0..9999}}{{0..9999}}.tar", "more than 100,000 shards")
    refused("webdataset:pipe:touch ran", "no such|expected a .tar")
    assert webdataset.expand("a.tar") == ["a.tar"]


@pytest.mark.parametrize(
    ("pattern", "library"), [("{a,b}-{09..11}.tar", True), ("x{0..2}{c,d}.tar", True), ("plain.tar", True)]
)
def test_braces_mean_what_the_library_takes_them_for(pattern: str, library: bool) -> None:
    braceexpand = pytest.importorskip("braceexpand").braceexpand
    assert (webdataset.expand(pattern) == list(braceexpand(pattern))) is library


def test_keys_are_those_of_the_library(tmp_path: Path) -> None:
    library = pytest.importorskip("webdataset.tariterators")
    names = ["a.jpg", "d.1/a.seg.png", "my.photo.jpg", "d.v2/a", "e/f.JPG", "e/f.json"]
    found = {library.base_plus_ext(name) for name in names} - {(None, None)}
    path = shard(tmp_path / "s.tar", [(name, b"x") for name in names])
    ours = {(one.key, field) for one in webdataset._samples(path) for field in one.files}
    assert ours == {(key, field.lower()) for key, field in found}


def test_shards_that_the_library_wrote(tmp_path: Path) -> None:
    library = pytest.importorskip("webdataset")
    with library.TarWriter(str(tmp_path / "s.tar")) as writer:
        for number, tags in enumerate((["owl"], ["cat", "owl"])):
            writer.write({"__key__": f"a/{number:03d}", "png": png(number), "json": {"labels": tags}, "cls": number})
    table = data.load(str(tmp_path / "s.tar"))
    assert (list(table.names), table.labels.tolist()) == (["cat", "owl"], [[0, 1], [1, 1]])
    assert table.columns["key"].tolist() == ["a/000", "a/001"]
    assert is_grey(table, 1, 1)
    assert data.load(str(tmp_path / "s.tar"), labels="cls").labels.tolist() == [[1, 0], [0, 1]]


BAD_SHARDS: dict[str, tuple[list[tuple[str, bytes]], str]] = {
    "labels that would run": (
        [("1.jpg", b""), ("1.pyd", b"cos\nsystem\n(S'touch ran'\ntR.")],
        "pickled members are never read",
    ),
    "no labels": ([("1.jpg", b""), ("1.npy", b"")], "its samples have .jpg, .npy"),
    "damaged JSON": ([("1.jpg", b""), ("1.json", b'{"labels": [')], "1.json: not readable as JSON"),
    "no such field": (
        [("1.jpg", b""), ("1.json", b'{"labels": []}'), ("2.jpg", b""), ("2.json", b"{}")],
        "2.json: no field labels, tags",
    ),
    "no number": ([("1.jpg", b""), ("1.cls", b"cat")], "1.cls: 'cat' is not the number of a class"),
    "a huge number": ([("1.jpg", b""), ("1.cls", b"999999999999")], "not numbers of classes"),
    "a huge vector": (
        [("1.jpg", b""), ("1.json", as_json({"labels": [True] * 100_001}))],
        "no more than 100,000 classes",
    ),
    "zeros and ones": ([("1.jpg", b""), ("1.json", b'{"labels": [0, 1, 1]}')], "ask for coding 'vector'"),
    "names and numbers": (
        [("1.jpg", b""), ("1.json", b'{"label": "a"}'), ("2.jpg", b""), ("2.json", b'{"label": 0}')],
        "classes by name .a. and by number .0.",
    ),
    "no such value": ([("1.jpg", b""), ("1.json", b'{"labels": {"cat": 3}}')], "'3' is not 1, 0, -1"),
    "no label at all": ([("1.jpg", b""), ("1.json", b'{"labels": []}')], "no label names any class"),
    "another encoding": ([("1.jpg", b""), ("1.txt", b"caf\xe9")], "1.txt: not UTF-8"),
    "a member that leads out": ([("../1.jpg", b""), ("../1.cls", b"0")], "leads out of it"),
    "an absolute member": ([("/1.jpg", b""), ("/1.cls", b"0")], "leads out of it"),
    "nothing": ([], "no .json with one of"),
}


@pytest.mark.parametrize("documents", [([0, 1], [1, 0]), ([1, 0], None), ([0, 1],)])
def test_lists_that_may_be_vectors_or_classes_are_refused(tmp_path: Path, documents: tuple[object, ...]) -> None:
    members = [
        pair
        for number, one in enumerate(documents)
        for pair in ((f"{number}.jpg", png(number)), (f"{number}.json", as_json({"labels": one})))
    ]
    path = shard(tmp_path / "s.tar", members)
    refused(path, "every list is .0, 1. or .1, 0.: say with coding=indices")
    for coding, meant in (("vector", lambda one: one), ("indices", lambda _: [1, 1])):
        labels = data.load(str(path), coding=coding).labels.tolist()
        assert labels == [[-1, -1] if one is None else meant(one) for one in documents]
    shard(path, [*members, ("x.jpg", png(9)), ("x.json", as_json({"labels": [1]}))])  # a vector has one length
    assert data.load(str(path)).labels.tolist()[-1] == [0, 1]


@pytest.mark.parametrize("case", BAD_SHARDS)
def test_a_bad_shard_is_named(tmp_path: Path, case: str) -> None:
    members, message = BAD_SHARDS[case]
    refused(f"webdataset:{shard(tmp_path / 's.tar', members)}", message)
    assert not (Path.cwd() / "ran").exists()


def test_truncated_and_compressed_shards_are_named(tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar", [("1.jpg", b"x" * 5000), ("1.cls", b"0")])
    path.write_bytes(path.read_bytes()[:700])
    refused(f"webdataset:{path}", "s.tar")
    refused(f"webdataset:{write(tmp_path / 's.tar.gz', b'x')}", "compressed as a whole")
    (tmp_path / "empty").mkdir()
    refused(f"webdataset:{tmp_path / 'empty'}", "no .tar in it")


# --- Hugging Face ------------------------------------------------------------------------------------------

CELLS = {
    "labels": [[0], [1, 2], [], None, [-1, 1], [2]],
    "kind": [0, 1, -1, None, 0, 1],
    "hat": [True, False, None, True, True, False],
    "tags": [["x"], [], ["y", "x"], None, ["y"], ["y"]],
    "score": [1, 0, -1, None, 0, 1],
    "vector": [[1, 0], [0, 1], [-1, 1], None, [0, 0], [1, 1]],
}
EXPECTED = {
    "labels": (["cat", "dog", "owl"], [[1, 0, 0], [0, 1, 1], [0, 0, 0], [-1] * 3, [-1, 1, -1], [0, 0, 1]]),
    "kind": (["a", "b"], [[1, 0], [0, 1], [-1, -1], [-1, -1], [1, 0], [0, 1]]),
    "hat,score": (["hat", "score"], [[1, 1], [0, 0], [-1, -1], [1, -1], [1, 0], [0, 1]]),
    "tags": (["x", "y"], [[1, 0], [0, 0], [1, 1], [-1, -1], [0, 1], [0, 1]]),
}


def hugging_face(columns: Iterable[str] = CELLS, without: Iterable[int] = ()) -> object:
    """A data set in memory with 6 images of different levels."""
    datasets = pytest.importorskip("datasets")
    number = datasets.Value("int64")
    kinds = {
        "labels": datasets.List(datasets.ClassLabel(names=["cat", "dog", "owl"])),
        "kind": datasets.ClassLabel(names=["a", "b"]),
        "hat": datasets.Value("bool"),
        "tags": datasets.List(datasets.Value("string")),
        "score": number,
        "vector": datasets.List(number),
    }
    columns = list(columns)
    features = datasets.Features({"image": datasets.Image(), **{name: kinds[name] for name in columns}})
    images = [None if row in without else {"path": f"{row}.png", "bytes": png(row)} for row in range(6)]
    return datasets.Dataset.from_dict({"image": images, **{name: CELLS[name] for name in columns}}, features=features)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Save a data set as a folder, quietly."""

    def save(dataset: object, name: str = "hf") -> Path:
        pytest.importorskip("datasets").disable_progress_bars()
        dataset.save_to_disk(tmp_path / name)  # type: ignore[attr-defined]
        return tmp_path / name

    return save


@pytest.mark.parametrize("columns", EXPECTED)
def test_a_saved_data_set_is_read(saved: Callable[..., Path], columns: str) -> None:
    table = data.load(str(saved(hugging_face())), labels=columns)
    assert table.source.startswith("hugging-face:")
    assert (list(table.names), table.labels.tolist()) == EXPECTED[columns]
    assert table.items[3] == "data-00000-of-00001.arrow/3/image"
    assert [is_grey(table, row, row) for row in range(6)] == [True] * 6
    assert set(table.split) == {"train"}


def test_a_vector_of_a_saved_data_set(saved: Callable[..., Path]) -> None:
    folder = saved(hugging_face(["vector"]))
    table = data.load(str(folder), labels="vector", coding="vector")
    assert table.labels.tolist() == [[1, 0], [0, 1], [-1, 1], [-1, -1], [0, 0], [1, 1]]
    refused(folder, "no column of classes or of true and false")


def test_the_column_of_labels_is_found(saved: Callable[..., Path]) -> None:
    for name, columns, expected in (("a", ["labels", "kind"], "labels"), ("b", ["kind", "hat"], "kind")):
        table = data.load(str(saved(hugging_face(columns), name)))
        assert (list(table.names), table.labels.tolist()) == EXPECTED[expected]
    table = data.load(str(saved(hugging_face(["hat"]), "c")), unlisted="unknown")
    assert (list(table.names), table.labels.T.tolist()) == (["hat"], [[1, 0, -1, 1, 1, 0]])


def test_the_parts_of_a_saved_data_set(saved: Callable[..., Path]) -> None:
    datasets = pytest.importorskip("datasets")
    one = hugging_face(["kind"])
    table = data.load(str(saved(datasets.DatasetDict({"train": one, "validation": one, "extra": one}))))
    assert table.split.tolist() == ["train"] * 6 + ["val"] * 6
    assert table.items[7] == "validation/data-00000-of-00001.arrow/1/image"
    assert is_grey(table, 7, 1)
    assert any("1 file is of no train, val or test part" in note for note in table.notes)


def test_parquet_files_with_images(tmp_path: Path) -> None:
    pytest.importorskip("datasets").disable_progress_bars()
    for part in ("train", "test"):
        (tmp_path / "pq").mkdir(exist_ok=True)
        hugging_face(["labels"]).to_parquet(tmp_path / f"pq/{part}-00000-of-00001.parquet", batch_size=4)
    table = data.load(str(tmp_path / "pq"))
    assert table.source.startswith("hugging-face:")
    assert (list(table.names), table.labels[6:].tolist()) == EXPECTED["labels"]
    assert table.split.tolist() == ["test"] * 6 + ["train"] * 6
    assert [is_grey(table, row, row % 6) for row in (0, 5, 11)] == [True] * 3


def test_rows_without_an_image_are_left_out(saved: Callable[..., Path]) -> None:
    table = data.load(str(saved(hugging_face(["kind"], without=[1, 4]))))
    assert table.labels.tolist() == [EXPECTED["kind"][1][row] for row in (0, 2, 3, 5)]
    assert is_grey(table, 3, 5)
    assert any("2 rows hold no image: left out" in note for note in table.notes)
    refused(saved(hugging_face(["kind"], without=range(6)), "b"), "holds no image, only paths")


def edited(folder: Path, change_state: Callable[[dict[str, object]], object]) -> Path:
    """The folder with another state.json."""
    state = json.loads((folder / "state.json").read_text())
    change_state(state)
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def test_a_damaged_saved_data_set_is_named(saved: Callable[..., Path], tmp_path: Path) -> None:
    folder = saved(hugging_face(["kind"]))
    arrow = folder / "data-00000-of-00001.arrow"
    refused(folder, "no column of images 'photo': it has image", image="photo")
    refused(folder, "no column of labels 'hat': it has image, kind", labels="hat")
    whole = arrow.read_bytes()
    arrow.write_bytes(whole[: len(whole) // 2])
    refused(folder, "data-00000-of-00001.arrow")
    arrow.write_bytes(b"")
    refused(folder, "is not a readable Arrow file")
    arrow.unlink()
    refused(folder, "no such Arrow or Parquet file")
    refused(edited(folder, lambda state: state.update(_data_files=[{"filename": "../x.arrow"}])), "leads out of it")
    refused(edited(folder, lambda state: state.update(_data_files=[{"filename": "/x.arrow"}])), "leads out of it")
    refused(edited(folder, lambda state: state.update(_data_files=[])), "names no file")
    refused(edited(folder, lambda state: state.update(_data_files=3)), "not the JSON that is expected")
    write(tmp_path / "d/dataset_dict.json", as_json({"splits": ["../hf"]}))
    refused(tmp_path / "d", "leads out of it")
    (tmp_path / "empty").mkdir()
    refused(f"hugging-face:{tmp_path / 'empty'}", "expected what save_to_disk writes")


def numbered(values: object, kind: str = "list") -> object:
    """A data set of images and classes that have numbers only."""
    datasets = pytest.importorskip("datasets")
    number = datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "y": datasets.List(number) if kind == "list" else number})
    images = [{"path": "a.png", "bytes": png(1)}] * len(values)  # type: ignore[arg-type]
    return datasets.Dataset.from_dict({"image": images, "y": values}, features=features)


def test_a_class_that_is_missing_within_a_list_leaves_the_rest_unknown(saved: Callable[..., Path]) -> None:
    folder = saved(numbered([[0, None], [1], [], None]))
    assert data.load(str(folder), labels="y").labels.tolist() == [[1, -1], [0, 1], [0, 0], [-1, -1]]
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "tags": datasets.List(datasets.Value("string"))})
    content = {"image": [{"path": "a.png", "bytes": png(1)}] * 3, "tags": [["x", None], ["y"], [None]]}
    folder = saved(datasets.Dataset.from_dict(content, features=features), "names")
    assert data.load(str(folder)).labels.tolist() == [[1, -1], [0, 1], [-1, -1]]


def test_numbers_that_would_make_millions_of_classes_are_refused(saved: Callable[..., Path]) -> None:
    message = "no more than 100,000 are read by their numbers"
    refused(saved(numbered([[3_000_000], [1]]), "a"), message, labels="y")
    refused(saved(numbered([[0] * 100_001]), "b"), message, labels="y", coding="vector")
    folder = saved(numbered([[0], [1]]), "c")
    info = json.loads((folder / "dataset_info.json").read_text())
    info["features"]["y"]["feature"] = {"num_classes": 10**12, "_type": "ClassLabel"}
    write(folder / "dataset_info.json", json.dumps(info))
    refused(folder, message)


def test_without_the_library_its_extra_is_named(saved: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(hugging_face(["kind"]))
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    refused(folder, r"pip install 'rarecall\[huggingface\]'")


def test_a_row_that_is_not_there_is_said(saved: Callable[..., Path]) -> None:
    table = data.load(str(saved(hugging_face(["kind"]))))
    for item in ("9/image", "x/image", "1/kind", "1/other"):
        changed = LabelTable([f"data-00000-of-00001.arrow/{item}"], ["a"], table.labels[:1, :1], table.split[:1],
                             root=table.root)  # fmt: skip
        assert isinstance(decode(changed.image(0), (6, 8)), str)


# --- torchvision's layouts ---------------------------------------------------------------------------------


def aircraft(root: Path) -> list[tuple[str, str, str]]:
    """Write it; its rows: item, class, part."""
    top = root / "fgvc-aircraft-2013b/data"
    for name in ("variants", "families", "manufacturers"):
        write(top / f"{name}.txt", "Zeppelin NT\nA 300\n")
    rows = []
    for number, part in enumerate(("train", "val", "test")):
        write(top / f"images_variant_{part}.txt", f"000000{number} A 300\n")
        write(top / f"images_family_{part}.txt", f"000000{number} Zeppelin NT\n")
        rows.append((f"fgvc-aircraft-2013b/data/images/000000{number}.jpg", "A 300", part))
    return rows


def caltech(root: Path) -> list[tuple[str, str, str]]:
    """Write it, with a background that is no class and a file that is no image."""
    top = "caltech101/101_ObjectCategories"
    for name in ("crab/image_0001.jpg", "ant/image_0001.jpg", "ant/image_0002.jpg", "BACKGROUND_Google/image_0001.jpg"):
        photo(root / top / name)
    write(root / top / "crab/notes.txt", "")
    return [(f"{top}/{name}", name[:-15], "train") for name in ("ant/image_0001.jpg", "ant/image_0002.jpg",
                                                                "crab/image_0001.jpg")]  # fmt: skip


def cars(root: Path) -> list[tuple[str, str, str]]:
    """Write it."""
    top = root / "stanford_cars"
    (top / "devkit").mkdir(parents=True)
    (top / "cars_train").mkdir()
    (top / "cars_test").mkdir()
    kind = [("fname", object), ("class", object)]
    savemat(top / "devkit/cars_meta.mat", {"class_names": np.array(["Audi A", "BMW B"], object)})
    savemat(
        top / "devkit/cars_train_annos.mat",
        {"annotations": np.array([("00001.jpg", 2), ("00002.jpg", 1)], dtype=kind)},
    )
    savemat(
        top / "cars_test_annos_withlabels.mat",
        {"annotations": np.array([("00001.jpg", 1), ("00002.jpg", 2)], dtype=kind)},
    )
    return [
        ("stanford_cars/cars_train/00001.jpg", "BMW B", "train"),
        ("stanford_cars/cars_train/00002.jpg", "Audi A", "train"),
        ("stanford_cars/cars_test/00001.jpg", "Audi A", "test"),
        ("stanford_cars/cars_test/00002.jpg", "BMW B", "test"),
    ]


def dtd(root: Path) -> list[tuple[str, str, str]]:
    """Write it; a part does not hold all classes."""
    rows = []
    for part, names in (("train", ["woven/w_1.jpg"]), ("val", ["dotted/d_1.jpg"]), ("test", ["woven/w_2.jpg"])):
        write(root / f"dtd/dtd/labels/{part}1.txt", "\n".join(names) + "\n")
        rows += [(f"dtd/dtd/images/{name}", name.partition("/")[0], part) for name in names]
    (root / "dtd/dtd/images").mkdir()
    return rows


def flowers(root: Path) -> list[tuple[str, str, str]]:
    """Write it. The loader checks the sums of the owners' files; the test says that they are right."""
    top = root / "flowers-102"
    (top / "jpg").mkdir(parents=True)
    savemat(top / "imagelabels.mat", {"labels": np.array([[102, 1, 2, 1, 1, 1]])})
    savemat(top / "setid.mat", {"trnid": [[6, 1]], "valid": [[2, 5]], "tstid": [[3, 4]]})
    names = dict.fromkeys(range(1, 7), "pink primrose") | {1: "blackberry lily", 3: "hard-leaved pocket orchid"}
    order = [(6, "train"), (1, "train"), (2, "val"), (5, "val"), (3, "test"), (4, "test")]
    return [(f"flowers-102/jpg/image_{number:05d}.jpg", names[number], part) for number, part in order]


def food(root: Path) -> list[tuple[str, str, str]]:
    """Write it."""
    top = root / "food-101"
    (top / "images").mkdir(parents=True)
    write(top / "meta/train.json", json.dumps({"waffles": ["waffles/1"], "pho": ["pho/7"]}))
    write(top / "meta/test.json", json.dumps({"waffles": ["waffles/2"], "pho": []}))
    return [
        ("food-101/images/waffles/1.jpg", "waffles", "train"),
        ("food-101/images/pho/7.jpg", "pho", "train"),
        ("food-101/images/waffles/2.jpg", "waffles", "test"),
    ]


def pets(root: Path) -> list[tuple[str, str, str]]:
    """Write it, without the second of its classes."""
    top = root / "oxford-iiit-pet"
    (top / "images").mkdir(parents=True)
    write(top / "annotations/trainval.txt", "great_pyrenees_10 3 2 1\nAbyssinian_1 1 1 1\n")
    write(top / "annotations/test.txt", "great_pyrenees_2 3 2 1\n")
    return [
        ("oxford-iiit-pet/images/great_pyrenees_10.jpg", "Great Pyrenees", "train"),
        ("oxford-iiit-pet/images/Abyssinian_1.jpg", "Abyssinian", "train"),
        ("oxford-iiit-pet/images/great_pyrenees_2.jpg", "Great Pyrenees", "test"),
    ]


def sun(root: Path) -> list[tuple[str, str, str]]:
    """Write it."""
    write(root / "SUN397/ClassName.txt", "/a/abbey\n/c/cavern/indoor\n")
    for name in ("c/cavern/indoor/sun_b.jpg", "a/abbey/sun_a.jpg"):
        photo(root / "SUN397" / name)
    return [
        ("SUN397/a/abbey/sun_a.jpg", "abbey", "train"),
        ("SUN397/c/cavern/indoor/sun_b.jpg", "cavern/indoor", "train"),
    ]


WRITERS = {
    "aircraft": aircraft, "caltech-101": caltech, "cars": cars, "dtd": dtd,
    "flowers": flowers, "food": food, "pets": pets, "sun": sun,
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_the_layouts_of_torchvision_are_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.Flowers102._check_integrity", lambda _: True)
    rows = WRITERS[name](tmp_path)
    table = data.load(str(tmp_path))
    assert table.source.startswith("torchvision:")
    classes = [table.names[column] for column in table.labels.argmax(1)]
    assert list(zip(table.items, classes, table.split, strict=True)) == rows
    assert table.labels.sum(1).tolist() == [1] * len(rows)
    assert table.labels.min() == 0
    folder = tmp_path / transfer.DATASETS[name].folder
    below = data.load(str(folder), dataset=name)
    assert list(below.items) == [item.partition("/")[2] for item, _, _ in rows]
    assert recognise(folder).NAME == "torchvision"


def test_options_of_torchvisions_layouts(tmp_path: Path) -> None:
    aircraft(tmp_path)
    assert data.load(str(tmp_path)).labels.argmax(1).tolist() == [1, 1, 1]
    assert data.load(str(tmp_path), level="family").labels.argmax(1).tolist() == [0, 0, 0]
    with pytest.raises(OptionError, match="partition is an option of DTD"):
        data.load(str(tmp_path), partition="2")
    assert len(data.load(str(tmp_path), partition=1)) == 3
    with pytest.raises(OptionError, match="unknown value of dataset 'planes'"):
        data.load(str(tmp_path), dataset="planes")
    dtd(tmp_path)
    refused(tmp_path, "holds aircraft, dtd: name one with dataset")
    assert len(data.load(str(tmp_path), dataset="dtd")) == 3
    refused(tmp_path, "DTD cannot be read .FileNotFoundError", dataset="dtd", partition="2")
    refused(tmp_path, "no food-101/meta/train.json in it", dataset="food")


def test_damaged_lists_of_torchvisions_layouts_are_named(tmp_path: Path) -> None:
    pets(tmp_path)
    write(tmp_path / "oxford-iiit-pet/annotations/test.txt", "great_pyrenees_2\n")
    refused(tmp_path, "OxfordIIITPet cannot be read .ValueError")
    shutil.rmtree(tmp_path / "oxford-iiit-pet")
    flowers(tmp_path)
    refused(tmp_path, "Flowers102 cannot be read .RuntimeError: Dataset not found or corrupted")
    shutil.rmtree(tmp_path / "flowers-102")
    cars(tmp_path)
    savemat(tmp_path / "stanford_cars/devkit/cars_meta.mat", {"class_names": np.array(["Audi A"], object)})
    refused(tmp_path, "StanfordCars cannot be read")
    shutil.rmtree(tmp_path / "stanford_cars")
    food(tmp_path)
    write(tmp_path / "food-101/meta/train.json", json.dumps({"x": ["../../../etc/passwd"]}))
    refused(tmp_path, "leads out of")
    refused(f"torchvision:{tmp_path / 'food-101/meta'}", "torchvision expects the official names")


BITS = """
import sys
from pathlib import Path
from torchvision import datasets
from rarecall import data
from rarecall.errors import DataError
datasets.Flowers102._check_integrity = lambda _: True
refused = 0
for name in sys.argv[2:]:
    file = Path(sys.argv[1]) / name
    whole = file.read_bytes()
    for place in range(128, len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x20]) + whole[place + 1:])
        try:
            data.load(sys.argv[1])
        except DataError as error:
            refused += 1
            assert "\\n" not in str(error)
    file.write_bytes(whole)
print(refused > 0)
"""


@pytest.mark.parametrize("name", ["cars", "flowers"])
def test_a_flipped_bit_in_a_matlab_file_is_one_line_and_no_crash(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    top, files = {
        "cars": ("stanford_cars", ["devkit/cars_train_annos.mat", "devkit/cars_meta.mat"]),
        "flowers": ("flowers-102", ["imagelabels.mat", "setid.mat"]),
    }[name]
    listed = [f"{top}/{file}" for file in files]
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", BITS, str(tmp_path), *listed], capture_output=True,
                           text=True, check=False)  # fmt: skip
    assert (found.returncode, found.stdout.strip()) == (0, "True"), found.stderr


def test_a_damaged_list_of_cars_is_named(tmp_path: Path) -> None:
    cars(tmp_path)
    file = tmp_path / "stanford_cars/devkit/cars_train_annos.mat"
    whole = bytearray(file.read_bytes())
    assert whole[272] == 0x10
    whole[272] = 0x30
    script = f"from rarecall import data; data.load({str(tmp_path)!r})"  # it would end the tests' process as well
    file.write_bytes(whole)
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "cars_train_annos.mat: not a readable MATLAB file (damaged)" in found.stderr


# --- all of them -------------------------------------------------------------------------------------------


def test_each_format_claims_its_own_folder_only(tmp_path: Path) -> None:
    folders = {
        "nus-wide": nus_wide(tmp_path / "1"), "cub": cub(tmp_path / "2"), "deepfashion": deepfashion(tmp_path / "3"),
        "cifar": cifar_10(tmp_path / "4"), "tiny-imagenet": tiny_imagenet(tmp_path / "5"),
        "folder": image_folder(tmp_path / "6"),
        "webdataset": shard(tmp_path / "7/0.tar", [("1.jpg", png(1)), ("1.cls", b"0")]).parent,
    }  # fmt: skip
    food(tmp_path / "8")
    folders["torchvision"] = tmp_path / "8"
    write_image(write(tmp_path / "9/a.jpg", b""), 0, 0)
    ours = [*folders, "hugging-face"]
    for name, folder in folders.items():
        claims = [one for one in ours if FORMATS[one].recognises(folder)]
        assert set(claims) - {"folder"} == {name} - {"folder"}
        assert name == recognise(folder).NAME
    assert [one for one in ours if FORMATS[one].recognises(tmp_path / "9")] == []
    assert [one for one in ours if FORMATS[one].recognises(tmp_path / "9/a.jpg")] == []


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) * 2 // 3],
    "noise": lambda content: np.random.default_rng(len(content)).bytes(len(content) + 7),
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "words": lambda content: content.replace(b"1", b"one"),
    "negative": lambda content: content.replace(b"1", b"-7"),
    "huge": lambda content: content.replace(b"1", b"99999999999999999999"),
    "backwards": lambda content: b"\n".join(reversed(content.split(b"\n"))),
    "one line": lambda content: content.replace(b"\n", b" "),
    "NUL": lambda content: content.replace(b"\n", b"\0\n", 1),
}
LAYOUTS: dict[str, Callable[[Path], object]] = {
    "nus-wide": nus_wide,
    "cub": cub,
    "deepfashion": deepfashion,
    "cifar": cifar_10,
    "tiny-imagenet": tiny_imagenet,
    **{name: writer for name, writer in WRITERS.items() if name not in ("caltech-101", "flowers")},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_whatever_happens_to_a_list_there_is_a_table_or_one_line(tmp_path: Path, name: str) -> None:
    LAYOUTS[name](tmp_path / "d")
    spec = f"{name if name in FORMATS else 'torchvision'}:{tmp_path / 'd'}"
    messages = damaged(spec, tmp_path / "d")
    assert any(str(tmp_path) in message for message in messages)


def test_whatever_happens_to_a_shard_there_is_a_table_or_one_line(tmp_path: Path) -> None:
    members = [
        ("1.jpg", png(1)),
        ("1.json", as_json({"labels": ["a"]})),
        ("2.jpg", png(2)),
        ("2.json", b'{"labels": []}'),
    ]
    shard(tmp_path / "d/0.tar", members)
    assert damaged(f"webdataset:{tmp_path / 'd'}", tmp_path / "d")


def test_whatever_happens_to_a_saved_data_set_there_is_a_table_or_one_line(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    folder = saved(hugging_face(["labels"]))
    assert damaged(f"hugging-face:{folder}", folder)
    hugging_face(["labels"]).to_parquet(tmp_path / "x.parquet")  # type: ignore[attr-defined]
    (tmp_path / "p").mkdir()
    shutil.move(tmp_path / "x.parquet", tmp_path / "p")
    assert damaged(f"hugging-face:{tmp_path / 'p'}", tmp_path / "p")


def damaged(spec: str, folder: Path) -> list[str]:
    """What is said to each kind of damage of each file that is no image, and to its absence."""
    data.load(spec)
    messages = []
    for file in [file for file in folder.rglob("*") if file.is_file() and file.suffix.lower() not in (".jpg", ".jpeg")]:
        content = file.read_bytes()
        for damage in (*DAMAGE.values(), None):
            file.unlink()
            if damage is not None:
                file.write_bytes(damage(content))
            try:
                data.load(spec)
            except DataError as error:
                messages.append(str(error))
            file.write_bytes(content)
    assert not [message for message in messages if "\n" in message]
    return messages

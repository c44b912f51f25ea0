"""Concepts, birds and clothes: what is read, and the line to a file that is wrong."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from rarecall import data
from rarecall.errors import OptionError
from rarecall.images.decoding import decode
from tests.published import change, is_grey, photo, refused, write, zipped

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

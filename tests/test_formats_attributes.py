"""WIDER Attribute, VAW and VISPR in the layouts that their owners publish."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rarecall import data
from rarecall.audit import count_facts
from rarecall.data.formats import vispr
from tests.files import write_image
from tests.published import by_item, pack, refusal, write

# --- WIDER Attribute ---------------------------------------------------------------------------------------

ATTRIBUTES = ["Male", "longHair", "Hat"]


def person(attributes: list[int], box: list[float]) -> dict[str, Any]:
    """A target."""
    return {"attribute": attributes, "bbox": box}


def wider_file(images: list[tuple[str, list[dict[str, Any]]]], first: int = 0) -> dict[str, Any]:
    """One of the two files."""
    return {
        "images": [{"file_name": name, "scene_id": 3, "targets": people} for name, people in images],
        "attribute_id_map": {str(number): name for number, name in reversed(list(enumerate(ATTRIBUTES, first)))},
        "scene_id_map": {"0": "Parade", "3": "Group"},
    }


TRAINVAL = [
    ("val/0--Parade/0_Parade_a b,1.jpg", [person([1, -1, 0], [1, 2.4, 10.6, 20])]),
    ("train/12--Group/12_Group_2.jpg", [person([-1, 1, 1], [-3, -2, 9, 9]), person([0, 0, -1], [4, 4, 8, 8])]),
    ("train/12--Group/12_Group_3.jpg", []),
]
TESTED = [("test/0--Parade/0_Parade_4.jpg", [person([1, 1, 1], [0, 0, 16, 24])])]
EXPECTED_WIDER = {
    "Image/val/0--Parade/0_Parade_a b,1.jpg#xywh=1,2,11,20": [1, 0, -1],
    "Image/train/12--Group/12_Group_2.jpg#xywh=-3,-2,9,9": [0, 1, 1],
    "Image/train/12--Group/12_Group_2.jpg#xywh=4,4,8,8": [-1, -1, 0],
    "Image/test/0--Parade/0_Parade_4.jpg#xywh=0,0,16,24": [1, 1, 1],
}


def write_wider(folder: Path, below: str, trainval: Any = None, first: int = 0) -> Path:
    """WIDER Attribute with its JSON files in a folder."""
    write(folder / below / "wider_attribute_trainval.json", trainval or wider_file(TRAINVAL, first))
    write(folder / below / "wider_attribute_test.json", wider_file(TESTED, first))
    for name, _ in (*TRAINVAL, *TESTED):
        (folder / "Image" / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / "Image" / name, 0, 0)
    return folder


@pytest.mark.parametrize("below", ["", "wider_attribute_annotation", "Annotations", "Anno"])
@pytest.mark.parametrize("first", [0, 1])
def test_wider_rows_are_people_and_0_is_unknown(tmp_path: Path, below: str, first: int) -> None:
    table = data.load(str(write_wider(tmp_path / "w", below, first=first)))
    assert table.source.startswith("wider:")
    assert list(table.names) == ATTRIBUTES
    assert dict(zip(table.items, table.labels.tolist(), strict=True)) == EXPECTED_WIDER
    assert table.split.tolist() == ["val", "train", "train", "test"]
    assert table.columns["scene"].tolist() == ["Parade", "Group", "Group", "Parade"]
    assert all(image.exists() for image in table.images())
    assert "4 of 57,524 people" in table.notes[0]


def test_wider_options_and_boxes_without_area(tmp_path: Path) -> None:
    people = [person([1, 1, 1], [5, 5, 0.3, 9]), person([1, 1, -1], [-9, 0, 9, 9]), person([1, 0, 1], [9, 9, -3, 3])]
    file = wider_file([("train/0--Parade/x.jpg", people), *TRAINVAL])
    folder = write_wider(tmp_path / "w", "", file)
    table = data.load(str(folder), val="train")
    assert dict(zip(table.items, table.labels.tolist(), strict=True)) == EXPECTED_WIDER
    assert table.split.tolist() == ["train", "train", "train", "test"]
    assert "3 people whose box has no pixel in the image left out" in table.notes[-1]
    whole = data.load(str(folder), no_area="whole")
    assert list(whole.items)[:3] == ["Image/train/0--Parade/x.jpg"] * 3
    assert whole.labels[:3].tolist() == [[1, 1, 1], [1, 1, 0], [1, -1, 1]]
    assert "unknown value of no_area" in refusal(lambda: data.load(str(folder), no_area="crop"))


def test_wider_with_one_of_its_files_and_inside_a_zip(tmp_path: Path) -> None:
    folder = write_wider(tmp_path / "w", "")
    packed = data.load(f"wider:{pack(folder, tmp_path / 'w.zip')}")
    assert list(packed.items) == [f"w.zip/{item}" for item in EXPECTED_WIDER]
    assert all(image.exists() for image in packed.images())
    (folder / "wider_attribute_trainval.json").unlink()
    assert data.load(str(folder)).split.tolist() == ["test"]
    assert "no wider_attribute_trainval.json" in refusal(lambda: data.load(f"wider:{folder / 'Image'}"))


def one_image(name: str = "train/0--P/x.jpg", attributes: Any = (1, 0, 1), box: Any = (1, 2, 3, 4)) -> dict[str, Any]:
    """A training file of one person."""
    return wider_file([(name, [person(list(attributes), list(box))])])


BAD_WIDER: dict[str, tuple[Any, str]] = {
    "cut short": (json.dumps(one_image())[:-30], "not the JSON that is expected here"),
    "a value that is no label": (one_image(attributes=(1, 0, 2)), "targets[0].attribute[2]"),
    "too few attributes": (one_image(attributes=(1, 0)), "a person in train/0--P/x.jpg has 2 attributes, not 3"),
    "a box of three": (one_image(box=(1, 2, 3)), "Expected `array` of length 4"),
    "a box without bounds": (one_image(box=(1, 2, 1e300, 4)), "bbox[2]"),
    "no part": (one_image("0--P/x.jpg"), "'0--P/x.jpg' is not in train/, val/ or test/"),
    "an absolute path": (one_image("/train/x.jpg"), "'/train/x.jpg' is not in train/"),
    "a path that leads out": (one_image("train/../../x.jpg"), "leads out of"),
    "a gap in the ids": (
        {**one_image(), "attribute_id_map": {"0": "a", "1": "b", "3": "c"}}, "its attribute_id_map is not that of",
    ),
    "ids that are words": ({**one_image(), "attribute_id_map": {"x": "a"}}, "attribute_id_map"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_WIDER)
def test_a_bad_wider_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    content, message = BAD_WIDER[case]
    assert message in refusal(lambda: data.load(str(write_wider(tmp_path / "w", "", content))))


def test_wider_ids_with_a_gap_and_no_people_at_all(tmp_path: Path) -> None:
    gap = {**wider_file(TRAINVAL), "attribute_id_map": {"0": "a", "1": "b", "3": "c"}}
    write(tmp_path / "w/wider_attribute_trainval.json", gap)
    assert "do not count from 0 or 1 without a gap" in refusal(lambda: data.load(str(tmp_path / "w")))
    write(tmp_path / "w/wider_attribute_trainval.json", wider_file([("train/a--b/x.jpg", [])]))
    assert "no person in its JSON files" in refusal(lambda: data.load(str(tmp_path / "w")))


# --- VAW ---------------------------------------------------------------------------------------------------


def thing(
    number: Any, positive: list[str], negative: list[str], box: Any = (0.0, 182.5, 500.4, 148.5)
) -> dict[str, Any]:
    """An instance as published: its ids are texts, its polygons lists of lists."""
    return {
        "image_id": str(number)[:2] if isinstance(number, str) else number // 10, "instance_id": number,
        "instance_bbox": list(box), "instance_polygon": [[[432.5, 214.2], [1, 2]]], "object_name": "wall",
        "positive_attributes": positive, "negative_attributes": negative,
    }  # fmt: skip


INDEX = {"red": 1, "amber": 0, "dark red": 2}
VAW = {
    "train_part1.json": [thing("101", ["red"], ["dark red"])],
    "train_part2.json": [thing("111", [], ["amber", "amber"], (-2, 3, 4, 5)), thing("112", [], [])],
    "val.json": [thing("121", ["amber", "dark red"], [])],
    "test.json": [{**thing(131, [], ["red"]), "instance_polygon": None}],
}


def write_vaw(folder: Path, below: str = "data") -> Path:
    """The owners' repository with Visual Genome's two folders beside."""
    write(folder / below / "attribute_index.json", INDEX)
    for name, content in VAW.items():
        write(folder / below / name, content)
    for name in ("VG_100K/10", "VG_100K_2/11", "VG_100K/12", "VG_100K_2/13"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / f"{name}.jpg", 0, 0)
    return folder


EXPECTED_VAW = [
    ("VG_100K/10.jpg#xywh=0,182,500,148", [-1, 1, 0], "train"),
    ("VG_100K_2/11.jpg#xywh=-2,3,4,5", [0, -1, -1], "train"),
    ("VG_100K_2/11.jpg#xywh=0,182,500,148", [-1, -1, -1], "train"),
    ("VG_100K/12.jpg#xywh=0,182,500,148", [1, -1, 1], "val"),
    ("VG_100K_2/13.jpg#xywh=0,182,500,148", [-1, 0, -1], "test"),
]


def rows(table: data.LabelTable) -> list[tuple[str, list[int], str]]:
    """Item, labels and part of each row."""
    return list(zip(table.items, table.labels.tolist(), table.split.tolist(), strict=True))


def test_vaw_has_explicit_negatives_and_everything_else_unknown(tmp_path: Path) -> None:
    table = data.load(str(write_vaw(tmp_path / "v")))
    assert table.source.startswith("vaw:")
    assert list(table.names) == ["amber", "red", "dark red"]
    assert rows(table) == EXPECTED_VAW
    assert set(table.columns["object"]) == {"wall"}
    assert all(image.exists() for image in table.images())
    assert "3 of 216,790 train objects" in table.notes[0]
    assert table.notes[1:] == ("1 object has no known label",)
    assert rows(data.load(str(tmp_path / "v/data"), images=str(tmp_path / "v"))) == EXPECTED_VAW


def test_vaw_merged_training_file_packed_images_and_a_zip_of_all(tmp_path: Path) -> None:
    folder = write_vaw(tmp_path / "v")
    packed = data.load(f"vaw:{pack(folder, tmp_path / 'v.zip')}")
    assert list(packed.items) == [f"v.zip/{item}" for item, _, _ in EXPECTED_VAW]
    assert all(image.exists() for image in packed.images())
    write(folder / "data/train.json", VAW["train_part1.json"] + VAW["train_part2.json"])
    assert rows(data.load(str(folder))) == EXPECTED_VAW  # the parts go before it
    for part in ("1", "2"):
        (folder / f"data/train_part{part}.json").unlink()
    assert rows(data.load(str(folder))) == EXPECTED_VAW
    for archive, name in (("images.zip", "VG_100K"), ("images2.zip", "VG_100K_2")):
        pack(folder / name, folder / archive, f"{name}/")
        shutil.rmtree(folder / name)
    table = data.load(str(folder))
    assert table.items[0] == "images.zip/VG_100K/10.jpg#xywh=0,182,500,148"
    assert all(image.exists() for image in table.images())


def test_vaw_names_images_that_are_missing_and_labels_that_contradict(tmp_path: Path) -> None:
    folder = write_vaw(tmp_path / "v")
    (folder / "VG_100K/12.jpg").unlink()
    write(folder / "data/test.json", [thing("131", ["red", "amber"], ["red"]), thing("132", ["red"], [], (1, 1, 0, 5))])
    table = data.load(str(folder))
    assert count_facts(table).missing_files
    assert table.labels[-1].tolist() == [1, -1, -1]
    assert "1 label is positive and negative at once: read as unknown" in table.notes
    assert "1 object whose box has no pixel in the image left out" in table.notes[-1]
    assert data.load(str(folder), no_area="whole").items[-1] == "VG_100K_2/13.jpg"


BAD_VAW: dict[str, tuple[str, Any, str]] = {
    "cut short": ("val.json", json.dumps(VAW["val.json"])[:-9], "not the JSON that is expected here"),
    "an object in place of a list": ("val.json", {}, "Expected `array`"),
    "a strange attribute": ("val.json", [thing("121", ["reddish"], [])], "instance 121: 'reddish' is not in"),
    "an instance twice": ("val.json", [thing("101", [], [])], "instances stand twice: 101"),
    "an image that is a path": (
        "val.json", [{**thing("121", [], []), "image_id": "../12"}], "image_id",
    ),
    "a negative number": ("val.json", [thing(-121, [], [])], "image_id"),
    "no box": ("val.json", [{**thing("121", [], []), "instance_bbox": None}], "instance_bbox"),
    "a gap in the index": ("attribute_index.json", {"red": 0, "amber": 2}, "do not count from 0 without a gap"),
    "an empty index": ("attribute_index.json", {}, "'red' is not in attribute_index.json"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_VAW)
def test_a_bad_vaw_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    file, content, message = BAD_VAW[case]
    write(write_vaw(tmp_path / "v") / "data" / file, content)
    assert message in refusal(lambda: data.load(str(tmp_path / "v")))


def test_vaw_with_one_training_part_missing_or_nothing(tmp_path: Path) -> None:
    folder = write_vaw(tmp_path / "v")
    (folder / "data/train_part2.json").unlink()
    assert "no train_part2.json" in refusal(lambda: data.load(str(folder)))
    for name in ("train_part1.json", "val.json", "test.json"):
        (folder / "data" / name).unlink()
    assert "no objects: expected train_part1.json" in refusal(lambda: data.load(f"vaw:{folder}"))
    (folder / "data/attribute_index.json").unlink()
    assert "no attribute_index.json" in refusal(lambda: data.load(f"vaw:{folder}"))


# --- VISPR -------------------------------------------------------------------------------------------------

TSV = (
    "attribute_id\tidx\tdescription\n"
    "\t\tPersonal\n"
    'a4_gender\t1\tsays "male" or "female"\n'
    "a0_safe\t0\tNo private information\n"
    "a99_unused\t\t\n"
    "a8_signature\t2\tSignature, written\n"
)
PHOTOS = {
    "train2017": {"2017_10001018": ["a4_gender", "a8_signature"], "2017_10000002": ["a0_safe"]},
    "val2017": {"2017_20000001": ["a8_signature", "a8_signature"]},
    "test2017": {"2017_30000001": ["a4_gender"]},
}


def write_vispr(folder: Path, annotations: str, images: str, given: str = "images/{part}/{stem}.jpg") -> Path:
    """VISPR with its annotations and images in folders named after the parts."""
    for part, photos in PHOTOS.items():
        for stem, labels in photos.items():
            entry = {"id": stem, "image_path": given.format(part=part, stem=stem), "labels": labels, "safe": False}
            write(folder / annotations.format(part=part) / f"{stem}.json", entry)
            image = folder / images.format(part=part) / f"{stem}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            write_image(image, 0, 0)
    write(folder / "attributes.tsv", TSV)
    return folder


LAYOUTS = [
    ("annotations/{part}", "images/{part}"),
    ("{part}_annotation", "{part}_rgb"),
    ("{part}", "{part}"),
    ("json/{part}", "{part}"),
]


@pytest.mark.parametrize(("annotations", "images"), LAYOUTS)
def test_vispr_lists_what_is_present(tmp_path: Path, annotations: str, images: str) -> None:
    table = data.load(str(write_vispr(tmp_path / "v", annotations, images)))
    assert table.source.startswith("vispr:")
    assert list(table.names) == ["a0_safe", "a4_gender", "a8_signature"]
    train, val, test = (images.format(part=f"{part}2017") for part in ("train", "val", "test"))
    assert rows(table) == [
        (f"{train}/2017_10000002.jpg", [1, 0, 0], "train"),
        (f"{train}/2017_10001018.jpg", [0, 1, 1], "train"),
        (f"{val}/2017_20000001.jpg", [0, 0, 1], "val"),
        (f"{test}/2017_30000001.jpg", [0, 1, 0], "test"),
    ]
    assert all(image.exists() for image in table.images())
    assert "2 of 10,000 train images" in table.notes[0]


def test_vispr_takes_the_path_that_the_annotation_gives_only_if_it_is_there(tmp_path: Path) -> None:
    folder = write_vispr(tmp_path / "v", "annotations/{part}", "photos/{part}", given="../{part}/{stem}.jpg")
    table = data.load(str(folder))
    assert table.items[0] == "photos/train2017/2017_10000002.jpg"
    (folder / "photos/val2017/2017_20000001.jpg").unlink()
    missing = data.load(str(folder))
    assert missing.items[2] == "images/val2017/2017_20000001.jpg"
    assert count_facts(missing).missing_files


def test_vispr_without_its_table_and_inside_a_zip(tmp_path: Path) -> None:
    folder = write_vispr(tmp_path / "v", "annotations/{part}", "images/{part}")
    (folder / "attributes.tsv").unlink()
    table = data.load(str(folder))
    assert len(table.names) == 68
    assert tuple(table.names) == vispr.ATTRIBUTES
    assert by_item(table)["images/train2017/2017_10001018.jpg"] == {"a4_gender": 1, "a8_signature": 1}
    assert "no attributes.tsv" in table.notes[1]
    packed = data.load(f"vispr:{pack(folder, tmp_path / 'v.zip')}")
    assert list(packed.items) == [f"v.zip/{item}" for item in table.items]
    assert all(image.exists() for image in packed.images())


def test_vispr_says_which_images_list_nothing(tmp_path: Path) -> None:
    folder = write_vispr(tmp_path / "v", "{part}", "{part}")
    write(folder / "val2017/2017_20000001.json", {"labels": []})
    table = data.load(str(folder))
    assert table.labels[2].tolist() == [0, 0, 0]
    assert "1 image lists no attribute" in table.notes[-1]


ONE = "annotations/val2017/2017_20000001.json"
BAD_VISPR: dict[str, tuple[str, Any, str]] = {
    "cut short": (ONE, '{"labels": ["a4_', "not the JSON that is expected here"),
    "empty": (ONE, "", "not the JSON that is expected here"),
    "no labels": (ONE, {"id": "x"}, "missing required field `labels`"),
    "a strange attribute": (ONE, {"labels": ["a1_age"]}, "'a1_age' is not one of the 3 attributes"),
    "an annotation twice": ("train2017/2017_20000001.json", {"labels": []}, "annotations stand twice: 2017_20000001"),
    "a table without columns": ("attributes.tsv", "a\tb\n", "no columns idx and attribute_id"),
    "an empty table": ("attributes.tsv", "", "no columns idx and attribute_id"),
    "a gap": ("attributes.tsv", "idx\tattribute_id\n0\ta\n2\tb\n", "its idx do not count from 0 without a gap"),
    "an idx twice": (
        "attributes.tsv",
        "idx\tattribute_id\n0\ta\n0\tb\n",
        "row 3: idx '0' is no number, or stands twice",
    ),
    "an idx that is a word": ("attributes.tsv", "idx\tattribute_id\nx\ta\n", "row 2: idx 'x' is no number"),
    "a row cut short": ("attributes.tsv", "idx\tattribute_id\n0\n", "row 2: an idx without an attribute_id"),
    "another encoding": ("attributes.tsv", b"idx\xff", "byte 3 is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD_VISPR)
def test_a_bad_vispr_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    file, content, message = BAD_VISPR[case]
    folder = write_vispr(tmp_path / "v", "annotations/{part}", "images/{part}")
    write(folder / file, content)
    assert message in refusal(lambda: data.load(str(folder)))


def test_vispr_without_annotations(tmp_path: Path) -> None:
    write(tmp_path / "v/attributes.tsv", TSV)
    assert "no JSON in train2017/, val2017/ or test2017/" in refusal(lambda: data.load(str(tmp_path / "v")))

"""VOC and COCO in the layouts that their owners publish."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rarecall import data
from rarecall.data.formats import recognise, voc
from tests.files import write_image
from tests.published import (
    OBJECTS,
    TRAIN,
    VAL,
    annotation,
    by_item,
    instances,
    pack,
    refusal,
    write,
    write_voc,
)
from tests.test_formats_attributes import write_vaw, write_vispr, write_wider

# --- VOC ---------------------------------------------------------------------------------------------------


def test_voc_takes_direct_objects_and_keeps_difficult_ones_unknown(voc2007: Path) -> None:
    table = data.load(str(voc2007))
    assert table.source.startswith("voc:")
    assert tuple(table.names) == voc.CLASSES
    assert by_item(table) == {
        "JPEGImages/000005.jpg": {"chair": 1},
        "JPEGImages/000007.jpg": {"car": 1, "person": -1},
        "JPEGImages/000009.jpg": {"horse": 1, "person": 1},
        "JPEGImages/000001.jpg": {"dog": -1},
    }
    assert table.split.tolist() == ["train", "val", "val", "test"]
    assert all(image.exists() for image in table.images())
    assert "1 of 2,501 train images" in table.notes[0]


@pytest.mark.parametrize(("meaning", "value"), [("unknown", -1), ("absent", 0), ("present", 1)])
def test_voc_difficult_is_what_the_option_says(voc2007: Path, meaning: str, value: int) -> None:
    labels = data.load(str(voc2007), difficult=meaning).labels
    assert labels[3, voc.CLASSES.index("dog")] == value
    assert labels[2, voc.CLASSES.index("person")] == 1
    assert labels[1].sum() == 1 + value


def test_voc_is_found_from_above_and_in_its_archives(voc2007: Path, tmp_path: Path) -> None:
    expected = list(by_item(data.load(str(voc2007))).values())
    tar = pack(tmp_path / "d", tmp_path / "VOCtrainval_06-Nov-2007.tar")
    packed = pack(tmp_path / "d", tmp_path / "VOC.zip")
    for path in (voc2007.parent, voc2007.parent.parent, tar, packed):
        table = data.load(str(path))
        assert table.source.startswith("voc:")
        assert list(by_item(table).values()) == expected
        assert all(image.exists() for image in table.images())
    assert data.load(str(tar)).items[0] == "VOCtrainval_06-Nov-2007.tar/VOCdevkit/VOC2007/JPEGImages/000005.jpg"


def test_voc_years_are_chosen(voc2007: Path) -> None:
    write_voc(voc2007.parent / "VOC2012", {"2008_000001": [("cat", 0)]}, {"train": ["2008_000001"]})
    assert "holds VOC of 2007, 2012: choose one" in refusal(lambda: data.load(str(voc2007.parent)))
    table = data.load(str(voc2007.parent), year="2012")
    assert by_item(table) == {"VOC2012/JPEGImages/2008_000001.jpg": {"cat": 1}}
    assert "unknown year '2010'" in refusal(lambda: data.load(str(voc2007.parent), year="2010"))
    assert "unknown year '2012'" in refusal(lambda: data.load(str(voc2007), year="2012"))


def test_voc_test_part_without_annotations_is_left_out_with_a_note(tmp_path: Path) -> None:
    lists = {"train": ["2008_000001"], "test": ["2008_000006", "2008_000011"]}
    table = data.load(str(write_voc(tmp_path / "VOC2012", {"2008_000001": [("cat", 0)]}, lists)))
    assert list(table.items) == ["JPEGImages/2008_000001.jpg"]
    assert table.notes[-1] == ("2 test images without published annotations left out (2008_000006, 2008_000011)")


def test_voc_val_serves_as_another_part_and_trainval_alone_is_train(voc2007: Path) -> None:
    assert data.load(str(voc2007), val="train").split.tolist() == ["train", "train", "train", "test"]
    for part in ("train", "val"):
        (voc2007 / f"ImageSets/Main/{part}.txt").unlink()
    write(voc2007 / "ImageSets/Main/trainval.txt", "000005\r\n\r\n000007  \r\n")
    table = data.load(str(voc2007))
    assert table.split.tolist() == ["train", "train", "test"]
    assert "unknown value of val 'vl': did you mean 'val'?" in refusal(lambda: data.load(str(voc2007), val="vl"))


XML, MAIN = "Annotations/000007.xml", "ImageSets/Main/val.txt"
BAD_VOC = {
    "cut short": (XML, annotation(OBJECTS["000007"])[:80], "not readable as XML"),
    "empty": (XML, "", "not readable as XML"),
    "a page in its place": (XML, "<html></html>", "<html> in place of <annotation>"),
    "entities": (XML, '<!DOCTYPE a [<!ENTITY a "b">]><annotation/>', "declares entities"),
    "a strange class": (XML, annotation([("sofa", 0), ("sofas", 0)]), "object 2: 'sofas' is not one of"),
    "a strange mark": (XML, annotation([("sofa", 7)]), "object 1: difficult is '7'"),
    "a path in a list": (MAIN, "000007\n../../etc/passwd\n", "line 2: '../../etc/passwd' is not the name"),
    "an absolute path": (MAIN, "/000007\n", "line 1: '/000007' is not the name"),
    "a name with a space": (MAIN, "000007 1\n", "line 1: '000007 1' is not the name"),
    "an image twice": (MAIN, "000007\n000007\n", "stand twice in its lists: 000007"),
    "an image in two parts": (MAIN, "000005\n", "stand twice in its lists: 000005"),
    "an image without XML": (MAIN, "000008\n", "no XML of 000008"),
    "another encoding": (MAIN, b"\xff\xfe0\x000\x00", "byte 0 is not UTF-8"),
    "a very long line": (MAIN, "0" * (1 << 21), "2,097,152 characters: not a list"),
}


@pytest.mark.parametrize("case", BAD_VOC)
def test_a_bad_voc_is_named_with_its_place(voc2007: Path, case: str) -> None:
    file, content, message = BAD_VOC[case]
    write(voc2007 / file, content)
    said = refusal(lambda: data.load(str(voc2007)))
    assert message in said
    assert "VOC2007" in said


def test_voc_lists_with_a_byte_order_mark_and_no_lists_at_all(voc2007: Path) -> None:
    write(voc2007 / MAIN, "\ufeff000007\n000009\n".encode())
    assert len(data.load(str(voc2007))) == 4
    shutil.rmtree(voc2007 / "ImageSets")
    (voc2007 / "ImageSets/Main").mkdir(parents=True)
    assert "no ImageSets/Main/train.txt" in refusal(lambda: data.load(str(voc2007)))
    assert "no ImageSets/Main in it" in refusal(lambda: data.load(f"voc:{voc2007 / 'JPEGImages'}"))


def test_a_voc_archive_cut_short(voc2007: Path, tmp_path: Path) -> None:
    archive = pack(voc2007.parent.parent, tmp_path / "VOC2007.tar")
    archive.write_bytes(archive.read_bytes()[:700])
    assert "VOC2007.tar" in refusal(lambda: data.load(str(archive)))


# --- COCO --------------------------------------------------------------------------------------------------


EXPECTED = {
    "train2017/000000000009.jpg": {"person": 1, "stop sign": 1},
    "train2017/000000000025.jpg": {},
    "train2017/000000000030.jpg": {"banana": 1},
    "val2017/000000000139.jpg": {"stop sign": 1},
}


def test_coco_orders_classes_by_id_and_keeps_images_without_objects(coco2017: Path) -> None:
    table = data.load(str(coco2017))
    assert table.source.startswith("coco:")
    assert list(table.names) == ["person", "stop sign", "banana"]
    assert by_item(table) == EXPECTED
    assert table.labels.min() == 0
    assert table.split.tolist() == ["train", "train", "train", "val"]
    assert all(image.exists() for image in table.images())
    assert "4 of 860,001 train objects" in table.notes[0]


def test_coco_options_for_crowds_empty_images_and_val(coco2017: Path) -> None:
    for crowd, value in (("present", 1), ("unknown", -1), ("absent", 0)):
        assert data.load(str(coco2017), crowd=crowd).labels[0].tolist() == [1, value, 0]
    table = data.load(str(coco2017), empty="leave-out", val="test")
    assert by_item(table) == {item: found for item, found in EXPECTED.items() if found}
    assert table.split.tolist() == ["train", "train", "test"]
    assert "1 image without an object left out (train2017/000000000025.jpg)" in table.notes
    assert "unknown value of empty 'keeep': did you mean 'keep'?" in refusal(
        lambda: data.load(str(coco2017), empty="keeep")
    )


def test_coco_reads_the_newest_year_unless_told_otherwise(coco2017: Path) -> None:
    older = instances({9: "COCO_train2014_000000000009.jpg"}, [(9, 90)])
    write(coco2017 / "annotations/instances_train2014.json", older)
    write(coco2017 / "annotations/captions_train2014.json", "not read")
    assert len(data.load(str(coco2017))) == 4
    table = data.load(str(coco2017), year="2014")
    assert by_item(table) == {"train2014/COCO_train2014_000000000009.jpg": {"banana": 1}}
    assert "unknown year '2015'" in refusal(lambda: data.load(str(coco2017), year="2015"))


def test_coco_reads_its_archives_unpacked_or_not(coco2017: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    pack(coco2017 / "annotations", packed / "annotations_trainval2017.zip", "annotations/")
    for part in ("train2017", "val2017"):
        pack(coco2017 / part, packed / f"{part}.zip", f"{part}/")
    for path in (packed, packed / "annotations_trainval2017.zip"):
        table = data.load(str(path))
        assert table.source.startswith("coco:")
        assert table.items[0] == "train2017.zip/train2017/000000000009.jpg"
        assert list(by_item(table).values()) == list(EXPECTED.values())
        assert all(image.exists() for image in table.images())
    whole = data.load(f"coco:{pack(coco2017, tmp_path / 'coco.zip')}")
    assert list(by_item(whole)) == [f"coco.zip/{item}" for item in EXPECTED]
    assert all(image.exists() for image in whole.images())


def test_coco_reads_one_file(coco2017: Path, tmp_path: Path) -> None:
    table = data.load(str(coco2017 / "annotations/instances_val2017.json"))
    assert by_item(table) == {"val2017/000000000139.jpg": {"stop sign": 1}}
    assert table.image(0).exists()
    assert "train" not in table.notes[0]
    own = write(tmp_path / "own/my_test.json", VAL)
    own_table = data.load(f"coco:{own}", images=str(coco2017 / "val2017"))
    assert (own_table.items[0], own_table.split.tolist()) == ("000000000139.jpg", ["test"])
    assert own_table.image(0).exists()
    assert own_table.notes == ()


def test_coco_images_may_lie_elsewhere(coco2017: Path, tmp_path: Path) -> None:
    (tmp_path / "photos/images").mkdir(parents=True)
    for part in ("train2017", "val2017"):
        (coco2017 / part).rename(tmp_path / "photos/images" / part)
    table = data.load(str(coco2017), images=str(tmp_path / "photos"))
    assert table.items[0] == "images/train2017/000000000009.jpg"
    assert all(image.exists() for image in table.images())
    assert "nowhere: no such folder: check the option images" in refusal(
        lambda: data.load(str(coco2017), images="nowhere")
    )


def changed(**changes: Any) -> dict[str, Any]:
    """The training file with other entries."""
    return {**TRAIN, **changes}


IMAGE, OBJECT, KIND = TRAIN["images"][0], TRAIN["annotations"][0], TRAIN["categories"][0]
BAD_COCO: dict[str, tuple[Any, str]] = {
    "cut short": (json.dumps(TRAIN)[:-40], "not the JSON that is expected here"),
    "empty": ("", "not the JSON that is expected here"),
    "a list": ([], "Expected `object`"),
    "no categories": ({"images": [], "annotations": []}, "missing required field `categories`"),
    "captions in its place": (changed(annotations=[{"image_id": 9, "caption": "x"}]), "category_id"),
    "a word for a number": (changed(images=[{**IMAGE, "id": "9"}]), "Expected `int`, got `str` - at `$.images[0].id`"),
    "a number too large": (changed(images=[{**IMAGE, "id": 2**63}]), "$.images[0].id"),
    "an image twice": (changed(images=[*TRAIN["images"], IMAGE]), "image ids stand twice: 9"),
    "a file twice": (changed(images=[IMAGE, {**IMAGE, "id": 30}]), "file names stand twice: 000000000009.jpg"),
    "a category twice": (changed(categories=[KIND, KIND]), "category ids stand twice: 13"),
    "other classes": (changed(categories=[*TRAIN["categories"], {"id": 3, "name": "x"}]), "its categories are not"),
    "an object of no image": (
        changed(annotations=[OBJECT, {**OBJECT, "image_id": 8}]), "object 2 is of image 8, which is not in the file",
    ),
    "an object of no category": (
        changed(annotations=[{**OBJECT, "category_id": 12}]), "object 1 is of category 12, which is not in the file",
    ),
    "a path that leads out": (changed(images=[{**IMAGE, "file_name": "../../x.jpg"}], annotations=[]), "leads out of"),
    "an absolute path": (changed(images=[{**IMAGE, "file_name": "/y.jpg"}], annotations=[]), "leads out of"),
    "fewer classes": (changed(categories=TRAIN["categories"][:2], annotations=[]), "its categories are not"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_COCO)
def test_a_bad_coco_is_named_with_its_place(coco2017: Path, case: str) -> None:
    content, message = BAD_COCO[case]
    write(coco2017 / "annotations/instances_train2017.json", content)
    said = refusal(lambda: data.load(str(coco2017)))
    assert message in said
    assert "coco" in said


def test_coco_names_with_spaces_and_commas_and_a_folder_without_annotations(coco2017: Path, tmp_path: Path) -> None:
    file = instances({9: "a b,c\nd.jpg"}, [(9, 1)])
    write(coco2017 / "annotations/instances_train2017.json", file)
    assert data.load(str(coco2017)).items[0] == "train2017/a b,c\nd.jpg"
    assert "annotations/instances_{train,val}" in refusal(lambda: data.load(f"coco:{tmp_path}"))
    write(coco2017 / "annotations/instances_train2017.json", instances({}, []))
    assert len(data.load(str(coco2017))) == 1


def test_each_folder_is_recognised_as_its_own(voc2007: Path, coco2017: Path, tmp_path: Path) -> None:
    found = {
        "voc": voc2007.parent, "coco": coco2017, "wider": write_wider(tmp_path / "w", "Anno"),
        "vaw": write_vaw(tmp_path / "v"), "vispr": write_vispr(tmp_path / "s", "{part}", "{part}"),
    }  # fmt: skip
    (tmp_path / "s/attributes.tsv").unlink()
    for name, path in found.items():
        assert name == recognise(path).NAME
    (tmp_path / "f/cat").mkdir(parents=True)
    write_image(tmp_path / "f/cat/1.png", 1, 1)
    assert recognise(tmp_path / "f").NAME == "folder"

"""VOC, COCO, their long-tailed lists, WIDER Attribute, VAW and VISPR in the layouts that their owners publish."""

import json
import pickle
import pickletools
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rarecall import data
from rarecall.audit import count_facts
from rarecall.data.formats import recognise, vispr, voc
from rarecall.data.formats.long_tail import read_integer_pickle
from rarecall.errors import DataError, OptionError
from rarecall.labels import tiers
from tests.files import write_image


def write(path: Path, content: str | bytes | object) -> Path:
    """Write a text, bytes, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str | bytes):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pack(folder: Path, archive: Path, top: str = "") -> Path:
    """An uncompressed tar or a zip of what a folder holds."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [f"{top}{path.relative_to(folder).as_posix()}" for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as out:
            for path, name in zip(files, names, strict=True):
                out.write(path, name)
    else:
        with tarfile.open(archive, "w") as out:
            for path, name in zip(files, names, strict=True):
                out.add(path, name)
    return archive


def by_item(table: data.LabelTable) -> dict[str, dict[str, int]]:
    """The labels that are not absent, by item and class."""
    return {
        item: {name: int(value) for name, value in zip(table.names, row, strict=True) if value != 0}
        for item, row in zip(table.items, table.labels, strict=True)
    }


def refused(load: Callable[[], object]) -> str:
    """The one line of a refusal."""
    with pytest.raises((DataError, OptionError)) as caught:
        load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- VOC ---------------------------------------------------------------------------------------------------

OBJECTS = {  # name of the image: class and whether it is difficult, of each object
    "000005": [("chair", 0), ("chair", 1)],
    "000007": [("car", 0), ("person", 1)],
    "000009": [("horse", 0), ("person", 0), ("person", 1)],
    "000001": [("dog", 1)],
}
LISTS_2007 = {"train": ["000005"], "val": ["000007", "000009"], "test": ["000001"]}


def annotation(objects: list[tuple[str, int]], extra: str = "") -> str:
    """An annotation in the owners' words: the first object has a part, the last no mark of difficulty if it is easy."""
    parts = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    body = "".join(
        f"<object><name>{kind}</name><pose>Left</pose>{f'<difficult>{hard}</difficult>' if hard else ''}"
        f"<bndbox><xmin>45.7</xmin></bndbox>{parts}</object>"
        for kind, hard in objects
    )
    return f"<annotation>\n<folder>VOC</folder><segmented>0</segmented>{extra}{body}</annotation>\n"


def write_voc(folder: Path, objects: dict[str, Any], lists: dict[str, list[str]]) -> Path:
    """A VOC20xx."""
    for name, of in objects.items():
        write(folder / f"Annotations/{name}.xml", annotation(of, "<source><object><name>bird</name></object></source>"))
        write(folder / f"JPEGImages/{name}.jpg", b"")
        write_image(folder / f"JPEGImages/{name}.jpg", 1, 0)
    for part, names in lists.items():
        write(folder / f"ImageSets/Main/{part}.txt", "".join(f"{name}\n" for name in names))
    write(folder / "ImageSets/Main/chair_train.txt", "000005  1\n000007 -1\n")
    write(folder / "Annotations/2007_999999.xml", annotation([("sofa", 0)]))  # in no list of Main
    return folder


@pytest.fixture
def voc2007(tmp_path: Path) -> Path:
    """VOCdevkit/VOC2007 with four images."""
    return write_voc(tmp_path / "d/VOCdevkit/VOC2007", OBJECTS, LISTS_2007)


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
    assert "holds VOC of 2007, 2012: choose one" in refused(lambda: data.load(str(voc2007.parent)))
    table = data.load(str(voc2007.parent), year="2012")
    assert by_item(table) == {"VOC2012/JPEGImages/2008_000001.jpg": {"cat": 1}}
    assert "unknown year '2010'" in refused(lambda: data.load(str(voc2007.parent), year="2010"))
    assert "unknown year '2012'" in refused(lambda: data.load(str(voc2007), year="2012"))


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
    assert "unknown value of val 'vl': did you mean 'val'?" in refused(lambda: data.load(str(voc2007), val="vl"))


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
    said = refused(lambda: data.load(str(voc2007)))
    assert message in said
    assert "VOC2007" in said


def test_voc_lists_with_a_byte_order_mark_and_no_lists_at_all(voc2007: Path) -> None:
    write(voc2007 / MAIN, "\ufeff000007\n000009\n".encode())
    assert len(data.load(str(voc2007))) == 4
    shutil.rmtree(voc2007 / "ImageSets")
    (voc2007 / "ImageSets/Main").mkdir(parents=True)
    assert "no ImageSets/Main/train.txt" in refused(lambda: data.load(str(voc2007)))
    assert "no ImageSets/Main in it" in refused(lambda: data.load(f"voc:{voc2007 / 'JPEGImages'}"))


def test_a_voc_archive_cut_short(voc2007: Path, tmp_path: Path) -> None:
    archive = pack(voc2007.parent.parent, tmp_path / "VOC2007.tar")
    archive.write_bytes(archive.read_bytes()[:700])
    assert "VOC2007.tar" in refused(lambda: data.load(str(archive)))


# --- COCO --------------------------------------------------------------------------------------------------

CATEGORIES = [(13, "stop sign"), (1, "person"), (90, "banana")]  # with gaps and out of order


def instances(files: dict[int, str], objects: list[tuple[Any, ...]]) -> dict[str, Any]:
    """An instances file; of each object its image, category, and perhaps whether it is a crowd, and its box."""
    annotations = []
    for number, (image, category, *rest) in enumerate(objects):
        crowd, box = (*rest, *(0, [1.5, 2, 30, 40])[len(rest) :])
        shape: Any = {"counts": [1, 2], "size": [3, 1]} if crowd else [[1.0, 2.0, 3.5, 4.25, 5, 6]]
        annotations.append(
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "iscrowd": crowd,
                "bbox": box,
                "area": float(box[2] * box[3]),
                "segmentation": shape,
            }
        )
    return {
        "info": {"year": 2017},
        "licenses": [{"id": 1, "name": "x", "url": "y"}],
        "images": [
            {"id": number, "file_name": name, "width": 64, "height": 48, "license": 1} for number, name in files.items()
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "thing"} for number, name in CATEGORIES],
    }


TRAIN = instances(
    {9: "000000000009.jpg", 25: "000000000025.jpg", 30: "000000000030.jpg"}, [(30, 90), (9, 1), (9, 1), (9, 13, 1)]
)
VAL = instances({139: "000000000139.jpg"}, [(139, 13)])


@pytest.fixture
def coco2017(tmp_path: Path) -> Path:
    """COCO 2017 with three training images and one for validation."""
    folder = tmp_path / "coco"
    write(folder / "annotations/instances_train2017.json", TRAIN)
    write(folder / "annotations/instances_val2017.json", VAL)
    for part, file in (("train", TRAIN), ("val", VAL)):
        (folder / f"{part}2017").mkdir()
        for image in file["images"]:
            write_image(folder / f"{part}2017" / image["file_name"], 0, 1)
    return folder


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
    assert "unknown value of empty 'keeep': did you mean 'keep'?" in refused(
        lambda: data.load(str(coco2017), empty="keeep")
    )


def test_coco_reads_the_newest_year_unless_told_otherwise(coco2017: Path) -> None:
    older = instances({9: "COCO_train2014_000000000009.jpg"}, [(9, 90)])
    write(coco2017 / "annotations/instances_train2014.json", older)
    write(coco2017 / "annotations/captions_train2014.json", "not read")
    assert len(data.load(str(coco2017))) == 4
    table = data.load(str(coco2017), year="2014")
    assert by_item(table) == {"train2014/COCO_train2014_000000000009.jpg": {"banana": 1}}
    assert "unknown year '2015'" in refused(lambda: data.load(str(coco2017), year="2015"))


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
    assert "nowhere: no such folder: check the option images" in refused(
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
    said = refused(lambda: data.load(str(coco2017)))
    assert message in said
    assert "coco" in said


def test_coco_names_with_spaces_and_commas_and_a_folder_without_annotations(coco2017: Path, tmp_path: Path) -> None:
    file = instances({9: "a b,c\nd.jpg"}, [(9, 1)])
    write(coco2017 / "annotations/instances_train2017.json", file)
    assert data.load(str(coco2017)).items[0] == "train2017/a b,c\nd.jpg"
    assert "annotations/instances_{train,val}" in refused(lambda: data.load(f"coco:{tmp_path}"))
    write(coco2017 / "annotations/instances_train2017.json", instances({}, []))
    assert len(data.load(str(coco2017))) == 1


# --- the long-tailed lists ---------------------------------------------------------------------------------


@pytest.fixture
def devkit(voc2007: Path) -> Path:
    """VOCdevkit with both years and the authors' list."""
    objects = {"2008_000002": [("tvmonitor", 0)], "2009_000001": [("cat", 1), ("sofa", 0)], "2009_000002": []}
    write_voc(voc2007.parent / "VOC2012", objects, {"train": list(objects)})
    write(voc2007.parent / "longtail2012/img_id.txt", "2009_000001\n2008_000002\n")
    return voc2007.parent


def test_voc_lt_takes_the_list_in_its_order_and_counts_difficult_objects(devkit: Path) -> None:
    expected = {
        "VOC2012/JPEGImages/2009_000001.jpg": {"cat": 1, "sofa": 1},
        "VOC2012/JPEGImages/2008_000002.jpg": {"tvmonitor": 1},
        "VOC2007/JPEGImages/000001.jpg": {"dog": 1},
    }
    table = data.load(f"voc-lt:{devkit}")
    assert list(by_item(table).items()) == list(expected.items())
    assert table.split.tolist() == ["train", "train", "test"]
    assert all(image.exists() for image in table.images())
    assert "2 of 1,142 train images" in table.notes[0]
    ids = devkit / "longtail2012/img_id.txt"
    assert by_item(data.load(f"voc-lt:{devkit / 'VOC2012'}", ids=str(ids))) == expected
    assert data.load(f"voc-lt:{devkit}", difficult="unknown").labels[0, voc.CLASSES.index("cat")] == -1
    assert recognise(devkit).NAME == "voc"


def test_voc_lt_reads_two_archives(devkit: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    train = pack(devkit / "VOC2012", tmp_path / "a/VOCtrainval_11-May-2012.tar", "VOCdevkit/VOC2012/")
    test = pack(devkit / "VOC2007", tmp_path / "VOCtest_06-Nov-2007.tar", "VOCdevkit/VOC2007/")
    table = data.load(f"voc-lt:{train}", ids=str(devkit / "longtail2012/img_id.txt"), test=str(test))
    assert table.root == tmp_path.resolve()
    assert table.items[0] == "a/VOCtrainval_11-May-2012.tar/VOCdevkit/VOC2012/JPEGImages/2009_000001.jpg"
    assert table.items[2] == "VOCtest_06-Nov-2007.tar/VOCdevkit/VOC2007/JPEGImages/000001.jpg"
    assert all(image.exists() for image in table.images())


BAD_LISTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("\n \n", "the file is empty"),
    "an id twice": ("2008_000002\n2008_000002\n", "ids stand twice: 2008_000002"),
    "a path": ("2008_000002\n../x\n", "line 2: '../x' is not an image id"),
    "an absolute path": ("/2008_000002\n", "line 1: '/2008_000002' is not an image id"),
    "an image that is not there": ("2008_000003\n", "no XML of 2008_000003"),
    "another encoding": ("2008_\u00e9".encode("latin-1"), "is not UTF-8"),
    "a very long line": ("0" * (1 << 21), "not a list"),
    "two columns": ("2008_000002 1\n", "line 1: '2008_000002 1' is not"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_bad_list_is_named_with_its_place(devkit: Path, case: str) -> None:
    content, message = BAD_LISTS[case]
    write(devkit / "longtail2012/img_id.txt", content)
    assert message in refused(lambda: data.load(f"voc-lt:{devkit}"))


def test_a_missing_list_or_test_part_says_what_to_give(devkit: Path) -> None:
    assert "no such file" in refused(lambda: data.load(f"voc-lt:{devkit}", ids="nowhere.txt"))
    assert "no such file" in refused(lambda: data.load(f"voc-lt:{devkit}", ids=str(devkit)))
    (devkit / "VOC2007/ImageSets/Main/test.txt").unlink()
    assert "no test.txt" in refused(lambda: data.load(f"voc-lt:{devkit}"))
    (devkit / "longtail2012/img_id.txt").unlink()
    assert "give it, as in ids=" in refused(lambda: data.load(f"voc-lt:{devkit}"))


def test_coco_lt_leaves_out_unsound_boxes_and_keeps_crowds(coco2017: Path) -> None:
    objects = [(9, 1, 1), (9, 90, 0, [0, 0, 0.5, 9]), (30, 13, 0, [0, 0, 5, 0]), (30, 90), (25, 13)]
    write(
        coco2017 / "annotations/instances_train2017.json",
        instances({9: "000000000009.jpg", 25: "000000000025.jpg", 30: "000000000030.jpg"}, objects),
    )
    file = json.loads((coco2017 / "annotations/instances_train2017.json").read_text())
    sound = {**file["annotations"][-1], "image_id": 30, "category_id": 13}
    file["annotations"] += [{**sound, "area": 0}, {**sound, "ignore": 1}]
    write(coco2017 / "annotations/instances_train2017.json", file)
    write(coco2017 / "longtail2017/img_id.pkl", "30\n9\n")  # a text, as the authors publish it
    expected = {
        "train2017/000000000030.jpg": {"banana": 1},
        "train2017/000000000009.jpg": {"person": 1},
        "val2017/000000000139.jpg": {"stop sign": 1},
    }
    table = data.load(f"coco-lt:{coco2017}")
    assert list(by_item(table).items()) == list(expected.items())
    assert table.split.tolist() == ["train", "train", "test"]
    assert all(image.exists() for image in table.images())
    assert "2 of 1,909 train images" in table.notes[0]
    for protocol in range(6):
        listed = write(coco2017 / "ids.pkl", pickle.dumps([30, 9], protocol))
        assert by_item(data.load(f"coco-lt:{coco2017}", ids=str(listed))) == expected


def test_coco_lt_refuses_other_lists(coco2017: Path) -> None:
    file = coco2017 / "img_id.pkl"
    for content, message in (
        ("222564\n9\n491440\n", "another draw than the published one"),
        ("9\n8\n7\n", "2 images are not in"),
        ("2008_000002\n", "'2008_000002' is not a number of a COCO image"),
        ("9" * 30, "is not a number of a COCO image"),
        (pickle.dumps({"a": 1}), "opcode EMPTY_DICT is none that a list of integers needs"),
    ):
        write(file, content)
        assert message in refused(lambda: data.load(f"coco-lt:{coco2017}"))
    (coco2017 / "annotations/instances_val2017.json").unlink()
    write(file, "9\n")
    assert "no annotations/instances_val2017.json" in refused(lambda: data.load(f"coco-lt:{coco2017}"))


NUMBERS = [0, 1, 255, 256, 65535, 65536, 2**31, -5, 2**70, 554625, 554625]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value", [NUMBERS, tuple(NUMBERS), [], (), (7,), (7, 8), (1, 2, 3), list(range(3000)), ["17", "17", "9"]]
)
def test_pickles_of_integers_are_read_as_pickle_would(value: Any, protocol: int) -> None:
    assert read_integer_pickle(pickle.dumps(value, protocol)) == [int(one) for one in value]


class Malicious:
    """What would write a file if it were unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_refused_by_the_opcode_and_not_executed(tmp_path: Path, protocol: int) -> None:
    data_of = pickle.dumps([1, Malicious(tmp_path / "executed")], protocol)
    assert "opcode" in refused(lambda: read_integer_pickle(data_of, "list.pkl"))
    assert not (tmp_path / "executed").exists()
    pickle.loads(data_of)  # it would have executed
    assert (tmp_path / "executed").exists()


ALLOWED = """
PROTO FRAME STOP MARK EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 INT BININT BININT1 BININT2
LONG LONG1 LONG4 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
"""


@pytest.mark.parametrize("opcode", [one for one in pickletools.opcodes if one.name not in ALLOWED.split()])
def test_every_other_opcode_is_refused_by_its_name(opcode: pickletools.OpcodeInfo) -> None:
    said = refused(lambda: read_integer_pickle(b"(" + opcode.code.encode("latin-1") + b"\x01\n\\q\n.", "list.pkl"))
    assert said == f"list.pkl: opcode {opcode.name} is none that a list of integers needs: not read"


def test_known_attacks_name_what_is_refused() -> None:
    for attack, name in (
        (b"cos\nsystem\n(S'true'\ntR.", "GLOBAL"),
        (b"(S'true'\nios\nsystem\n.", "STRING"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", "STACK_GLOBAL"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"P1\n.", "PERSID"),
        (b"K\x01Q.", "BINPERSID"),
    ):
        assert f"opcode {name} is none" in refused(lambda attack=attack: read_integer_pickle(attack))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_cut_short_is_refused_at_every_length(protocol: int) -> None:
    whole = pickle.dumps([554625, 118113, 2**40, (1,)][:3], protocol)
    for length in range(len(whole)):
        assert "damaged as a pickle" in refused(lambda length=length: read_integer_pickle(whole[:length]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([1, [2]]), "a list with a list in it"),
        (pickle.dumps([1, "two"]), "a list with a str in it"),
        (pickle.dumps([""]), "a list with a str in it"),
        (pickle.dumps([[]]), "a list with a list in it"),
        (pickle.dumps([()]), "a list with a tuple in it"),
        (b"](a.", "a list with a object in it"),
        (pickle.dumps(7), "holds one int, not a list"),
        (pickle.dumps([True], 0), "damaged as a pickle"),
        (pickle.dumps([True]), "opcode NEWTRUE is none that"),
        (pickle.dumps([1]) + b"x", "more after its end"),
        (b"(.", "damaged as a pickle"),
        (b"\x80\x02]q\x00h\x05.", "damaged as a pickle"),
        (b"]K\x01K\x02e.", "damaged as a pickle"),
        (b"\xffabc", "damaged as a pickle"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "damaged as a pickle"),
        (b"K\x01K\x02a.", "damaged as a pickle"),
        (b"L" + b"9" * 9000 + b"L\n.", "damaged as a pickle"),
    ],
)
def test_a_pickle_of_something_else_is_refused(content: bytes, message: str) -> None:
    assert message in refused(lambda: read_integer_pickle(content))


SCRAPS = st.lists(st.sampled_from(list(b"\x80\x04(]aeltq\x85h0KM.I1\n\x94Vpg-L")), max_size=30).map(bytes)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | SCRAPS)
def test_any_bytes_are_a_list_of_integers_or_refused_in_one_line(content: bytes) -> None:
    try:
        found = read_integer_pickle(content)
    except DataError as error:
        said = str(error)
    else:
        assert all(type(number) is int for number in found)
        assert found == [int(number) for number in pickle.loads(content)]
        said = ""
    assert "\n" not in said


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
    assert "unknown value of no_area" in refused(lambda: data.load(str(folder), no_area="crop"))


def test_wider_with_one_of_its_files_and_inside_a_zip(tmp_path: Path) -> None:
    folder = write_wider(tmp_path / "w", "")
    packed = data.load(f"wider:{pack(folder, tmp_path / 'w.zip')}")
    assert list(packed.items) == [f"w.zip/{item}" for item in EXPECTED_WIDER]
    assert all(image.exists() for image in packed.images())
    (folder / "wider_attribute_trainval.json").unlink()
    assert data.load(str(folder)).split.tolist() == ["test"]
    assert "no wider_attribute_trainval.json" in refused(lambda: data.load(f"wider:{folder / 'Image'}"))


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
    assert message in refused(lambda: data.load(str(write_wider(tmp_path / "w", "", content))))


def test_wider_ids_with_a_gap_and_no_people_at_all(tmp_path: Path) -> None:
    gap = {**wider_file(TRAINVAL), "attribute_id_map": {"0": "a", "1": "b", "3": "c"}}
    write(tmp_path / "w/wider_attribute_trainval.json", gap)
    assert "do not count from 0 or 1 without a gap" in refused(lambda: data.load(str(tmp_path / "w")))
    write(tmp_path / "w/wider_attribute_trainval.json", wider_file([("train/a--b/x.jpg", [])]))
    assert "no person in its JSON files" in refused(lambda: data.load(str(tmp_path / "w")))


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
    assert message in refused(lambda: data.load(str(tmp_path / "v")))


def test_vaw_with_one_training_part_missing_or_nothing(tmp_path: Path) -> None:
    folder = write_vaw(tmp_path / "v")
    (folder / "data/train_part2.json").unlink()
    assert "no train_part2.json" in refused(lambda: data.load(str(folder)))
    for name in ("train_part1.json", "val.json", "test.json"):
        (folder / "data" / name).unlink()
    assert "no objects: expected train_part1.json" in refused(lambda: data.load(f"vaw:{folder}"))
    (folder / "data/attribute_index.json").unlink()
    assert "no attribute_index.json" in refused(lambda: data.load(f"vaw:{folder}"))


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
    assert message in refused(lambda: data.load(str(folder)))


def test_vispr_without_annotations(tmp_path: Path) -> None:
    write(tmp_path / "v/attributes.tsv", TSV)
    assert "no JSON in train2017/, val2017/ or test2017/" in refused(lambda: data.load(str(tmp_path / "v")))


# --- recognition and real files ----------------------------------------------------------------------------


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


def known_labels(folder: Path) -> tuple[list[str], np.ndarray]:
    """The published ids and labels of a long-tailed list, as the development data holds them."""
    table = data.load(str(folder / "labels.csv"))
    assert list(table.items) == (folder / "image_ids.txt").read_text().split()
    return list(table.items), table.labels


@pytest.mark.parametrize(
    ("name", "images", "extremes", "members"),
    [("voc_lt", 1142, (4, 775), (6, 6, 8)), ("coco_lt", 1909, (6, 1128), (22, 33, 25))],
)
def test_the_real_lists_have_the_counts_of_the_paper(
    data_folder: Path, name: str, images: int, extremes: tuple[int, int], members: tuple[int, int, int]
) -> None:
    ids, labels = known_labels(data_folder / name)
    positives = (labels == 1).sum(0)
    assert len(ids) == images
    assert (positives.min(), positives.max()) == extremes
    assert tuple(tiers(positives).count(tier) for tier in ("head", "medium", "tail")) == members


def test_the_real_voc_list_gives_the_counts_of_the_paper(data_folder: Path, tmp_path: Path) -> None:
    ids, labels = known_labels(data_folder / "voc_lt")
    objects = {
        name: [(voc.CLASSES[column], 1 - column % 2) for column in np.flatnonzero(row == 1)]
        for name, row in zip(ids, labels, strict=True)
    }
    for name, of in objects.items():
        write(tmp_path / f"VOC2012/Annotations/{name}.xml", annotation(of))
    write(tmp_path / "VOC2012/ImageSets/Main/trainval.txt", "\n".join(sorted(ids)))
    write_voc(tmp_path / "VOC2007", OBJECTS, LISTS_2007)
    table = data.load(f"voc-lt:{tmp_path}", ids=str(data_folder / "voc_lt/image_ids.txt"))
    np.testing.assert_array_equal(table.labels[:-1], labels)
    assert table.notes == ("not as published: 1 of 4,952 test images (4,951 missing)",)


def test_the_real_coco_list_gives_the_counts_of_the_paper(data_folder: Path, tmp_path: Path) -> None:
    ids, labels = known_labels(data_folder / "coco_lt")
    names = (data_folder / "coco_lt/classes.txt").read_text().split()
    file = instances({int(name): f"{int(name):012d}.jpg" for name in sorted(ids)}, [])
    file["categories"] = [{"id": number * 2 + 1, "name": name} for number, name in enumerate(names)]
    file["annotations"] = [
        {"image_id": int(ids[row]), "category_id": int(column) * 2 + 1, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}
        for row, column in np.argwhere(labels == 1)
    ]
    write(tmp_path / "annotations/instances_train2017.json", file)
    write(tmp_path / "annotations/instances_val2017.json", {**file, "images": file["images"][:1], "annotations": []})
    table = data.load(f"coco-lt:{tmp_path}", ids=str(data_folder / "coco_lt/image_ids.txt"))
    np.testing.assert_array_equal(table.labels[:-1], labels)
    assert table.items[0] == "train2017/000000554625.jpg"
    assert table.notes == ("not as published: 1 of 5,000 test images (4,999 missing)",)

"""The long-tailed lists of VOC and COCO, and the pickles that they come in."""

import json
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rarecall import data
from rarecall.data.formats import recognise, voc
from rarecall.data.formats.long_tail import read_integer_pickle
from rarecall.errors import DataError
from rarecall.labels import tiers
from tests.published import (
    LISTS_2007,
    OBJECTS,
    annotation,
    by_item,
    instances,
    pack,
    refusal,
    write,
    write_voc,
)

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
    assert message in refusal(lambda: data.load(f"voc-lt:{devkit}"))


def test_a_missing_list_or_test_part_says_what_to_give(devkit: Path) -> None:
    assert "no such file" in refusal(lambda: data.load(f"voc-lt:{devkit}", ids="nowhere.txt"))
    assert "no such file" in refusal(lambda: data.load(f"voc-lt:{devkit}", ids=str(devkit)))
    (devkit / "VOC2007/ImageSets/Main/test.txt").unlink()
    assert "no test.txt" in refusal(lambda: data.load(f"voc-lt:{devkit}"))
    (devkit / "longtail2012/img_id.txt").unlink()
    assert "give it, as in ids=" in refusal(lambda: data.load(f"voc-lt:{devkit}"))


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
        assert message in refusal(lambda: data.load(f"coco-lt:{coco2017}"))
    (coco2017 / "annotations/instances_val2017.json").unlink()
    write(file, "9\n")
    assert "no annotations/instances_val2017.json" in refusal(lambda: data.load(f"coco-lt:{coco2017}"))


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
    assert "opcode" in refusal(lambda: read_integer_pickle(data_of, "list.pkl"))
    assert not (tmp_path / "executed").exists()
    pickle.loads(data_of)  # it would have executed
    assert (tmp_path / "executed").exists()


ALLOWED = """
PROTO FRAME STOP MARK EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 INT BININT BININT1 BININT2
LONG LONG1 LONG4 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
"""


@pytest.mark.parametrize("opcode", [one for one in pickletools.opcodes if one.name not in ALLOWED.split()])
def test_every_other_opcode_is_refused_by_its_name(opcode: pickletools.OpcodeInfo) -> None:
    said = refusal(lambda: read_integer_pickle(b"(" + opcode.code.encode("latin-1") + b"\x01\n\\q\n.", "list.pkl"))
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
        assert f"opcode {name} is none" in refusal(lambda attack=attack: read_integer_pickle(attack))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_cut_short_is_refused_at_every_length(protocol: int) -> None:
    whole = pickle.dumps([554625, 118113, 2**40, (1,)][:3], protocol)
    for length in range(len(whole)):
        assert "damaged as a pickle" in refusal(lambda length=length: read_integer_pickle(whole[:length]))


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
    assert message in refusal(lambda: read_integer_pickle(content))


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


# --- the real lists ----------------------------------------------------------------------------


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

"""Shards of WebDataset and data sets saved by Hugging Face: what is read, and the line to what is wrong."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from rarecall import data
from rarecall.data import LabelTable
from rarecall.data.formats import webdataset
from rarecall.images.decoding import decode
from tests.published import as_json, damaged, is_grey, png, refused, shard, write

# --- WebDataset --------------------------------------------------------------------------------------------


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


# --- damage ---------------------------------------------------------------------------------------------


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

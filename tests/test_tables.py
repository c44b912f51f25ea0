"""Tables of a user's own in every kind of file, and tables that are saved and read back."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rarecall import data
from rarecall.data import LabelTable
from rarecall.data.formats import recognise
from rarecall.errors import DataError, OptionError

# The same three rows for every kind of file: class columns, an unknown one, the parts.
ROWS: list[dict[str, object]] = [
    {"image": "a b,c.jpg", "hat": 1, "bag": None, "split": "train"},
    {"image": "ü\n.jpg", "hat": 0, "bag": 1, "split": "val"},
    {"image": "007.jpg", "hat": -1, "bag": 0, "split": "test"},
]
TAGS: list[dict[str, object]] = [
    {"image": "a.jpg", "tags": ["red", " long "]},
    {"image": "b.jpg", "tags": []},
    {"image": "c.jpg", "tags": None},
    {"image": "d.jpg", "tags": ["red", "red", ""]},
]


def as_csv(rows: list[dict[str, object]], path: Path) -> str:
    """Comma-separated, lists with bars between."""
    text = [{key: "|".join(value) if isinstance(value, list) else value for key, value in row.items()} for row in rows]
    pl.DataFrame(text).write_csv(path.with_suffix(".csv"))
    return str(path.with_suffix(".csv"))


def as_parquet(rows: list[dict[str, object]], path: Path) -> str:
    """Parquet with columns of their own types."""
    pl.DataFrame(rows).write_parquet(path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def as_lines(rows: list[dict[str, object]], path: Path) -> str:
    """JSON Lines; a missing value is a missing key."""
    kept = [{key: value for key, value in row.items() if value is not None} for row in rows]
    path.with_suffix(".jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in kept))
    return str(path.with_suffix(".jsonl"))


KINDS: dict[str, Callable[[list[dict[str, object]], Path], str]] = {
    "csv": as_csv, "parquet": as_parquet, "lines": as_lines,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_class_columns_are_read_alike_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    table = data.load(KINDS[kind](ROWS, tmp_path / "t"))
    assert list(table.items) == ["a b,c.jpg", "ü\n.jpg", "007.jpg"]
    assert list(table.names) == ["hat", "bag"]
    assert table.labels.tolist() == [[1, -1], [0, 1], [-1, 0]]
    assert table.split.tolist() == ["train", "val", "test"]
    assert table.root == tmp_path
    assert table.source.startswith(("csv:", "table:"))
    assert not table.notes


@pytest.mark.parametrize("kind", KINDS)
def test_tags_are_read_alike_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    file = KINDS[kind](TAGS, tmp_path / "t")
    missing = 0 if kind == "csv" else -1  # a blank cell of a CSV is there: it lists no tag
    table = data.load(file)
    assert list(table.names) == ["long", "red"]
    assert table.labels.tolist() == [[1, 1], [0, 0], [missing] * 2, [0, 1]]
    assert data.load(file, unlisted="unknown").labels.tolist() == [[1, 1], [-1, -1], [-1, -1], [-1, 1]]
    assert data.load(file, blank="absent").labels.tolist() == [[1, 1], [0, 0], [0, 0], [0, 1]]
    with pytest.raises(OptionError, match="unknown unlisted 'abstent': did you mean 'absent'"):
        data.load(file, unlisted="abstent")


@pytest.mark.parametrize("kind", ["parquet", "lines"])
def test_tags_that_are_missing_are_unknown_and_empty_ones_absent(tmp_path: Path, kind: str) -> None:
    cases: list[tuple[list[object], list[list[int]]]] = [
        (["x|y", None, "", "x"], [[1, 1], [-1, -1], [0, 0], [1, 0]]),  # texts with separators
        (["x", None, "y", ""], [[1, 0], [-1, -1], [0, 1], [0, 0]]),  # texts without
        ([[7, 8], None, [], [8]], [[1, 1], [-1, -1], [0, 0], [0, 1]]),  # numbers
        ([["x", None], None, [], ["y"]], [[1, -1], [-1, -1], [0, 0], [0, 1]]),  # one tag of several is not known
    ]
    for number, (tags, expected) in enumerate(cases):
        rows = [{"image": f"{row}.jpg", "tags": one} for row, one in enumerate(tags)]
        file = KINDS[kind](rows, tmp_path / f"t{number}")
        assert data.load(file).labels.tolist() == expected
        absent = data.load(file, blank="absent").labels
        assert absent[1].tolist() == [0, 0]
        assert np.delete(absent, 1, axis=0).tolist() == expected[:1] + expected[2:]


def test_features_with_tags_that_are_missing(tmp_path: Path) -> None:
    frame = pl.DataFrame({"emb": [[1.0], [2.0], [3.0]], "tags": [["x"], None, []]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert data.load(str(tmp_path / "t.parquet")).labels.tolist() == [[1], [-1], [0]]
    assert data.load(str(tmp_path / "t.parquet"), blank="absent").labels.tolist() == [[1], [0], [0]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_is_absent_only_when_asked_for(tmp_path: Path, kind: str) -> None:
    file = KINDS[kind](ROWS, tmp_path / "t")
    assert data.load(file, blank="absent").labels[0].tolist() == [1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_that_are_no_classes_are_ignored_by_name_and_kept(tmp_path: Path, kind: str) -> None:
    rows = [{**row, "person": f"p{number}", "width, px": 640 + number} for number, row in enumerate(ROWS)]
    file = KINDS[kind](rows, tmp_path / "t")
    with pytest.raises(DataError, match=r'column "person": p0 is not 1, 0, -1 or blank.*--option ignore=person'):
        data.load(file)
    table = data.load(file, ignore='person, "width, px"')
    assert list(table.names) == ["hat", "bag"]
    assert table.columns["person"].tolist() == ["p0", "p1", "p2"]
    assert [int(width) for width in table.columns["width, px"]] == [640, 641, 642]
    assert data.load(file, ignore=["person", "width, px"]).labels.tolist() == table.labels.tolist()
    with pytest.raises(DataError, match="no column 'persn'"):
        data.load(file, ignore="persn")
    split = data.split(table, {"train": 0.6, "test": 0.4}, group="person")
    assert set(split.split) == {"train", "test"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_beside_a_column_of_tags_is_kept(tmp_path: Path, kind: str) -> None:
    rows = [{**row, "person": f"p{number}"} for number, row in enumerate(TAGS)]
    table = data.load(KINDS[kind](rows, tmp_path / "t"))
    assert list(table.names) == ["long", "red"]
    assert {name: column.tolist() for name, column in table.columns.items()} == {"person": ["p0", "p1", "p2", "p3"]}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_stands_twice_is_told(tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, object]] = [{"image": name, "hat": 1} for name in ("a.jpg", "b.jpg", "a.jpg", "")]
    table = data.load(KINDS[kind](rows, tmp_path / "t"))
    assert len(table) == 4
    assert table.notes == (
        "1 image stands in more than one row, such as a.jpg: each row counts",
        "1 row names no image",
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "x/../../a.jpg"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    with pytest.raises(DataError, match="leads out of the folder"):
        data.load(KINDS[kind]([{"image": name, "hat": 1}], tmp_path / "t"))


@pytest.mark.parametrize("kind", KINDS)
def test_very_long_cells(tmp_path: Path, kind: str) -> None:
    """A note of ten million characters is kept, and never shown whole."""
    rows: list[dict[str, object]] = [{"image": f"{n}.jpg", "hat": n, "note": "x" * 10_000_000 * n} for n in (0, 1)]
    file = KINDS[kind](rows, tmp_path / "t")
    table = data.load(file, ignore="note")
    assert table.labels.tolist() == [[0], [1]]
    assert len(table.columns["note"][1]) == 10_000_000
    with pytest.raises(DataError, match='column "note"') as caught:
        data.load(file)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", ["parquet", "lines"])
def test_class_numbers_sort_as_numbers(tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, object]] = [{"image": "a", "tags": [10, 9]}, {"image": "b", "tags": [9]}]
    table = data.load(KINDS[kind](rows, tmp_path / "t"))
    assert list(table.names) == ["9", "10"]
    assert table.labels.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("kind", ["parquet", "lines"])
def test_lists_under_any_name_are_tags(tmp_path: Path, kind: str) -> None:
    rows: list[dict[str, object]] = [{"image": "a", "contents": ["x"]}, {"image": "b", "contents": ["y", "x"]}]
    assert data.load(KINDS[kind](rows, tmp_path / "t")).labels.tolist() == [[1, 0], [1, 1]]


def test_types_that_parquet_has_beside_whole_numbers(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "image": pl.Series(["a", "b", "c"], dtype=pl.Categorical),
            "flag": [True, False, None],
            "real": [1.0, float("nan"), -1.0],
            "small": pl.Series([0, 1, 1], dtype=pl.UInt8),
            "text": ["1", "", "true"],
        }
    )
    frame.write_parquet(tmp_path / "t.parquet")
    table = data.load(str(tmp_path / "t.parquet"))
    assert table.labels.tolist() == [[1, 1, 0, 1], [0, -1, 1, -1], [-1, -1, 1, 1]]
    assert list(table.items) == ["a", "b", "c"]


def test_tags_of_fixed_width_and_as_a_dictionary(tmp_path: Path) -> None:
    tags = pl.Series([["x", "y"], ["y", "z"], None], dtype=pl.Array(pl.String, 2))
    frame = pl.DataFrame({"image": ["a", "b", "c"], "tags": tags})
    for kind in (pl.Array(pl.String, 2), pl.List(pl.Categorical)):
        frame.with_columns(pl.col("tags").cast(kind)).write_parquet(tmp_path / "t.parquet")
        assert data.load(str(tmp_path / "t.parquet")).labels.tolist() == [[1, 1, 0], [0, 1, 1], [-1, -1, -1]]


def test_a_wide_sparse_table_is_read_label_by_label(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wanted = random.random((3000, 200)) < 0.02
    wanted[0] = True  # every class has one
    tags = [[f"class {place:03d}" for place in np.flatnonzero(row)] for row in wanted]
    pl.DataFrame({"image": [f"{row}.jpg" for row in range(3000)], "tags": tags}).write_parquet(tmp_path / "t.parquet")
    table = data.load(str(tmp_path / "t.parquet"))
    assert list(table.names) == [f"class {place:03d}" for place in range(200)]
    assert np.array_equal(table.labels, wanted.astype(np.int8))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_folder_of_parts_is_one_table(tmp_path: Path, suffix: str) -> None:
    for part, kind in (("train", pl.Int64), ("test", pl.Int8)):
        frame = pl.DataFrame({"image": [f"{part}.jpg"], "hat": pl.Series([1], dtype=kind)})
        frame.write_csv(tmp_path / f"{part}.csv") if suffix == ".csv" else frame.write_parquet(
            tmp_path / f"{part}.parquet"
        )
    table = data.load(str(tmp_path))
    assert table.split.tolist() == ["train", "test"]
    assert table.labels.tolist() == [[1], [1]]


def test_a_json_table_with_keys_in_any_order_and_numbers_as_text(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(
        b'\xef\xbb\xbf{"hat": "1", "file_name": "a.jpg"}\r\n\n{"file_name": "b.jpg", "hat": 0, "bag": true}\n'
        b'{"hat": 0.0, "file_name": "c.jpg", "bag": 0}'
    )
    table = data.load(str(file))
    assert list(table.items) == ["a.jpg", "b.jpg", "c.jpg"]
    assert dict(zip(table.names, table.labels.T.tolist(), strict=True)) == {"hat": [1, 0, 0], "bag": [-1, 1, 0]}


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "a line cut short": (b'{"image": "a", "hat": 1}\n{"image": "b", "ha', r"line 2: not a JSON object in UTF-8"),
    "a line that is a list": (b'["a", 1]\n', r"line 1: not a JSON object"),
    "another encoding": ('{"image": "é", "hat": 1}\n'.encode("latin-1"), "line 1: not a JSON object in UTF-8"),
    "UTF-16": ('{"image": "a", "hat": 1}\n'.encode("utf-16"), "line 1: not a JSON object in UTF-8"),
    "nothing": (b"\n", "no rows"),
    "lists and texts under one key": (b'{"image": "a", "t": ["x"]}\n{"image": "b", "t": "x"}', 'key "t" holds values'),
    "an object as a label": (b'{"image": "a", "hat": {"x": 1}}\n', 'row 1, column "hat"'),
    "a value that is no label": (b'{"image": "a", "hat": 1}\n{"image": "b", "hat": 2}\n', 'row 2, column "hat": 2 is'),
    "a real number that is no label": (b'{"image": "a", "hat": 0.5}\n', 'row 1, column "hat": 0.5 is'),
    "no class": (b'{"image": "a"}\n', "no class column beside 'image'"),
    "no image": (b'{"hat": 1}\n', "no column names the images"),
    "no tag": (b'{"image": "a", "tags": []}\n', "lists no tag"),
    "lists of lists": (b'{"image": "a", "tags": [["x"]]}\n', "not names or numbers of classes"),
    "an image that is a list": (b'{"image": ["a"], "hat": 1}\n', "not paths"),
    "deep nesting": (b'{"image": ' + b"[" * 100_000 + b"\n", "line 1: not a JSON object"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_json_table_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    content, message = BAD_LINES[case]
    (tmp_path / "t.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(tmp_path / "t.jsonl"))
    assert "t.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_PARQUET: dict[str, tuple[pl.DataFrame, str]] = {
    "a value that is no label": (pl.DataFrame({"image": ["a", "b"], "hat": [1, 7]}), 'row 2, column "hat": 7 is not'),
    "no rows": (pl.DataFrame({"image": [], "hat": []}), "no rows"),
    "bytes as labels": (pl.DataFrame({"image": ["a"], "hat": [b"\xff"]}), 'row 1, column "hat"'),
    "bytes as images": (pl.DataFrame({"image": [b"\xff\xd8"], "hat": [1]}), "holds Binary, not paths"),
    "an unknown part": (pl.DataFrame({"image": ["a"], "hat": [1], "split": ["dev2"]}), "'dev2' is not train"),
    "tags beside classes": (pl.DataFrame({"image": ["a"], "hat": [1], "tags": [["x"]]}), "--option ignore="),
    "two columns of one name": (pl.DataFrame({"image": ["a"], "hat": [1], "hat ": [1]}), "duplicate column 'hat'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PARQUET)
def test_a_bad_parquet_table_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    frame, message = BAD_PARQUET[case]
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(tmp_path / "t.parquet"))
    assert "t.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_cut_short_or_spoilt_is_refused(tmp_path: Path) -> None:
    file = Path(as_parquet(ROWS, tmp_path / "t"))
    whole = file.read_bytes()
    for spoilt in (whole[: len(whole) // 2], whole[:-1], b"", b"PAR1" + bytes(50) + b"PAR1"):
        file.write_bytes(spoilt)
        with pytest.raises(DataError, match="not readable as Parquet"):
            data.load(str(file))


def test_free_text_does_not_pass_for_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rarecall.data.formats._columns.LARGEST", 50)
    rows: list[dict[str, object]] = [{"image": f"{row}.jpg", "tags": [f"text {row}"]} for row in range(8)]
    with pytest.raises(DataError, match="8 different tags in 8 rows, more than a table can hold: is it free text"):
        data.load(as_parquet(rows, tmp_path / "t"))


def test_a_csv_in_utf_16_is_told_what_it_is(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        (tmp_path / "t.csv").write_bytes("\ufeffimage,hat\na.jpg,1\n".encode(encoding))
        with pytest.raises(DataError, match="this is UTF-16: save the file as UTF-8"):
            data.load(str(tmp_path / "t.csv"))


def test_a_path_with_signs_that_patterns_have(tmp_path: Path) -> None:
    for name in ("t[1]*.parquet", "split=test.parquet"):
        folder = tmp_path / "split=val"
        folder.mkdir(exist_ok=True)
        pl.DataFrame({"image": ["a"], "hat": [1]}).write_parquet(folder / name)
        table = data.load(str(folder / name))
        assert list(table.names) == ["hat"]
        assert table.split.tolist() == ["train"]


def test_features_and_tables_of_images_are_told_apart(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, object]] = {
        "features": {"id": ["a"], "embedding": [[1.0, 2.0]], "hat": [1]},
        "table": {"id": ["a"], "tags": [[1, 2]]},
    }
    kinds["of whole numbers"] = {"id": ["a"], "features": [[1, 2]], "hat": [1]}
    for name, columns in kinds.items():
        pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
        found = recognise(tmp_path / "t.parquet").NAME
        assert found == ("table" if name == "table" else "features")


# --- save and load -----------------------------------------------------------------------------------------


def identical(first: LabelTable, second: LabelTable) -> None:
    """Assert that two tables are the same in everything, types included."""
    assert (list(first.items), list(first.names)) == (list(second.items), list(second.names))
    for name in ("labels", "split", "features"):
        same_array(getattr(first, name), getattr(second, name))
    assert list(first.columns) == list(second.columns)
    for name, column in first.columns.items():
        same_array(column, second.columns[name])
    for name in ("source", "root", "notes", "provenance"):
        assert getattr(first, name) == getattr(second, name)


def same_array(first: np.ndarray | None, second: np.ndarray | None) -> None:
    """Assert that two arrays are the same, bit by bit."""
    if first is None or second is None:
        assert first is second
        return
    assert (first.dtype, first.shape) == (second.dtype, second.shape)
    assert first.tolist() == second.tolist() if first.dtype.hasobject else first.tobytes() == second.tobytes()


def test_dates_of_every_unit_are_saved(tmp_path: Path) -> None:
    values = np.array([-3, 0, 5, np.iinfo(np.int64).min])  # the last is no date
    units = ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "25s", "2D"]
    columns = {f"{kind} {unit}": values.astype(f"{kind}8[{unit}]") for kind in "Mm" for unit in units}
    table = odd_table(tmp_path, items=list("abcd"), names=["x"], labels=np.ones((4, 1), np.int8),
                      split=np.full(4, "train"), columns=columns)  # fmt: skip
    for suffix in (".parquet", ".csv"):
        data.save(table, tmp_path / f"t{suffix}")
        identical(data.load(str(tmp_path / f"t{suffix}")), table)


def test_texts_that_take_gigabytes_are_refused_before_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = odd_table(tmp_path, columns={"long": np.array(["x" * 5000] * len(ODD))})
    for suffix in (".parquet", ".csv"):
        data.save(table, tmp_path / f"t{suffix}")
        identical(data.load(str(tmp_path / f"t{suffix}")), table)
    monkeypatch.setattr("rarecall.data.storage.LARGEST", 100_000)
    for suffix in (".parquet", ".csv"):
        with pytest.raises(DataError, match="column 'long' holds <U5000, which a file cannot"):
            data.save(table, tmp_path / f"t{suffix}")
        with pytest.raises(DataError, match="is of type '<U5000', damaged"):
            data.load(str(tmp_path / f"t{suffix}"))


ODD = [
    'a "b"',
    "c\nd",
    "e\r\nf",
    "\rg",
    "007",
    "",
    " ",
    "h,i;j\t",
    "ü 漢 🎩",
    "=1+1",
    "'",
    "split",
    "image",
    "NA",
    "\ufeffk",
]


def odd_table(folder: Path, **changes: object) -> LabelTable:
    """Odd names everywhere, columns of every type, unknown labels."""
    rows = len(ODD)
    columns = {
        "identity": np.array([f"{row:03d}" for row in range(rows)]),
        "camera": np.arange(rows, dtype=np.uint8),
        "large": np.full(rows, 2**63 - 1),
        "score": np.where(np.arange(rows) % 2, np.float32(0.1), np.float32("nan")),
        "limit": np.array([float("inf"), -0.0, 5e-324] + [0.1 + 0.2] * (rows - 3)),
        "seen": np.arange(rows) % 3 == 0,
        "day": np.datetime64("2020-02-29") + np.arange(rows),
        "text": np.array(ODD, dtype=object),
        "a \"b\"": np.array(ODD),
    }  # fmt: skip
    labels = np.random.default_rng(0).integers(-1, 2, (rows, rows)).astype(np.int8)
    whole: dict[str, object] = {
        "items": ODD, "names": ODD, "labels": labels, "split": np.array((["train", "val", "test"] * rows)[:rows]),
        "source": "csv:odd \"x\".csv", "root": folder, "columns": columns, "notes": ("a\nnote", "ü"),
        "provenance": ("long_tail(maximum=9, minimum=1, seed=0)",),
    }  # fmt: skip
    return LabelTable(**{**whole, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_is_saved_is_read_back_identical(tmp_path: Path, suffix: str) -> None:
    table = odd_table(tmp_path / "photos")
    data.save(table, tmp_path / f"t{suffix}")
    identical(data.load(str(tmp_path / f"t{suffix}")), table)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == sorted(
        {suffix, *([".json"] if suffix == ".csv" else [])}
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.data(), suffix=st.sampled_from([".parquet", ".csv"]))
def test_any_table_is_read_back_identical(tmp_path: Path, content: st.DataObject, suffix: str) -> None:
    rows, classes = content.draw(st.integers(1, 5)), content.draw(st.integers(1, 4))

    def drawn(kind: st.SearchStrategy[object], size: int, unique: bool = False) -> list[object]:
        return content.draw(st.lists(kind, min_size=size, max_size=size, unique=unique))

    packed = suffix == ".parquet" and content.draw(st.booleans())
    table = LabelTable(
        items=drawn(TEXT, rows),  # type: ignore[arg-type]
        names=drawn(TEXT, classes, unique=True),  # type: ignore[arg-type]
        labels=np.array([drawn(st.integers(-1, 1), classes) for _ in range(rows)], np.int8),
        split=np.array(drawn(st.sampled_from(["train", "val", "test"]), rows)),
        source=content.draw(TEXT),
        features=np.arange(6 * rows, dtype=np.float32).reshape(rows, 2, 3) if packed else None,
        columns={name: np.array(drawn(TEXT, rows), object) for name in content.draw(st.sets(TEXT, max_size=2))},
        notes=tuple(content.draw(st.lists(TEXT, max_size=2))),
    )
    data.save(table, tmp_path / f"t{suffix}")
    identical(data.load(str(tmp_path / f"t{suffix}")), table)


def test_features_of_any_shape_are_saved(tmp_path: Path) -> None:
    table = data.load("digits")
    data.save(table, tmp_path / "t.parquet")
    identical(data.load(str(tmp_path / "t.parquet")), table)
    with pytest.raises(DataError, match=r"t\.csv: a CSV holds no features: save the table as \.parquet"):
        data.save(table, tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_a_table_of_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rarecall.data.storage.BLOCK", 7)
    table = odd_table(tmp_path, features=np.random.default_rng(0).random((len(ODD), 3)).astype(np.float32))
    data.save(table, tmp_path / "t.parquet")
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 3
    identical(data.load(str(tmp_path / "t.parquet")), table)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_table_moves_with_its_images(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "old").mkdir()
    data.save(odd_table(tmp_path / "old" / "photos"), tmp_path / "old" / f"t{suffix}")
    (tmp_path / "old").rename(tmp_path / "new")
    assert data.load(str(tmp_path / "new" / f"t{suffix}")).root == tmp_path / "new" / "photos"
    assert data.load(str(tmp_path / "new" / f"t{suffix}"), images="/elsewhere").root == Path("/elsewhere")
    data.save(odd_table(tmp_path / "far"), tmp_path / "new" / f"t{suffix}")
    (tmp_path / "new").rename(tmp_path / "newer")
    assert data.load(str(tmp_path / "newer" / f"t{suffix}")).root == tmp_path / "far"


def test_other_programs_read_what_is_saved(tmp_path: Path) -> None:
    table = LabelTable(
        ["a.jpg", "b.jpg"], ["hat", "split"], np.array([[1, -1], [0, 1]], np.int8), np.array(["train", "test"]),
        root=tmp_path, columns={"camera": np.array([3, 4])},
    )  # fmt: skip
    for suffix, load in ((".parquet", pl.read_parquet), (".csv", pl.read_csv)):
        data.save(table, tmp_path / f"t{suffix}")
        assert load(tmp_path / f"t{suffix}").to_dict(as_series=False) == {
            "image": ["a.jpg", "b.jpg"], "split": ["train", "test"], "camera": [3, 4],
            "hat": [1, 0], "split (2)": [-1, 1],
        }  # fmt: skip


def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    labels, split = np.array([[1]], np.int8), np.array(["train"])
    cases: list[tuple[LabelTable, str]] = [
        (LabelTable(["a"], ["x"], labels, split, columns={"c": np.array([{}], object)}), "column 'c' holds object"),
        (LabelTable(["a"], ["x"], labels, split, columns={"c": np.array([1j])}), "column 'c' holds complex128"),
        (
            LabelTable(["a"], ["x"], labels, split, columns={"c": np.array([1], np.longdouble)}),
            "column 'c' holds float",
        ),
        (LabelTable(["a\udc80"], ["x"], labels, split), "no Unicode text"),
        (LabelTable(["a"], ["x\udc80"], labels, split), "no Unicode text"),
        (LabelTable(["a"], ["x"], labels, split, notes=("x\udc80",)), "no Unicode text"),
    ]
    for table, message in cases:
        for suffix in (".parquet", ".csv"):
            with pytest.raises(DataError, match=message):
                data.save(table, tmp_path / f"t{suffix}")
    with pytest.raises(OptionError, match=r"unknown suffix '\.xlsx'"):
        data.save(cases[0][0], tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = odd_table(tmp_path)
    data.save(table, tmp_path / "t.parquet")
    monkeypatch.setattr(pq.ParquetWriter, "write_table", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    with pytest.raises(OSError, match="disk full"):
        data.save(data.keep_labels(table, 0.5), tmp_path / "t.parquet")
    identical(data.load(str(tmp_path / "t.parquet")), table)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_csv_that_was_changed_is_refused_and_can_be_read_as_a_plain_one(tmp_path: Path) -> None:
    table = LabelTable(["a", "b"], ["x"], np.array([[1], [0]], np.int8), np.array(["train", "test"]), root=tmp_path)
    data.save(table, tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace(",0", ",1"))
    with pytest.raises(DataError, match=r"changed since it was saved with t\.csv\.json: save it again, or remove"):
        data.load(str(tmp_path / "t.csv"))
    (tmp_path / "t.csv.json").unlink()
    assert data.load(str(tmp_path / "t.csv")).labels.tolist() == [[1], [1]]


def test_saved_parquet_that_is_spoilt_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    random = np.random.default_rng(0)
    labels = random.integers(-1, 2, (5000, 3)).astype(np.int8)
    data.save(LabelTable([f"{n}" for n in range(5000)], list("abc"), labels, np.full(5000, "train")), file)
    whole = file.read_bytes()
    refused = 0
    for place in random.integers(8, len(whole) // 2, 20).tolist():  # in the pages
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(DataError, match="damaged") as caught:
            data.load(str(file))
        refused += "\n" not in str(caught.value)
    assert refused == 20
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not readable as Parquet"):
        data.load(str(file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: {**about, "names": ["x", "y"]}, "columns where"),
        (lambda about: {**about, "rarecall": 2}, "a newer version"),
        (lambda about: {**about, "names": 3}, "damaged"),
        (lambda about: {**about, "columns": {"c": "nonsense"}}, "damaged"),
        (lambda about: {**about, "split": "nonsense"}, "damaged"),
        (lambda about: {**about, "split": "<U99999999"}, "'<U99999999', damaged"),
        (lambda about: {**about, "split": "<M8[D]"}, "damaged"),
        (lambda about: {**about, "split": "<U99999999999999999999"}, "damaged"),
        (lambda about: {**about, "columns": {"c": "<U999999999"}}, "'<U999999999', damaged"),
        (lambda about: {**about, "columns": {"c": "(99999,99999)f8"}}, "damaged"),
        (lambda about: {**about, "columns": {"c": "a5"}}, "damaged"),
        (lambda about: {"rarecall": about["rarecall"]}, "damaged"),
    ],
)
def test_a_json_beside_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[dict[str, object]], dict[str, object]], message: str
) -> None:
    table = LabelTable(["a"], ["x"], np.array([[1]], np.int8), np.array(["train"]), columns={"c": np.array(["d"])})
    data.save(table, tmp_path / "t.csv")
    beside = tmp_path / "t.csv.json"
    beside.write_bytes(msgspec.json.encode(change(msgspec.json.decode(beside.read_bytes()))))
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(tmp_path / "t.csv"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "<U99999999"}, "'<U99999999', damaged"),
        ({"columns": {"c": "<U999999999"}}, "'<U999999999', damaged"),
        ({"features": ["<U99999", [2]]}, "'<U99999', damaged"),
    ],
)
def test_saved_parquet_that_claims_other_types_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "t.parquet"
    data.save(odd_table(tmp_path, columns={"c": np.array(ODD)}, features=np.ones((len(ODD), 2), np.float32)), file)
    table = pq.read_table(file)
    about = msgspec.json.encode({**msgspec.json.decode(table.schema.metadata[b"rarecall"]), **change})
    digest = hashlib.sha256(about).hexdigest().encode()
    pq.write_table(table.replace_schema_metadata({b"rarecall": about, b"rarecall-sha256": digest}), file)
    with pytest.raises(DataError, match=message):
        data.load(str(file))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_saved_parquet_whose_texts_are_none_is_refused(tmp_path: Path, place: int) -> None:
    file = tmp_path / "t.parquet"
    data.save(odd_table(tmp_path, columns={"c": np.array(ODD)}), file)
    table = pq.read_table(file)
    name = table.column_names[place]
    for values in ([None, *ODD[1:]], list(range(len(ODD)))):
        pq.write_table(table.set_column(place, name, [values]).replace_schema_metadata(table.schema.metadata), file)
        with pytest.raises(DataError, match="values that are no text, damaged"):
            data.load(str(file))


def test_a_json_that_others_wrote_beside_a_csv_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,hat\na.jpg,1\n")
    (tmp_path / "t.csv.json").write_text('{"licence": "none"}')
    assert data.load(str(tmp_path / "t.csv")).source.startswith("csv:")
    with pytest.raises(DataError, match="not a table that was saved"):
        data.load(f"saved:{tmp_path / 't.csv'}")


# --- real files --------------------------------------------------------------------------------------------


def test_real_tables_are_saved_and_read_back(tmp_path: Path, data_folder: Path) -> None:
    for name in ("peta/train.csv", "voc_lt/labels.csv", "scene"):
        table = data.load(str((data_folder / name).resolve()))  # a root is saved without detours
        data.save(table, tmp_path / "t.parquet")
        identical(data.load(str(tmp_path / "t.parquet")), table)
        if table.features is None:
            data.save(table, tmp_path / "t.csv")
            identical(data.load(str(tmp_path / "t.csv")), table)


def test_a_flipped_bit_of_what_stands_beside_the_columns_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    data.save(data.load("digits").select(np.arange(20)), file)
    whole = file.read_bytes()
    wanted = data.load(f"saved:{file}")
    silent = 0
    for place in range(len(whole) - 4000, len(whole), 7):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        try:
            table = data.load(f"saved:{file}")
        except DataError:
            continue
        assert (table.names, table.items, table.source) == (wanted.names, wanted.items, wanted.source)
        silent += 1
    assert silent < 4000 / 7 / 2  # of Arrow's own bytes that mean nothing


def test_only_what_was_saved_is_overwritten(tmp_path: Path) -> None:
    own = tmp_path / "tags.csv"
    own.write_text("image,hat\na.jpg,1\nb.jpg,0\n")
    table = data.load(str(own))
    with pytest.raises(DataError, match="was not saved by this library"):
        data.save(table, own)
    assert own.read_text().startswith("image,hat")
    for name in ("x.csv", "x.parquet"):
        data.save(table, tmp_path / name)
        data.save(table, tmp_path / name)


def test_a_column_without_a_name_and_a_name_with_commas(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("image,hat,\na.jpg,1,\n")
    with pytest.raises(DataError, match="column 3 has no name"):
        data.load(str(file))
    file.write_text("image,hat\na.jpg#xywh=1,2,3,4,1\n")
    with pytest.raises(DataError, match="row 2: 5 cells where the header has 2: put a name with commas between quotes"):
        data.load(str(file))
    (tmp_path / "t.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="unpack it"):
        data.load(str(tmp_path / "t.tar.gz"))

"""Every format: what it reads, and the one line it answers to a file that is wrong."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from rarecall import data
from rarecall.audit import count_facts
from rarecall.data.formats._files import Files
from rarecall.data.formats.feature_table import read_features
from rarecall.errors import DataError, OptionError
from tests.files import write_image


def write(path: Path, text: str) -> str:
    """Write a file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


# --- CSV ---------------------------------------------------------------------------------------------------


def test_class_columns_keep_unknown_apart_from_absent(tmp_path: Path) -> None:
    table = data.load(write(tmp_path / "t.csv", "image,hat,bag\na.jpg,1,\nb.jpg,0,-1\nc.jpg,1.0,0\n"))
    assert table.labels.tolist() == [[1, -1], [0, -1], [1, 0]]
    assert table.labels.dtype == np.int8
    assert (list(table.names), list(table.items)) == (["hat", "bag"], ["a.jpg", "b.jpg", "c.jpg"])


def test_a_blank_is_absent_only_when_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "image,hat\na.jpg,\nb.jpg,1\n")
    assert data.load(file).labels[0, 0] == -1
    assert data.load(file, blank="absent").labels[0, 0] == 0


def test_a_header_with_quotes_and_a_newline(tmp_path: Path) -> None:
    table = data.load(write(tmp_path / "t.csv", 'image,"a ""b""","c\nd"\nx.jpg,1,0\n'))
    assert list(table.names) == ['a "b"', "c\nd"]


def test_a_separator_that_no_row_contains(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "image,tags\na.jpg,x y\nb.jpg,z\n")
    with pytest.raises(DataError, match=r"no row contains the separator '\|\|'"):
        data.load(file, separator="||")


def test_the_part_is_a_whole_word_of_an_arff_name(tmp_path: Path) -> None:
    write(tmp_path / "a/x.xml", XML)
    write(tmp_path / "a/retrieval-latest-train.arff", HEAD + "@data\n1,yes,1,0\n")
    assert data.load(str(tmp_path / "a")).split.tolist() == ["train"]


@pytest.mark.parametrize("mark", ["|", ";", ","])
def test_the_separator_of_tags_is_found(tmp_path: Path, mark: str) -> None:
    file = write(tmp_path / "t.csv", f"file\ttags\na.jpg\tred{mark} long sleeve\nb.jpg\t\nc.jpg\tred\n")
    table = data.load(file)
    assert list(table.names) == ["long sleeve", "red"]
    assert table.labels.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert data.load(file, unlisted="unknown").labels.tolist() == [[1, 1], [-1, -1], [-1, 1]]


def test_a_tag_with_commas_in_a_quoted_cell(tmp_path: Path) -> None:
    table = data.load(write(tmp_path / "t.csv", 'path,labels\na.jpg,"x,y"\nb.jpg,x\n'))
    assert table.labels.tolist() == [[1, 1], [1, 0]]


def test_a_byte_order_mark_spaces_and_semicolons_are_no_trouble(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("\ufeffImage; hat ;split\nm\u00fcller one.jpg; 1;Train\nb.jpg;0 ;validation\n".encode())
    table = data.load(str(file))
    assert list(table.names) == ["hat"]
    assert table.items[0] == "m\u00fcller one.jpg"
    assert table.split.tolist() == ["train", "val"]


def test_a_folder_of_train_and_test_csv_is_one_table(tmp_path: Path) -> None:
    write(tmp_path / "d/train.csv", "image,x\na.jpg,1\nb.jpg,0\n")
    write(tmp_path / "d/test.csv", "image,x\nc.jpg,1\n")
    assert data.load(str(tmp_path / "d")).split.tolist() == ["train", "train", "test"]


BAD_CSV: dict[str, tuple[bytes, str]] = {
    "a value that is no label": (b"image,sofa\na.jpg,1\nb.jpg,2\n", 'row 3, column "sofa": 2 is not 1, 0, -1 or blank'),
    "a column twice": (b"image,hat,hat\na.jpg,1,0\n", "duplicate column 'hat'"),
    "no class column": (b"image\na.jpg\nb.jpg\n", "no class column beside 'image'"),
    "no rows": (b"image,hat\n", "a header but no rows"),
    "nothing": (b"", "the file is empty"),
    "a byte order mark": (b"\xef\xbb\xbf", "the file is empty"),
    "a byte order mark and blank lines": (b"\xef\xbb\xbf\r\n\n", "the file is empty"),
    "a binary file": (b"\x89PNG\x00\x01\x02", "binary file"),
    "another encoding": ("image,caf\u00e9\na.jpg,1\n".encode("latin-1"), "byte 9 is not UTF-8"),
    "a row that is too long": (b"image,hat\na.jpg,1\nb.jpg,1,0\n", "row 3: 3 cells where the header has 2"),
    "a row that is cut short": (b"image,hat,bag\na.jpg,1,1\nb.jpg,1\n", "row 3: 2 cells where the header has 3"),
    "tags beside classes": (
        b"image,cat,label\na.jpg,1,indoor\nb.jpg,0,outdoor\n",
        'column "label" holds tags, but cat',
    ),
    "an unknown part": (b"image,hat,split\na.jpg,1,train\nb.jpg,0,holdout\n", "row 3, column \"split\": 'holdout'"),
    "no tag anywhere": (b"image,tags\na.jpg,\nb.jpg,\n", "lists no tag|no class"),
    "no image column": (b"hat,bag\n1,0\n0,1\n", "no column names the images"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_a_bad_csv_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    content, message = BAD_CSV[case]
    (tmp_path / "tags.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load(str(tmp_path / "tags.csv"))
    assert "tags.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_of_any_length(tmp_path: Path) -> None:
    """Whatever was read before: the csv module has one limit for all its readers."""
    name = "x" * 200_000
    file = write(tmp_path / "t.csv", f"image,{name}\na.jpg,1\n")
    code = f"import sys; from rarecall import data; print(len(data.load({file!r}).names[0]), end='')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("200000", "")
    write(tmp_path / "long.csv", f"image,{name}\n")
    assert next(Files(tmp_path).rows("long.csv"))[1][1] == name


def test_names_to_ignore_that_are_no_list(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "image,hat,a\na.jpg,1,x\n")
    with pytest.raises(OptionError, match=r"ignore='a.nhat': not names separated by commas"):
        data.load(file, ignore="a\nhat")


def test_columns_that_differ_between_the_parts_are_named(tmp_path: Path) -> None:
    write(tmp_path / "d/train.csv", "image,x\na.jpg,1\n")
    write(tmp_path / "d/test.csv", "image,y\nc.jpg,1\n")
    with pytest.raises(DataError, match=r"test\.csv: its columns differ from those of train\.csv: x, y"):
        data.load(str(tmp_path / "d"))


# --- folders and PA-100K -----------------------------------------------------------------------------------


def test_an_image_folder_with_parts(tmp_path: Path) -> None:
    for part, name in (("train", "cat"), ("train", "dog"), ("test", "dog")):
        (tmp_path / "f" / part / name).mkdir(parents=True)
        write_image(tmp_path / "f" / part / name / "1.jpg", 0, 0)
    table = data.load(str(tmp_path / "f"))
    assert table.source.startswith("folder:")
    assert list(table.items) == ["test/dog/1.jpg", "train/cat/1.jpg", "train/dog/1.jpg"]
    assert table.labels.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert table.split.tolist() == ["test", "train", "train"]


def test_an_image_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "f" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="no image in any class folder"):
        data.load(f"folder:{tmp_path / 'f'}")


def pa100k(folder: Path, **changes: object) -> Path:
    """PA-100K's layout with 3 attributes: 4 training, 2 validation and 2 test images."""
    (folder / "data").mkdir(parents=True)
    content: dict[str, object] = {"attributes": cells(["Female", "Hat", "boots"])}
    for part, size in (("train", 4), ("val", 2), ("test", 2)):
        content[f"{part}_images_name"] = cells([f"{part}{number}.jpg" for number in range(size)])
        content[f"{part}_label"] = (np.arange(size * 3).reshape(size, 3) % 2).astype(np.uint8)
    savemat(folder / "annotation.mat", {**content, **changes})
    return folder


def cells(names: list[str]) -> np.ndarray:
    """MATLAB's column of strings."""
    return np.array([[name] for name in names], dtype=object)


def test_pa100k_in_its_official_layout(tmp_path: Path) -> None:
    table = data.load(str(pa100k(tmp_path / "p")))
    assert list(table.names) == ["Female", "Hat", "boots"]
    assert table.split.tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert table.labels[:2].tolist() == [[0, 1, 0], [1, 0, 1]]
    assert table.root == tmp_path / "p" / "data"


def test_a_damaged_annotation_file(tmp_path: Path) -> None:
    folder = pa100k(tmp_path / "p")
    (folder / "annotation.mat").write_bytes((folder / "annotation.mat").read_bytes()[:200])
    with pytest.raises(DataError, match="not a readable MATLAB file"):
        data.load(str(folder))


def test_pa100k_labels_that_are_neither_0_nor_1(tmp_path: Path) -> None:
    folder = pa100k(tmp_path / "p", val_label=np.array([[0, 1, 0], [1, 7, 1]]))
    with pytest.raises(DataError, match="val_label row 2, column 2: 7 is not 0 or 1"):
        data.load(str(folder))


def test_pa100k_with_fewer_rows_than_names(tmp_path: Path) -> None:
    folder = pa100k(tmp_path / "p", test_label=np.zeros((1, 3)))
    with pytest.raises(DataError, match=re.escape("test_label is (1, 3) for 2 names and 3 attributes")):
        data.load(str(folder))


# --- Mulan -------------------------------------------------------------------------------------------------

XML = '<labels xmlns="http://mulan.sourceforge.net/labels"><label name="sky"/><label name="dark sea"/></labels>'
HEAD = (
    "@relation x\n@attribute f1 numeric\n@attribute 'f 2' {no,yes}\n@attribute sky {0,1}\n@attribute 'dark sea' {0,1}\n"
)


def mulan(folder: Path, train: str, test: str | None = None) -> str:
    """A folder in Mulan's layout."""
    write(folder / "x.xml", XML)
    write(folder / "x-train.arff", HEAD + "@data\n" + train)
    if test is not None:
        write(folder / "x-test.arff", HEAD + "@data\n" + test)
    return str(folder)


def test_dense_and_sparse_arff_say_the_same(tmp_path: Path) -> None:
    dense = data.load(mulan(tmp_path / "a", "0.5,yes,1,0\n% a comment\n0,no,0,1\n", "0,no,?,1\n"))
    sparse = data.load(mulan(tmp_path / "b", "{0 0.5,1 yes,2 1}\n{3 1}\n", "{2 ?, 3 1}\n"))
    for table in (dense, sparse):
        assert list(table.names) == ["sky", "dark sea"]
        assert table.labels.tolist() == [[1, 0], [0, 1], [-1, 1]]
        assert table.split.tolist() == ["train", "train", "test"]
        assert table.features is not None
    np.testing.assert_array_equal(dense.features, sparse.features)


BAD_ARFF = {
    "a row cut short": ("0.5,yes,1\n", r"x-train\.arff line 7: not a row of 4 values"),
    "a value outside the domain": ("0.5,maybe,1,0\n", "line 7: not a row"),
    "a missing feature": ("?,yes,1,0\n", "missing or infinite feature"),
    "no rows": ("", "no data rows"),
    "an index outside": ("{9 1}\n", "line 7: not a row"),
    "a negative index": ("{-1 1}\n", "line 7: not a row"),
}


@pytest.mark.parametrize("case", BAD_ARFF)
def test_a_bad_arff_is_named_with_its_line(tmp_path: Path, case: str) -> None:
    rows, message = BAD_ARFF[case]
    with pytest.raises(DataError, match=message):
        data.load(mulan(tmp_path / "a", rows))


@pytest.mark.parametrize(
    ("domain", "present", "absent"),
    [("{0,1}", "1", "0"), ("{1,0}", "1", "0"), ("{true,false}", "true", "false"), ("{false, true}", "true", "false"),
     ("{No,YES}", "YES", "No"), ("{'yes','no'}", "'yes'", "no"), ("{1.0, 0.0}", "1.0", "0.0"), ("numeric", "1", "0")],
)  # fmt: skip
def test_a_label_is_what_its_value_says_in_any_order(tmp_path: Path, domain: str, present: str, absent: str) -> None:
    head = HEAD.replace("sky {0,1}", f"sky {domain}")
    folder = mulan(tmp_path / "a", "")
    write(tmp_path / "a/x-train.arff", f"{head}@data\n1,yes,{present},0\n1,no,{absent},1\n1,no,?,1\n")
    assert data.load(folder).labels.tolist() == [[1, 0], [0, 1], [-1, 1]]


def test_labels_that_say_nothing_of_presence_are_named(tmp_path: Path) -> None:
    folder = mulan(tmp_path / "a", "")
    for domain in ("{red,blue}", "{0,1,2}", "{low,true}", "{nan,1}"):
        head = HEAD.replace("sky {0,1}", f"sky {domain}")
        write(tmp_path / "a/x-train.arff", f"{head}@data\n1,yes,{domain[1:-1].split(',')[1]},0\n")
        with pytest.raises(DataError, match=r'x-train\.arff: label "sky" has the value .*: write 0 and 1'):
            data.load(folder)


def test_a_sparse_row_that_would_leave_out_what_is_present_is_refused(tmp_path: Path) -> None:
    folder = mulan(tmp_path / "a", "")
    head = HEAD.replace("sky {0,1}", "sky {true,false}")
    write(tmp_path / "a/x-train.arff", f"{head}@data\n1,yes,true,0\n{{3 1}}\n")
    with pytest.raises(DataError, match="line 8: sparse, but the first value of sky is the present one"):
        data.load(folder)
    write(tmp_path / "a/x-train.arff", f"{head.replace('true,false', 'false,true')}@data\n{{2 true}}\n{{3 1}}\n")
    assert data.load(folder).labels.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("start", "message"),
    [('<?xml version="1.0" encoding="foo"?>', "not readable as XML"),
     ('<!DOCTYPE a [<!ENTITY b "c">]>', "declares entities")],
)  # fmt: skip
def test_a_list_of_labels_in_no_known_encoding_or_with_entities(tmp_path: Path, start: str, message: str) -> None:
    folder = mulan(tmp_path / "a", "1,yes,1,0\n")
    write(tmp_path / "a/x.xml", start + XML)
    with pytest.raises(DataError, match=rf"x\.xml: {message}"):
        data.load(folder)


def test_an_arff_without_data_line_and_a_broken_xml(tmp_path: Path) -> None:
    write(tmp_path / "a/x.xml", XML)
    write(tmp_path / "a/x.arff", HEAD)
    with pytest.raises(DataError, match="no @data line"):
        data.load(str(tmp_path / "a"))
    write(tmp_path / "a/x.xml", "<labels><label")
    with pytest.raises(DataError, match="not readable as XML"):
        data.load(str(tmp_path / "a"))


# --- feature tables ----------------------------------------------------------------------------------------


def test_npz_with_names_and_split(table_file: Path) -> None:
    table = data.load(str(table_file))
    assert table.features is not None
    assert table.features.shape == (120, 4)
    assert list(table.names) == ["a", "b", "c"]
    assert set(np.unique(table.labels)) == {-1, 0, 1}


def test_npz_with_python_objects_is_refused_unread(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", features=np.array([{}, {}], dtype=object), labels=np.zeros((2, 1)))
    with pytest.raises(DataError, match="never loaded"):
        data.load(str(tmp_path / "t.npz"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.zeros((3, 2)), "labels": np.array([[0], [1], [2]])}, r"labels\[2, 0\] is 2"),
        ({"features": np.zeros((3, 2)), "labels": np.zeros((4, 1))}, r"\(N, D\) and \(N, C\)"),
        ({"labels": np.zeros((4, 1))}, "no array 'features'"),
        ({"features": np.array([[np.nan]]), "labels": np.zeros((1, 1))}, r"feature \[0, 0\] is nan"),
    ],
)
def test_a_bad_npz(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path / "t.npz"))


def test_a_damaged_compressed_npz_is_one_line(tmp_path: Path) -> None:
    """Whatever byte is changed: another method, sizes, what zlib reads, NumPy's header."""
    file = tmp_path / "t.npz"
    np.savez_compressed(file, features=np.arange(6.0).reshape(3, 2), labels=np.eye(3, dtype=np.int8))
    whole = file.read_bytes()
    said = set()
    for place in range(len(whole)):
        for bit in (0, 3, 7):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
            try:
                data.load(str(file))
            except DataError as error:
                said.add(str(error))
    assert said
    assert not [message for message in said if "\n" in message]


def test_what_is_no_array_in_an_npz(tmp_path: Path) -> None:
    file, arrays = tmp_path / "t.npz", {"features": np.ones((2, 2)), "labels": np.ones((2, 1))}
    cases: list[tuple[dict[str, np.ndarray], str]] = [
        ({"items": np.array("a")}, r"items \(\) must be a list"),
        ({"names": np.array([["a"]])}, r"names \(1, 1\) must be a list"),
        ({"features": np.ones((2, 2)) * 1e300}, r"feature \[0, 0\] is 1e\+300"),
        ({"features": np.ones((2, 2)) * 1j}, "features are complex128"),
    ]
    for changes, message in cases:
        np.savez(file, **{**arrays, **changes})
        with pytest.raises(DataError, match=message):
            data.load(str(file))
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("features.npy", "no array")
    with pytest.raises(DataError, match="features in it is no array"):
        data.load(str(file))
    with file.open("wb") as stream:
        np.save(stream, arrays["features"])
    with pytest.raises(DataError, match="not readable as"):
        data.load(str(file))


@pytest.mark.parametrize(("ids", "items"), [(["x", None], ["x", "row 2"]), ([7, None], ["7", "row 2"])])
def test_items_that_are_missing_are_called_by_their_row(tmp_path: Path, ids: list[object], items: list[str]) -> None:
    pl.DataFrame({"id": ids, "e": [[1.0], [2.0]], "hat": [1, 0]}).write_parquet(tmp_path / "t.parquet")
    assert data.load(str(tmp_path / "t.parquet")).items == items
    assert read_features(tmp_path / "t.parquet")[0] == items


def test_items_that_are_no_names_are_refused(tmp_path: Path) -> None:
    for ids in ([["x"], ["y"]], [b"x", b"y"]):
        pl.DataFrame({"id": ids, "e": [[1.0], [2.0]], "hat": [1, 0]}).write_parquet(tmp_path / "t.parquet")
        with pytest.raises(DataError, match=r'column "id" holds .*, not names of items'):
            data.load(str(tmp_path / "t.parquet"))


def test_parquet_with_an_embedding_column(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"id": ["x", "y"], "embedding": [[1.0, 2.0], [3.0, 4.0]], "hat": [1, None], "split": ["train", "test"]}
    )
    frame.write_parquet(tmp_path / "t.parquet")
    table = data.load(str(tmp_path / "t.parquet"))
    assert table.features is not None
    assert table.features.tolist() == [[1, 2], [3, 4]]
    assert table.labels.tolist() == [[1], [-1]]
    assert list(table.items) == ["x", "y"]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize(
    "of", [pa.list_, pa.large_list, lambda kind: pa.list_(kind, 3)], ids=["list", "large", "fixed"]
)
def test_embeddings_of_every_kind_in_several_groups_of_rows(tmp_path: Path, kind: pa.DataType, of: type) -> None:
    wanted = np.random.default_rng(0).random((2000, 3)).astype(np.float16)
    table = pa.table({"x": pa.array(list(wanted.astype(kind.to_pandas_dtype())), of(kind)), "hat": [1, 0] * 1000})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=700)
    found = data.load(str(tmp_path / "t.parquet")).features
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wanted.astype(np.float32))


def test_embeddings_of_whole_numbers_under_a_known_name(tmp_path: Path) -> None:
    table = pa.table({"features": pa.array([[1, 2], [3, 4]], pa.list_(pa.uint8())), "hat": [1, 0]})
    pq.write_table(table, tmp_path / "t.parquet")
    found = data.load(str(tmp_path / "t.parquet")).features
    assert found is not None
    assert found.tolist() == [[1, 2], [3, 4]]


def test_embeddings_alone_are_features_without_names(tmp_path: Path) -> None:
    pl.DataFrame({"e": [[1.0, 2.0], [3.0, 4.0]]}).write_parquet(tmp_path / "t.parquet")
    items, features = read_features(tmp_path / "t.parquet")
    assert items == ["row 1", "row 2"]
    assert features.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="no class column beside 'e'"):
        data.load(str(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0], None, [3.0, 4.0]], 'row 2, column "e": 0 numbers where the other rows have 2'),
        ([None, [1.0, 2.0], [3.0, 4.0]], 'row 1, column "e": 0 numbers where the other rows have 2'),
        ([[1.0], [1.0, 2.0], [3.0, 4.0]], 'row 1, column "e": 1 numbers where the other rows have 2'),
        ([[1.0, 2.0], [3.0, None], [5.0, 6.0]], r"feature \[1, 1\] is nan: fill it before use"),
        ([[1.0, 2.0], [3.0, 4.0], [1e300, 6.0]], r"feature \[2, 0\] is 1e\+300: fill it before use"),
        ([[], [], []], 'column "e" holds no numbers'),
    ],
)
def test_embeddings_with_something_missing_are_named(
    tmp_path: Path, vectors: list[list[float] | None], message: str
) -> None:
    frame = pl.DataFrame({"e": vectors, "hat": [1, 0, 1]}, schema_overrides={"e": pl.List(pl.Float64)})
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        data.load(str(tmp_path / "t.parquet"))


MEASURED = """
import resource, sys
from rarecall import data
import pyarrow.parquet, polars
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
table = data.load(sys.argv[1])
table.fingerprint()
print((peak() - before) / table.features.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in another unit")
@pytest.mark.parametrize("kind", ["npz", "parquet", "saved"])
def test_features_are_in_memory_once(tmp_path: Path, kind: str) -> None:
    rows, width = 60_000, 512
    features = np.random.default_rng(0).random((rows, width), dtype=np.float32)
    labels = np.tile(np.array([[1, 0]], np.int8), (rows, 1))
    file = tmp_path / ("t.npz" if kind == "npz" else "t.parquet")
    if kind == "npz":
        np.savez(file, features=features, labels=labels)
    elif kind == "parquet":
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), width)
        pq.write_table(pa.table({"x": vectors, "a": labels[:, 0], "b": labels[:, 1]}), file)
    else:
        items = [f"row {row}" for row in range(rows)]
        data.save(data.LabelTable(items, ["a", "b"], labels, np.full(rows, "train"), features=features), file)
    measured = subprocess.run([sys.executable, "-c", MEASURED, str(file)], capture_output=True, text=True, check=True)
    assert float(measured.stdout) < 1.6


def test_parquet_with_a_list_of_tags(tmp_path: Path) -> None:
    pl.DataFrame({"emb": [[1.0], [2.0]], "tags": [["a", "b"], []]}).write_parquet(tmp_path / "t.parquet")
    assert data.load(str(tmp_path / "t.parquet")).labels.tolist() == [[1, 1], [0, 0]]


def test_embeddings_whose_widths_differ_are_named(tmp_path: Path) -> None:
    pl.DataFrame({"e": [[1.0, 2.0], [3.0, 4.0], [5.0]], "hat": [1, 0, 1]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match='row 3, column "e": 1 numbers where the other rows have 2'):
        data.load(str(tmp_path / "t.parquet"))


@pytest.mark.parametrize("name", ["t.parquet", "t.npz"])
def test_a_damaged_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PAR1 or PK, but not really")
    with pytest.raises(DataError, match="not readable as"):
        data.load(str(tmp_path / name))


# --- recognition -------------------------------------------------------------------------------------------


def test_what_cannot_be_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known format is recognised"):
        data.load(str(tmp_path))
    with pytest.raises(DataError, match="no such file or folder"):
        data.load(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="unknown format 'mulann': did you mean 'mulan'"):
        data.load(f"mulann:{tmp_path}")


@pytest.mark.parametrize(
    "load", [lambda path: data.load(path, blnk="absent"), lambda _: data.load("digits", blank="absent")]
)
def test_an_option_that_the_format_does_not_have(table_file: Path, load: Callable[[str], object]) -> None:
    with pytest.raises(OptionError, match="unknown option"):
        load(str(table_file))


def test_an_option_of_another_type_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", "image,hat\na.jpg,1\n")
    cases: list[tuple[dict[str, object], str]] = [
        ({"ignore": 5}, "ignore=5: expected"),
        ({"ignore": [5]}, r"ignore=\[5\]: expected"),
        ({"images": ["a"]}, r"images=\['a'\]: expected"),
        ({"blank": ["a"]}, r"blank=\['a'\]: expected"),
        ({"separator": True}, "separator=True: expected"),
    ]
    for options, message in cases:
        with pytest.raises(OptionError, match=message):
            data.load(file, **options)
    assert data.load(file, images=tmp_path / "x").root == tmp_path / "x"  # a path is as good as its text
    assert data.load(file, images=np.str_("y")).root == Path("y")


# --- real files --------------------------------------------------------------------------------------------


def test_the_real_files_have_their_known_counts(data_folder: Path) -> None:
    corel = data.load(str(data_folder / "corel5k"))
    assert corel.features is not None
    assert corel.features.shape == (5000, 499)
    assert corel.labels.shape == (5000, 374)
    assert corel.labels.sum() / 5000 == pytest.approx(3.522, abs=1e-3)
    scene = data.load(str(data_folder / "scene"))
    assert [len(scene.part(part)) for part in ("train", "val", "test")] == [1211, 0, 1196]
    pa = data.load(str(data_folder / "pa100k"))
    assert [len(pa.part(part)) for part in ("train", "val", "test")] == [1599, 200, 201]
    assert pa.labels[:, list(pa.names).index("LowerStripe")].sum() == 4
    assert not count_facts(pa).missing_files
    voc = data.load(str(data_folder / "voc_lt" / "labels.csv"))
    assert count_facts(voc).tiers == {"head": 6, "medium": 6, "tail": 8}
    peta = data.load(str(data_folder / "peta"))
    assert [len(peta.part(part)) for part in ("train", "test")] == [11400, 7600]

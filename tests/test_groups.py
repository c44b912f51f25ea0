"""Rows of one patient, person or product: named as a group, kept in one part, and found where nobody names them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rarecall import data
from rarecall.audit import audit, count_facts
from rarecall.audit.findings import Finding
from rarecall.data import LabelTable
from rarecall.data.identities import identity_columns, looks_like_identity
from rarecall.errors import DataError, OptionError
from tests.files import write_table

PATIENTS, IMAGES = 140, 4


def rows_of_patients() -> pl.DataFrame:
    """Four images of each of 140 patients, in mixed order, two classes."""
    random = np.random.default_rng(0)
    patient = random.permutation(np.repeat(np.arange(PATIENTS), IMAGES))
    rows = len(patient)
    return pl.DataFrame(
        {
            "image": [f"{row}.jpg" for row in range(rows)],
            "patient": [f"P{number:03d}" for number in patient],
            "hat": random.integers(0, 2, rows),
            "bag": (random.random(rows) < 0.2).astype(int),
        }
    )


def as_csv(frame: pl.DataFrame, folder: Path) -> str:
    """A CSV."""
    frame.write_csv(folder / "t.csv")
    return str(folder / "t.csv")


def as_parquet(frame: pl.DataFrame, folder: Path) -> str:
    """Parquet."""
    frame.write_parquet(folder / "t.parquet")
    return str(folder / "t.parquet")


def as_lines(frame: pl.DataFrame, folder: Path) -> str:
    """JSON Lines."""
    frame.write_ndjson(folder / "t.jsonl")
    return str(folder / "t.jsonl")


def as_features(frame: pl.DataFrame, folder: Path) -> str:
    """Parquet with a vector for each row."""
    return as_parquet(frame.with_columns(embedding=pl.Series([[float(row), 1.0] for row in range(len(frame))])), folder)


def as_arrays(frame: pl.DataFrame, folder: Path) -> str:
    """Arrays, that of the patients under a name of its own."""
    arrays = {"features": np.ones((len(frame), 2)), "labels": frame.select("hat", "bag").to_numpy()}
    np.savez(folder / "t.npz", **arrays, patient=frame["patient"].to_numpy().astype(str), names=["hat", "bag"])
    return str(folder / "t.npz")


KINDS: dict[str, Callable[[pl.DataFrame, Path], str]] = {
    "csv": as_csv, "parquet": as_parquet, "lines": as_lines, "features": as_features, "arrays": as_arrays,
}  # fmt: skip


def tagged(frame: pl.DataFrame) -> pl.DataFrame:
    """The same with a column of tags in place of those of the classes."""
    tags = pl.when(frame["hat"] == 1).then(pl.lit("hat")).otherwise(pl.lit("none"))
    return frame.select(pl.exclude("hat", "bag"), tags.alias("tags"))


def shared(table: LabelTable, column: str = "patient") -> int:
    """How many values of the test part stand in train, too."""
    values = table.columns[column]
    return len({*values[table.part("test")].tolist()} & {*values[table.part("train")].tolist()})


def found(table: LabelTable, code: str) -> list[Finding]:
    """The findings of a code."""
    return [one for one in audit(table).findings if one.code == code]


# --- named -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_named_group_is_no_class_and_stays_in_one_part(tmp_path: Path, kind: str) -> None:
    frame = rows_of_patients()
    table = data.load(KINDS[kind](frame, tmp_path), group="patient")
    assert list(table.names) == ["hat", "bag"]
    assert table.group == "patient"
    assert table.columns["patient"].tolist() == frame["patient"].to_list()
    whole, notes = data.complete_split(table)
    assert shared(whole) == 0
    assert notes[0].endswith("training rows serve as the test part (stratified, by patient, seed 0)")
    assert len(whole.part("test")) == pytest.approx(0.2 * len(table), abs=0.03 * len(table))
    assert not found(whole, "RC203")
    assert not found(whole, "RC207")


@pytest.mark.parametrize("kind", ["csv", "parquet", "lines"])
def test_a_group_beside_tags_and_columns_that_are_ignored(tmp_path: Path, kind: str) -> None:
    frame = rows_of_patients()
    assert data.load(KINDS[kind](tagged(frame), tmp_path), group="patient").group == "patient"
    table = data.load(KINDS[kind](frame.with_columns(ward=pl.lit("x")), tmp_path), group="patient", ignore="ward")
    assert list(table.columns) == ["ward", "patient"]
    both = data.load(KINDS[kind](frame, tmp_path), group="patient", ignore="patient")
    assert list(both.columns) == ["patient"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_that_there_is_not(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match=r"no column 'patien'.*: it has .*patient") as caught:
        data.load(KINDS[kind](rows_of_patients(), tmp_path), group="patien")
    assert "\n" not in str(caught.value)


def test_other_formats_have_to_bring_the_column(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(DataError, match="digits: no column 'patient' to group by: it has none"):
        data.load("digits", group="patient")
    for name in ("red", "blue"):
        (tmp_path / "sorted" / name).mkdir(parents=True)
        (tmp_path / "sorted" / name / "a.jpg").write_bytes((photos / "00.jpg").read_bytes())
    with pytest.raises(DataError, match=r"folder:.*: no column 'patient' to group by: it has none"):
        data.load(str(tmp_path / "sorted"), group="patient")


def test_a_group_is_not_taken_for_the_images_nor_another_column_in_its_place(tmp_path: Path) -> None:
    file = as_csv(rows_of_patients(), tmp_path)
    with pytest.raises(DataError, match="'image' is the group: name the column of the images with --image-column"):
        data.load(file, group="image")
    assert data.load(file, group="patient", image_column="image").items[0] == "0.jpg"


def test_features_without_a_group_keep_what_else_is_known_of_a_row(tmp_path: Path) -> None:
    frame = rows_of_patients()
    table = data.load(as_arrays(frame, tmp_path))
    assert (table.group, table.columns["patient"].tolist()) == (None, frame["patient"].to_list())
    ignored = data.load(as_features(frame, tmp_path), ignore="patient")
    assert (ignored.group, ignored.columns["patient"].tolist()) == (None, frame["patient"].to_list())
    with pytest.raises(OptionError, match=r"mean nothing in an \.npz"):
        data.load(as_arrays(frame, tmp_path), ignore="patient")
    write_table(tmp_path / "plain.npz")
    assert not data.load(str(tmp_path / "plain.npz")).columns


def test_what_stays_together_by_default() -> None:
    """The group that is named, else the column `identity`, else the image."""
    items = ["a.jpg#xywh=0,0,1,1", "a.jpg#xywh=1,0,1,1", "b.jpg", "c.jpg"]
    columns = {"identity": np.array([1, 2, 2, 3]), "patient": np.array(["x", "y", "z", "x"])}
    table = LabelTable(items, ["hat"], np.ones((4, 1), np.int8), np.full(4, "train"))
    assert (table.grouped_by, table.groups().tolist()) == (None, [0, 0, 1, 2])
    table = replace(table, columns=columns)
    assert (table.grouped_by, table.groups().tolist()) == ("identity", [0, 1, 1, 2])
    table = replace(table, group="patient")
    assert (table.grouped_by, table.groups().tolist()) == ("patient", [0, 1, 2, 0])
    assert table.groups("identity").tolist() == [0, 1, 1, 2]
    with pytest.raises(DataError, match="no column 'person' to group by: it has identity, patient"):
        replace(table, group="person")


def test_splits_and_folds_take_the_table_s_own_group(tmp_path: Path) -> None:
    table = data.load(as_csv(rows_of_patients(), tmp_path), group="patient")
    dealt = data.split(table, {"train": 0.8, "test": 0.2})
    assert shared(dealt) == 0
    assert dealt.provenance == ("split(train=0.8, test=0.2, seed=0, group='patient')",)
    assert np.array_equal(dealt.split, data.split(table, {"train": 0.8, "test": 0.2}, group="patient").split)
    assert [shared(fold) for fold in data.k_fold(table, 3)] == [0, 0, 0]


def test_a_selection_keeps_the_group(tmp_path: Path) -> None:
    table = data.load(as_csv(rows_of_patients(), tmp_path), group="patient")
    assert table.select(np.arange(7)).group == "patient"
    assert data.keep_labels(table, 0.5).group == "patient"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_saved_table_keeps_its_group(tmp_path: Path, suffix: str) -> None:
    frame = rows_of_patients().with_columns(ward=pl.col("patient").str.slice(0, 2))
    table = data.load(as_csv(frame, tmp_path), group="patient", ignore="ward")
    file = tmp_path / f"saved{suffix}"
    data.save(table, file)
    assert data.load(str(file)).group == "patient"
    assert data.load(str(file)).fingerprint() == table.fingerprint()
    assert data.load(str(file), group="ward").group == "ward"
    with pytest.raises(DataError, match="no column 'person' to group by: it has ward, patient"):
        data.load(str(file), group="person")


def test_the_fingerprint_is_of_the_data_and_not_of_what_is_kept_together() -> None:
    """What a group decides are parts, which are kept beside what was trained."""
    columns = {"patient": np.array([1, 1, 2]), "person": np.array([1, 2, 2])}
    table = LabelTable(list("xyz"), ["hat"], np.ones((3, 1), np.int8), np.full(3, "train"), columns=columns)
    grouped = [replace(table, group=name) for name in (None, "patient", "person")]
    assert len({one.fingerprint() for one in grouped}) == 1


def three_rows(source: str, group: str | None, **columns: list[str]) -> LabelTable:
    """A table with columns."""
    arrays = {name: np.array(values) for name, values in columns.items()}
    labels, split = np.ones((3, 1), np.int8), np.full(3, "train")
    items = [f"{source}{row}.jpg" for row in range(3)]
    return LabelTable(items, ["hat"], labels, split, f"{source}:x", Path("/x"), columns=arrays, group=group)


def test_a_merged_table_has_the_group_of_its_sources() -> None:
    first = three_rows("p", "patient", patient=["1", "1", "2"])
    both = data.merge([first, three_rows("q", "patient", patient=["1", "", "2"])])
    assert both.group == "patient"
    assert both.columns["patient"].tolist() == ["p/1", "p/1", "p/2", "q/1", "", "q/2"]
    assert both.groups().tolist() == [0, 0, 1, 2, 3, 4]
    assert not both.notes


def test_sources_with_different_groups_are_told() -> None:
    both = data.merge([three_rows("p", "patient", patient=["1", "1", "2"]), three_rows("q", None)])
    assert both.group is None
    assert both.notes == (
        "rows of one value of patient are not kept together, as not every source does so: group all by it",
    )
    people = {"identity": ["1", "1", "2"]}
    both = data.merge([three_rows("p", None, **people), three_rows("q", "identity", **people)])
    assert both.grouped_by == "identity"
    assert not both.notes


def test_a_merge_file_names_the_group_of_each_source_or_of_all(tmp_path: Path) -> None:
    for name in "pq":
        (tmp_path / f"{name}.csv").write_text("image,patient,hat\na.jpg,x,1\nb.jpg,x,0\nc.jpg,y,1\n")
    source = '[[source]]\ndata = "{0}.csv"\nname = "{0}"\noptions = {{ {1} = "patient" }}\n'
    file = tmp_path / "merge.toml"
    file.write_text("".join(source.format(name, "group") for name in "pq"))
    assert data.load(str(file)).columns["patient"].tolist() == ["p/x", "p/x", "p/y", "q/x", "q/x", "q/y"]
    assert data.load(str(file)).group == "patient"
    file.write_text("".join(source.format(name, "ignore") for name in "pq"))
    assert data.load(str(file)).group is None
    assert data.load(str(file), group="patient").groups().tolist() == [0, 0, 1, 0, 0, 1]


def test_values_of_any_group_in_two_parts_are_an_error() -> None:
    columns = {"product": np.array(["a", "b", "b", "", "c"])}
    split = np.array(["train", "train", "test", "test", "test"])
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [1, 0]], np.int8)
    table = LabelTable(list("vwxyz"), ["hat", "bag"], labels, split, columns=columns, group="product")
    (finding,) = found(table, "RC203")
    assert (finding.severity, finding.numbers) == ("error", {"train-test": {"found": 1, "of": 2}})
    assert finding.sentence == (
        "values of product stand in two parts (1 of 2 of test are in train, as b): test figures will be too good; "
        "split by product"
    )
    assert count_facts(table).group == "product"
    assert not found(replace(table, group=None), "RC203")


def test_a_camera_that_is_the_group_is_no_mere_advice() -> None:
    columns = {"camera": np.array([1, 2, 2])}
    split, labels = np.array(["train", "train", "test"]), np.array([[1], [0], [1]], np.int8)
    table = LabelTable(list("xyz"), ["hat"], labels, split, columns=columns, group="camera")
    assert (len(found(table, "RC203")), len(found(table, "RC206"))) == (1, 0)
    table = replace(table, group=None)
    assert (len(found(table, "RC203")), len(found(table, "RC206"))) == (0, 1)


def test_without_a_test_part_the_audit_says_by_what_a_study_takes_one(tmp_path: Path) -> None:
    file = as_csv(rows_of_patients(), tmp_path)
    (alone,) = found(data.load(file, ignore="patient"), "RC309")
    (by_patient,) = found(data.load(file, group="patient"), "RC309")
    assert alone.sentence.endswith("or name the column that says so with --group")
    assert by_patient.sentence == "no test part: a study takes 20 % of train, stratified, by patient"


# --- found where nobody names them -------------------------------------------------------------------------


def test_a_column_of_patients_that_nobody_named_is_found(tmp_path: Path) -> None:
    """28 patients of 40 images each: a random test part has images of all of them, and so has train."""
    labels = np.random.default_rng(0).integers(0, 2, (28 * 40, 2))
    patient = [f"P{row // 40:02d}" for row in range(len(labels))]
    items = [f"{row}.jpg" for row in range(len(labels))]
    frame = pl.DataFrame({"image": items, "patient": patient, "hat": labels[:, 0], "bag": labels[:, 1]})
    table = data.load(as_csv(frame, tmp_path), ignore="patient")
    (before,) = found(table, "RC207")
    assert (before.severity, before.numbers) == ("advice", {"column": "patient", "values": 28, "rows": 1120})
    assert before.sentence == (
        "column patient looks like what rows belong to (28 values of 1,120 rows): --group patient keeps the rows of "
        "each in one part"
    )
    whole, _ = data.complete_split(table)
    assert shared(whole) == 28
    (after,) = found(whole, "RC207")
    assert after.severity == "warning"
    assert after.numbers["train-test"] == {"found": 28, "of": 28}
    assert "28 of 28 of test are in train, as P00" in after.sentence
    assert "test figures will be too good; --group patient keeps" in after.sentence
    assert after.sentence in audit(whole).warnings
    assert shared(data.complete_split(data.load(as_csv(frame, tmp_path), group="patient"))[0]) == 0


@pytest.mark.parametrize("kind", ["csv", "parquet", "lines", "features"])
def test_it_is_found_beside_tags_and_among_ignored_columns(tmp_path: Path, kind: str) -> None:
    frame = rows_of_patients()
    assert identity_columns(data.load(KINDS[kind](frame, tmp_path), ignore="patient")) == ["patient"]
    assert identity_columns(data.load(KINDS[kind](tagged(frame), tmp_path))) == ["patient"]


def test_it_is_found_among_arrays(tmp_path: Path) -> None:
    assert identity_columns(data.load(as_arrays(rows_of_patients(), tmp_path))) == ["patient"]


@pytest.mark.parametrize("kind", ["csv", "parquet", "lines", "features"])
def test_a_column_of_patients_among_the_classes_may_be_the_group(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match='column "patient": P') as caught:
        data.load(KINDS[kind](rows_of_patients(), tmp_path))
    assert str(caught.value).endswith(
        "leave it out with --option ignore=patient, or keep the rows of each of its values in one part with "
        "--group patient"
    )
    other = rows_of_patients().select("image", pl.lit(2.5).alias("size"), "hat")
    with pytest.raises(DataError, match=r"leave it out with --option ignore=size$"):
        data.load(KINDS[kind](other, tmp_path))


def test_what_the_group_keeps_together_already_is_not_named() -> None:
    rows = np.arange(600)
    columns = {"patient": rows // 6, "visit": rows // 3, "session": rows // 12}
    labels = np.random.default_rng(0).integers(0, 2, (600, 2)).astype(np.int8)
    items = [f"{row}.jpg" for row in rows]
    table = LabelTable(items, ["hat", "bag"], labels, np.full(600, "train"), columns=columns)
    assert identity_columns(table) == ["patient", "visit", "session"]
    assert identity_columns(replace(table, group="patient")) == ["session"]
    assert identity_columns(replace(table, group="session")) == []
    whole, _ = data.complete_split(replace(table, group="patient"))
    assert [one.severity for one in found(whole, "RC207")] == ["advice"]
    regions = [f"{row // 6}.jpg#xywh={row % 6},0,1,1" for row in rows]
    assert identity_columns(replace(table, items=regions)) == ["session"]


RANDOM = np.random.default_rng(5)
MANY = 1200
IDENTITIES = {
    "patient": np.array([f"p{row}" for row in RANDOM.integers(0, 300, MANY)]),
    "person_id": RANDOM.integers(0, 200, MANY),
    "SubjectID": np.array([f"{row:04d}" for row in RANDOM.integers(0, 90, MANY)]),
    "product": np.array([f"a shoe {row}" for row in RANDOM.integers(0, 400, MANY)]),
    "video": np.repeat([f"clip {row}" for row in range(6)], 200),
    "pid": np.repeat(np.arange(400), 3),
    "patient with gaps": np.where(np.arange(MANY) % 7, RANDOM.integers(0, 90, MANY), np.nan),
    "who": np.array([f"W{row:03d}" for row in RANDOM.integers(0, 300, MANY)]),  # codes, about equally often
    "x": np.repeat(np.arange(300), 4),  # numbers, row beside row
}
OTHERS = {
    "patient": np.array([f"p{row}" for row in range(MANY)]),  # one of each
    "image_id": np.arange(MANY),
    "camera": np.array([f"c{row}" for row in RANDOM.integers(1, 7, MANY)]),
    "camera_id": RANDOM.integers(0, 30, MANY),
    "cam": RANDOM.integers(1, 16, MANY),
    "device": np.array([f"d{row}" for row in RANDOM.integers(0, 12, MANY)]),
    "flag": RANDOM.integers(0, 2, MANY).astype(bool),
    "is_person": RANDOM.integers(0, 2, MANY),
    "part": np.array(["train", "test"])[RANDOM.integers(0, 2, MANY)],
    "fold": RANDOM.integers(0, 10, MANY),
    "bytes": RANDOM.integers(20_000, 21_500, MANY),
    "width": RANDOM.integers(100, 300, MANY),
    "age": RANDOM.integers(0, 100, MANY),
    "years": np.sort(RANDOM.integers(1950, 2020, MANY)),
    "patient_age": RANDOM.integers(0, 100, MANY),
    "score of subject": RANDOM.integers(0, 100, MANY),
    "sharpness": RANDOM.integers(0, 300, MANY) / 8,
    "subject": np.array([f"{row / 8:.3f}" for row in RANDOM.integers(0, 301, MANY)]),  # numbers that are no names
    "note": np.array(["the left one of the two photos", "taken on the next day by another"] * (MANY // 2)),
    "caption": np.array([f"a photo of the dog number {row} on grass" for row in RANDOM.integers(0, 300, MANY)]),
    "taken": np.array([f"2020-01-{row:02d}" for row in RANDOM.integers(1, 29, MANY)]),
    "day": np.datetime64("2020-01-01") + RANDOM.integers(0, 300, MANY),
    "city": np.array(["Rome", "Oslo", "Bern", "Lima", "Kyiv"] * (MANY // 5)),
    "code": np.array(["J18"] * 900 + [f"K{row}" for row in range(100)] * 3),  # one has most rows
    "identity": np.full(MANY, -1),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_by_their_values(name: str) -> None:
    assert looks_like_identity(name, IDENTITIES[name])
    assert looks_like_identity(name, IDENTITIES[name].astype(str))


@pytest.mark.parametrize("name", OTHERS)
def test_columns_that_are_no_identities(name: str) -> None:
    assert not looks_like_identity(name, OTHERS[name])
    assert not looks_like_identity(name, OTHERS[name].astype(str))


def test_another_name_of_the_class_is_no_identity() -> None:
    of_row = np.repeat(np.arange(30), 8)
    items = [f"{row}.jpg" for row in range(240)]
    labels = np.eye(30, dtype=np.int8)[of_row]
    columns = {"wnid": np.array([f"n{4000 + number}" for number in of_row]), "bird": np.arange(240) // 4}
    table = LabelTable(items, [f"c{n}" for n in range(30)], labels, np.full(240, "train"), columns=columns)
    assert identity_columns(table) == ["bird"]


@pytest.mark.parametrize("name", ["market1501", "pa100k", "peta", "voc_lt/labels.csv", "scene"])
def test_data_sets_as_published_are_not_complained_of(data_folder: Path, name: str) -> None:
    assert identity_columns(data.load(str(data_folder / name))) == []

"""Tables of scores from anywhere: matched to labelled data, and judged."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from rarecall import data, metrics
from rarecall.data.scores import read_scores
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError
from rarecall.inference import evaluate_scores, judge, scored_in
from rarecall.inference.inputs import image_paths
from rarecall.labels import Counts, prevalence_tiers
from rarecall.reports import run_page
from tests.commands import assert_one_line, run_process

NAMES = ["hat", "bag, small", "shoe"]


@pytest.fixture
def table(tmp_path: Path) -> LabelTable:
    """A CSV with 60 images and a split, read."""
    random = np.random.default_rng(0)
    labels = (random.random((60, 3)) < 0.3).astype(int)
    labels[5, 1] = -1
    rows = {"image": [f"a/{row:02}.jpg" for row in range(60)], **dict(zip(NAMES, labels.T, strict=True))}
    split = ["train"] * 20 + ["val"] * 20 + ["test"] * 20
    (tmp_path / "photos").mkdir()
    pl.DataFrame({**rows, "split": split}).write_csv(tmp_path / "photos/tags.csv")
    return data.load(str(tmp_path / "photos/tags.csv"))


@pytest.fixture
def scores(table: LabelTable) -> np.ndarray:
    """Probabilities that know a little."""
    random = np.random.default_rng(1)
    return np.clip(0.3 * (table.labels > 0) + 0.7 * random.random(table.labels.shape), 0, 1)


def frame(table: LabelTable, scores: np.ndarray, prefix: str = "") -> pl.DataFrame:
    """Rows in another order, and columns too."""
    columns = {f"{prefix}{name}": scores[:, place] for place, name in enumerate(NAMES)}
    return pl.DataFrame({"image": list(table.items), **dict(reversed(columns.items()))}).reverse()


WRITERS = {
    "csv": lambda f, p: f.write_csv(p),
    "tsv": lambda f, p: f.write_csv(p, separator="\t"),
    "parquet": lambda f, p: f.write_parquet(p),
    "jsonl": lambda f, p: f.write_ndjson(p),
}


@pytest.mark.parametrize("prefix", ["", "score:"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_file_gives_the_same_scores(
    table: LabelTable, scores: np.ndarray, tmp_path: Path, kind: str, prefix: str
) -> None:
    WRITERS[kind](frame(table, scores, prefix), file := tmp_path / f"s.{kind}")
    found = read_scores(file, table)
    assert found.rows.tolist() == list(range(60))
    np.testing.assert_array_equal(found.values, scores)


def test_an_array_has_the_rows_of_the_data(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", scores.astype(np.float32))
    found = read_scores(tmp_path / "s.npy", table)
    np.testing.assert_array_equal(found.values, scores.astype(np.float32))
    np.save(tmp_path / "s.npy", scores[1:])
    with pytest.raises(DataError, match=r"\(59, 3\), where .* has 60 items and 3 classes"):
        read_scores(tmp_path / "s.npy", table)
    np.save(tmp_path / "s.npy", np.array([{}] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as an array"):
        read_scores(tmp_path / "s.npy", table)


@pytest.mark.parametrize(
    "rename",
    [
        lambda item, root: str(root / item),
        lambda item, _: Path(item).name,
        lambda item, _: f"elsewhere/{Path(item).name}",
    ],
    ids=["absolute", "name", "another folder"],
)
def test_items_are_found_by_their_file(table: LabelTable, scores: np.ndarray, tmp_path: Path, rename: object) -> None:
    own = frame(table, scores)
    own = own.with_columns(image=pl.Series([rename(item, tmp_path / "photos") for item in own["image"]]))
    own.write_csv(tmp_path / "s.csv")
    np.testing.assert_array_equal(read_scores(tmp_path / "s.csv", table).values, scores)


def test_labels_scores_and_what_is_predicted_take_one_column_for_the_items(tmp_path: Path) -> None:
    frame = pl.DataFrame({"item": ["1", "2"], "path": ["a.jpg", "b.jpg"], "hat": [1, 0]})
    frame.write_csv(labels := tmp_path / "tags.csv")
    frame.reverse().with_columns(hat=pl.Series([0.2, 0.9])).write_csv(scores := tmp_path / "scores.csv")
    table = data.load(str(labels), ignore="item")
    assert list(table.items) == ["a.jpg", "b.jpg"]
    assert read_scores(scores, table).values.tolist() == [[0.9], [0.2]]
    assert list(image_paths([str(labels)])) == [tmp_path / "a.jpg", tmp_path / "b.jpg"]


def test_rows_without_scores_are_left_out_and_named(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    own = frame(table, scores).filter(pl.col("image") != "a/41.jpg")
    blank = pl.when(pl.col("image") == "a/42.jpg").then(None)
    own.with_columns(blank.otherwise(pl.col(name)).alias(name) for name in NAMES).write_csv(tmp_path / "s.csv")
    scored = scored_in(tmp_path / "s.csv", table)
    assert (scored.part, len(scored.table)) == ("test", 18)
    assert scored.notes == ["2 of 20 items have no scores and are left out (a/41.jpg, a/42.jpg)"]


def test_rows_of_one_image_share_its_scores(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    twice = table.select(np.array([*range(60), 3, 3, 50]))
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    found = read_scores(file, twice)
    np.testing.assert_array_equal(found.values, scores[[*range(60), 3, 3, 50]])
    pl.concat([frame(table, scores), frame(table, scores).head(4)]).write_csv(file)
    np.testing.assert_array_equal(read_scores(file, table).values, scores)


def test_names_that_mean_several_images_are_refused(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    both = replace(table, items=[item.replace("a/4", "b/0") for item in table.items])
    own = frame(table, scores).with_columns(image=pl.lit("x/") + pl.col("image").str.slice(2))
    own.head(20).write_csv(file := tmp_path / "s.csv")
    with pytest.raises(DataError, match=r"items in column .* are not in|is several items of"):
        read_scores(file, both)


def test_an_image_that_could_not_be_read_does_no_harm(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    broken = pl.DataFrame({"image": ["zz_bad.png"]})
    pl.concat([frame(table, scores), broken], how="diagonal").write_csv(file := tmp_path / "s.csv")
    np.testing.assert_array_equal(read_scores(file, table).values, scores)


def test_the_column_of_items_is_no_class(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    other = replace(table, names=["name", "id", "path"])
    own = pl.DataFrame({"key": list(table.items), **dict(zip(other.names, scores.T, strict=True))})
    own.write_parquet(file := tmp_path / "s.parquet")
    np.testing.assert_array_equal(read_scores(file, other).values, scores)


@pytest.mark.parametrize(
    ("values", "scale", "words"),
    [(0.5, "logit", "all scores lie from 0 to 1"), (0.5, "probability", None), (5.0, "logit", None)],
)
def test_logits_that_look_like_probabilities_are_doubted(
    table: LabelTable, tmp_path: Path, values: float, scale: str, words: str | None
) -> None:
    np.save(tmp_path / "s.npy", np.full(table.labels.shape, values))
    notes = scored_in(tmp_path / "s.npy", table, scale=scale).notes
    assert [note[: len(words or "")] for note in notes] == ([words] if words else [])


def test_calibration_is_fitted_on_validation(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    found = evaluate_scores(file, table).summary
    val, test = (torch.from_numpy(table.part(part)) for part in ("val", "test"))
    logits, targets = torch.from_numpy(scores).logit(eps=1e-9), torch.from_numpy(table.labels)
    platt = metrics.fit_platt(logits[val], targets[val])
    expected = metrics.brier_score(platt(logits[test]).sigmoid(), targets[test]).nanmean()
    assert found["metrics"]["calibrated"]["brier"] == pytest.approx(100 * float(expected), abs=1e-3)
    assert found["threshold_gain"]["part"] == "val"
    assert evaluate_scores(file, table, "all").summary["threshold_gain"]["part"] == "all"
    assert "calibrated" not in evaluate_scores(file, table, "all").summary["metrics"]
    row = found["classes"][0]
    assert row["true_positives"] + row["false_negatives"] == row["positives"]


def test_intervals_may_be_stratified(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    plain, strata = (judge(scored_in(file, table), stratified=own).summary["intervals"] for own in (False, True))
    assert plain.keys() == strata.keys()
    assert plain != strata


def test_too_few_resamples_are_refused(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    with pytest.raises(OptionError, match="--resamples 1: say 0 for no intervals, or 40 or more"):
        judge(scored_in(file, table), resamples=1)


@pytest.mark.parametrize("kind", [">f4", "longdouble", "float16"])
def test_arrays_of_every_float_are_read(table: LabelTable, scores: np.ndarray, tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "s.npy", scores.astype(kind))
    assert np.allclose(evaluate_scores(tmp_path / "s.npy", table).scored.scores, scores[40:], atol=1e-3)


def test_lists_and_highest_scores_are_refused(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    own = frame(table, scores)
    for spoilt, words in (
        (own.with_columns(hat=pl.col("hat").reshape((-1, 1))), 'column "hat" holds lists'),
        (own.with_columns(image=pl.col("hat").reshape((-1, 1))), 'column "image" holds lists and no names'),
        (own.select("image", pl.lit("hat").alias("top_1")), "holds the highest scores of each item only"),
        (own.with_columns(hat=pl.col("hat") > 0.5), "is not a number"),
    ):
        spoilt.write_parquet(file := tmp_path / "s.parquet")
        with pytest.raises(DataError, match=words):
            read_scores(file, table)


def test_what_a_model_has_seen_is_doubted(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    train = table.select(table.part("train"))
    frame(train, scores[table.part("train")]).write_csv(file := tmp_path / "s.csv")
    assert "of the train part" in scored_in(file, table).notes[0]


def test_another_spelling_of_the_path_is_the_same_data(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(tmp_path / "mine.csv")
    for spelling in ("photos/tags.csv", "./photos/../photos/tags.csv"):
        done = run_process("evaluate", "mine.csv", spelling, "--resamples", "0", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    other = data.load(str(tmp_path / "photos/tags.csv"))
    pl.read_csv(tmp_path / "photos/tags.csv").with_columns(hat=pl.lit(1)).write_csv(tmp_path / "photos/tags.csv")
    assert other.fingerprint() != data.load(str(tmp_path / "photos/tags.csv")).fingerprint()
    again = run_process("evaluate", "mine.csv", "photos/tags.csv", cwd=tmp_path)
    assert_one_line(again, "mine-evaluation: holds the evaluation of mine.csv")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.drop("shoe"), "no column for 1 of the 3 classes of .*: unknown column 'shoe'"),
        (lambda f: pl.concat([f, f.head(2).with_columns(hat=pl.lit(0.5))]),
         "'a/59.jpg' stands in more than one row, with different scores: keep one"),
        (lambda f: f.with_columns(image=pl.col("image").str.replace("a/07", "b/99")),
         "1 of the 60 items in column \"image\" are not in .*: b/99.jpg"),
        (lambda f: f.with_columns(image=pl.lit("x") + pl.col("image").str.replace_all("[./]", "")),
         "none of the items in column .* is in .*: it has xa59jpg, .* the data has a/00.jpg, .* image"),
        (lambda f: f.with_columns(hat=pl.when(pl.col("image") == "a/03.jpg").then(float("nan")).otherwise("hat")),
         "item 'a/03.jpg', class 'hat': the score is nan: every score must be a finite number"),
        (lambda f: f.with_columns(hat=pl.when(pl.col("image") == "a/03.jpg").then(float("inf")).otherwise("hat")),
         "item 'a/03.jpg', class 'hat': the score is inf"),
        (lambda f: f.with_columns(hat=pl.col("hat").cast(pl.String).str.replace("^0.*", "high")),
         "column \"hat\": 'high' is not a number"),
        (lambda f: f.with_columns(hat=pl.col("hat") * 9),
         "class 'hat': .* is no probability: pass --scale logit, or --scale rank if only the order"),
        (lambda f: f.with_columns(pl.lit(None, pl.Float64).alias(name) for name in NAMES), "no row has scores"),
        (lambda f: f.drop("image"), "every column is a class: add a column with the items"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_named(
    table: LabelTable, scores: np.ndarray, tmp_path: Path, spoil: object, message: str
) -> None:
    spoil(frame(table, scores)).write_csv(tmp_path / "s.csv")
    with pytest.raises(DataError, match=message) as caught:
        scored_in(tmp_path / "s.csv", table)
    assert "\n" not in str(caught.value)


def test_other_mistakes_are_named(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    with pytest.raises(OptionError, match="--scale chance: unknown scale 'chance'"):
        scored_in(file, table, scale="chance")
    with pytest.raises(OptionError, match="--part most: choose"):
        scored_in(file, table, "most")
    with pytest.raises(DataError, match="no such file"):
        scored_in(tmp_path / "none.csv", table)
    (tmp_path / "s.txt").write_text("")
    with pytest.raises(DataError, match=r"scores are read from \.csv, .*, not from \.txt"):
        scored_in(tmp_path / "s.txt", table)
    frame(table, scores).head(20).write_csv(file)
    with pytest.raises(DataError, match="no row of the train part has scores"):
        scored_in(file, table, "train")


def test_thresholds_are_fitted_on_validation_alone(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    scored = scored_in(file, table)
    rows = table.part("val")
    expected = metrics.fit_thresholds(torch.from_numpy(scores[rows]), torch.from_numpy(table.labels[rows]), shrinkage=2)
    assert torch.equal(scored.thresholds, expected)
    assert scored.positives.tolist() == (table.labels[table.part("train")] > 0).sum(0).tolist()
    assert scored_in(file, table, "all").thresholds is None
    assert scored_in(file, table, "val").thresholds is None


def test_figures_are_those_of_the_metrics(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    found = evaluate_scores(file, table)
    rows = table.part("test")
    own, targets = torch.from_numpy(scores[rows]), torch.from_numpy(table.labels[rows])
    summary = found.summary
    assert summary["metrics"]["ranking"]["map_class"] == pytest.approx(
        100 * float(metrics.mean_average_precision(own, targets)), abs=1e-3
    )
    assert summary["metrics"]["half"]["macro_f1"] == pytest.approx(
        100 * float(metrics.precision_recall_f1(own >= 0.5, targets, average="macro").f1), abs=1e-3
    )
    assert summary["metrics"]["probabilities"]["brier"] == pytest.approx(
        100 * float(metrics.brier_score(own, targets).mean()), abs=1e-3
    )
    interval = summary["intervals"]["all"]
    assert interval["low"] < summary["figures"]["map_class"] < interval["high"]
    assert [row["class"] for row in summary["classes"]] == NAMES
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_order_of_logits_and_ranks_gives_the_same_ranking(
    table: LabelTable, scores: np.ndarray, tmp_path: Path
) -> None:
    frame(table, scores).write_csv(tmp_path / "p.csv")
    inside = np.clip(scores, 0.01, 0.99)
    frame(table, np.log(inside / (1 - inside))).write_csv(tmp_path / "z.csv")
    frame(table, inside).write_csv(tmp_path / "p.csv")
    by_logit, by_rank, by_probability = (
        evaluate_scores(tmp_path / f"{name}.csv", table, scale=scale).summary
        for name, scale in (("z", "logit"), ("z", "rank"), ("p", "probability"))
    )
    assert by_logit["figures"] == by_rank["figures"] == by_probability["figures"]
    assert by_logit["metrics"]["half"] == by_probability["metrics"]["half"]
    assert set(by_rank["metrics"]) == {"ranking", "fitted"}
    assert by_rank["figures_at_half"] is None


def test_ranks_without_validation_rows_are_not_decided(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    found = evaluate_scores(file, table, "all", scale="rank")
    assert set(found.summary["metrics"]) == {"ranking"}
    assert "precision" not in found.summary["classes"][0]
    page = run_page.render(found)
    assert "Decisions" not in page
    assert "Hits, false alarms" not in page


def test_scores_are_evaluated_by_the_command(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(tmp_path / "mine.csv")
    done = run_process("evaluate", "mine.csv", "photos/tags.csv", "--resamples", "50", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine.csv on the test part, 20 items" in done.stdout
    assert {path.name for path in (tmp_path / "mine-evaluation").iterdir()} == {
        "evaluation.json", "classes.csv", "report.html",
    }  # fmt: skip
    page = (tmp_path / "mine-evaluation/report.html").read_text()
    assert "bag, small" in page
    assert "How it was made" not in page
    np.save(tmp_path / "mine.npy", scores)
    other = run_process("evaluate", "mine.npy", "photos/tags.csv", cwd=tmp_path)
    assert_one_line(other, "mine-evaluation: holds the evaluation of mine.csv", "pass another --out")
    device = run_process("evaluate", "mine.csv", "photos/tags.csv", "--device", "cpu", cwd=tmp_path)
    assert_one_line(device, "--device cpu", "leave it out")
    run = run_process("evaluate", "photos", "photos/tags.csv", "--scale", "logit", cwd=tmp_path)
    assert_one_line(run, "--scale logit", "leave it out")


def test_tiers_may_go_by_prevalence(table: LabelTable, scores: np.ndarray, tmp_path: Path) -> None:
    frame(table, scores).write_csv(file := tmp_path / "s.csv")
    scored = scored_in(file, table)
    found = judge(scored, tiers="prevalence", resamples=0).summary
    shares = [(scored.table.labels == 1).sum(0) / (scored.table.labels >= 0).sum(0)]
    expected = ["common" if share > 0.2 else "medium" for share in shares[0]]
    assert [row["tier"] for row in found["classes"]] == expected
    assert "map_common" in found["metrics"]["ranking"]
    assert "map_tail" not in found["metrics"]["ranking"]
    assert found["intervals"] == {}
    with pytest.raises(OptionError, match="--tiers sizes: unknown tiers 'sizes'"):
        judge(scored, tiers="sizes")


def test_prevalence_tiers_have_the_limits_of_their_paper() -> None:
    present = np.array([201, 200, 10, 9, 0, 0])
    absent = np.array([799, 800, 990, 991, 5, 0])
    found = prevalence_tiers(Counts(present, absent, np.zeros(6, int)))
    assert found == ["common", "medium", "medium", "rare", "rare", "rare"]

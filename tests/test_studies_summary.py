"""What a study found: rows, summary and verdict, as they are computed, written and read back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rarecall import data, metrics, statistics, studies
from rarecall.errors import StudyError
from rarecall.folders import FORMAT as FOLDER_FORMAT
from rarecall.listener import Listener
from rarecall.preparation import divide, prepare
from rarecall.studies.results import Results
from rarecall.studies.summary import FORMAT, Summary
from rarecall.studies.verdict import verdict
from tests.summaries import entry, protocol, summary_of

QUICK = {"hidden": 8, "dropout": 0.2, "epochs": 4, "batch_size": 16}


@pytest.fixture
def table(table_file: Path) -> data.LabelTable:
    """A small feature table."""
    return data.load(str(table_file))


def finish(
    table: data.LabelTable, out: Path, wanted: str = "bce,two-way", seeds: int = 2, **changes: object
) -> tuple[studies.Study, Results]:
    """Run a study and write its results."""
    protocol = studies.protocol(table, **{**QUICK, **changes})
    plan = studies.make_plan(studies.parse_losses(wanted), seeds, protocol)
    prepared = prepare(divide(table, val=protocol.val), Listener())
    done = studies.study(plan, prepared, out, workers=1)
    results = studies.collect(
        done, prepared.audit, command="rarecall study", train_command="rarecall train x", notes=prepared.notes
    )
    results.write(out)
    return done, results


def begun(folder: Path) -> Path:
    """The folder of a study of which nothing is there yet."""
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps({"format": FOLDER_FORMAT, "rarecall": "0", "study": {}}))
    return folder


# --- what is computed --------------------------------------------------------------------------------------


def test_the_rows_say_what_the_metrics_say(table: data.LabelTable, tmp_path: Path) -> None:
    done, results = finish(table, tmp_path / "s")
    rows, table = pl.read_parquet(tmp_path / "s/results.parquet"), done.table
    targets = torch.from_numpy(table.labels[table.part("test")])
    run = done.tuned("two-way")[1]
    own = rows.filter((pl.col("loss") == "two-way") & (pl.col("seed") == 1) & (pl.col("rate") == run.job.rate))
    assert own["class"].to_list() == ["a", "b", "c"]
    np.testing.assert_allclose(own["ap"], metrics.average_precision(run.scores, targets))
    assert own["positives_train"].to_list() == (table.labels[table.part("train")] == 1).sum(0).tolist()
    assert set(rows.columns) >= {"loss", "rate", "seed", "class", "ap", "precision", "recall", "f1", "positives_train"}
    found = next(entry for entry in results.summary.tuned if entry.loss == "two-way").figures["map_class"]
    maps = [metrics.mean_average_precision(one.scores, targets).item() for one in done.tuned("two-way")]
    assert found.mean == pytest.approx(100 * np.mean(maps), abs=1e-3)
    assert found.sd == pytest.approx(100 * np.std(maps, ddof=1), abs=1e-3)


def test_the_summary_holds_the_paired_tests_over_seeds(table: data.LabelTable, tmp_path: Path) -> None:
    done, results = finish(table, tmp_path / "s", seeds=3)
    targets = torch.from_numpy(done.table.labels[done.table.part("test")])
    maps = {
        loss: [100 * metrics.mean_average_precision(run.scores, targets).item() for run in done.tuned(loss)]
        for loss in done.plan.losses
    }
    expected = statistics.compare(maps)
    tested = {entry.loss: entry.over_seeds["all"] for entry in results.summary.tuned}
    assert tested[expected.best] is None
    (other,) = expected.others
    found = tested[other.name]
    assert found is not None
    assert found.t_p == pytest.approx(other.t_test.p_value, abs=1e-5)
    assert found.difference == pytest.approx(other.difference, abs=1e-5)
    assert (found.wilcoxon_smallest_p, found.seeds_needed) == (0.25, other.seeds_needed)
    assert expected.tested()[0] in results.summary.verdict


def test_a_run_at_its_own_and_the_common_rate_is_measured_once(
    table: data.LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, before = finish(table, tmp_path / "s", rates="3e-3")
    measured: list[torch.Tensor] = []
    summarise = metrics.summarise
    monkeypatch.setattr(metrics, "summarise", lambda *given: measured.append(given[0]) or summarise(*given))
    again = studies.collect(done, before.summary.data, command="", train_command="", notes=[])
    assert len(measured) == len(done.runs) == 4
    assert again.summary.tuned == again.summary.common == before.summary.tuned


def test_a_class_without_any_positive_has_a_defined_result(table: data.LabelTable, tmp_path: Path) -> None:
    labels = table.labels.copy()
    labels[:, 1] = 0
    barren = data.LabelTable(table.items, table.names, labels, table.split, "t", None, table.features)
    _, results = finish(barren, tmp_path / "s", seeds=1)
    assert results.rows.filter(pl.col("class") == "b")["ap"].is_null().all()
    assert results.summary.not_measured == ["b"]
    assert results.summary.counted_classes["all"] == 2


def test_the_leaderboard_is_a_table_with_the_best_first(table: data.LabelTable, tmp_path: Path) -> None:
    _, results = finish(table, tmp_path / "s")
    board = results.summary.leaderboard()
    assert board["loss"].to_list() == [entry.loss for entry in results.summary.tuned]
    assert board["map_class"].is_sorted(descending=True)
    assert board["difference"][0] == board["difference_low"][0] == 0
    assert board["difference_low"][1] <= board["difference"][1] <= board["difference_high"][1]
    assert board["map_class_sd"].is_not_null().all()
    assert {"rate", "macro_f1", "macro_f1_sd", "validation"} <= set(board.columns)


# --- what is written and read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{}, {"val": "none"}, {"val": "test"}, {"rates": "3e-3"}, {"seeds": 1}, {"threshold": "0.5"}]
)
def test_results_come_back_as_they_were(table: data.LabelTable, tmp_path: Path, changes: dict[str, Any]) -> None:
    _, results = finish(table, tmp_path / "s", **changes)
    back = Results.read(tmp_path / "s")
    assert back.summary == results.summary
    assert back.rows.equals(results.rows)
    assert Summary.read(tmp_path / "s") == results.summary


def test_a_study_that_is_not_finished_or_none(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"):
        Results.read(tmp_path)
    with pytest.raises(StudyError, match="s: the study is not finished: run the same 'rarecall study' command again"):
        Results.read(begun(tmp_path / "s"))


def cut(text: str) -> str:
    return text[: len(text) // 2]


def without_losses(text: str) -> str:
    stored = json.loads(text)
    del stored["losses"]
    return json.dumps(stored)


def with_text_for_rate(text: str) -> str:
    stored = json.loads(text)
    stored["tuned"][1]["rate"] = "fast"
    return json.dumps(stored)


def without_entries(text: str) -> str:
    return json.dumps(json.loads(text) | {"tuned": []})


def of_form(number: int) -> Callable[[str], str]:
    return lambda text: json.dumps(json.loads(text) | {"format": number, "rarecall": "9.0"})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cut, r"summary\.json: is damaged \(.*\): run the study again"),
        (lambda _: "[]", r"is damaged at format \(there is none\)"),
        (lambda _: "null", r"is damaged at format"),
        (lambda _: '{"format": "two"}', r"is damaged at format"),
        (without_losses, r"is damaged at losses \(Field required\): run the study again"),
        (with_text_for_rate, r"is damaged at tuned\.1\.rate \("),
        (without_entries, r"is damaged at tuned \("),
        (of_form(FORMAT - 1), r"s: is of an earlier form: run the study again"),
        (of_form(FORMAT + 1), r"s: was written by rarecall 9\.0, later than this .*: upgrade to read it"),
    ],
)
def test_a_summary_that_cannot_be_used_is_one_line(tmp_path: Path, change: Callable[[str], str], words: str) -> None:
    folder = begun(tmp_path / "s")
    summary_of(entry("two-way"), entry("dr", -1.0, -2.0, 0.5)).write(folder)
    file = folder / "summary.json"
    file.write_text(change(file.read_text()))
    with pytest.raises(StudyError, match=words) as raised:
        Summary.read(folder)
    assert "\n" not in str(raised.value)


def test_rows_that_are_damaged_are_one_line(tmp_path: Path) -> None:
    folder = begun(tmp_path / "s")
    summary_of(entry("two-way")).write(folder)
    file = folder / "results.parquet"
    for write, words in (
        (lambda: None, r"results\.parquet: is damaged or missing"),
        (lambda: file.write_bytes(b"PAR1 no more"), r"results\.parquet: is damaged or missing"),
        (lambda: pl.DataFrame({"loss": ["bce"]}).write_parquet(file), r"is damaged: lacks rate, seed, tuned"),
    ):
        write()
        with pytest.raises(StudyError, match=words) as raised:
            Results.read(folder)
        assert "\n" not in str(raised.value)


# --- where choices were made -------------------------------------------------------------------------------


def test_what_was_chosen_on_the_test_part_is_said(table: data.LabelTable, tmp_path: Path) -> None:
    _, results = finish(table, tmp_path / "s", val="test")
    words = "chosen on the test part (--val test): it picked rates, epochs and thresholds, which flatters every figure"
    assert words in results.summary.notes
    assert words in (tmp_path / "s/summary.json").read_text()
    said = results.summary.verdict
    assert f"C{words[1:]}." in said
    assert not any(sentence.startswith("Validation alone") for sentence in said)


def test_a_study_without_a_part_to_choose_on(table: data.LabelTable, tmp_path: Path) -> None:
    _, results = finish(table, tmp_path / "s", val="none")
    summary = results.summary
    assert any(sentence.startswith("Nothing was held out to choose on") for sentence in summary.verdict)
    assert any(note.startswith("nothing was held out to choose on (--val none)") for note in summary.notes)
    assert all(entry.validation is None for entry in summary.tuned)
    assert all(curve.val_map == [] for own in summary.curves.values() for curve in own)
    assert all(search.validation == {"0.003": None} for search in summary.rates.values())
    assert summary.leaderboard()["validation"].is_null().all()


def test_the_test_part_that_picked_nothing_is_not_blamed() -> None:
    plain = protocol(val="test", select="last", threshold="0.5", rates=(3e-3,))
    said = verdict(summary_of(entry("two-way"), entry("dr", -0.5, -1.5, 0.4), protocol=plain))
    assert not any("test part" in sentence for sentence in said)
    partly = plain.model_copy(update={"threshold": "fitted"})
    said = verdict(summary_of(entry("two-way"), entry("dr", -0.5, -1.5, 0.4), protocol=partly))
    assert "Chosen on the test part (--val test): it picked thresholds, which flatters every figure." in said


# --- the verdict -------------------------------------------------------------------------------------------


def board(*others: Any, **changes: Any) -> Summary:
    """A summary of two-way and others."""
    return summary_of(entry("two-way"), *(others or (entry("dr", -0.5, -1.5, 0.4),)), **changes)


def test_the_verdict_tells_beaten_from_level() -> None:
    sentence = verdict(board(entry("dr", -0.5, -1.5, 0.4), entry("focal", -3.1, -4.4, -1.9)))[0]
    assert "two-way has the highest test mAP: 50.0 ± 0.4" in sentence
    assert "It beats focal by 3.1 (1.9 to 4.4)." in sentence
    assert "Not distinguishable from it: dr (0.5 behind, −0.4 to 1.5)." in sentence


def test_the_verdict_tells_the_tests_of_the_tail_apart() -> None:
    alike = {"two-way": [50.0, 51.0, 52.0], "dr": [49.9, 51.1, 51.8]}
    apart = {"two-way": [30.0, 31.0, 32.0], "dr": [20.0, 21.1, 21.9]}
    said = verdict(board(seeds=3), {"all": statistics.compare(alike), "tail": statistics.compare(apart)})
    assert any(
        sentence.startswith("Paired t-tests over 3 seeds, Holm-corrected, do not tell two-way from dr")
        for sentence in said
    )
    assert any(sentence.startswith("On the tail they tell two-way from dr (p < 0.0001)") for sentence in said)
    assert said[-1].endswith("Run more with --seeds.")


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (1, "One seed: nothing can be concluded about seeds"),
        (3, "3 seeds are few: the Wilcoxon signed-rank test cannot go below p = 0.25"),
        (5, None),
    ],
)
def test_the_verdict_is_modest_about_few_seeds(seeds: int, words: str | None) -> None:
    said = " ".join(verdict(board(seeds=seeds)))
    assert (words in said) if words else ("seeds are few" not in said)


@pytest.mark.parametrize(
    ("seeds", "drawn"),
    [
        (1, "test items"),
        (2, "test items and the few seeds, of which there are 3 different draws"),
        (4, "test items and the few seeds, of which there are 35 different draws"),
        (5, "test items and seeds"),
    ],
)
def test_the_verdict_says_what_the_intervals_draw(seeds: int, drawn: str) -> None:
    said = verdict(board(seeds=seeds))
    assert said[1] == f"Differences are points of mAP with 95 % intervals over {drawn}."
    assert "intervals" not in " ".join([said[0], *said[2:]])


def test_one_loss_is_not_told_what_tests_cannot_show() -> None:
    assert "Wilcoxon" not in " ".join(verdict(summary_of(entry("two-way"), seeds=3)))


def test_what_the_interval_and_the_seeds_disagree_on_is_reconciled() -> None:
    figures = {"two-way": [50.0, 51.0, 52.0], "bce": [49.9, 50.89, 51.9]}
    figures |= {"dr": [48.0, 51.0, 49.0], "focal": [40.0, 41.1, 41.9]}
    over_seeds = {"all": statistics.compare(figures)}
    told = {other.name: over_seeds["all"].tells(other) for other in over_seeds["all"].others}
    assert told == {"dr": False, "focal": True, "bce": True}
    summary = board(
        entry("bce", -0.1, -0.5, 0.3), entry("dr", -1.7, -2.9, -0.5), entry("focal", -10, -12, -8), seeds=3
    )  # fmt: skip
    sentence = verdict(summary, over_seeds)[0]
    assert (
        " It beats dr by 1.7 (0.5 to 2.9), focal by 10.0 (8.0 to 12.0) with these 3 seeds; "
        "a t-test over them does not tell it from dr." in sentence
    )
    assert sentence.endswith(
        "(0.1 behind, −0.3 to 0.5); a t-test over seeds tells it from bce, on these test items alone."
    )
    assert "t-test" not in verdict(summary)[0]


def test_where_the_interval_and_the_seeds_agree_nothing_is_added() -> None:
    figures = {"two-way": [50.0, 51.0, 52.0], "dr": [49.9, 51.1, 51.8], "focal": [40.0, 41.1, 41.9]}
    summary = board(entry("dr", -0.5, -1.5, 0.4), entry("focal", -10, -12, -8), seeds=3)
    assert "t-test" not in verdict(summary, {"all": statistics.compare(figures)})[0]
    once = {"all": statistics.compare({name: own[:1] for name, own in figures.items()})}
    assert "t-test" not in verdict(summary.model_copy(update={"seeds": 1}), once)[0]
    # Of equal means the tests may have another best: nothing is said of other pairs.
    figures |= {"dr": [50.0, 51.0, 52.5], "focal": [48.0, 51.0, 49.0]}
    other_best = {"all": statistics.compare(figures)}
    assert not any(other_best["all"].tells(other) for other in other_best["all"].others)
    assert "t-test" not in verdict(summary, other_best)[0]


@pytest.mark.parametrize(
    ("validation", "words"),
    [
        (50.0, "cannot tell the losses apart"),
        (49.0, "Validation alone, without a look at the test part, chooses two-way too."),
        (51.0, "Validation alone, without a look at the test part, would choose dr (test mAP 49.5)."),
    ],
)
def test_the_verdict_says_what_validation_would_choose(validation: float, words: str) -> None:
    said = verdict(board(entry("dr", -0.5, -1.5, 0.4, validation=validation)))
    assert any(words in sentence for sentence in said)

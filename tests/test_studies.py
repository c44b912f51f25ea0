"""Studies: fair, repeatable, resumable, and told apart."""

import dataclasses
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from rarecall import data, folders, losses, metrics, statistics, studies
from rarecall.audit import audit
from rarecall.errors import DataError, OptionError, StudyError
from rarecall.listener import Listener
from rarecall.preparation import Prepared, divide, prepare
from rarecall.studies import folder, runs
from rarecall.studies.heads import train_head
from rarecall.studies.results import Results
from rarecall.studies.runs import Job
from rarecall.studies.verdict import verdict

QUICK = {"hidden": 8, "dropout": 0.2, "epochs": 4, "batch_size": 16}


@pytest.fixture
def prepared(table_file: Path) -> Prepared:
    """A small feature table, prepared."""
    return prepare(divide(data.load(str(table_file))), Listener())


@pytest.fixture
def table(prepared: Prepared) -> data.LabelTable:
    """Its rows."""
    return prepared.table


def plan_for(table: data.LabelTable, wanted: str = "bce,two-way", seeds: int = 2, **changes: Any) -> studies.Plan:
    """A plan that runs in a second."""
    protocol = studies.protocol(table, **{**QUICK, **changes})
    return studies.make_plan(studies.parse_losses(wanted), seeds, protocol)


def as_prepared(table: data.LabelTable) -> Prepared:
    """A table whose split is complete, prepared."""
    return prepare(divide(table), Listener())


def finish(plan: studies.Plan, table: data.LabelTable, out: Path, workers: int = 1) -> studies.Study:
    """Run a study and write its results."""
    done = studies.study(plan, as_prepared(table), out, workers=workers)
    studies.collect(done, audit(table), command="rarecall study", train_command="rarecall train", notes=[]).write(out)
    return done


# --- the plan ----------------------------------------------------------------------------------------------


def test_losses_are_parsed_with_their_options() -> None:
    assert studies.parse_losses("asl, focal(gamma=1.0, alpha=0.5)") == ("asymmetric", "focal(gamma=1.0, alpha=0.5)")


def test_sums_and_lists_are_parsed_too() -> None:
    text = "dr + 0.5*db(gamma=None), class-balanced(positives=[1, 2], total=9)"
    assert studies.parse_losses(text) == (
        "distributionally-robust + 0.5 * distribution-balanced(gamma=None)",
        "class-balanced(positives=[1, 2], total=9)",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("two-wya", "did you mean 'two-way'"),
        ("bce,binary-cross-entropy", "stands twice"),
        ("dr + bce, distributionally-robust + 1 * bce", "stands twice"),
        ("role", "role needs expected_positives"),
        ("focal + two-way(reduction='sum')", "leave out reduction"),
        ("focal,focal(gamma=2)", "stands twice"),
        ("focal(gamma=1,gamma=2)", "cannot read the loss"),
        (" , ", "no loss in"),
        ("focal(reduction='none')", "leave out reduction"),
        ("focal(gamma=2", "cannot read the loss"),
        ("focal(gamma=print())", "cannot read the loss"),
    ],
)
def test_losses_that_cannot_be_studied(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        studies.parse_losses(text)


def test_the_protocol_follows_the_kind_of_data(table: data.LabelTable) -> None:
    vectors, digits = studies.protocol(table), studies.protocol(data.load("digits"))
    assert (vectors.hidden, vectors.dropout, vectors.batch_size, vectors.epochs) == (256, 0.5, 128, 30)
    assert (digits.hidden, digits.batch_size) == (64, 64)
    assert studies.protocol(table, hidden=0).dropout == 0


# --- one run -----------------------------------------------------------------------------------------------


def test_a_run_is_the_same_whenever_it_is_done_and_leaves_global_randomness_alone(table: data.LabelTable) -> None:
    plan = plan_for(table)
    torch.manual_seed(11)
    first = train_head(Job("two-way", 1e-2, 3), table, plan.protocol)
    after = torch.rand(1)
    torch.manual_seed(11)
    assert torch.equal(after, torch.rand(1))
    again = train_head(Job("two-way", 1e-2, 3), table, plan.protocol)
    assert torch.equal(first.scores, again.scores)
    other = train_head(Job("two-way", 1e-2, 4), table, plan.protocol)
    assert not torch.equal(first.scores, other.scores)


def test_validation_picks_the_epoch_and_the_thresholds(table: data.LabelTable) -> None:
    plan = plan_for(table, epochs=30, dropout=0.0)
    run = train_head(Job("binary-cross-entropy", 1e-2, 0), table, plan.protocol)
    assert run.val_map[run.epoch - 1] == run.val_map.max()
    assert run.validation == pytest.approx(run.val_map.max().item())
    assert run.val_map[-1] > run.val_map[0]
    assert metrics.mean_average_precision(run.scores, torch.from_numpy(table.labels[table.part("test")])) > 0.6


def test_a_run_that_diverges_keeps_what_it_had(table: data.LabelTable) -> None:
    assert table.features is not None
    features = table.features.copy()
    features[table.part("train")] = np.inf
    table, plan = dataclasses.replace(table, features=features), plan_for(table)
    run = train_head(Job("binary-cross-entropy", 1e-2, 0), table, plan.protocol)
    assert run.diverged
    assert run.epoch == 0
    assert run.scores.isfinite().all()


def test_a_run_comes_back_from_disk_as_it_was(table: data.LabelTable, tmp_path: Path) -> None:
    plan = plan_for(table)
    run = train_head(Job("focal(gamma=1.0)", 3e-3, 0), table, plan.protocol)
    runs.save(run, tmp_path)
    back = runs.load(run.job, tmp_path)
    assert back is not None
    assert torch.equal(back.scores, run.scores)
    assert (back.job, back.epoch, back.seconds) == (run.job, run.epoch, run.seconds)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-50])
    assert runs.load(run.job, tmp_path) is None


@pytest.mark.parametrize("name", losses.names())
def test_a_head_learns_with_every_loss(table: data.LabelTable, name: str) -> None:
    needed = {"expected-positive": "(expected_positives=0.5)", "role": "(expected_positives=0.5)"}.get(name, "")
    assert table.features is not None
    plan = plan_for(table, epochs=8)
    run = train_head(Job(name + needed, 1e-2, 0), table, plan.protocol)
    assert not run.diverged
    assert run.train_loss.isfinite().all()
    if name not in ("splc", "large-loss", "generalized-robust"):  # whose measure changes with the epoch
        assert run.train_loss[-1] < run.train_loss[0]


@pytest.mark.parametrize(
    "text",
    [
        "large-loss(scheme='correct-permanently', delta=0.01)",
        "entropy-maximization(pseudo_labels=True)",
        "gr(k='learned')",
        "dr + 0.5 * role(expected_positives=0.5)",
    ],
)
def test_a_head_learns_with_losses_that_remember(table: data.LabelTable, text: str) -> None:
    assert table.features is not None
    labels = np.where(table.labels == 0, -1, table.labels).astype(np.int8)
    table, plan = dataclasses.replace(table, labels=labels), plan_for(table, epochs=8)
    run = train_head(Job(text, 1e-2, 0), table, plan.protocol)
    assert run.train_loss.isfinite().all()
    assert not run.diverged


def test_a_rule_about_unknown_labels_without_any_is_said_to_be_idle() -> None:
    complete, partly = np.array([[1, 0]], np.int8), np.array([[1, -1]], np.int8)
    (said,) = studies.idle_rules(("focal", "gr", "dr + wan"), complete)
    assert said.startswith("no training label is unknown: gr, dr + wan: ")
    assert studies.idle_rules(("focal", "gr"), partly) == []
    assert studies.idle_rules(("focal", "two-way"), complete) == []


def test_run_files_of_different_runs_have_different_names() -> None:
    jobs = [Job(loss, rate, seed) for loss in ("focal", "focal(gamma=1)", "focal(gamma=1.5)", "focal(alpha=1)")
            for rate in (1e-3, 1e-2) for seed in (0, 1)]  # fmt: skip
    assert len({job.file_name for job in jobs}) == len(jobs)


# --- whole studies -----------------------------------------------------------------------------------------


def test_every_loss_meets_the_same_conditions(table: data.LabelTable, tmp_path: Path) -> None:
    plan = plan_for(table)
    done = studies.study(plan, as_prepared(table), tmp_path / "s", workers=1)
    for loss in plan.losses:
        searched = done.search(loss)
        assert set(searched) == set(plan.protocol.rates)
        assert done.chosen[loss] == max(searched, key=lambda rate: searched[rate].validation)
        assert [run.job.seed for run in done.tuned(loss)] == [run.job.seed for run in done.common(loss)] == [0, 1]
        assert {run.job.rate for run in done.common(loss)} == {plan.protocol.common_rate}


def test_processes_and_this_process_give_the_same_bytes(table: data.LabelTable, tmp_path: Path) -> None:
    assert table.features is not None
    # Whatever the order of the numbers in memory.
    table = dataclasses.replace(table, features=np.asfortranarray(table.features))
    plan = plan_for(table)
    finish(plan, table, tmp_path / "one", workers=1)
    finish(plan, table, tmp_path / "two", workers=2)
    assert (tmp_path / "one/results.parquet").read_bytes() == (tmp_path / "two/results.parquet").read_bytes()
    assert not (tmp_path / "two" / ".data").exists()


def test_a_study_goes_on_from_the_runs_that_are_there(table: data.LabelTable, tmp_path: Path) -> None:
    plan = plan_for(table)
    finish(plan, table, tmp_path / "s")
    wanted = (tmp_path / "s/results.parquet").read_bytes()
    kept = sorted((tmp_path / "s/runs").iterdir())
    for file in kept[::2]:
        file.unlink()
    kept[1].write_bytes(b"damaged")
    times = {file: file.stat().st_mtime_ns for file in kept[3::2]}
    finish(plan, table, tmp_path / "s")
    assert (tmp_path / "s/results.parquet").read_bytes() == wanted
    assert times == {file: file.stat().st_mtime_ns for file in times}


def test_more_seeds_and_losses_may_join_a_study(table: data.LabelTable, tmp_path: Path) -> None:
    finish(plan_for(table, "bce", seeds=1), table, tmp_path / "s")
    finish(plan_for(table, "bce,focal", seeds=3), table, tmp_path / "s")
    finish(plan_for(table, "bce,focal", seeds=3), table, tmp_path / "fresh")
    assert (tmp_path / "s/results.parquet").read_bytes() == (tmp_path / "fresh/results.parquet").read_bytes()


def test_a_folder_of_another_study_is_refused_with_the_difference(table: data.LabelTable, tmp_path: Path) -> None:
    finish(plan_for(table, "bce", seeds=1), table, tmp_path / "s")
    with pytest.raises(StudyError, match=r"differs in protocol.epochs \(4 there, 5 here\)"):
        studies.study(plan_for(table, "bce", seeds=1, epochs=5), as_prepared(table), tmp_path / "s", workers=1)
    with pytest.raises(StudyError, match=r"differs in data \("):
        studies.study(
            plan_for(table, "bce", seeds=1), as_prepared(table.select(np.arange(100))), tmp_path / "s", workers=1
        )


def test_a_second_process_is_kept_out(table: data.LabelTable, tmp_path: Path) -> None:
    plan = plan_for(table, "bce", seeds=1)
    with (
        folder.STUDY.only_here(tmp_path / "s"),
        pytest.raises(StudyError, match="another process is running this study"),
    ):
        studies.study(plan, as_prepared(table), tmp_path / "s", workers=1)
    studies.study(plan, as_prepared(table), tmp_path / "s", workers=1)


def test_a_folder_without_a_finished_run_may_become_another_study(table: data.LabelTable, tmp_path: Path) -> None:
    (tmp_path / "s" / "runs").mkdir(parents=True)
    (tmp_path / "s/study.json").write_text(
        json.dumps({"format": folders.FORMAT, "rarecall": "0", "study": {"source": "other"}})
    )
    finish(plan_for(table, "bce", seeds=1), table, tmp_path / "s")
    assert folder.STUDY.read_identity(tmp_path / "s")["source"] == table.source


def test_a_study_leaves_the_processes_of_its_caller_alone(table: data.LabelTable, tmp_path: Path) -> None:
    own = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
    own.start()
    finish(plan_for(table, "bce", seeds=1), table, tmp_path / "s", workers=2)
    assert own.is_alive()
    own.terminate()
    own.join()
    own.close()


def test_a_folder_that_is_no_study_or_a_later_one(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/thesis.doc").write_text("years of work")
    with pytest.raises(StudyError, match="is not empty and holds no study"):
        folder.STUDY.check(tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="is a file"):
        folder.STUDY.check(tmp_path / "file")
    (tmp_path / "x/study.json").write_text(json.dumps({"format": folders.FORMAT + 1, "rarecall": "9.0", "study": {}}))
    with pytest.raises(StudyError, match=r"written by rarecall 9\.0, later than"):
        folder.STUDY.check(tmp_path / "x")
    (tmp_path / "x/study.json").write_text("{")
    with pytest.raises(StudyError, match="is damaged"):
        folder.STUDY.check(tmp_path / "x")


# --- results -----------------------------------------------------------------------------------------------


def test_the_rows_say_what_the_metrics_say(table: data.LabelTable, tmp_path: Path) -> None:
    done = finish(plan_for(table), table, tmp_path / "s")
    rows = pl.read_parquet(tmp_path / "s/results.parquet")
    targets = torch.from_numpy(table.labels[table.part("test")])
    run = done.tuned("two-way")[1]
    own = rows.filter((pl.col("loss") == "two-way") & (pl.col("seed") == 1) & (pl.col("rate") == run.job.rate))
    assert own["class"].to_list() == ["a", "b", "c"]
    np.testing.assert_allclose(own["ap"], metrics.average_precision(run.scores, targets))
    assert own["positives_train"].to_list() == (table.labels[table.part("train")] == 1).sum(0).tolist()
    assert set(rows.columns) >= {"loss", "rate", "seed", "class", "ap", "precision", "recall", "f1", "positives_train"}
    summary = json.loads((tmp_path / "s/summary.json").read_text())
    entry = next(entry for entry in summary["tuned"] if entry["loss"] == "two-way")
    maps = [metrics.mean_average_precision(one.scores, targets).item() for one in done.tuned("two-way")]
    assert entry["figures"]["map_class"]["mean"] == pytest.approx(100 * np.mean(maps), abs=1e-3)
    assert entry["figures"]["map_class"]["sd"] == pytest.approx(100 * np.std(maps, ddof=1), abs=1e-3)


def test_the_summary_holds_the_paired_tests_over_seeds(table: data.LabelTable, tmp_path: Path) -> None:
    done = finish(plan_for(table, seeds=3), table, tmp_path / "s")
    summary = json.loads((tmp_path / "s/summary.json").read_text())
    targets = torch.from_numpy(table.labels[table.part("test")])
    maps = {
        loss: [100 * metrics.mean_average_precision(run.scores, targets).item() for run in done.tuned(loss)]
        for loss in done.plan.losses
    }
    expected = statistics.compare(maps)
    entries = {entry["loss"]: entry["over_seeds"]["all"] for entry in summary["tuned"]}
    assert entries[expected.best] is None
    (other,) = expected.others
    found = entries[other.name]
    assert found["t_p"] == pytest.approx(other.t_test.p_value, abs=1e-5)
    assert found["difference"] == pytest.approx(other.difference, abs=1e-5)
    assert (found["wilcoxon_smallest_p"], found["seeds_needed"]) == (0.25, other.seeds_needed)
    assert expected.tested()[0] in summary["verdict"]


def test_the_verdict_tells_the_tests_of_the_tail_apart() -> None:
    alike = {"two-way": [50.0, 51.0, 52.0], "dr": [49.9, 51.1, 51.8]}
    apart = {"two-way": [30.0, 31.0, 32.0], "dr": [20.0, 21.1, 21.9]}
    over_seeds = {"all": statistics.compare(alike), "tail": statistics.compare(apart)}
    board = summary_of(entry("two-way", 0, 0, 0), entry("dr", -0.5, -1.5, 0.4), seeds=3)
    said = verdict(board, over_seeds)
    assert any(
        sentence.startswith("Paired t-tests over 3 seeds, Holm-corrected, do not tell two-way from dr")
        for sentence in said
    )
    assert any(sentence.startswith("On the tail they tell two-way from dr (p < 0.0001)") for sentence in said)
    assert said[-1].endswith("Run more with --seeds.")


def test_results_come_back_from_the_folder(table: data.LabelTable, tmp_path: Path) -> None:
    finish(plan_for(table, seeds=1), table, tmp_path / "s")
    assert Results.read(tmp_path / "s").summary["seeds"] == 1
    (tmp_path / "s/summary.json").unlink()
    with pytest.raises(StudyError, match="not finished"):
        Results.read(tmp_path / "s")
    for damaged in ("{}", "[]", "null"):
        (tmp_path / "s/summary.json").write_text(damaged)
        with pytest.raises(StudyError, match="results are damaged"):
            Results.read(tmp_path / "s")


def entry(loss: str, mean: float, low: float, high: float, **figures: float) -> dict[str, object]:
    """One line of a leaderboard, as far from the best as given."""
    values = {"map_class": 50 + mean, **figures}
    return {
        "loss": loss,
        "figures": {name: {"mean": value, "sd": 0.4} for name, value in values.items()},
        "to_best": {"all": {"mean": mean, "low": low, "high": high}},
        "validation": values["map_class"],
    }


def summary_of(*entries: dict[str, object], seeds: int = 5) -> dict[str, object]:
    """A summary with that leaderboard."""
    return {
        "tuned": list(entries), "losses": [entry["loss"] for entry in entries], "seeds": seeds,
        "counted_classes": {"all": 20}, "not_found": [], "not_measured": [],
    }  # fmt: skip


def test_the_verdict_tells_beaten_from_level() -> None:
    board = summary_of(entry("two-way", 0, 0, 0), entry("dr", -0.5, -1.5, 0.4), entry("focal", -3.1, -4.4, -1.9))
    sentence = verdict(board)[0]
    assert "two-way has the highest test mAP: 50.0 ± 0.4" in sentence
    assert "It beats focal by 3.1 (1.9 to 4.4)." in sentence
    assert "Not distinguishable from it: dr (0.5 behind, −0.4 to 1.5)." in sentence


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (1, "One seed: nothing can be concluded about seeds"),
        (3, "3 seeds are few: the Wilcoxon signed-rank test cannot go below p = 0.25"),
        (5, None),
    ],
)
def test_the_verdict_is_modest_about_few_seeds(seeds: int, words: str | None) -> None:
    said = " ".join(verdict(summary_of(entry("two-way", 0, 0, 0), entry("dr", -0.5, -1.5, 0.4), seeds=seeds)))
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
    said = verdict(summary_of(entry("two-way", 0, 0, 0), entry("dr", -0.5, -1.5, 0.4), seeds=seeds))
    assert said[1] == f"Differences are points of mAP with 95 % intervals over {drawn}."
    assert "intervals" not in " ".join([said[0], *said[2:]])


def test_one_loss_is_not_told_what_tests_cannot_show() -> None:
    assert "Wilcoxon" not in " ".join(verdict(summary_of(entry("two-way", 0, 0, 0), seeds=3)))


def test_what_the_interval_and_the_seeds_disagree_on_is_reconciled() -> None:
    figures = {"two-way": [50.0, 51.0, 52.0], "bce": [49.9, 50.89, 51.9]}
    figures |= {"dr": [48.0, 51.0, 49.0], "focal": [40.0, 41.1, 41.9]}
    over_seeds = {"all": statistics.compare(figures)}
    told = {other.name: over_seeds["all"].tells(other) for other in over_seeds["all"].others}
    assert told == {"dr": False, "focal": True, "bce": True}
    board = summary_of(
        entry("two-way", 0, 0, 0), entry("bce", -0.1, -0.5, 0.3), entry("dr", -1.7, -2.9, -0.5),
        entry("focal", -10, -12, -8), seeds=3,
    )  # fmt: skip
    sentence = verdict(board, over_seeds)[0]
    assert (
        " It beats dr by 1.7 (0.5 to 2.9), focal by 10.0 (8.0 to 12.0) with these 3 seeds; "
        "a t-test over them does not tell it from dr." in sentence
    )
    assert sentence.endswith(
        "(0.1 behind, −0.3 to 0.5); a t-test over seeds tells it from bce, on these test items alone."
    )
    assert "t-test" not in verdict(board)[0]


def test_where_the_interval_and_the_seeds_agree_nothing_is_added() -> None:
    figures = {"two-way": [50.0, 51.0, 52.0], "dr": [49.9, 51.1, 51.8], "focal": [40.0, 41.1, 41.9]}
    board = summary_of(entry("two-way", 0, 0, 0), entry("dr", -0.5, -1.5, 0.4), entry("focal", -10, -12, -8), seeds=3)
    assert "t-test" not in verdict(board, {"all": statistics.compare(figures)})[0]
    once = {"all": statistics.compare({name: own[:1] for name, own in figures.items()})}
    assert "t-test" not in verdict({**board, "seeds": 1}, once)[0]
    # Of equal means the tests may have another best: nothing is said of other pairs.
    figures |= {"dr": [50.0, 51.0, 52.5], "focal": [48.0, 51.0, 49.0]}
    other_best = {"all": statistics.compare(figures)}
    assert not any(other_best["all"].tells(other) for other in other_best["all"].others)
    assert "t-test" not in verdict(board, other_best)[0]


def test_the_verdict_says_when_validation_cannot_tell() -> None:
    tied = [entry("two-way", 0, 0, 0), entry("dr", -0.5, -1.5, 0.4)]
    tied[1]["validation"] = tied[0]["validation"]
    assert any("cannot tell the losses apart" in sentence for sentence in verdict(summary_of(*tied)))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_without_any_positive_is_refused(table: data.LabelTable, part: str) -> None:
    labels = table.labels.copy()
    labels[table.part(part)] = 0
    barren = data.LabelTable(table.items, table.names, labels, table.split, "t", None, table.features)
    with pytest.raises(DataError, match=f"no class has a positive in the {part} part"):
        data.check_learnable(barren)
    data.check_learnable(table)


def test_a_class_without_any_positive_has_a_defined_result(table: data.LabelTable, tmp_path: Path) -> None:
    labels = table.labels.copy()
    labels[:, 1] = 0
    barren = data.LabelTable(table.items, table.names, labels, table.split, "t", None, table.features)
    finish(plan_for(barren, seeds=1), barren, tmp_path / "s")
    rows = pl.read_parquet(tmp_path / "s/results.parquet").filter(pl.col("class") == "b")
    assert rows["ap"].is_null().all()
    summary = json.loads((tmp_path / "s/summary.json").read_text())
    assert summary["not_measured"] == ["b"]
    assert summary["counted_classes"]["all"] == 2

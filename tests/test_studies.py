"""Studies: fair, repeatable, resumable, and told apart."""

import dataclasses
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rarecall import data, folders, losses, metrics, studies
from rarecall.audit import audit
from rarecall.errors import DataError, OptionError, StudyError
from rarecall.listener import Listener
from rarecall.preparation import Prepared, divide, prepare
from rarecall.studies import folder, runs
from rarecall.studies.heads import train_head
from rarecall.studies.runs import Job

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


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_without_any_positive_is_refused(table: data.LabelTable, part: str) -> None:
    labels = table.labels.copy()
    labels[table.part(part)] = 0
    barren = data.LabelTable(table.items, table.names, labels, table.split, "t", None, table.features)
    with pytest.raises(DataError, match=f"no class has a positive in the {part} part"):
        data.check_learnable(barren)
    data.check_learnable(table)

"""From Python as on the command line: studies and trainings of paths, tables and arrays."""

import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import rarecall
from rarecall import data, losses
from rarecall.api import StudyResult
from rarecall.data import LabelTable
from rarecall.errors import DataError, ModelError, OptionError, StudyError, TrainingError
from rarecall.inference import evaluate
from rarecall.listener import Listener
from rarecall.settings import changed
from rarecall.training import recipe_for
from tests.commands import BACKBONE, Run
from tests.listening import Ear

QUICK: dict[str, Any] = {"hidden": 8, "dropout": 0.2, "epochs": 3, "batch_size": 16, "listener": Listener()}
ONE_RATE: dict[str, Any] = {**QUICK, "rates": [1e-2], "workers": 1}
PHOTOS: dict[str, Any] = {
    "model": "mobilenetv3_small_050", "weights": "none", "image_size": (32, 32), "listener": Listener(),
}  # fmt: skip


# --- the entrance ------------------------------------------------------------------------------------------


def test_a_path_a_table_and_arrays_give_the_same_study(table_file: Path) -> None:
    table = data.load(str(table_file))
    arrays = (table.features, table.labels)
    with np.load(table_file) as stored:
        assert stored["features"].shape == table.features.shape  # type: ignore[union-attr]
    everything = replace(table, split=np.full(len(table), "train"))
    found = [
        rarecall.study(own, losses="bce, two-way", seeds=2, **ONE_RATE) for own in (str(table_file), table, table_file)
    ]
    boards = [result.leaderboard for result in found]
    assert all(board.equals(boards[0]) for board in boards)
    of_arrays, of_table = (rarecall.study(own, losses=["bce"], seeds=1, **ONE_RATE) for own in (arrays, everything))
    assert of_arrays.leaderboard.equals(of_table.leaderboard)
    assert of_arrays.summary.data.facts.classes[0].name == "class 0"


def test_a_study_has_what_a_notebook_and_a_script_ask_for(table_file: Path, tmp_path: Path) -> None:
    result = rarecall.study(table_file, losses=["bce", "two-way"], seeds=2, out=tmp_path / "s", **ONE_RATE)
    board = result.leaderboard
    assert isinstance(board, pl.DataFrame)
    assert board.columns[:3] == ["loss", "rate", "map_class"]
    assert board["loss"][0] == result.best.loss
    assert board["map_class"].to_list() == sorted(board["map_class"].to_list(), reverse=True)
    assert result.results.equals(pl.read_parquet(tmp_path / "s/results.parquet"))
    assert result.verdict == json.loads((tmp_path / "s/summary.json").read_text())["verdict"]
    (tmp_path / "s/report.html").unlink()
    assert result.report() == tmp_path / "s/report.html"
    assert "two-way" in result.report().read_text()
    shown = result._repr_html_()
    assert all(loss in shown for loss in ("two-way", "binary-cross-entropy"))
    assert "<script" not in shown
    model = rarecall.train(table_file, from_study=result, out=tmp_path / "r", **{"listener": Listener()})
    assert str(model.card.training.epochs) == "3"
    assert model.figures["test"]["map_class"] is not None
    assert f"{model.figures['test']['map_class']:.1f}" in model._repr_html_()
    assert model.predictor.names == ["a", "b", "c"]


def test_without_a_folder_results_live_as_long_as_their_object(table_file: Path) -> None:
    result: StudyResult | None = rarecall.study(table_file, losses="bce", seeds=1, **ONE_RATE)
    assert result is not None
    folder = result.folder
    assert (folder / "results.parquet").is_file()
    model = rarecall.train(table_file, from_study=result, listener=Listener())
    run = model.folder
    predictor = model.predictor
    del result, model
    gc.collect()
    assert not folder.exists()
    assert not run.exists()
    assert predictor.predict_features(np.zeros((2, 4))).scores.shape == (2, 3)


def test_the_command_and_the_function_are_one(run: Run, table_file: Path, tmp_path: Path) -> None:
    options = ["--losses", "bce,two-way", "--seeds", "1", "--hidden", "8", "--epochs", "3", "--rates", "1e-2,3e-3"]
    assert run("study", table_file, *options, "--out", tmp_path / "a").returncode == 0
    rarecall.study(
        table_file, losses=["bce", "two-way"], seeds=1, out=tmp_path / "b", hidden=8, epochs=3, rates=[1e-2, 3e-3],
        workers=1, listener=Listener(),
    )  # fmt: skip
    for name in ("results.parquet", "study.json", "parts.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    stored = [json.loads((tmp_path / name / "summary.json").read_text()) for name in "ab"]
    for summary in stored:
        for of_call in ("command", "train_command", "seconds"):
            del summary[of_call]
    assert stored[0] == stored[1]
    assert run("train", table_file, "--loss", "focal", "--epochs", "2", "--out", tmp_path / "c").returncode == 0
    rarecall.train(table_file, loss="focal", epochs=2, out=tmp_path / "d", listener=Listener())
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "cd"]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda table: rarecall.study(table, losses="two-wya"), OptionError, "did you mean 'two-way'"),
        (lambda table: rarecall.study(table, epochs=0), OptionError, "epochs=0"),
        (lambda table: rarecall.study(table, seeds=0), OptionError, "seeds=0"),
        (lambda table: rarecall.study(table, epoch=3), OptionError, "did you mean 'epochs'"),
        (lambda table: rarecall.study(table, model="resnet18"), OptionError, "has features, not images"),
        (lambda table: rarecall.study(table, rates="fast"), OptionError, "numbers separated by commas"),
        (lambda table: rarecall.study(table, val="none", rates=[1e-3, 1e-2]), OptionError, "pass one"),
        (lambda table: rarecall.study(table, group="patient"), DataError, "no column 'patient'"),
        (lambda _: rarecall.study((np.eye(4), np.eye(3))), DataError, "pass (N, D)"),
        (lambda _: rarecall.study((np.eye(9), np.full((9, 2), 2))), DataError, "2 is not 1, 0 or -1"),
        (lambda _: rarecall.study((np.full((9, 2), np.nan), np.eye(9))), DataError, "not a finite number"),
        (lambda table: rarecall.train(table, loss="bce", from_study="none"), OptionError, "leave one of them out"),
        (lambda table: rarecall.train(table, from_study="none"), StudyError, "holds no study"),
        (lambda table: rarecall.train(table, rate=-1), OptionError, "rate=-1"),
    ],
)
def test_a_mistake_is_one_line(table_file: Path, call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        call(data.load(str(table_file)))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


# --- from a study to its winner ----------------------------------------------------------------------------


def needed(name: str) -> str:
    """The loss with the options that it cannot do without."""
    return name + ("(expected_positives=0.5)" if name in ("expected-positive", "role") else "")


STUDIED = [
    *map(needed, losses.names()),
    "large-loss(scheme='correct-permanently', delta=0.05)",
    "entropy-maximization(pseudo_labels=True)",
    "gr(k='learned')",
    "dr + 0.5 * focal(gamma=1.0)",
]


class _Killer(Listener):
    """Ends this process as a power cut would, at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def progress(self, what: str, done: int, total: int | None) -> None:
        if what == "steps" and done == self.at < (total or 0):
            os.kill(os.getpid(), signal.SIGKILL)


SERVER = multiprocessing.get_context("forkserver")  # its children need not import PyTorch anew
SERVER.set_forkserver_preload(["rarecall.api"])


def _train_and_die(at: int, arguments: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    rarecall.train(**arguments, listener=_Killer(at))


def killed(at: int, **arguments: Any) -> None:
    """Train in a process that is killed at a step."""
    child = SERVER.Process(target=_train_and_die, args=(at, arguments))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("loss", STUDIED)
def test_a_study_s_winner_trains_survives_a_kill_evaluates_and_predicts(
    table_file: Path, tmp_path: Path, loss: str
) -> None:
    table = data.load(str(table_file))
    study = rarecall.study(table, losses=[loss], seeds=1, **ONE_RATE)
    arguments: dict[str, Any] = {"data": table, "from_study": study.folder, "tensorboard": False}
    whole = rarecall.train(**arguments, out=tmp_path / "whole", listener=Listener())
    killed(6, **arguments, out=tmp_path / "cut")  # of 4 steps an epoch: in the second
    cut = rarecall.train(**arguments, out=tmp_path / "cut", listener=Listener())
    for name in ("model.safetensors", "history.csv", "parts.parquet"):
        assert (whole.folder / name).read_bytes() == (cut.folder / name).read_bytes(), name

    # It is the network that won: one training for both, so with one thread each has the same curve to the bit.
    assert whole.card.training.loss == study.best.loss
    assert whole.card.training.rate == study.best.rate
    curve = [100 * (row["val_map_class"] or 0) for row in whole.card.history]
    assert curve == pytest.approx(study.summary.curves[study.best.loss][0].val_map, abs=1e-3)
    assert whole.card.epoch == study.best.epochs[0]
    assert whole.figures["test"]["map_class"] == pytest.approx(study.best.figures["map_class"].mean, abs=2e-3)

    again = evaluate(cut.predictor, table)
    assert again.summary["figures"] == whole.figures["test"]
    assert again.summary["notes"] == []
    rows = table.part("test")
    assert table.features is not None
    found = cut.predictor.predict_features(table.features[rows])
    assert np.array_equal(found.decided, (again.scored.scores >= cut.predictor.thresholds).numpy())


def test_a_study_of_images_hands_over_its_head_and_a_new_recipe_says_so(photos: Path, tmp_path: Path) -> None:
    csv = photos / "tags.csv"
    study = rarecall.study(csv, losses="bce", seeds=1, hidden=8, epochs=2, rates=[1e-2], workers=1, **PHOTOS)
    ear = Ear()
    head = rarecall.train(csv, from_study=study, out=tmp_path / "head", workers=0, **{**PHOTOS, "listener": ear})
    assert head.card.training.head_only
    assert (head.card.training.hidden, head.card.training.epochs, head.card.training.rate) == (8, 2, 1e-2)
    assert head.card.architecture.model == "mobilenetv3_small_050"
    assert sum("by which it was chosen" in sentence for sentence in ear.said) == 1
    assert evaluate(head.predictor, data.load(str(csv))).summary["figures"] == head.figures["test"]

    ear = Ear()
    options: dict[str, Any] = {**PHOTOS, "listener": ear, "epochs": 1, "batch_size": 8, "workers": 0}
    whole = rarecall.train(csv, from_study=study, finetune=True, out=tmp_path / "whole", **options)
    assert not whole.card.training.head_only
    assert (whole.card.training.loss, whole.card.training.rate) == (study.best.loss, 1e-3)
    assert any(sentence.startswith("note: --finetune: the study trained heads") for sentence in ear.said)
    assert evaluate(whole.predictor, data.load(str(csv))).summary["figures"] == whole.figures["test"]

    changed = rarecall.train(csv, from_study=study, epochs=1, out=tmp_path / "c", workers=0, **PHOTOS)
    assert (changed.card.training.epochs, changed.card.training.hidden) == (1, 8)


def test_every_setting_of_a_training_is_one_of_a_study_of_whole_networks(photos: Path) -> None:
    settings: dict[str, Any] = {
        "optimizer": "sgd", "momentum": 0.8, "nesterov": False, "schedule": "step", "milestones": "1", "clip": 1.0,
        "warmup_steps": 2, "warmup_from": 0.3, "metric": "macro_f1", "patience": 1, "tolerance": 0.01,
        "backbone_rate": 1e-4, "decay": "all", "drop_last": False, "epochs": 2, "batch_size": 16, "threshold": "0.5",
    }  # fmt: skip
    study = rarecall.study(
        photos / "tags.csv", losses="bce", seeds=1, finetune=True, rates=[1e-3], workers=0, **settings, **PHOTOS
    )
    protocol = study.summary.protocol.model_dump()
    assert {name: protocol[name] for name in settings if name != "milestones"} == {
        name: value for name, value in settings.items() if name != "milestones"
    }
    assert protocol["milestones"] == (1.0,)
    winner = rarecall.train(photos / "tags.csv", from_study=study, workers=0, **PHOTOS).card.training.model_dump()
    assert {name: winner[name] for name in settings} == {name: protocol[name] for name in settings}


# --- parts and groups --------------------------------------------------------------------------------------


@pytest.fixture
def persons() -> LabelTable:
    """200 rows of 50 persons, which are easy to tell apart."""
    random = np.random.default_rng(1)
    person = np.repeat(np.arange(50), 4)
    labels = random.integers(0, 2, (50, 3)).astype(np.int8)[person]
    features = (random.normal(size=(50, 8))[person] + 0.1 * random.normal(size=(200, 8))).astype(np.float32)
    return LabelTable(
        [f"row {row}" for row in range(200)], ["a", "b", "c"], labels, np.full(200, "train"), "persons",
        features=features, columns={"identity": person.astype(str), "shop": np.arange(200).astype(str)},
    )  # fmt: skip


@pytest.mark.parametrize("group", [None, "patient"])
def test_evaluate_takes_the_test_part_of_a_grouped_training(persons: LabelTable, tmp_path: Path, group: Any) -> None:
    if group:
        persons = replace(persons, columns={"patient": persons.columns["identity"]})
    model = rarecall.train(persons, loss="bce", group=group, out=tmp_path / "r", **QUICK)
    kept = pl.read_parquet(model.folder / "parts.parquet")
    person = next(iter(persons.columns.values()))
    assert kept["item"].to_list() == list(persons.items)
    assert sorted(kept["part"].unique()) == ["test", "train", "val"]
    assert kept.with_columns(pl.Series("person", person)).group_by("person").agg(
        pl.col("part").n_unique()
    )["part"].max() == 1  # fmt: skip
    found = evaluate(model.predictor, persons)
    assert list(found.table.items) == kept.filter(part="test")["item"].to_list()
    assert found.summary["figures"] == model.figures["test"]
    assert found.summary["notes"] == []
    # Without the group, the columns or the name of the data: what was trained on is known.
    bare = replace(persons, columns={}, group=None, source="elsewhere")
    assert list(evaluate(model.predictor, bare).table.items) == list(found.table.items)
    (model.folder / "parts.parquet").unlink()
    (note,) = evaluate(rarecall.load(model.folder), bare).summary["notes"]
    assert "parts.parquet is not in the run folder" in note
    (model.folder / "parts.parquet").write_bytes(b"torn")
    with pytest.raises(DataError, match="is damaged"):
        evaluate(rarecall.load(model.folder), bare)


def test_a_winner_is_trained_on_the_parts_of_its_study(persons: LabelTable) -> None:
    by_shop = rarecall.study(persons, losses="bce", seeds=1, group="shop", **ONE_RATE)
    by_person = rarecall.study(persons, losses="bce", seeds=1, **ONE_RATE)
    parts = [pl.read_parquet(study.folder / "parts.parquet") for study in (by_shop, by_person)]
    assert not parts[0].equals(parts[1])
    for study, wanted in zip((by_shop, by_person), parts, strict=True):
        model = rarecall.train(persons, from_study=study, listener=Listener())
        assert pl.read_parquet(model.folder / "parts.parquet").equals(wanted)
    with pytest.raises(StudyError, match="differs in parts"):
        rarecall.study(persons, losses="bce", seeds=1, out=by_shop.folder, **ONE_RATE)


def test_chosen_on_the_test_part_is_said_wherever_figures_stand(run: Run, table_file: Path, tmp_path: Path) -> None:
    options = ["--losses", "bce", "--seeds", "1", "--hidden", "8", "--epochs", "2", "--rates", "1e-2", "--val", "test"]
    done = run("study", table_file, *options, "--out", "s")
    assert done.returncode == 0, done.stderr
    assert "chosen on the test part" in done.stdout
    assert "chosen on the test part" in (tmp_path / "s/report.html").read_text()
    assert "chosen on the test part" in " ".join(json.loads((tmp_path / "s/summary.json").read_text())["notes"])
    assert "chosen on the test part" in run("report", "s").stdout
    done = run("train", table_file, "--from-study", "s")
    assert "chosen on the test part" in done.stdout
    assert "chosen on the test part" in done.stderr
    assert "chosen on the test part" in " ".join(json.loads((tmp_path / "rarecall-run/run.json").read_text())["notes"])
    done = run("evaluate", "rarecall-run", table_file)
    assert "chosen on the test part" in done.stderr
    assert "chosen on the test part" in (tmp_path / "rarecall-run/evaluation/report.html").read_text()


def test_every_sentence_is_said_once(run: Run, photos: Path) -> None:
    study = ["study", photos / "tags.csv", *BACKBONE, "--losses", "bce", "--seeds", "1", "--epochs", "1"]
    for arguments in (study, ["train", photos / "tags.csv", "--from-study", "rarecall-study"]):
        said = [line for line in run(*arguments).stderr.splitlines() if line.startswith(("note:", "warning:"))]
        assert len(said) > 1
        assert len(said) == len(set(said))
        assert sum("random weights" in line for line in said) == 1


def test_folders_of_an_earlier_form_are_refused_in_one_line(table_file: Path, tmp_path: Path) -> None:
    for name, command in (("study", rarecall.study), ("training", rarecall.train)):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.json").write_text(json.dumps({"format": 1, "rarecall": "0.1.0", name: {}}))
        with pytest.raises((StudyError, TrainingError), match="in a form that is read no more"):
            command(table_file, out=tmp_path / name, listener=Listener())
    model = rarecall.train(table_file, loss="bce", out=tmp_path / "r", **QUICK)
    card = json.loads((model.folder / "run.json").read_text())
    (model.folder / "run.json").write_text(json.dumps({**card, "format": 1}))
    with pytest.raises(ModelError, match="in a form that is read no more: train it again"):
        rarecall.load(model.folder)


# --- what reviews have shown -------------------------------------------------------------------------------


def test_a_head_that_diverges_ends_its_run_and_not_the_study(table_file: Path) -> None:
    with np.load(table_file) as stored:
        content = dict(stored)
    np.savez(table_file, **{**content, "features": 1e3 * content["features"]})
    options: dict[str, Any] = {**ONE_RATE, "optimizer": "sgd", "rates": [1e3], "dropout": 0.0}
    for changes in ({}, {"val": "none"}):
        study = rarecall.study(table_file, losses="bce, two-way", seeds=1, **options, **changes)
        assert any("diverged" in note for note in study.summary.notes), changes
        assert study.results["ap"].is_not_null().all()
    model = rarecall.train(table_file, from_study=study, listener=Listener())
    assert any("the training diverged" in note for note in model.card.notes)


def test_a_part_to_choose_on_of_which_nothing_is_left_is_refused(photos: Path) -> None:
    table = data.load(str(photos / "tags.csv"))
    divided, _ = data.complete_split(table)
    for row in divided.part("val"):
        (photos / divided.items[row]).unlink()
    for call in (rarecall.train, rarecall.study):
        with pytest.raises(DataError, match="no class has a positive in the val part, so no epoch can be chosen"):
            call(photos / "tags.csv", **PHOTOS)


def test_a_winner_may_be_trained_under_another_way_to_choose(persons: LabelTable) -> None:
    held = rarecall.study(persons, losses="bce", seeds=1, **ONE_RATE)
    nothing_held = rarecall.study(persons, losses="bce", seeds=1, val="none", **ONE_RATE)
    whole = rarecall.train(persons, from_study=held, val="none", listener=Listener()).card
    assert (whole.data["items"]["val"], whole.training.select) == (0, "last")
    again = rarecall.train(persons, from_study=nothing_held, val="part", select="best", listener=Listener()).card
    assert again.data["items"]["val"] > 0
    assert whole.data["items"]["train"] == again.data["items"]["train"] + again.data["items"]["val"]
    assert whole.data["items"]["test"] == again.data["items"]["test"]


def test_runs_on_other_rows_do_not_join_a_study(photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"losses": "bce", "epochs": 1, "rates": [1e-2], "workers": 1, "out": tmp_path / "s"}
    hidden = [photos / f"{number:02d}.jpg" for number in (1, 2)]
    kept = [file.read_bytes() for file in hidden]
    for file in hidden:
        file.unlink()
    rarecall.study(photos / "tags.csv", seeds=1, **options, **PHOTOS)
    for file, content in zip(hidden, kept, strict=True):
        file.write_bytes(content)
    with pytest.raises(StudyError, match="differs in rows"):
        rarecall.study(photos / "tags.csv", seeds=2, **options, **PHOTOS)


def test_options_of_a_format_are_not_taken_for_settings(table_file: Path) -> None:
    with pytest.raises(OptionError, match="unknown option 'val'"):
        rarecall.train(table_file, format_options={"val": "test"}, listener=Listener())
    with pytest.raises(OptionError, match="blank is given twice"):
        rarecall.train(table_file, blank="absent", format_options={"blank": "absent"}, listener=Listener())


def test_what_follows_from_a_change_of_a_recipe_changes_with_it(photos: Path) -> None:
    table = data.load(str(photos / "tags.csv"))
    own = recipe_for(table, epochs=20, schedule="step", milestones=(5.0, 8.0), patience=2, hidden=8, dropout=0.5)
    assert changed(own, {"hidden": 0}).dropout == 0
    assert changed(own, {"schedule": "cosine"}).milestones is None
    assert changed(own, {"epochs": 9}).warmup_epochs == pytest.approx(0.75)
    none = changed(own, {"val": "none"})
    assert (none.select, none.patience) == ("last", None)
    steps = changed(own, {"warmup_steps": 3})
    assert (steps.warmup_steps, steps.warmup_epochs) == (3, 0)
    assert changed(steps, {"warmup_epochs": 1.0}).warmup_steps is None
    head = changed(own, {"head_only": True})
    assert (head.augmentation, head.precision) == ("none", "32")


def test_plain_values_are_taken_as_they_are_meant(photos: Path, table_file: Path) -> None:
    model = rarecall.train(table_file, threshold=0.5, precision=32, epochs=1, listener=Listener())
    assert (model.card.training.threshold, model.card.training.precision) == ("0.5", "32")
    for size in (32, "32x32", [32, 32]):
        options: dict[str, Any] = {**PHOTOS, "image_size": size, "head_only": True, "epochs": 1}
        assert rarecall.train(photos / "tags.csv", **options).card.architecture.inputs == (3, 32, 32)
    study = rarecall.study(table_file, losses=["gr(mu=(0.5, 0.8), w=(0.0, 2.0))"], seeds=1, **ONE_RATE)
    assert study.best.loss == "generalized-robust(mu=(0.5, 0.8), w=(0.0, 2.0))"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finetune": True}, "--finetune: says how to take a study's winner"),
        ({"warmup_from": 0.5}, "there is no warm-up"),
        ({"warmup_steps": 500, "epochs": 1}, "must be below the 4 steps of all"),
    ],
)
def test_settings_without_an_effect_are_refused(table_file: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        rarecall.train(table_file, **{**QUICK, **changes})


def test_the_predictor_of_a_temporary_training_knows_what_it_was_trained_on(table_file: Path) -> None:
    table = data.load(str(table_file))
    table = replace(table, split=np.full(len(table), "train"))
    predictor = rarecall.train(table, **QUICK).predictor
    found = evaluate(predictor, table).summary
    assert (found["part"], found["notes"]) == ("test", [])


def test_a_script_without_a_guard_runs_once(table_file: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import rarecall\n"
        "print('begun')\n"
        f"study = rarecall.study({str(table_file)!r}, losses='bce', seeds=1, epochs=1, rates=[1e-2], workers=2)\n"
        "print(repr(study))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "begun"
    assert last.startswith("<study in ")


def test_a_study_of_other_data_is_refused(table_file: Path, photos: Path) -> None:
    study = rarecall.study(table_file, losses="bce", seeds=1, **ONE_RATE)
    with pytest.raises(OptionError, match="has other classes than the study's data"):
        rarecall.train(photos / "tags.csv", from_study=study, **PHOTOS)
    with pytest.raises(OptionError, match=r"--finetune: .* has features, not images"):
        rarecall.train(table_file, from_study=study, finetune=True, listener=Listener())
    ear = Ear()
    model = rarecall.train(table_file, from_study=study, listener=ear)
    assert any("a little flattered" in note for note in model.card.notes)
    assert "note: every item has the part that it had in the study" in ear.said
    fewer = data.load(str(table_file)).select(np.arange(110))
    ear = Ear()
    rarecall.train(fewer, from_study=study, listener=ear)
    assert any("other data than the study's: their parts are drawn anew" in sentence for sentence in ear.said)


def test_a_training_that_loses_patience_says_so(table_file: Path) -> None:
    ear = Ear()
    rarecall.train(table_file, loss="bce", **{**QUICK, "epochs": 30, "patience": 2, "tolerance": 0.5, "listener": ear})
    assert "note: stopped after epoch 3: 2 epochs without a better map_class by more than 0.5" in ear.said

"""Training: it learns, is repeated to the bit, goes on where it was stopped, and says what went wrong."""

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rarecall import data, losses
from rarecall.data import LabelTable
from rarecall.errors import DataError, OptionError, TrainingError
from rarecall.inference.scoring import score_table
from rarecall.listener import Listener
from rarecall.models import Backbone, load_backbone, parameter_groups
from rarecall.preparation import divide
from rarecall.settings import Recipe, Training
from rarecall.training import Fitted, build, checkpoints, fit, recipe_for, train
from rarecall.training.loading import Batch, Batches
from rarecall.training.step import Stepper, batches_of
from rarecall.training.validation import NotFiniteError, Validation
from tests import listening
from tests.files import write_photos

PLAIN: dict[str, Any] = {"batch_size": 8, "drop_last": True, "augmentation": "none"}
SMALL: dict[str, Any] = {"epochs": 3, "batch_size": 8, "augmentation": "pedestrian", "dropout": 0.3, "hidden": 8}

FunctionLoss = type(losses.build("focal"))


class Ear(listening.Ear):
    """Can stop a training at a step as a kill would: without a word."""

    def __init__(self, stop_at: int = 0) -> None:
        super().__init__()
        self.stop_at = stop_at

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Stop if this is the step."""
        if what == "steps" and done == self.stop_at < (total or 0):
            raise _Killed


class _Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """A small real backbone with fixed random weights."""
    return load_backbone("mobilenetv3_small_050", "none", (32, 32))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LabelTable:
    """40 photos of two classes, one label unknown, with a complete split."""
    tags = write_photos(tmp_path_factory.mktemp("photos"), unknown={3})
    return data.complete_split(data.load(str(tags)))[0]


@pytest.fixture
def features(table_file: Path) -> LabelTable:
    """A small feature table with a complete split."""
    return data.complete_split(data.load(str(table_file)))[0]


def fitted(
    table: LabelTable, backbone: Backbone | None, folder: Path, ear: Listener | None = None, **changes: Any
) -> Fitted:
    """One small training."""
    rates = {name: changes.pop(name) for name in ("loss", "rate", "seed") if name in changes}
    options = {name: changes.pop(name) for name in ("workers", "checkpoint_seconds", "forgiving") if name in changes}
    kind = {"augmentation": "none"} if table.features is not None else {}
    settings = recipe_for(table, **{**SMALL, **kind, **changes}).training(rates.pop("loss", "two-way"), **rates)
    network = build(settings, table, backbone, settings.seed)
    return fit(settings, table, network, folder, ear or Listener(), **{"workers": 0, **options})


def weights(of: Fitted) -> dict[str, Tensor]:
    """Its weights."""
    return of.network.state_dict()


def assert_same(first: Fitted, second: Fitted) -> None:
    """Equal to the last bit."""
    assert first.history == second.history
    assert first.epoch == second.epoch
    for name, tensor in weights(first).items():
        assert torch.equal(tensor, weights(second)[name]), name


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_rates_rise_over_the_warm_up_and_never_after(schedule: Any) -> None:
    own = Recipe(**PLAIN, epochs=10, schedule=schedule, warmup_epochs=2)
    factors = [own.factor(step, steps=7) for step in range(70)]
    assert factors[:14] == pytest.approx([(step + 1) / 14 for step in range(14)])
    assert sorted(factors[13:], reverse=True) == factors[13:]
    assert min(factors) > 0
    last = {"cosine": 0.0, "step": 0.01, "constant": 1.0}[schedule]
    assert factors[-1] == pytest.approx(last, abs=5e-3)


def test_milestones_divide_by_ten() -> None:
    own = Recipe(**PLAIN, epochs=10, schedule="step", milestones=(5, 8))
    assert [round(own.factor(epoch * 3, 3), 6) for epoch in range(10)] == [1] * 5 + [0.1] * 3 + [0.01] * 2


def test_parts_have_their_own_rates_and_biases_no_decay(table: LabelTable, backbone: Backbone) -> None:
    network = build(recipe_for(table), table, backbone, 0)
    groups = parameter_groups(network, 1e-2, 1e-4, 0.05)
    found = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(found) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        assert found[id(parameter)]["lr"] == (1e-2 if name.startswith("head") else 1e-4)
        assert found[id(parameter)]["weight_decay"] == (0.05 if parameter.ndim > 1 else 0.0)


def test_the_warm_up_is_a_twelfth_and_at_most_one_epoch(table: LabelTable) -> None:
    assert [recipe_for(table, epochs=epochs).warmup_epochs for epochs in (1, 6, 12, 40)] == [1 / 12, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm': did you mean 'adam'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"metric": "map"}, "unknown metric 'map'"),
        ({"augmentation": "heavy"}, "Known: none, plain, pedestrian"),
        ({"precision": "8"}, "unknown precision '8'"),
        ({"clip": -1.0}, "clip=-1.0"),
        ({"warmup_epochs": float("inf")}, "warmup_epochs=inf"),
        ({"milestones": (-1.0,)}, "milestones=-1.0"),
        ({"epochs": 0}, "epochs=0: must be greater than or equal to 1"),
        ({"milestones": (2.0,)}, "mean nothing to the cosine schedule"),
        ({"schedule": "step", "milestones": (5.0, 20.0)}, "milestones=20: must be below epochs=12"),
        ({"warmup_epochs": 5.0, "epochs": 3}, "warmup_epochs=5: must be below epochs=3"),
        ({"head_only": True, "augmentation": "plain"}, "computed once"),
    ],
)
def test_settings_are_checked(table: LabelTable, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words.replace("(", r"\(")):
        recipe_for(table, **changes)


def test_a_head_alone_has_no_backbone_rate(table: LabelTable) -> None:
    with pytest.raises(OptionError, match="the backbone is frozen"):
        recipe_for(table, head_only=True, backbone_rate=1e-4)
    with pytest.raises(OptionError, match="leave out reduction"):
        recipe_for(table).training("focal(reduction='sum')")
    with pytest.raises(OptionError, match="is a loss of training items alone"):
        recipe_for(table, metric="loss").training("role(expected_positives=1.0)")


# --- batches -----------------------------------------------------------------------------------------------


def test_an_order_is_of_its_epoch_and_holds_every_item() -> None:
    settings = Recipe(**PLAIN, epochs=5).training("focal", seed=3)
    whole, other, again = (list(batches_of(settings, 100, epoch)) for epoch in (2, 3, 2))
    assert [len(rows) for rows in whole] == [8] * 12
    assert len(torch.cat(whole).unique()) == 96
    assert torch.equal(torch.cat(whole), torch.cat(again))
    assert not torch.equal(torch.cat(whole), torch.cat(other))
    kept = settings.model_copy(update={"drop_last": False})
    assert sorted(torch.cat(list(batches_of(kept, 100, 2))).tolist()) == list(range(100))
    few = settings.model_copy(update={"batch_size": 500})
    assert [len(rows) for rows in batches_of(few, 100, 1)] == [100]


def test_an_epoch_can_begin_in_the_middle(features: LabelTable) -> None:
    settings = recipe_for(features, batch_size=8).training("focal")
    batches = Batches(features, None, settings, 0, pin=False)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start=3))
    assert [batch.rows.tolist() for batch in rest] == [batch.rows.tolist() for batch in whole[3:]]
    rows = features.part("train")
    assert features.features is not None
    for batch in whole:
        assert np.array_equal(batch.inputs, features.features[rows[batch.rows]])
        assert np.array_equal(batch.targets, features.labels[rows[batch.rows]])


def images_of(table: LabelTable, settings: Training, workers: int = 0) -> list[Batch]:
    """The batches of the first epoch."""
    batches = Batches(table, (32, 32), settings, workers, pin=False)
    try:
        return list(batches.epoch(1))
    finally:
        batches.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers(table: LabelTable, workers: int) -> None:
    settings = recipe_for(table, **SMALL).training("focal", seed=4)
    here, there = (images_of(table, settings, count) for count in (0, workers))
    assert len(here) == len(there) == 3
    for first, second in zip(here, there, strict=True):
        assert torch.equal(first.rows, second.rows)
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.targets, second.targets)


# --- the loop ----------------------------------------------------------------------------------------------


def trainable() -> list[str]:
    """Every loss that a training takes, with the options it needs."""
    needed = {
        "expected-positive": "expected-positive(expected_positives=0.5)",
        # An order within the items says nothing about the order within a class.
        "softmax-regression": "softmax-regression(ways='class')",
        "lsep": "lsep(ways='class')",
        "circle": "circle(ways='class')",
        "splc": "splc(threshold=0.95)",  # labels are complete here, and hardly to be corrected
    }
    return [needed.get(name, name) for name in losses.names() if name != "role"]


@pytest.mark.parametrize(
    ("loss", "optimizer"), [*((loss, "adamw") for loss in trainable()), ("two-way", "adam"), ("two-way", "sgd")]
)
def test_every_loss_and_optimizer_learns(features: LabelTable, tmp_path: Path, loss: str, optimizer: str) -> None:
    done = fitted(features, None, tmp_path, loss=loss, optimizer=optimizer, rate=0.02, epochs=12, dropout=0.0)
    assert done.history[-1]["train_loss"] < done.history[0]["train_loss"]
    assert max(row["val_map_class"] for row in done.history) > 0.8
    assert done.history[done.epoch - 1]["val_map_class"] == max(row["val_map_class"] for row in done.history)


def test_a_network_of_images_learns(table: LabelTable, backbone: Backbone, tmp_path: Path) -> None:
    done = fitted(table, backbone, tmp_path, augmentation="plain", epochs=6, hidden=0, dropout=0.0, rate=3e-3)
    assert done.history[-1]["train_loss"] < 0.8 * done.history[0]["train_loss"]


def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    table: LabelTable, backbone: Backbone, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    first = fitted(table, backbone, tmp_path / "a")
    state = torch.random.get_rng_state()
    torch.rand(5)
    second = fitted(table, backbone, tmp_path / "b", workers=2)
    other = fitted(table, backbone, tmp_path / "c", seed=1)
    assert_same(first, second)
    assert first.history != other.history
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())  # the caller's generator is left alone


@pytest.mark.parametrize(("step", "every"), [(1, 600.0), (4, 600.0), (6, 600.0), (2, 0.0), (7, 0.0)])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_stopped_training_goes_on_to_the_same_bits(
    table: LabelTable, backbone: Backbone, tmp_path: Path, step: int, every: float, optimizer: str
) -> None:
    """3 steps an epoch; with `every` 0 each step has a checkpoint, else each epoch."""
    whole = fitted(table, backbone, tmp_path / "whole", optimizer=optimizer)
    with pytest.raises(_Killed):
        fitted(table, backbone, tmp_path / "cut", Ear(stop_at=step), optimizer=optimizer, checkpoint_seconds=every)
    ear = Ear()
    assert_same(whole, fitted(table, backbone, tmp_path / "cut", ear, optimizer=optimizer))
    resumed = (step - 1) if every == 0 else 3 * ((step - 1) // 3)
    assert ear.said == ([f"note: going on from step {resumed}"] if resumed else [])
    assert len(list((tmp_path / "cut").iterdir())) <= 2


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_recognised_and_the_one_before_is_used(
    table: LabelTable, backbone: Backbone, tmp_path: Path, damage: str
) -> None:
    whole = fitted(table, backbone, tmp_path / "whole")
    with pytest.raises(_Killed):
        fitted(table, backbone, tmp_path / "cut", Ear(stop_at=7))
    newest = max((tmp_path / "cut").iterdir())
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes({"cut": content[:-5], "flip": content, "empty": b""}[damage])
    (tmp_path / "cut" / ".step.part").write_bytes(b"of a killed process")
    ear = Ear()
    assert_same(whole, fitted(table, backbone, tmp_path / "cut", ear))
    assert ear.said == ["warning: checkpoint damaged (step-000000006.safetensors): going on from step 3"]
    assert not list((tmp_path / "cut").glob(".*"))
    assert [file.name for file in (tmp_path / "cut").glob("*.damaged")] == ["step-000000006.damaged"]


def test_patience_and_metric_pick_and_stop(features: LabelTable, tmp_path: Path) -> None:
    done = fitted(features, None, tmp_path, metric="loss", patience=2, epochs=40, rate=1.0)
    losses_seen = [row["val_loss"] for row in done.history]
    assert done.history[done.epoch - 1]["val_loss"] == min(losses_seen)
    assert len(done.history) == done.epoch + 2 < 40


def test_patience_counts_on_after_a_stop(features: LabelTable, tmp_path: Path) -> None:
    options: dict[str, Any] = {"metric": "loss", "patience": 2, "epochs": 40, "rate": 1.0}
    whole = fitted(features, None, tmp_path / "whole", **options)
    steps = int(whole.history[0]["step"])
    last = len(whole.history)
    for stop_at in (steps * (last - 1) + 1, steps * last):
        with pytest.raises(_Killed):
            fitted(features, None, tmp_path / str(stop_at), Ear(stop_at), **options)
        assert_same(whole, fitted(features, None, tmp_path / str(stop_at), **options))


def test_a_metric_of_no_class_is_refused(features: LabelTable, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no head class has a positive in the validation part"):
        fitted(features, None, tmp_path, metric="map_head")


# --- losses that learn or remember -------------------------------------------------------------------------

REMEMBERING = [
    "role(expected_positives=1.0)",
    "gr(k='learned')",
    "large-loss(scheme='correct-permanently', delta=0.1)",
    "entropy-maximization(pseudo_labels=True, warmup=1)",
    "dr + 0.5 * role(expected_positives=1.0)",
]


def partly_unknown(table: LabelTable) -> LabelTable:
    """The table with single positive labels in train: absences unknown."""
    labels = table.labels.copy()
    train = table.part("train")
    labels[train] = np.where(labels[train] == 0, -1, labels[train])
    return replace(table, labels=labels)


@pytest.mark.parametrize("loss", REMEMBERING)
@pytest.mark.parametrize("loss_optimizer", ["shared", "authors"])
def test_a_loss_that_learns_or_remembers_goes_on_to_the_same_bits(
    table: LabelTable, backbone: Backbone, tmp_path: Path, loss: str, loss_optimizer: str
) -> None:
    unknown = partly_unknown(table)
    options: dict[str, Any] = {"loss": loss, "loss_optimizer": loss_optimizer, "epochs": 4}
    whole = fitted(unknown, backbone, tmp_path / "whole", **options)
    assert len(whole.history) == 4
    for step, every in ((5, 0.0), (9, 600.0)):
        with pytest.raises(_Killed):
            fitted(unknown, backbone, tmp_path / str(step), Ear(step), checkpoint_seconds=every, **options)
        assert_same(whole, fitted(unknown, backbone, tmp_path / str(step), **options))
    states = [
        {name: tensor for name, tensor in load_file(newest(tmp_path / folder)).items() if name.startswith("loss.")}
        for folder in ("whole", "5", "9")
    ]
    assert states[0]
    for other in states[1:]:
        assert states[0].keys() == other.keys()
        assert all(torch.equal(states[0][name], other[name]) for name in other)


def newest(folder: Path) -> Path:
    """The last checkpoint."""
    return max(folder.glob("step-*.safetensors"))


def test_what_a_loss_learns_is_trained_and_what_it_remembers_is_kept(features: LabelTable, tmp_path: Path) -> None:
    unknown = partly_unknown(features)
    labels = torch.from_numpy(unknown.labels[unknown.part("train")])
    for loss in REMEMBERING:
        folder = tmp_path / str(REMEMBERING.index(loss))
        fitted(unknown, None, folder, loss=loss, epochs=6, rate=0.02)
        begun = losses.build(loss, labels=labels).state_dict()
        moved = {
            name: not torch.equal(begun[name.removeprefix("loss.")].cpu(), tensor)
            for name, tensor in load_file(newest(folder)).items()
            if name.startswith("loss.") and not name.endswith("unknown")
        }
        assert moved, loss
        assert all(moved.values()), (loss, moved)


def test_authors_train_learned_probabilities_by_sgd_of_their_own(features: LabelTable) -> None:
    unknown = partly_unknown(features)
    labels = torch.from_numpy(unknown.labels[unknown.part("train")])
    settings = recipe_for(unknown, loss_optimizer="authors").training("gr(k='learned')")
    network = build(settings, unknown, None, 0)
    stepper = Stepper(settings, network, labels)
    of_network, own = stepper.optimizers
    assert isinstance(own, torch.optim.SGD)
    (group,) = own.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 1e-3)
    assert {id(one) for one in group["params"]} == {id(one) for one in stepper.loss.parameters()}
    trained = {id(one) for own in of_network.param_groups for one in own["params"]}
    assert trained == {id(one) for one in network.parameters()}
    shared = Stepper(settings.model_copy(update={"loss_optimizer": "shared"}), network, labels)
    assert len(shared.optimizers) == 1
    assert shared.optimizers[0].param_groups[-1]["lr"] == pytest.approx(10 * settings.rate)


# --- protocols of papers -----------------------------------------------------------------------------------


def test_warm_up_in_steps_from_a_fraction_of_the_rate() -> None:
    """As mmcv's linear warm-up, by which VOC-LT is trained: ratio + (1 - ratio) · step / steps."""
    own = Recipe(**PLAIN, epochs=8, schedule="constant", warmup_steps=6, warmup_from=1 / 3)
    assert [own.factor(step, 4) for step in range(8)] == pytest.approx(
        [1 / 3 + 2 / 3 * step / 6 for step in range(6)] + [1, 1]
    )


def test_sgd_is_plain_or_nesterovs_and_decay_is_of_weights_or_of_all(features: LabelTable) -> None:
    labels = torch.from_numpy(features.labels[features.part("train")])

    def stepper(**changes: Any) -> Stepper:
        settings = recipe_for(features, optimizer="sgd", **changes).training("bce")
        return Stepper(settings, build(settings, features, None, 0), labels)

    for nesterov in (True, False):
        (group, *_) = stepper(nesterov=nesterov, momentum=0.8).optimizers[0].param_groups
        assert (group["nesterov"], group["momentum"]) == (nesterov, 0.8)
    decays = {
        decay: {group["weight_decay"] for group in stepper(decay=decay, weight_decay=0.1).optimizers[0].param_groups}
        for decay in ("weights", "all")
    }
    assert decays == {"weights": {0.1, 0.0}, "all": {0.1}}


def test_the_last_epoch_is_kept_if_asked_for(features: LabelTable, tmp_path: Path) -> None:
    best = fitted(features, None, tmp_path / "best", epochs=6, rate=0.3)
    last = fitted(features, None, tmp_path / "last", epochs=6, rate=0.3, select="last")
    assert best.history == last.history
    assert last.epoch == 6
    assert best.epoch == 1 + int(np.argmax([row["val_map_class"] for row in best.history])) < 6


def test_patience_has_a_tolerance(features: LabelTable, tmp_path: Path) -> None:
    options: dict[str, Any] = {"epochs": 30, "patience": 3, "rate": 3e-3}
    strict = fitted(features, None, tmp_path / "a", **options)
    loose = fitted(features, None, tmp_path / "b", **options, tolerance=0.9)
    assert len(loose.history) == 4 < len(strict.history)  # no epoch gains as much after the first


def test_all_of_train_is_trained_on_without_a_part_to_choose_on(features: LabelTable, tmp_path: Path) -> None:
    whole = divide(data.load(str(features.source).partition(":")[2]), val="none")
    assert not len(whole.table.part("val"))
    assert len(whole.table.part("train")) == len(features.part("train")) + len(features.part("val"))
    settings = recipe_for(whole.table, epochs=3, val="none").training("two-way")
    assert (settings.select, settings.fitted_on) == ("last", "train")
    card = train(settings, whole, tmp_path / "run", Listener(), tensorboard=False)
    assert card.epoch == 3
    assert set(card.figures) == {"test"}
    assert any("nothing was held out" in note for note in card.notes)
    assert all("val_map_class" not in row for row in card.history)


def test_what_is_chosen_on_the_test_part_is_said(features: LabelTable, tmp_path: Path) -> None:
    whole = divide(data.load(str(features.source).partition(":")[2]), val="test")
    settings = recipe_for(whole.table, epochs=8, val="test").training("two-way", rate=0.3)
    card = train(settings, whole, tmp_path / "run", Listener(), tensorboard=False)
    assert any("chosen on the test part" in note for note in card.notes)
    best = max(row["val_map_class"] or 0 for row in card.history)
    assert card.figures["test"]["map_class"] == pytest.approx(100 * best, abs=1e-3)


def test_decisions_at_one_half_need_no_fit(features: LabelTable, tmp_path: Path) -> None:
    settings = recipe_for(features, epochs=2, threshold="0.5").training("two-way")
    card = train(settings, divide(features), tmp_path / "run", Listener(), tensorboard=False)
    assert [entry.threshold for entry in card.classes] == [0.0] * 3


def test_the_seed_decides_a_backbone_without_weights(table: LabelTable, backbone: Backbone) -> None:
    first, again, other = (
        build(recipe_for(table), table, backbone, seed).state_dict()["backbone.conv_stem.weight"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_half_precision_trains_on_a_cpu(table: LabelTable, backbone: Backbone, tmp_path: Path) -> None:
    done = fitted(table, backbone, tmp_path, precision="bf16")
    assert all(np.isfinite(row["train_loss"]) for row in done.history)
    with pytest.raises(OptionError, match="float16 needs a GPU"):
        fitted(table, backbone, tmp_path / "b", precision="16")


def test_clipping_limits_a_step(features: LabelTable, tmp_path: Path) -> None:
    free, held = (
        fitted(
            features,
            None,
            tmp_path / str(clip),
            optimizer="sgd",
            epochs=1,
            clip=clip,
            weight_decay=0.0,
        )
        for clip in (None, 1e-6)
    )
    start = build(recipe_for(features, **{**SMALL, "augmentation": "none"}).training("two-way"), features, None, 0)
    moved = [
        max(float((tensor - start.state_dict()[name]).abs().max()) for name, tensor in weights(of).items())
        for of in (free, held)
    ]
    assert moved[1] < 1e-4 < moved[0]


# --- what goes wrong ---------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_unknown_and_teaches_nothing(
    table: LabelTable, backbone: Backbone, tmp_path: Path
) -> None:
    assert table.root is not None
    train_row = int(table.part("train")[0])
    items = list(table.items)
    items[train_row] = "nothing.jpg"
    broken = LabelTable(items, table.names, table.labels, table.split, table.source, table.root)
    ear = Ear()
    fitted(broken, backbone, tmp_path, ear)
    assert ear.said == ["warning: nothing.jpg: no such file: its labels are unknown in this training"]
    settings = recipe_for(table, **SMALL).training("focal")
    seen = [batch for batch in images_of(broken, settings) if batch.unreadable]
    for batch in seen:
        (place,) = batch.unreadable
        assert batch.unreadable == {place: "no such file"}
        assert table.part("train")[batch.rows[place]] == train_row
        assert batch.targets[place].tolist() == [-1, -1]
        assert any(torch.equal(batch.inputs[place], other) for row, other in enumerate(batch.inputs) if row != place)


def test_what_cannot_be_read_is_not_shown_to_a_rule_for_unknown_labels(
    table: LabelTable, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = list(table.items)
    items[int(table.part("train")[0])] = "nothing.jpg"
    broken = LabelTable(items, table.names, table.labels, table.split, table.source, table.root)
    shown = []
    whole = FunctionLoss.forward
    monkeypatch.setattr(
        FunctionLoss, "forward", lambda self, z, y, rows=None: shown.append(len(z)) or whole(self, z, y, rows)
    )
    fitted(broken, backbone, tmp_path, loss="assume-negative", epochs=4)
    size = recipe_for(table, **SMALL).training("focal").batch_size
    assert 2 <= shown.count(size - 1) <= 4  # once in each epoch, unless the row is in the part that is left over


def test_a_batch_without_a_readable_image_stops_it(table: LabelTable, backbone: Backbone, tmp_path: Path) -> None:
    gone = LabelTable(table.items, table.names, table.labels, table.split, table.source, tmp_path / "gone")
    with pytest.raises(DataError, match="none of the last 24 images can be read"):
        fitted(gone, backbone, tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_at_the_step_and_keeps_what_led_to_it(
    features: LabelTable, tmp_path: Path
) -> None:
    assert features.features is not None
    train_rows = features.part("train")
    features.features[train_rows[5]] = 3e38
    items = [f"item {row}" for row in range(len(features))]
    table = LabelTable(items, features.names, features.labels, features.split, features.source, None, features.features)
    with pytest.raises(NotFiniteError, match=r"the loss is (inf|nan) and .* at step \d+ \(epoch 1\) on item"):
        fitted(table, None, tmp_path / "checkpoints", loss="binary-cross-entropy", hidden=0)
    named = (tmp_path / "checkpoints/not-finite-items.txt").read_text().split("\n")
    assert f"item {train_rows[5]}" in named
    assert len(named) == SMALL["batch_size"] + 1
    state = load_file(tmp_path / "checkpoints/not-finite.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in state.values())
    done = fitted(
        table, None, tmp_path / "b/checkpoints", loss="binary-cross-entropy", hidden=0,
        forgiving=True,
    )  # fmt: skip
    assert done.diverged
    assert done.epoch == 0
    assert not list((tmp_path / "b").rglob("not-finite*"))


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    features: LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(_: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return gradient * torch.nan

    whole = FunctionLoss.forward
    monkeypatch.setattr(FunctionLoss, "forward", lambda *given: Poison.apply(whole(*given)))
    for clip in (None, 1.0):
        folder = tmp_path / str(clip)
        with pytest.raises(NotFiniteError, match="gradient's norm nan at step 1 "):
            fitted(features, None, folder, clip=clip)
        state = load_file(folder / "not-finite.safetensors")
        assert all(bool(tensor.isfinite().all()) for tensor in state.values())


def test_logits_that_are_not_finite_are_seen_beside_an_unreadable_image(table: LabelTable, backbone: Backbone) -> None:
    items = list(table.items)
    items[int(table.part("val")[0])] = "nothing.jpg"
    broken = replace(table, items=items)
    settings = recipe_for(table, **SMALL).training("focal")
    network = build(settings, broken, backbone, 0)
    with torch.no_grad():
        network.head[0].weight.fill_(torch.nan)  # type: ignore[index, union-attr, operator]
    logits, targets, unreadable = score_table(network, broken, broken.part("val"))
    assert len(unreadable) == 1
    with pytest.raises(NotFiniteError, match="not finite on validation"):
        Validation(settings, broken).figures(logits, targets, losses.build("focal"))


def test_a_training_leaves_the_backbone_as_it_was(table: LabelTable, backbone: Backbone, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    first = fitted(table, backbone, tmp_path / "a", epochs=1)
    assert_same(first, fitted(table, backbone, tmp_path / "b", epochs=1))
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.network.parameters())


def test_checkpoints_of_another_training_are_refused(features: LabelTable, tmp_path: Path) -> None:
    fitted(features, None, tmp_path)
    with pytest.raises(TrainingError, match="holds checkpoints of another training"):
        fitted(features, None, tmp_path, rate=0.1)


def test_a_file_that_cannot_be_read_just_now_is_not_damage(
    features: LabelTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted(features, None, tmp_path)
    kept = sorted(tmp_path.iterdir())

    def fail(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(checkpoints, "safe_open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        fitted(features, None, tmp_path)
    assert sorted(tmp_path.iterdir()) == kept


def test_no_process_is_left_behind(table: LabelTable, backbone: Backbone, tmp_path: Path) -> None:
    with pytest.raises(_Killed) as held:
        fitted(table, backbone, tmp_path, Ear(stop_at=2), workers=2)
    assert held.value is not None
    assert multiprocessing.active_children() == []


def test_a_batch_of_one_is_refused_by_a_network_that_normalises(
    table: LabelTable, backbone: Backbone, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="pass --batch-size 2 or more"):
        fitted(table, backbone, tmp_path, batch_size=1, workers=1)
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_said(table: LabelTable, backbone: Backbone, tmp_path: Path) -> None:
    class Killer(Listener):
        def progress(self, *_: object) -> None:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)
                child.join()

    with pytest.raises(TrainingError, match="a process that loads images died"):
        fitted(table, backbone, tmp_path, Killer(), workers=1, epochs=30)


def test_too_little_memory_is_said_with_a_batch_size(
    table: LabelTable, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FunctionLoss.forward

    def exhausted(loss: losses.Loss, logits: Tensor, *more: Tensor) -> Tensor:
        if len(logits) == 8:  # a batch
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return whole(loss, logits, *more)

    monkeypatch.setattr(FunctionLoss, "forward", exhausted)
    with pytest.raises(TrainingError, match="out of memory with batches of 8: try --batch-size 4"):
        fitted(table, backbone, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said(features: LabelTable, tmp_path: Path) -> None:
    settings = recipe_for(features, epochs=1).training("focal")
    with pytest.raises(OptionError, match="PyTorch finds no GPU here"):
        fit(settings, features, build(settings, features, None, 0), tmp_path, Listener(), device="cuda")


# --- the folder --------------------------------------------------------------------------------------------


def test_another_training_does_not_go_into_the_folder(features: LabelTable, tmp_path: Path) -> None:
    first, other = (recipe_for(features, epochs=1).training(loss) for loss in ("focal", "two-way"))
    divided = divide(features)
    card = train(first, divided, tmp_path / "run", Listener(), tensorboard=False)
    with pytest.raises(TrainingError, match=r"training.loss \(focal there, two-way here\)"):
        train(other, divided, tmp_path / "run", Listener())
    ear = Ear()
    before = (tmp_path / "run/model.safetensors").read_bytes()
    assert train(first, divided, tmp_path / "run", ear) == card
    assert ear.said == [f"note: {tmp_path / 'run'}: this training is finished"]
    assert (tmp_path / "run/model.safetensors").read_bytes() == before


# --- real data ---------------------------------------------------------------------------------------------


def test_real_pedestrians_are_learnt_from_real_weights(data_folder: Path, weights_folder: Path, tmp_path: Path) -> None:
    whole = data.load(str(data_folder / "pa100k"))
    table = whole.select(np.concatenate([whole.part("train")[:640], whole.part("val"), whole.part("test")]))
    backbone = load_backbone(None, str(weights_folder / "mobilenetv2_100_imagenet.safetensors"), (64, 32))
    settings = recipe_for(table, epochs=3, batch_size=32).training("two-way")
    card = train(settings, divide(table), tmp_path / "run", Listener(), backbone=backbone)
    chance = float(np.mean((table.labels[table.part("test")] == 1).mean(0)))
    assert card.figures["test"]["map_class"] is not None
    assert card.figures["test"]["map_class"] > 100 * chance + 8
    assert card.weights_from is not None
    assert card.weights_from["weights"] == "mobilenetv2_100_imagenet.safetensors"

"""From a data set and a loss to a run folder that predicts anywhere.

training.json                what is trained, on which data: the same command continues it
history.csv                  one row for each epoch
tensorboard/                 the same and the loss within epochs
checkpoints/                 the last two
model.safetensors, run.json  the model, once training is finished
"""

import copy
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rarecall import data, metrics
from rarecall.audit import audit
from rarecall.data.features import extract, without_unreadable
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, TrainingError, listing
from rarecall.folders import FolderKind
from rarecall.inference import run_folder
from rarecall.inference.run_folder import ClassCard, RunCard
from rarecall.inference.scoring import score_table
from rarecall.labels import count, measured_groups, tiers
from rarecall.models import Backbone, Classifier, architecture_of, resolve_device
from rarecall.seeds import INITIAL, stream
from rarecall.training.config import Recipe, Training
from rarecall.training.listener import Listener
from rarecall.training.loop import Fitted, fit
from rarecall.training.records import Records, write_history

TRAINING = FolderKind("training", "training.json", "rarecall train", TrainingError)
LIBRARIES = ("torch", "torchvision", "timm", "lightning", "pillow", "numpy")


@dataclass(frozen=True)
class Outcome:
    """What a finished training scores.

    Attributes:
        fitted: the network and its history.
        thresholds: (C,) fitted on validation.
        test_logits: (n, C) of the test part; 0 where an image cannot be read.
        test_targets: (n, C), unknown where an image cannot be read.
        figures: of the parts `val` and `test`, from 0 to 1.
        notes: on images that cannot be read.
    """

    fitted: Fitted
    thresholds: torch.Tensor
    test_logits: torch.Tensor
    test_targets: torch.Tensor
    figures: dict[str, dict[str, float]]
    notes: list[str]


def build(training: Recipe, table: LabelTable, backbone: Backbone | None, seed: int) -> Classifier:
    """The network with its initial weights: the backbone's own, and a head that the seed decides."""
    if table.features is None and backbone is None:
        raise DataError(f"{table.source}: has images: a backbone is needed")
    shape = () if table.features is None else table.features.shape[1:]
    architecture = architecture_of(backbone, shape, len(table.names), training.hidden, training.dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, INITIAL))
        own = copy.deepcopy(backbone.network) if backbone else None  # the caller's stays as it is
        network = Classifier(architecture, own, architecture.head())
    return network.requires_grad_(True)


def run_training(
    training: Training,
    table: LabelTable,
    network: Classifier,
    folder: Path,
    listener: Listener,
    *,
    device: str = "auto",
    workers: int | None = None,
    forgiving: bool = False,
) -> Outcome:
    """Fit the network, fit the thresholds on validation, and score the test part once.

    Args:
        training: how.
        table: images or features with a complete split.
        network: with its initial weights.
        folder: of the checkpoints; what is there is continued.
        listener: told of each step and epoch.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that decode and augment images.
        forgiving: keep the best epoch so far if the loss is no longer finite, instead of raising.

    Raises:
        TrainingError: the loss is no longer finite, the memory is too small, or a worker died.
        OptionError: a device that is not there.
    """
    fitted = fit(training, table, network, folder, listener, device=device, workers=workers, forgiving=forgiving)
    parts, notes = {}, []
    if bad := fitted.unreadable:
        notes.append(f"{len(bad)} training images could not be read and taught nothing ({listing(bad, 3)})")
    for part in ("val", "test"):
        rows = table.part(part)
        logits, targets, reasons = score_table(fitted.network, table, rows)
        parts[part] = logits.nan_to_num(), targets  # a diverged network's may not be finite
        if reasons:
            names = listing([table.items[row] for row in reasons], 3)
            notes.append(f"{len(reasons)} images of the {part} part cannot be read and are not counted ({names})")
    thresholds = metrics.fit_thresholds(*parts["val"], shrinkage=metrics.SHRINKAGE)
    positives = count(table.labels[table.part("train")]).present
    figures = {
        part: metrics.summarise(logits, targets, thresholds, measured_groups(targets.numpy(), positives))
        for part, (logits, targets) in parts.items()
    }
    return Outcome(fitted, thresholds, *parts["test"], figures, notes)


def train(
    training: Training,
    table: LabelTable,
    out: Path,
    listener: Listener,
    *,
    backbone: Backbone | None = None,
    device: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    tensorboard: bool = True,
    command: str = "",
) -> RunCard:
    """Train a network and write its run folder, or go on with a training that was stopped.

    Args:
        training: how.
        table: as it was loaded; a missing validation or test part is taken from train.
        out: the run folder, new or to be continued.
        listener: told of each step and epoch.
        backbone: of the network, for images.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that decode and augment images.
        strict: refuse a data set with an image that cannot be read.
        tensorboard: write logs for TensorBoard, too.
        command: the command line, for the record.

    Raises:
        DataError: data that nothing can be learnt from.
        TrainingError: the folder holds something else, or the training cannot go on.
    """
    resolve_device(device)
    identity = {
        "source": table.source,
        "data": table.fingerprint(),
        "backbone": backbone.description if backbone else None,
        "training": training.model_dump(mode="json"),
    }
    with TRAINING.only_here(out):
        checkpoints = out / "checkpoints"
        begun = (out / run_folder.CARD).is_file() or any(checkpoints.glob("*.safetensors"))
        TRAINING.open(out, identity, begun=begun)
        if (out / run_folder.CARD).is_file():
            listener.say("note", f"{out}: this training is finished")
            return run_folder.read_card(out)
        for note in backbone.notes if backbone else ():
            listener.say("warning", note)
        prepared, notes = _prepare(table, training, backbone, strict, listener)
        network = build(training, prepared, None if prepared.features is not None else backbone, training.seed)
        with Records(out, listener, tensorboard) as records:
            outcome = run_training(training, prepared, network, checkpoints, records, device=device, workers=workers)
        for note in outcome.notes:
            listener.say("warning", note)
        write_history(out, outcome.fitted.history)
        card = _card(
            training,
            table,
            prepared,
            outcome,
            identity,
            [*(backbone.notes if backbone else ()), *notes, *outcome.notes],
            command,
        )
        if prepared.features is not None and backbone is not None:
            card, network = _on_backbone(card, network, backbone)
        return run_folder.write(out, card, network)


def _prepare(
    table: LabelTable, training: Training, backbone: Backbone | None, strict: bool, listener: Listener
) -> tuple[LabelTable, list[str]]:
    """The table that is trained on: complete, learnable, without images that are not there."""
    table, taken = data.complete_split(table)  # before any image is left out, so that every command takes the same part
    if table.features is None and training.head_only:
        assert backbone is not None
        listener.say("note", "computing the features of the images, unless they are cached")
        table, lost = extract(table, backbone, strict=strict)
    elif table.features is None:
        table, lost = without_unreadable(table, strict=strict)
    else:
        lost = []
    data.check_learnable(table)
    facts = audit(table)
    for kind, sentences in (("warning", [*lost, *facts.warnings]), ("note", [*taken, *facts.advice])):
        for sentence in sentences:
            listener.say(kind, sentence)
    return table, lost + taken


def _card(
    training: Training,
    table: LabelTable,
    prepared: LabelTable,
    outcome: Outcome,
    identity: dict[str, Any],
    notes: list[str],
    command: str,
) -> RunCard:
    positives = count(prepared.labels[prepared.part("train")]).present
    classes = [
        ClassCard(name=str(name), threshold=threshold, positives=int(number), tier=tier)
        for name, threshold, number, tier in zip(
            table.names, outcome.thresholds.tolist(), positives, tiers(positives), strict=True
        )
    ]
    return RunCard(
        architecture=outcome.fitted.network.architecture,
        classes=classes,
        training=training.model_dump(mode="json"),
        figures={part: run_folder.percent(figures) for part, figures in outcome.figures.items()},
        history=[
            {name: value if np.isfinite(value) else None for name, value in row.items()}
            for row in outcome.fitted.history
        ],
        epoch=outcome.fitted.epoch,
        data={
            "source": identity["source"],
            "fingerprint": identity["data"],
            "items": {part: len(prepared.part(part)) for part in ("train", "val", "test")},
            "seen": _seen(prepared),
        },
        weights_from=identity["backbone"],
        notes=notes,
        versions={"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        command=command,
    )


def _seen(table: LabelTable) -> str:
    """Hashes of the names of images in train and validation; rows of features have no lasting names."""
    if table.root is None:
        return ""
    return " ".join(run_folder.item_hash(item) for item in table.select(table.split != "test").items)


def _on_backbone(card: RunCard, head: Classifier, backbone: Backbone) -> tuple[RunCard, Classifier]:
    """The head that was trained on features together with the backbone that they came from."""
    own = head.architecture
    architecture = architecture_of(backbone, (), own.classes, own.hidden, own.dropout)
    return card.model_copy(update={"architecture": architecture}), Classifier(architecture, backbone.network, head.head)

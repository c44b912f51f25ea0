"""From a data set and a loss to a run folder that predicts anywhere.

training.json                what is trained, on which data: the same command continues it
parts.parquet                the part of each item, by which an evaluation knows what was trained on
history.csv                  one row for each epoch
tensorboard/                 the same and the loss within epochs
checkpoints/                 the last two
model.safetensors, run.json  the model, once training is finished
"""

import copy
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rarecall import metrics
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, TrainingError, listing
from rarecall.folders import FolderKind
from rarecall.inference import run_folder
from rarecall.inference.run_folder import ClassCard, RunCard
from rarecall.inference.scoring import score_table
from rarecall.labels import count, measured_groups, tiers
from rarecall.listener import Listener
from rarecall.models import Backbone, Classifier, architecture_of, initialised, resolve_device
from rarecall.preparation import Divided, Prepared, prepare
from rarecall.seeds import BACKBONE, INITIAL, stream
from rarecall.settings import Recipe, Training
from rarecall.training.loop import Fitted, fit
from rarecall.training.records import Records, write_history

TRAINING = FolderKind("training", "training.json", "rarecall train", TrainingError)
LIBRARIES = ("torch", "torchvision", "timm", "lightning-fabric", "pillow", "numpy")


Scores = tuple[Tensor, Tensor]  # logits and targets, (n, C) each


@dataclass(frozen=True)
class Outcome:
    """What a finished training scores.

    Attributes:
        fitted: the network and its history.
        thresholds: (C,) logits from which classes are decided.
        test_logits: (n, C) of the test part; 0 where an image cannot be read.
        test_targets: (n, C), unknown where an image cannot be read.
        figures: of the parts `test` and, where there is one, `val`; from 0 to 1.
        notes: on images that cannot be read, and on choices made on the test part.
    """

    fitted: Fitted
    thresholds: Tensor
    test_logits: Tensor
    test_targets: Tensor
    figures: dict[str, dict[str, float]]
    notes: list[str]


def build(recipe: Recipe, table: LabelTable, backbone: Backbone | None, seed: int) -> Classifier:
    """The network with its initial weights: the backbone's own if it has such, and what the seed decides."""
    if table.features is None and backbone is None:
        raise DataError(f"{table.source}: has images: a backbone is needed")
    shape = () if table.features is None else table.features.shape[1:]
    architecture = architecture_of(backbone, shape, len(table.names), recipe.hidden, recipe.dropout)
    own = None
    if backbone is not None and backbone.description["weights"] == "none":
        own = initialised(architecture, stream(seed, BACKBONE))
    elif backbone is not None:
        own = copy.deepcopy(backbone.network)  # the caller's stays as it is
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, INITIAL))
        network = Classifier(architecture, own, architecture.head())
    return network.requires_grad_(True)


def conclude(training: Training, fitted: Fitted, table: LabelTable, network: Classifier | None = None) -> Outcome:
    """Set the thresholds, and score the test part once.

    Args:
        training: how.
        fitted: the finished training.
        table: images or features with a complete split.
        network: what will predict, where that is more than was trained: a head together with its backbone.
    """
    network = fitted.network if network is None else network
    notes = _how_chosen(training)
    if fitted.diverged:
        notes.append(f"the training diverged: what was best before, epoch {fitted.epoch}, is kept")
    if bad := fitted.unreadable:
        notes.append(f"{len(bad)} training images could not be read and taught nothing ({listing(bad, 3)})")
    scored: dict[str, Scores] = {}
    wanted = [part for part in ("train", "val", "test") if part == training.fitted_on or part in ("val", "test")]
    for part in wanted:
        rows = table.part(part)
        if len(rows):
            logits, targets, reasons = score_table(network, table, rows)
            scored[part] = logits.nan_to_num(), targets  # a diverged network's may not be finite
            notes += _unreadable(table, part, reasons)
    thresholds = decision_thresholds(training, scored)
    positives = count(table.labels[table.part("train")]).present
    figures = {
        part: metrics.summarise(logits, targets, thresholds, measured_groups(targets.numpy(), positives))
        for part, (logits, targets) in scored.items()
        if part != "train"
    }
    return Outcome(fitted, thresholds, *scored["test"], figures, notes)


def _how_chosen(recipe: Recipe) -> list[str]:
    """A sentence where choices were not made on a part of their own."""
    if recipe.val == "none":
        return ["nothing was held out to choose on: the last epoch is kept (--val none)"]
    if picked := recipe.picked_on_test:
        return [f"chosen on the test part (--val test): {' and '.join(picked)} were picked by it, which flatters it"]
    return []


def decision_thresholds(recipe: Recipe, scored: Mapping[str, Scores]) -> Tensor:
    """(C,) logits from which classes are decided: a score of 0.5, or the best F1 of the part that is fitted on."""
    if recipe.fitted_on is None:
        return torch.zeros(scored["test"][0].shape[1])
    return metrics.fit_thresholds(*scored[recipe.fitted_on], shrinkage=metrics.SHRINKAGE)


def _unreadable(table: LabelTable, part: str, reasons: Mapping[int, str]) -> list[str]:
    if not reasons:
        return []
    names = listing([table.items[row] for row in reasons], 3)
    return [f"{len(reasons)} images of the {part} part cannot be read and are not counted ({names})"]


def train(
    training: Training,
    divided: Divided,
    out: Path,
    listener: Listener,
    *,
    backbone: Backbone | None = None,
    device: str = "auto",
    workers: int | None = None,
    strict: bool = False,
    tensorboard: bool = True,
    command: str = "",
    forgiving: bool = False,
    notes: Sequence[str] = (),
) -> RunCard:
    """Train a network and write its run folder, or go on with a training that was stopped.

    Args:
        training: how.
        divided: the data, every row with its part.
        out: the run folder, new or to be continued.
        listener: told of each step and epoch.
        backbone: of the network, for images.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that decode and augment images.
        strict: refuse a data set with an image that cannot be read.
        tensorboard: write logs for TensorBoard, too.
        command: the command line, for the record.
        forgiving: keep the best epoch so far if the loss is no longer finite, as a study does.
        notes: on how it came to be trained, for the record.

    Raises:
        DataError: data that nothing can be learnt from.
        TrainingError: the folder holds something else, or the training cannot go on.
    """
    resolve_device(device)
    identity = {
        "source": divided.table.source,
        "data": divided.fingerprint,
        "parts": divided.parts.digest(),
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
        divided.parts.write(out)
        prepared = prepare(divided, listener, backbone=backbone, features=training.head_only, strict=strict)
        whole = prepared.table.features is None
        network = build(training, prepared.table, backbone if whole else None, training.seed)
        with Records(out, listener, tensorboard) as records:
            fitted = fit(
                training, prepared.table, network, checkpoints, records, device=device, workers=workers,
                forgiving=forgiving,
            )  # fmt: skip
        network, table = fitted.network, prepared.table
        if not whole and backbone is not None:
            # What is kept predicts from images, so its thresholds and figures are those of images.
            network, table = _on_backbone(network, backbone), prepared.images
        outcome = conclude(training, fitted, table, network)
        for note in outcome.notes:
            listener.say("warning", note)
        write_history(out, fitted.history)
        return run_folder.write(out, _card(training, prepared, outcome, network, identity, command, notes), network)


def _card(
    training: Training,
    prepared: Prepared,
    outcome: Outcome,
    network: Classifier,
    identity: dict[str, Any],
    command: str,
    notes: Sequence[str],
) -> RunCard:
    table = prepared.table
    positives = count(table.labels[table.part("train")]).present
    classes = [
        ClassCard(name=str(name), threshold=threshold, positives=int(number), tier=tier)
        for name, threshold, number, tier in zip(
            table.names, outcome.thresholds.tolist(), positives, tiers(positives), strict=True
        )
    ]
    return RunCard(
        architecture=network.architecture,
        classes=classes,
        training=training,
        figures={part: run_folder.percent(figures) for part, figures in outcome.figures.items()},
        history=[
            {name: value if np.isfinite(value) else None for name, value in row.items()}
            for row in outcome.fitted.history
        ],
        epoch=outcome.fitted.epoch,
        data={
            "source": identity["source"],
            "fingerprint": identity["data"],
            "items": {part: len(table.part(part)) for part in ("train", "val", "test")},
        },
        weights_from=identity["backbone"],
        notes=[*notes, *prepared.notes, *outcome.notes],
        versions={"python": platform.python_version()} | {name: version(name) for name in LIBRARIES},
        command=command,
    )


def _on_backbone(head: Classifier, backbone: Backbone) -> Classifier:
    """The head that was trained on features together with the backbone that they came from, where that is."""
    own = head.architecture
    architecture = architecture_of(backbone, (), own.classes, own.hidden, own.dropout)
    return Classifier(architecture, backbone.network, head.head).to(backbone.device).eval()

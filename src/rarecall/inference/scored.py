"""Scores on one part of a labelled data set: of a model of ours, or read from a table that any model wrote.

A model of ours brings its thresholds and its training counts. Scores from anywhere else bring neither: thresholds
are then fitted on the validation rows that have scores, and tiers are counted on the data's own training rows.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rarecall import metrics
from rarecall.data.parts import FILE as PARTS_FILE
from rarecall.data.scores import read_scores
from rarecall.data.table import PARTS, LabelTable
from rarecall.errors import DataError, ModelError, OptionError, listing, unknown_name
from rarecall.inference.predictor import Predictor
from rarecall.inference.scoring import score_table
from rarecall.labels import PRESENT, count
from rarecall.preparation import prepare_part

SCALES = {"probability": 0.5, "logit": 0.0, "rank": None}  # the threshold that each has by itself


@dataclass(frozen=True)
class Scored:
    """A model's scores on one part of a data set, with what is needed to judge them.

    Attributes:
        table: the items that were scored, with their labels in the order of the scores.
        part: its name, or `all`.
        scores: (N, C), higher for what is more likely present.
        scale: `logit`, `probability`, or `rank` for scores of which only the order says something.
        thresholds: (C,), from which a class is decided; None where there was nothing to fit them on.
        positives: (C,) of the training, which tell the tiers.
        title: the loss, or the file.
        notes: what a user should know.
        fingerprint: of the data set that the part is of.
        validation: scores and targets of the validation part, where there are such and another part is judged.
    """

    table: LabelTable
    part: str
    scores: Tensor
    scale: str
    thresholds: Tensor | None
    positives: np.ndarray
    title: str
    notes: list[str]
    fingerprint: str
    validation: tuple[Tensor, Tensor] | None = None

    @property
    def decided_at(self) -> Tensor | None:
        """(C,) the fitted thresholds, else those of the scale; None where there is neither."""
        half = SCALES[self.scale]
        if self.thresholds is not None or half is None:
            return self.thresholds
        return torch.full((self.scores.shape[1],), half)

    @property
    def targets(self) -> Tensor:
        """(N, C) labels."""
        return torch.from_numpy(self.table.labels)

    @cached_property
    def probabilities(self) -> Tensor | None:
        """(N, C) from 0 to 1, where the scores are such or their logits."""
        if self.scale == "rank":
            return None
        return self.scores.sigmoid() if self.scale == "logit" else self.scores

    def as_logits(self, scores: Tensor) -> Tensor:
        """Logits of scores of this scale, which is not `rank`; those of 0 and 1 are kept finite."""
        return scores if self.scale == "logit" else scores.double().logit(eps=1e-9)


def scored_by(predictor: Predictor, table: LabelTable, part: str | None = None) -> Scored:
    """Score one part of a data set with a model of ours.

    Args:
        predictor: the model; the parts of its training are those of its own data, and what it was trained on counts
            as training data wherever it stands.
        table: as it was loaded, with the model's classes in any order.
        part: `train`, `val`, `test` or `all`; default: test, or everything if no row is in the test part.

    Raises:
        OptionError: another part.
        ModelError: other classes than the model's, or features where it takes images.
        DataError: no row is in the part, or no image of it is there.
    """
    part, fingerprint = part_of(predictor, table, part), table.fingerprint()
    table, notes = prepare_part(table, part, kept=predictor.parts)
    if predictor.parts is None:
        notes.append(f"{PARTS_FILE} is not in the run folder: what the model was trained on cannot be told")
    if predictor.card.training.picked_on_test:
        notes.append("the model was chosen on the test part (--val test), which flatters its figures there")
    order = [list(table.names).index(name) for name in predictor.names]
    table = replace(table, names=predictor.names, labels=np.ascontiguousarray(table.labels[:, order]))
    logits, _, unreadable = score_table(predictor.network, table, np.arange(len(table)))
    if unreadable:
        bad = listing([table.items[row] for row in unreadable], 3)
        notes.append(f"{len(unreadable)} images cannot be read and are left out ({bad})")
        readable = np.array([row not in unreadable for row in range(len(table))])
        table, logits = table.select(readable), logits[torch.from_numpy(readable)]
    positives = np.array([entry.positives for entry in predictor.card.classes])
    title = predictor.card.training.loss
    return Scored(table, part, logits, "logit", predictor.thresholds, positives, title, notes, fingerprint)


def part_of(predictor: Predictor, table: LabelTable, part: str | None = None) -> str:
    """The part of a data set that `scored_by` scores.

    Raises:
        OptionError: an unknown part.
        ModelError: other classes than the model's, or features where it takes images.
    """
    _require_fit(predictor, table)
    _check_part(part)
    if part is None and predictor.parts is not None:
        table, _ = predictor.parts.divide(table, table.fingerprint())
    return part or ("test" if len(table.part("test")) else "all")


def scored_in(file: Path, table: LabelTable, part: str | None = None, *, scale: str = "probability") -> Scored:
    """Read the scores that any model gave to one part of a data set.

    Thresholds are fitted on the validation rows that have scores, if another part is judged.

    Args:
        file: as `data.read_scores` reads it.
        table: the labelled data.
        part: `train`, `val`, `test` or `all`; default: test, or everything if no test row has scores.
        scale: `probability` (from 0 to 1, decided at 0.5), `logit` (decided at 0), or `rank`: only the order says
            something, and nothing is decided without validation rows.

    Raises:
        OptionError: another part or scale.
        DataError: the file does not fit the data, or its scores do not fit the scale.
    """
    if scale not in SCALES:
        raise OptionError(f"--scale {scale}: {unknown_name('scale', scale, SCALES)}")
    found = read_scores(file, table)
    rows, scores = found.rows, torch.from_numpy(found.values)
    notes = [*found.notes, *_check_scale(file, table.select(rows), found.values, scale)]
    part = _part_of_scores(table, rows, part)
    own = _in_part(table, rows, part)
    if part == "all" and (table.split[rows] == "train").all() and (table.split != "train").any():
        notes.append("all items that have scores are of the train part: figures on what a model has seen flatter it")
    wanted = np.arange(len(table)) if part == "all" else table.part(part)
    validation = _validation(table.select(rows), scores, part)
    train = table.part("train") if len(table.part("train")) else np.arange(len(table))
    return Scored(
        table=table.select(rows[own]),
        part=part,
        scores=scores[torch.from_numpy(own)],
        scale=scale,
        thresholds=None if validation is None else metrics.fit_thresholds(*validation, shrinkage=metrics.SHRINKAGE),
        positives=count(table.labels[train]).present,
        title=file.name,
        notes=notes + _without_scores(table, np.setdiff1d(wanted, rows), len(wanted)),
        fingerprint=table.fingerprint(),
        validation=validation,
    )


def _check_scale(file: Path, table: LabelTable, scores: np.ndarray, scale: str) -> list[str]:
    """Refuse what is no probability where it should be one, and doubt logits that look like probabilities."""
    inside = (scores >= 0) & (scores <= 1)
    if scale == "logit" and inside.all():
        return ["all scores lie from 0 to 1: if they are probabilities, leave out --scale logit"]
    if scale == "probability" and not inside.all():
        row, column = np.argwhere(~inside)[0].tolist()
        raise DataError(
            f"{file}: item {table.items[row]!r}, class {table.names[column]!r}: {scores[row, column]} is no "
            "probability: pass --scale logit, or --scale rank if only the order of the scores counts"
        )
    return []


def _part_of_scores(table: LabelTable, rows: np.ndarray, part: str | None) -> str:
    _check_part(part)
    if part is None:
        return "test" if _in_part(table, rows, "test").any() else "all"
    if not _in_part(table, rows, part).any():
        raise DataError(f"{table.source}: no row of the {part} part has scores: pass another --part, or --part all")
    return part


def _check_part(part: str | None) -> None:
    if part not in (None, "all", *PARTS):
        raise OptionError(f"--part {part}: choose train, val, test or all")


def _in_part(table: LabelTable, rows: np.ndarray, part: str) -> np.ndarray:
    """Which of some rows are in a part."""
    return np.full(len(rows), True) if part == "all" else np.asarray(table.split[rows] == part)


def _without_scores(table: LabelTable, missing: np.ndarray, of: int) -> list[str]:
    names = listing([table.items[row] for row in missing.tolist()], 3)
    return [f"{len(missing):,} of {of:,} items have no scores and are left out ({names})"] if len(missing) else []


def _validation(table: LabelTable, scores: Tensor, part: str) -> tuple[Tensor, Tensor] | None:
    """Scores and targets of the validation rows, unless these are judged themselves."""
    rows = torch.from_numpy(table.part("val"))
    targets = torch.from_numpy(table.labels)[rows]
    if part in ("val", "all") or not (targets == PRESENT).any():
        return None
    return scores[rows], targets


def _require_fit(predictor: Predictor, table: LabelTable) -> None:
    """Refuse a table that the model cannot be judged on.

    Raises:
        ModelError: other classes than the model's, or features where it takes images.
    """
    names, own = predictor.names, [str(name) for name in table.names]
    if set(names) != set(own):
        missing, other = [name for name in names if name not in own], [name for name in own if name not in names]
        differing = " and ".join(
            f"{words} {listing(found, 3)}" for words, found in (("lacks", missing), ("adds", other)) if found
        )
        raise ModelError(
            f"{table.source}: other classes than the model's: it {differing}: evaluate on data with the model's "
            f"{len(names)} classes"
        )
    wanted = predictor.card.architecture.inputs
    if predictor.takes_images != (table.features is None):
        takes, has = ("images", "features") if predictor.takes_images else ("features", "images")
        raise ModelError(f"{table.source}: has {has}, and the model takes {takes}")
    if table.features is not None and table.features.shape[1:] != wanted:
        raise ModelError(f"{table.source}: features {table.features.shape[1:]}, and the model takes {wanted}")

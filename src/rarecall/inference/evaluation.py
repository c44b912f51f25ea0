"""How good a model is on labelled data: the study's figures, class by class, with the scores behind them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from rarecall import data, metrics
from rarecall.data.features import without_unreadable
from rarecall.data.table import PARTS, LabelTable
from rarecall.errors import DataError, ModelError, OptionError, listing
from rarecall.inference.predictor import Predictor
from rarecall.inference.run_folder import item_hash, percent
from rarecall.inference.scoring import score_table
from rarecall.labels import count, measured_groups


@dataclass(frozen=True)
class Evaluation:
    """A model's scores on one part of a data set.

    Attributes:
        summary: the content of evaluation.json: figures in percent and the classes.
        table: the items that were scored, with their labels in the order of the model's classes.
        logits: (N, C).
    """

    summary: dict[str, Any]
    table: LabelTable
    logits: Tensor

    @property
    def classes(self) -> pl.DataFrame:
        """One row for each class."""
        return pl.DataFrame(self.summary["classes"], infer_schema_length=None)


def evaluate(predictor: Predictor, table: LabelTable, part: str | None = None) -> Evaluation:
    """Score one part of a data set.

    Args:
        predictor: the model.
        table: as it was loaded, with the model's classes in any order.
        part: `train`, `val`, `test` or `all`; default: test, or everything if the data set has no split and is
            not the one that the model was trained on.

    Raises:
        ModelError: other classes than the model's, or features where it takes images.
        DataError: an empty part, or no positive in it.
    """
    table = _with_classes_of(predictor, table)
    table, part, notes = _part(predictor, table, part)
    logits, _, unreadable = score_table(predictor.network, table, np.arange(len(table)))
    if unreadable:
        bad = listing([table.items[row] for row in unreadable], 3)
        notes.append(f"{len(unreadable)} images cannot be read and are left out ({bad})")
        readable = np.array([row not in unreadable for row in range(len(table))])
        table, logits = table.select(readable), logits[torch.from_numpy(readable)]
    return Evaluation(_summary(predictor, table, part, notes, logits), table, logits)


def part_of(predictor: Predictor, table: LabelTable, part: str | None = None) -> str:
    """The part of a data set that `evaluate` scores.

    Raises:
        OptionError: an unknown part.
        ModelError: other classes than the model's, or features where it takes images.
    """
    table = _with_classes_of(predictor, table)
    if part not in (None, "all", *PARTS):
        raise OptionError(f"--part {part}: choose train, val, test or all")
    return part or ("test" if len(_with_split(predictor, table).part("test")) else "all")


def _summary(predictor: Predictor, table: LabelTable, part: str, notes: list[str], logits: Tensor) -> dict[str, Any]:
    targets, card = torch.from_numpy(table.labels), predictor.card
    positives = np.array([entry.positives for entry in card.classes])
    groups = measured_groups(table.labels, positives)
    if not groups.get("all", np.empty(0)).size:
        raise DataError(f"{table.source}: no class has a positive in the {part} part, so nothing can be measured")
    return {
        "source": table.source,
        "part": part,
        "items": len(table),
        "notes": notes,
        "counted_classes": {group: len(members) for group, members in groups.items()},
        "figures": percent(metrics.summarise(logits, targets, predictor.thresholds, groups)),
        "figures_at_half": percent(metrics.summarise(logits, targets, torch.zeros(len(positives)), groups)),
        "classes": _classes(predictor, table, logits, targets),
        "loss": card.training["loss"],
    }


def _classes(predictor: Predictor, table: LabelTable, logits: Tensor, targets: Tensor) -> list[dict[str, Any]]:
    """One entry for each class: counts, AP, and what each way to decide makes of it."""
    at_fitted = metrics.precision_recall_f1(logits >= predictor.thresholds, targets)
    at_half = metrics.precision_recall_f1(logits >= 0, targets)
    own_best = metrics.fit_thresholds(logits, targets, min_positives=1)
    columns = {
        "ap": metrics.average_precision(logits, targets),
        "precision": at_fitted.precision,
        "recall": at_fitted.recall,
        "f1": at_fitted.f1,
        "f1_at_half": at_half.f1,
        "f1_best_possible": metrics.precision_recall_f1(logits >= own_best, targets).f1,
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    counts = count(table.labels)
    return [
        {
            "class": entry.name,
            "tier": entry.tier,
            "positives_train": entry.positives,
            "positives": int(counts.present[place]),
            "unknown": int(counts.unknown[place]),
            "threshold": round(float(torch.sigmoid(predictor.thresholds[place])), 6),
            **percent(dict(zip(columns, row, strict=True))),
        }
        for place, (entry, row) in enumerate(zip(predictor.card.classes, rows, strict=True))
    ]


def _with_classes_of(predictor: Predictor, table: LabelTable) -> LabelTable:
    """The table with its label columns in the order of the model's classes."""
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
    order = [own.index(name) for name in names]
    return LabelTable(
        table.items, names, np.ascontiguousarray(table.labels[:, order]), table.split, table.source, table.root,
        table.features,
    )  # fmt: skip


def _part(predictor: Predictor, table: LabelTable, part: str | None) -> tuple[LabelTable, str, list[str]]:
    """The rows to score, the name of their part, and what was left out.

    On its own training data, a part that the data set does not bring is the one that training took.
    """
    name = part_of(predictor, table, part)
    table = _with_split(predictor, table)
    rows = np.arange(len(table)) if name == "all" else table.part(name)
    if not len(rows):
        raise DataError(f"{table.source}: no row is in the {name} part: pass another --part, or --part all")
    table = table.select(rows)
    notes = _seen_in_training(predictor, table, name)
    if table.features is not None:
        return table, name, notes
    table, lost = without_unreadable(table)
    return table, name, notes + lost


def _with_split(predictor: Predictor, table: LabelTable) -> LabelTable:
    known = predictor.card.data["fingerprint"] == table.fingerprint()
    return data.complete_split(table)[0] if known else table


def _seen_in_training(predictor: Predictor, table: LabelTable, part: str) -> list[str]:
    """A sentence on items that the model was trained or its thresholds fitted on."""
    known = predictor.card.data["fingerprint"] == table.fingerprint()
    hashes = set(predictor.card.data["seen"].split())
    seen = sum(item_hash(item) in hashes for item in table.items)
    if not seen or (known and part == "test"):
        return []
    return [
        f"{seen:,} of {len(table):,} items have the names of items that the model was trained or its thresholds were "
        "fitted on: figures on them flatter it"
    ]

"""The page of one set of scores on one data set, with thumbnails of what is found, mistakes and misses."""

import base64
import io
import warnings
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image

from rarecall.data.table import LabelTable
from rarecall.errors import listing
from rarecall.images.decoding import decode
from rarecall.inference import Evaluation, Scored
from rarecall.inference.run_folder import RunCard
from rarecall.labels import ABSENT, PRESENT
from rarecall.reports import figures, wording
from rarecall.reports.page import both_sizes, template

SHOTS = 5  # of each kind and class
THUMBNAIL = (130, 96)  # width and height
QUALITY = 75
COLUMNS = {
    "ap": "AP",
    "roc_auc": "ROC AUC",
    "recall_at_precision": "recall at precision 90",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "f1_at_half": "F1 at 0.5",
    "f1_best_possible": "best possible F1",
    "balanced_accuracy": "balanced accuracy",
    "ece": "calibration error",
}
_CANVAS_HEIGHT = 72


def render(evaluation: Evaluation, card: RunCard | None = None) -> str:
    """The page as HTML; of a model of ours, with its card."""
    summary, scored = evaluation.summary, evaluation.scored
    losses = [summary["loss"]]
    rows = evaluation.classes.with_columns(
        pl.col("ap") / 100, pl.lit(summary["loss"]).alias("loss"), pl.lit(True).alias("tuned")
    )
    drawings = {
        "per_class": lambda size: figures.per_class(rows, losses, size),
        "wall": lambda size: figures.sparsity_wall(rows, losses, size),
    }
    at = scored.decided_at
    if at is not None and scored.scale == "logit":
        drawings["thresholds"] = lambda size: figures.threshold_shift(scored.scores, scored.targets, at, size)
    probabilities = scored.probabilities
    if probabilities is not None:
        drawings["reliability"] = lambda size: figures.reliability(probabilities, scored.targets, size)
    if card is not None:
        drawings["convergence"] = lambda size: figures.run_convergence(card.history, card.epoch, size)
    return template("run.html").render(
        card=card,
        summary=summary,
        sentences=_sentences(summary),
        ranking={name: words for name, words in wording.RANKING.items() if name in summary["metrics"]["ranking"]},
        decisions=wording.DECISIONS,
        probabilities=wording.PROBABILITIES,
        calibrations={kind: words for kind, words in wording.CALIBRATIONS.items() if kind in summary["metrics"]},
        ways=[way for way in wording.WAYS if way in summary["metrics"]],
        way_names=wording.WAYS,
        columns={name: words for name, words in COLUMNS.items() if name in summary["classes"][0]},
        between=wording.between,
        classes=sorted(summary["classes"], key=lambda row: row["positives_train"]),
        figures={name: both_sizes(draw) for name, draw in drawings.items()},
        gallery=[] if at is None else _gallery(scored, at, summary["classes"]),
        most_classes=figures.MOST_CLASSES,
    )


def _sentences(summary: dict[str, Any]) -> list[str]:
    found, measured = summary["figures"], [row for row in summary["classes"] if row["ap"] is not None]
    spread = summary["intervals"].get("all")
    sure = f" (95 % interval over items {wording.between(spread)})" if spread else ""
    sentences = [f"mAP@class {wording.number(found['map_class'])}{sure} over {len(measured)} classes."]
    if "map_tail" in found:
        sentences.append(
            f"The {summary['counted_classes']['tail']} tail classes, with fewer than 20 training positives, reach a "
            f"mAP of {wording.number(found['map_tail'])}."
        )
    if decided := [
        f"{wording.number(summary['metrics'][way]['macro_f1'])} with {words}"
        for way, words in wording.WAYS.items()
        if way in summary["metrics"]
    ]:
        sentences.append(f"The macro F1 is {' and '.join(decided)}.")
    if gain := summary["threshold_gain"]:
        sentences.append(wording.gain_in_words(gain))
    if silent := [row["class"] for row in measured if row.get("recall") == 0]:
        sentences.append(f"Nothing is found of {listing(silent, 8)}: none of their positives passes the threshold.")
    if unmeasured := [row["class"] for row in summary["classes"] if row["ap"] is None]:
        sentences.append(f"Without a positive here, nothing can be said of {listing(unmeasured, 8)}.")
    return sentences


def _gallery(scored: Scored, at: torch.Tensor, classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rarest classes with a positive: their best hits, worst false alarms and worst misses."""
    labels = scored.table.labels
    decided = (scored.scores >= at).numpy()
    shown = scored.scores if scored.probabilities is None else scored.probabilities
    thumbnails: dict[int, str | None] = {}

    def shots(rows: np.ndarray, place: int, sign: int) -> list[dict[str, Any]]:
        ranked = rows[np.argsort(sign * scored.scores[rows, place].numpy(), kind="stable")][:SHOTS]
        for row in ranked.tolist():
            if row not in thumbnails:
                thumbnails[row] = _thumbnail(scored.table, row)
        return [
            {"item": scored.table.items[row], "score": float(shown[row, place]), "image": thumbnails[row]}
            for row in ranked.tolist()
        ]

    measured = [place for place, row in enumerate(classes) if row["positives"]]
    ranked = sorted(measured, key=lambda place: classes[place]["positives_train"])
    entries = []
    for place in ranked[: figures.MOST_CLASSES]:
        present, absent = labels[:, place] == PRESENT, labels[:, place] == ABSENT
        found = decided[:, place]
        entries.append(
            {
                "name": scored.table.names[place],
                "positives": int(present.sum()),
                "found": int((present & found).sum()),
                "alarms": int((absent & found).sum()),
                "hits": shots(np.flatnonzero(present & found), place, -1),
                "false_alarms": shots(np.flatnonzero(absent & found), place, -1),
                "misses": shots(np.flatnonzero(present & ~found), place, 1),
            }
        )
    return entries


def _thumbnail(table: LabelTable, row: int) -> str | None:
    """A small JPEG in base64 of an image or a pixel canvas; None where there is nothing to see."""
    if table.features is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = decode(table.image(row), THUMBNAIL)
        if isinstance(image, str):
            return None
        image.thumbnail(THUMBNAIL)
    elif table.features.ndim == 4 and table.features.shape[1] == 1:
        image = _canvas(table.features[row, 0])
    else:
        return None
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def _canvas(pixels: np.ndarray) -> Image.Image:
    spread = max(float(np.ptp(pixels)), 1e-6)
    grey = (255 * (pixels - pixels.min()) / spread).astype(np.uint8)
    times = max(_CANVAS_HEIGHT // grey.shape[0], 1)
    return Image.fromarray(grey.repeat(times, 0).repeat(times, 1))

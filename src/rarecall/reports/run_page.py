"""The page of one set of scores on one data set, with thumbnails of what is found, mistakes and misses."""

from typing import Any

import numpy as np
import polars as pl
import torch

from rarecall.errors import listing
from rarecall.inference import Evaluation, Scored
from rarecall.inference.run_folder import RunCard
from rarecall.labels import ABSENT, MEDIUM_POSITIVES, PRESENT
from rarecall.reports import figures, recipe_words, wording
from rarecall.reports.page import Draw, drawn, template
from rarecall.reports.thumbnails import thumbnail
from rarecall.settings import Training

SHOTS = 5  # of each kind and class
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


def render(evaluation: Evaluation, card: RunCard | None = None) -> str:
    """The page as HTML; of a model of ours, with its card."""
    summary, scored = evaluation.summary, evaluation.scored
    training = card.training if card else None
    thresholds = recipe_words.thresholds_of(training)
    return template("run.html").render(
        card=card,
        summary=summary,
        sentences=[*_sentences(summary, thresholds), *_chosen(training)],
        on=_chosen_on(training),
        recipe=recipe_words.of_run(training) if training else [],
        ranking={name: words for name, words in wording.RANKING.items() if name in summary["metrics"]["ranking"]},
        decisions=wording.DECISIONS,
        probabilities=wording.PROBABILITIES,
        calibrations={kind: words for kind, words in wording.CALIBRATIONS.items() if kind in summary["metrics"]},
        ways={way: words for way, words in thresholds.items() if way in summary["metrics"]},
        columns={name: words for name, words in COLUMNS.items() if name in summary["classes"][0]},
        between=wording.between,
        classes=sorted(summary["classes"], key=lambda row: row["positives_train"]),
        figures=drawn(_drawings(evaluation, card)),
        gallery=[] if scored.decided_at is None else _gallery(scored, scored.decided_at, summary["classes"]),
        most_classes=figures.MOST_CLASSES,
    )


def _drawings(evaluation: Evaluation, card: RunCard | None) -> dict[str, Draw]:
    scored, losses = evaluation.scored, [evaluation.summary["loss"]]
    means = figures.class_means(
        evaluation.classes.with_columns(
            pl.col("ap") / 100, pl.lit(losses[0]).alias("loss"), pl.lit(True).alias("tuned")
        )
    )
    drawings: dict[str, Draw] = {
        "per_class": lambda size: figures.per_class(means, losses, size),
        "wall": lambda size: figures.sparsity_wall(means, losses, size),
    }
    if scored.decided_at is not None and scored.scale == "logit":
        curves = figures.threshold_curves(scored.scores, scored.targets, scored.decided_at)
        drawings["thresholds"] = lambda size: figures.threshold_shift(curves, size)
    if scored.probabilities is not None:
        bins = figures.reliability_bins(scored.probabilities, scored.targets)
        drawings["reliability"] = lambda size: figures.reliability(bins, size)
    if card is not None and card.history:
        on = _chosen_on(card.training)
        drawings["convergence"] = lambda size: figures.run_convergence(card.history, card.epoch, size, on=on)
    return drawings


def _chosen(training: Training | None) -> list[str]:
    """A sentence on a model that was not chosen on a validation part."""
    if training is None or not recipe_words.chosen_on(training):
        return []
    flatters = ", whose figures flatter it" if training.val == "test" else ""
    return [f"The model: {recipe_words.chosen_on(training)}{flatters}."]


def _chosen_on(training: Training | None) -> str:
    """The part that was looked at after each epoch, in words."""
    return "test" if training is not None and training.val == "test" else "validation"


def _sentences(summary: dict[str, Any], thresholds: dict[str, str]) -> list[str]:
    found, measured = summary["figures"], [row for row in summary["classes"] if row["ap"] is not None]
    spread = summary["intervals"].get("all")
    sure = f" (95 % interval over items {wording.between(spread)})" if spread else ""
    sentences = [f"mAP@class {wording.number(found['map_class'])}{sure} over {len(measured)} classes."]
    if "map_tail" in found:
        sentences.append(
            f"The {summary['counted_classes']['tail']} tail classes, with fewer than {MEDIUM_POSITIVES} training "
            f"positives, reach a mAP of {wording.number(found['map_tail'])}."
        )
    if decided := [
        f"{wording.number(summary['metrics'][way]['macro_f1'])} with thresholds {words}"
        for way, words in thresholds.items()
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
                thumbnails[row] = thumbnail(scored.table, row)
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

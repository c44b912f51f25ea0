"""How good scores are: every figure, with intervals, and class by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rarecall import labels, metrics, statistics
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, OptionError, unknown_name
from rarecall.inference.predictor import Predictor
from rarecall.inference.run_folder import percent
from rarecall.inference.scored import SCALES, Scored, scored_by, scored_in

GAIN_FOLDS, FEWEST_RESAMPLES = 5, 40  # fewer have no 2.5 % at each end
CONFUSION = ("true_positives", "false_positives", "false_negatives", "true_negatives")
TIERS = ("counts", "prevalence")


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model on one part of a data set.

    Attributes:
        summary: the content of evaluation.json: figures in percent and the classes.
        scored: what they were measured on.
    """

    summary: dict[str, Any]
    scored: Scored

    @property
    def table(self) -> LabelTable:
        """The items that were scored."""
        return self.scored.table

    @property
    def classes(self) -> pl.DataFrame:
        """One row for each class."""
        return pl.DataFrame(self.summary["classes"], infer_schema_length=None)


def evaluate(predictor: Predictor, table: LabelTable, part: str | None = None) -> Evaluation:
    """Score one part of a data set with a model of ours, and judge it: `scored_by`, then `judge`."""
    return judge(scored_by(predictor, table, part))


def evaluate_scores(
    file: Path, table: LabelTable, part: str | None = None, *, scale: str = "probability"
) -> Evaluation:
    """Judge scores of any model, from a table of them: `scored_in`, then `judge`."""
    return judge(scored_in(file, table, part, scale=scale))


def judge(
    scored: Scored, *, resamples: int = statistics.RESAMPLES, stratified: bool = False, tiers: str = "counts"
) -> Evaluation:
    """Every figure of some scores.

    Args:
        scored: the scores and what is needed to judge them.
        resamples: of the items, for the intervals; 0 for none. Default 1,000.
        stratified: resample within strata of rare classes, as in `statistics.bootstrap_weights`.
        tiers: `counts` (head, medium and tail by positives in training) or `prevalence` (common, medium and rare
            by the share of positives among the known labels here).

    Raises:
        OptionError: other tiers.
        DataError: nothing is present, so nothing can be measured.
    """
    tier = _tiers(scored, tiers)
    groups = labels.groups_of(scored.table.labels, tier)
    if not groups.get("all", np.empty(0)).size:
        raise DataError(
            f"{scored.table.source}: no class has a positive in the {scored.part} part, so nothing can be measured"
        )
    measured = _measured(scored, groups)
    half = measured.get("half")
    decided = measured.get("fitted", half) or metrics.Measured()
    summary = {
        "source": scored.table.source,
        "fingerprint": scored.fingerprint,
        "part": scored.part,
        "items": len(scored.table),
        "scale": scored.scale,
        "tiers": tiers,
        "notes": scored.notes,
        "counted_classes": {group: len(members) for group, members in groups.items()},
        "figures": _study_figures(measured["ranking"] | decided, groups),
        "figures_at_half": _study_figures(measured["ranking"] | half, groups) if half else None,
        "metrics": {name: _in_percent(own.figures) for name, own in measured.items()},
        "counted": {name: own.counted for name, own in measured.items()},
        "intervals": _intervals(scored, groups, resamples, stratified),
        "threshold_gain": _gain(scored),
        "classes": _classes(scored, tier, measured),
        "loss": scored.title,
    }
    return Evaluation(summary, scored)


def _tiers(scored: Scored, by: str) -> list[str]:
    if by not in TIERS:
        raise OptionError(f"--tiers {by}: {unknown_name('tiers', by, TIERS)}")
    if by == "counts":
        return labels.tiers(scored.positives)
    return labels.prevalence_tiers(labels.count(scored.table.labels))


def _measured(scored: Scored, groups: Mapping[str, np.ndarray]) -> dict[str, metrics.Measured]:
    """The ranking, the decisions at each set of thresholds that there is, and the probabilities."""
    scores, targets, half = scored.scores, scored.targets, SCALES[scored.scale]
    found = {"ranking": metrics.ranking_figures(scores, targets, groups=groups)}
    if scored.thresholds is not None:
        found["fitted"] = metrics.decision_figures(scores >= scored.thresholds, targets)
    if half is not None:
        found["half"] = metrics.decision_figures(scores >= half, targets)
    probabilities = scored.probabilities
    if probabilities is not None:
        found["probabilities"] = metrics.calibration_figures(probabilities, targets)
    if scored.validation is not None and half is not None:
        platt = metrics.fit_platt(scored.as_logits(scored.validation[0]), scored.validation[1])
        calibrated = platt(scored.as_logits(scores)).sigmoid()
        found["calibrated"] = metrics.calibration_figures(calibrated, targets)
    return found


def _study_figures(measured: metrics.Measured, groups: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """The figures of a study's leaderboard, in percent."""
    names = ["map_class", "map_sample", "macro_f1", *(f"map_{name}" for name in groups if name != "all")]
    return percent({name: measured.figures[name] for name in names if name in measured.figures})


def _in_percent(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Shares in percent; the coverage error is a number of classes."""
    plain = {name: value / 100 if name == "coverage_error" else value for name, value in figures.items()}
    return percent(plain)


def _intervals(scored: Scored, groups: Mapping[str, np.ndarray], resamples: int, stratified: bool) -> dict[str, Any]:
    """95 % intervals of the mAP of each group over resamples of the items, in percent."""
    if not resamples:
        return {}
    if resamples < FEWEST_RESAMPLES:
        raise OptionError(f"--resamples {resamples}: say 0 for no intervals, or {FEWEST_RESAMPLES} or more")
    found = statistics.bootstrap_interval(
        scored.scores, scored.targets, groups, resamples=resamples, stratified=stratified
    )
    return {group: percent({"low": own.low, "high": own.high}) for group, own in found.items()}


def _gain(scored: Scored) -> dict[str, Any] | None:
    """What fitting thresholds gains, in appearance and on items held out of the fit, within one part.

    The part is validation where its scores are here, else the one that is judged.
    """
    half = SCALES[scored.scale]
    scores, targets = scored.validation or (scored.scores, scored.targets)
    if half is None or len(scores) < GAIN_FOLDS:
        return None
    found = metrics.cross_validated_gain(scores, targets, base=half, folds=GAIN_FOLDS, shrinkage=metrics.SHRINKAGE)
    figures = percent({"at_half": found.base, "apparent": found.apparent, "honest": found.honest})
    return {"part": "val" if scored.validation else scored.part, **figures}


def _classes(scored: Scored, tier: Sequence[str], measured: Mapping[str, metrics.Measured]) -> list[dict[str, Any]]:
    """One entry for each class: counts, AP, and what each way to decide makes of it."""
    columns = {name: measured["ranking"].classes[name] for name in ("ap", "roc_auc", "recall_at_precision")}
    decided = measured.get("fitted", measured.get("half", metrics.Measured())).classes
    columns |= {name: decided[name] for name in ("precision", "recall", "f1", "balanced_accuracy") if name in decided}
    confusion = {name: decided[name].int().tolist() for name in CONFUSION if name in decided}
    if "half" in measured:
        columns["f1_at_half"] = measured["half"].classes["f1"]
    columns["f1_best_possible"] = measured["ranking"].classes["f1_best_possible"]
    if "probabilities" in measured:
        columns |= {name: measured["probabilities"].classes[name] for name in ("ece", "brier")}
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    counts, at = labels.count(scored.table.labels), _shown_thresholds(scored)
    return [
        {
            "class": name,
            "tier": tier[place],
            "positives_train": int(scored.positives[place]),
            "positives": int(counts.present[place]),
            "unknown": int(counts.unknown[place]),
            "threshold": at[place],
            **percent(dict(zip(columns, row, strict=True))),
            **{name: numbers[place] for name, numbers in confusion.items()},
        }
        for place, (name, row) in enumerate(zip(scored.table.names, rows, strict=True))
    ]


def _shown_thresholds(scored: Scored) -> list[float | None]:
    """Thresholds on the scale that users see: of logits, the score from 0 to 1."""
    if scored.thresholds is None:
        return [SCALES[scored.scale]] * len(scored.positives)
    shown = scored.thresholds.sigmoid() if scored.scale == "logit" else scored.thresholds
    return [round(value, 6) if np.isfinite(value) else None for value in shown.tolist()]

"""How figures are named and written, on the terminal and on the page alike."""

from typing import Any

from rarecall.studies.summary import Difference, Summary
from rarecall.studies.verdict import picked_on_test, signed

FIGURES = {
    "map_class": "mAP@class",
    "map_head": "head",
    "map_medium": "medium",
    "map_tail": "tail",
    "map_sample": "mAP@sample",
    "macro_f1": "macro F1",
}

RANKING = {
    "map_class": "mAP@class",
    "map_head": "head",
    "map_common": "common",
    "map_medium": "medium",
    "map_tail": "tail",
    "map_rare": "rare",
    "map_sample": "mAP@sample",
    "roc_auc": "ROC AUC",
    "recall_at_precision": "recall at precision 90",
    "coverage_error": "coverage error (classes)",
    "ranking_loss": "ranking loss",
    "top_1_accuracy": "top-1 accuracy",
    "top_5_recall": "recall of the top 5",
    "top_5_mean_accuracy": "balanced accuracy of the top 5, by class",
    "top_5_sample_accuracy": "balanced accuracy of the top 5, by item",
}
DECISIONS = {
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "f1_of_macro": "F1 of macro precision and recall",
    "micro_precision": "micro precision",
    "micro_recall": "micro recall",
    "micro_f1": "micro F1",
    "sample_precision": "precision of the samples",
    "sample_recall": "recall of the samples",
    "sample_f1": "F1 of the samples",
    "mean_accuracy": "mA (mean balanced accuracy)",
    "instance_accuracy": "instance accuracy",
    "instance_precision": "instance precision",
    "instance_recall": "instance recall",
    "instance_f1": "instance F1",
    "accuracy": "accuracy of all labels",
    "hamming_loss": "Hamming loss",
    "subset_accuracy": "subset accuracy",
}
PROBABILITIES = {"ece": "expected calibration error", "brier": "Brier score"}
CALIBRATIONS = {"probabilities": "as they are", "calibrated": "after Platt scaling fitted on validation"}
PARTS = {"train": "train", "val": "validation", "test": "test"}


def number(value: float | None) -> str:
    """One decimal, or a dash for what does not exist."""
    return "–" if value is None else f"{value:.1f}"


def between(spread: dict[str, float | None] | None) -> str:
    """An interval; nothing where none was taken.

    >>> between({"low": 40.04, "high": 47.0})
    '40.0 to 47.0'
    """
    return "" if spread is None else f"{number(spread['low'])} to {number(spread['high'])}"


def gain_in_words(gain: dict[str, Any]) -> str:
    """What fitting thresholds gains, within one part of the data.

    >>> gain_in_words({"part": "val", "at_half": 17.1, "apparent": 40.9, "honest": 39.0})[:62]
    'Within the validation part: macro F1 17.1 at a score of 0.5; 4'
    """
    part = {"val": "the validation part", "all": "all parts"}.get(gain["part"], f"the {gain['part']} part")
    return (
        f"Within {part}: macro F1 {number(gain['at_half'])} at a score of 0.5; {number(gain['apparent'])} with "
        f"thresholds fitted to the same items, which flatters; {number(gain['honest'])} with thresholds fitted to the "
        "others of five folds."
    )


def deviation(value: float | None) -> str:
    """The ± part; nothing for one seed."""
    return "" if value is None else f" ± {value:.1f}"


def interval(difference: Difference) -> str:
    """A difference to the best with its interval.

    >>> interval(Difference(mean=-1.2, low=-2.0, high=-0.4))
    '−1.2 (−2.0 to −0.4)'
    """
    if difference.mean == difference.low == difference.high == 0:
        return "best"
    return f"{signed(difference.mean)} ({signed(difference.low)} to {signed(difference.high)})"


def of_leaderboard(summary: Summary) -> str:
    """What the figures of a leaderboard are of, and what chose."""
    chosen = ", chosen on the test part" if picked_on_test(summary.protocol) else ""
    if summary.protocol.val == "none":
        chosen = ", nothing held out to choose on"
    seeds = f"mean ± SD of {summary.seeds} seeds" if summary.seeds > 1 else "one seed"
    return f"test part{chosen}, {seeds}, %"


def sentence(words: str) -> str:
    """With a capital and a full stop.

    >>> sentence("no file is there"), sentence("")
    ('No file is there.', '')
    """
    return words[:1].upper() + words[1:] + ("." if words and words[-1] not in ".!?" else "")


def p_value(value: float | None) -> str:
    """A p-value with what its size deserves, or a dash for what does not exist.

    >>> p_value(0.2512), p_value(0.0412), p_value(0.00002), p_value(None)
    ('0.25', '0.041', '< 0.001', '–')
    """
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"

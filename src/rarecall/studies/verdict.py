"""The verdict of a study in words, from the numbers of its summary and its tests over seeds."""

from collections.abc import Mapping
from typing import Any

from rarecall.errors import listing
from rarecall.statistics import FEW_SEEDS, Comparison, about_seeds

GROUP_WORDS = {
    "all": "the {n} classes with a test positive",
    "tail": "the {n} tail classes (fewer than 20 training positives)",
}


def verdict(summary: dict[str, Any], over_seeds: Mapping[str, Comparison] | None = None) -> list[str]:
    """Sentences: the best loss overall and on the tail, how sure that is, and what nothing finds.

    Args:
        summary: of the study.
        over_seeds: for each group of classes, the losses compared over seeds; without it that is left out.
    """
    sentences = [_compare(summary, group) for group in ("all", "tail") if group in summary["counted_classes"]]
    if len(summary["losses"]) > 1:
        sentences.append("Differences are points of mAP with 95 % intervals over test items and seeds.")
    sentences += _over_seeds(over_seeds or {})
    sentences += _by_validation(summary)
    sentences += _what_is_missing(summary)
    return sentences + _of_seeds(summary["seeds"])


def _over_seeds(compared: Mapping[str, Comparison]) -> list[str]:
    """What the paired tests say of all classes and of the tail, and how many seeds more would tell."""
    sentences = []
    if "all" in compared:
        sentences += compared["all"].tested()
    if "tail" in compared:
        sentences += compared["tail"].tested("On the tail they")
    return sentences + (compared["all"].needed() if "all" in compared else [])


def _of_seeds(seeds: int) -> list[str]:
    """What so few seeds cannot say."""
    if seeds == 1:
        return ["One seed: nothing can be concluded about seeds, and the intervals cover the test items alone."]
    more = " Run more with --seeds." if seeds < FEW_SEEDS else ""
    return [sentence + more for sentence in about_seeds(seeds)]


def best_on(summary: dict[str, Any], group: str) -> dict[str, Any]:
    """The leaderboard entry with the highest mean on a group of classes."""
    return max(summary["tuned"], key=lambda entry: entry["figures"][figure_of(group)]["mean"])


def figure_of(group: str) -> str:
    """The figure that averages over a group of classes."""
    return "map_class" if group == "all" else f"map_{group}"


def _compare(summary: dict[str, Any], group: str) -> str:
    best = best_on(summary, group)
    figure = best["figures"][figure_of(group)]
    where = GROUP_WORDS[group].format(n=summary["counted_classes"][group])
    spread = "" if figure["sd"] is None else f" ± {figure['sd']:.1f}"
    sentence = f"On {where}, {best['loss']} has the highest test mAP: {figure['mean']:.1f}{spread}."
    beaten, level = [], []
    for entry in summary["tuned"]:
        difference = entry["to_best"][group]
        gain, low, high = (signed(-difference[key]) for key in ("mean", "high", "low"))
        if entry is best:
            continue
        if round(-difference["high"], 1) > 0:
            beaten.append(f"{entry['loss']} by {gain} ({low} to {high})")
        else:
            level.append(f"{entry['loss']} ({gain} behind, {low} to {high})")
    if beaten:
        sentence += f" It beats {', '.join(beaten)}."
    if level:
        sentence += f" Not distinguishable from it: {', '.join(level)}."
    return sentence


def signed(value: float) -> str:
    """One decimal with a true minus sign, and no negative zero."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def _by_validation(summary: dict[str, Any]) -> list[str]:
    picked = max(summary["tuned"], key=lambda entry: entry["validation"])
    best = best_on(summary, "all")
    if len(summary["tuned"]) == 1:
        return []
    if [entry["validation"] for entry in summary["tuned"]].count(picked["validation"]) > 1:
        return ["Validation alone cannot tell the losses apart: its part is too small or too easy."]
    if picked is best:
        return [f"Validation alone, without a look at the test part, chooses {picked['loss']} too."]
    return [
        f"Validation alone, without a look at the test part, would choose {picked['loss']} "
        f"(test mAP {picked['figures']['map_class']['mean']:.1f})."
    ]


def _what_is_missing(summary: dict[str, Any]) -> list[str]:
    sentences = []
    if lost := [f"{row['class']} ({row['positives_train']})" for row in summary["not_found"]]:
        sentences.append(
            f"No loss finds {listing(lost, 8)} (training positives in brackets): test AP stays near "
            "chance with every loss."
        )
    if silent := summary["not_measured"]:
        sentences.append(f"Without a test positive, nothing can be said of {listing(silent, 8)}.")
    return sentences

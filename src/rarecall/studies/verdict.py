"""The verdict of a study in words, from the numbers of its summary and its tests over seeds."""

import math
from collections.abc import Iterable, Mapping

from rarecall.errors import listing
from rarecall.labels import MEDIUM_POSITIVES
from rarecall.statistics import FEW_SEEDS, Comparison, about_seeds
from rarecall.studies.plan import Protocol
from rarecall.studies.summary import Difference, Entry, Summary

GROUP_WORDS = {
    "all": "the {n} classes with a test positive",
    "tail": f"the {{n}} tail classes (fewer than {MEDIUM_POSITIVES} training positives)",
}


def verdict(summary: Summary, over_seeds: Mapping[str, Comparison] | None = None) -> list[str]:
    """Sentences: the best loss overall and on the tail, how sure that is, and what nothing finds.

    Args:
        summary: of the study.
        over_seeds: for each group of classes, the losses compared over seeds; without it that is left out.
    """
    compared, seeds = over_seeds or {}, summary.seeds
    groups = [group for group in ("all", "tail") if group in summary.counted_classes]
    sentences = [_compare(summary, group, compared.get(group)) for group in groups]
    several = len(summary.losses) > 1
    if several:
        sentences.append(f"Differences are points of mAP with 95 % intervals over {_drawn(seeds)}.")
    sentences += _over_seeds(compared)
    sentences += _by_validation(summary)
    sentences += _what_is_missing(summary)
    return sentences + (_of_seeds(seeds) if several or seeds == 1 else [])


def how_chosen(protocol: Protocol) -> list[str]:
    """What a reader has to know of choices that were not made on a validation part; nothing else."""
    if protocol.val == "none":
        fitted = ", and thresholds are fitted on train" if protocol.fitted_on else ""
        return [f"nothing was held out to choose on (--val none): one rate, and the last epoch is kept{fitted}"]
    if picked := picked_on_test(protocol):
        return [f"chosen on the test part (--val test): it picked {_and(picked)}, which flatters every figure"]
    return []


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def picked_on_test(protocol: Protocol) -> list[str]:
    """What was picked by the test part."""
    rates = ["rates"] if protocol.val == "test" and len(protocol.rates) > 1 else []
    return rates + protocol.picked_on_test


def _over_seeds(compared: Mapping[str, Comparison]) -> list[str]:
    """What the paired tests say of all classes and of the tail, and how many seeds more would tell."""
    sentences = []
    if "all" in compared:
        sentences += compared["all"].tested()
    if "tail" in compared:
        sentences += compared["tail"].tested("On the tail they")
    return sentences + (compared["all"].needed() if "all" in compared else [])


def _drawn(seeds: int) -> str:
    """What the intervals draw; of few seeds there are few ways to draw."""
    if seeds == 1:
        return "test items"
    if seeds >= FEW_SEEDS:
        return "test items and seeds"
    return f"test items and the few seeds, of which there are {math.comb(2 * seeds - 1, seeds)} different draws"


def _of_seeds(seeds: int) -> list[str]:
    """What so few seeds cannot say."""
    more = " Run more with --seeds." if seeds < FEW_SEEDS else ""
    return [sentence + more for sentence in about_seeds(seeds)]


def best_on(summary: Summary, group: str) -> Entry:
    """The leaderboard entry with the highest mean on a group of classes."""
    return max(summary.tuned, key=lambda entry: entry.figures[figure_of(group)].mean)


def figure_of(group: str) -> str:
    """The figure that averages over a group of classes."""
    return "map_class" if group == "all" else f"map_{group}"


def _compare(summary: Summary, group: str, compared: Comparison | None) -> str:
    best = best_on(summary, group)
    figure = best.figures[figure_of(group)]
    where = GROUP_WORDS[group].format(n=summary.counted_classes[group])
    spread = "" if figure.sd is None else f" ± {figure.sd:.1f}"
    sentence = f"On {where}, {best.loss} has the highest test mAP: {figure.mean:.1f}{spread}."
    told = _told(compared) if compared and compared.best == best.loss else {}
    others = {entry.loss: entry.to_best[group] for entry in summary.tuned if entry is not best}
    beaten = [loss for loss, difference in others.items() if round(-difference.high, 1) > 0]
    level = [loss for loss in others if loss not in beaten]
    if beaten:
        gains = ", ".join("{} by {} ({} to {})".format(loss, *_behind(others[loss])) for loss in beaten)
        sentence += f" It beats {gains}{_untold(beaten, told, summary.seeds)}."
    if level:
        gaps = ", ".join("{} ({} behind, {} to {})".format(loss, *_behind(others[loss])) for loss in level)
        sentence += f" Not distinguishable from it: {gaps}{_told_after_all(level, told)}."
    return sentence


def _behind(difference: Difference) -> list[str]:
    """How far a loss is behind the best, and the ends of the interval, in words."""
    return [signed(-value) for value in (difference.mean, difference.high, difference.low)]


def _told(compared: Comparison) -> dict[str, bool]:
    """For each loss beside the best, whether the t-test over seeds tells it from the best; nothing of one seed."""
    return {other.name: compared.tells(other) for other in compared.others} if compared.seeds > 1 else {}


def _untold(beaten: Iterable[str], told: Mapping[str, bool], seeds: int) -> str:
    """Of losses that the intervals set apart: those that the t-tests over seeds do not."""
    names = [loss for loss in beaten if not told.get(loss, True)]
    return f" with these {seeds} seeds; a t-test over them does not tell it from {', '.join(names)}" if names else ""


def _told_after_all(level: Iterable[str], told: Mapping[str, bool]) -> str:
    """Of losses that the intervals do not set apart: those that the t-tests over seeds do."""
    names = [loss for loss in level if told.get(loss, False)]
    return f"; a t-test over seeds tells it from {', '.join(names)}, on these test items alone" if names else ""


def signed(value: float) -> str:
    """One decimal with a true minus sign, and no negative zero."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def _by_validation(summary: Summary) -> list[str]:
    """What a choice of the loss without the test part would have been, or why there is none."""
    if said := how_chosen(summary.protocol):
        return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in said]
    figures = {entry.loss: entry.validation for entry in summary.tuned if entry.validation is not None}
    if summary.protocol.val != "part" or len(figures) < 2:
        return []
    picked = max(figures, key=lambda loss: figures[loss])
    if list(figures.values()).count(figures[picked]) > 1:
        return ["Validation alone cannot tell the losses apart: its part is too small or too easy."]
    entry = next(entry for entry in summary.tuned if entry.loss == picked)
    if entry is best_on(summary, "all"):
        return [f"Validation alone, without a look at the test part, chooses {picked} too."]
    return [
        f"Validation alone, without a look at the test part, would choose {picked} "
        f"(test mAP {entry.figures['map_class'].mean:.1f})."
    ]


def _what_is_missing(summary: Summary) -> list[str]:
    sentences = []
    if lost := [f"{row.name} ({row.positives_train})" for row in summary.not_found]:
        sentences.append(
            f"No loss finds {listing(lost, 8)} (training positives in brackets): test AP stays near "
            "chance with every loss."
        )
    if silent := summary.not_measured:
        sentences.append(f"Without a test positive, nothing can be said of {listing(silent, 8)}.")
    return sentences

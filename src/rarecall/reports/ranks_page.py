"""The page of several studies: how the losses rank over their data sets."""

from collections.abc import Sequence
from dataclasses import dataclass

from rarecall.errors import StudyError, listing
from rarecall.reports.critical_difference import critical_difference
from rarecall.reports.page import Draw, drawn, template
from rarecall.statistics import Ranks, friedman_nemenyi
from rarecall.studies import Results
from rarecall.studies.summary import Summary
from rarecall.studies.verdict import figure_of

GROUPS = {"all": "all classes", "tail": "tail classes"}


@dataclass(frozen=True)
class Ranking:
    """The losses on one group of classes.

    Attributes:
        words: which classes.
        ranks: of the losses over the data sets.
        rows: the mean test mAP of each loss, in percent, under each data set.
    """

    words: str
    ranks: Ranks
    rows: dict[str, dict[str, float]]


def rank(studies: Sequence[Results]) -> list[Ranking]:
    """Rank the losses that all studies have, on all classes and, where every data set has such, on the tail.

    Raises:
        StudyError: fewer than two losses in common, or two studies of the same data.
    """
    summaries = [study.summary for study in studies]
    names = [summary.data.facts.source for summary in summaries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise StudyError(f"{listing(twice)}: two studies of the same data: rank losses over different data sets")
    losses = [loss for loss in summaries[0].losses if all(loss in summary.losses for summary in summaries)]
    if len(losses) < 2:
        raise StudyError(f"the studies have {listing(losses) or 'no loss'} in common: 2 losses or more can be ranked")
    groups = [group for group in GROUPS if all(group in summary.counted_classes for summary in summaries)]
    return [_rank(names, summaries, losses, group) for group in groups]


def _rank(names: list[str], summaries: list[Summary], losses: list[str], group: str) -> Ranking:
    rows = {}
    for name, summary in zip(names, summaries, strict=True):
        means = {entry.loss: entry.figures[figure_of(group)].mean for entry in summary.tuned}
        rows[name] = {loss: means[loss] for loss in losses}
    ranks = friedman_nemenyi([list(row.values()) for row in rows.values()], losses)
    return Ranking(GROUPS[group], ranks, rows)


def render(rankings: Sequence[Ranking]) -> str:
    """The page as HTML."""
    figures = drawn({ranking.words: _diagram(ranking.ranks) for ranking in rankings})
    return template("ranks.html").render(rankings=[(ranking, figures[ranking.words]) for ranking in rankings])


def _diagram(ranks: Ranks) -> Draw:
    return lambda size: critical_difference(ranks, size[0])

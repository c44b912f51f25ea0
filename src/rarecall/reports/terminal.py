"""Tables and progress on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from rarecall.audit import Audit, Facts
from rarecall.inference.run_folder import RunCard
from rarecall.labels import HEAD_POSITIVES, MEDIUM_POSITIVES
from rarecall.listener import Listener
from rarecall.reports.recipe_words import chosen_on, thresholds_of
from rarecall.reports.wording import (
    CALIBRATIONS,
    DECISIONS,
    FIGURES,
    PARTS,
    PROBABILITIES,
    RANKING,
    between,
    deviation,
    gain_in_words,
    interval,
    number,
    of_leaderboard,
)  # fmt: skip
from rarecall.studies.summary import Summary

if TYPE_CHECKING:
    from rarecall.reports.ranks_page import Ranking

MOST_CLASSES = 40
SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "advice": "cyan"}


class Display(Listener):
    """Bars of what is under way where the output is a terminal; a line for each epoch, and for each sentence once."""

    def __init__(self, console: Console, bars: Progress) -> None:
        self.console, self.bars = console, bars
        self.tasks: dict[str, TaskID] = {}
        self.said: set[str] = set()
        self.start = perf_counter()

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Move the bar of this kind of work, which is made when it is first heard of."""
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total)
        self.bars.update(self.tasks[what], completed=done, total=total)

    def say(self, kind: str, sentence: str) -> None:
        """One line, the first time."""
        if sentence not in self.said:
            self.said.add(sentence)
            self.console.print(f"{kind}: {sentence}", markup=False, soft_wrap=True)

    def epoch(self, history: list[dict[str, float]], best_epoch: int | None, epochs: int, part: str | None) -> None:
        """One line: the losses, mAP@class where choices are made, and whether it is the best so far."""
        row = history[-1]
        words = [f"loss {_loss(row['train_loss'])}"]
        if part is not None:
            loss = f"{part} loss {_loss(row['val_loss'])}, " if "val_loss" in row else f"{part} "
            value = row["val_map_class"]
            words.append(f"{loss}mAP@class {number(None if np.isnan(value) else 100 * value)}")
        words += ["best so far"] if best_epoch == len(history) else []
        at = f"epoch {len(history):>{len(str(epochs))}}/{epochs}"
        self.console.print("  ".join([at, *words, f"({perf_counter() - self.start:.0f} s)"]), soft_wrap=True)


def _loss(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4g}"


@contextmanager
def listening(console: Console | None = None) -> Iterator[Display]:
    """A display for as long as the block takes, on stderr unless another console is given; its bars vanish then."""
    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield Display(console, bars)


def print_evaluation(summary: dict[str, Any], console: Console, card: RunCard | None = None) -> None:
    """Every figure of an evaluation, with its interval and over how much it was taken, and the rarest classes.

    Args:
        summary: of the evaluation.
        console: to print on.
        card: of the run that was evaluated, which tells where its thresholds are from.
    """
    where = "all parts" if summary["part"] == "all" else f"the {summary['part']} part"
    found, counted, intervals = summary["metrics"], summary["counted"], summary["intervals"]
    table = _table("", ["ranking, %", "", "95 % interval", "counted"])
    for name, words in RANKING.items():
        if name in found["ranking"]:
            spread = intervals.get("all" if name == "map_class" else name.removeprefix("map_"))
            table.add_row(words, number(found["ranking"][name]), between(spread), f"{counted['ranking'][name]:,}")
    _print_titled(f"{summary['loss']} on {where}, {summary['items']:,} items", table, console)
    thresholds = thresholds_of(card.training if card else None)
    if ways := [way for way in thresholds if way in found]:
        table = _table("", ["decisions, %", *(thresholds[way] for way in ways), "counted"])
        for name, words in DECISIONS.items():
            table.add_row(words, *(number(found[way][name]) for way in ways), f"{counted[ways[0]][name]:,}")
        console.print("", table)
    if kinds := [kind for kind in CALIBRATIONS if kind in found]:
        table = _table("", ["probabilities, %", *(CALIBRATIONS[kind] for kind in kinds), "counted"])
        for name, words in PROBABILITIES.items():
            table.add_row(words, *(number(found[kind][name]) for kind in kinds), f"{counted[kinds[0]][name]:,}")
        console.print("", table)
    if gain := summary["threshold_gain"]:
        console.print()
        console.print(gain_in_words(gain), soft_wrap=True)
    print_rarest(summary["classes"], console)


def print_figures(figures: dict[str, dict[str, float | None]], title: str, console: Console) -> None:
    """Figures in percent, one column for each part or way to decide."""
    columns = list(figures)
    table = _table("", ["%", *columns])
    for name, words in FIGURES.items():
        if any(name in own for own in figures.values()):
            table.add_row(words, *(number(figures[column].get(name)) for column in columns))
    _print_titled(title, table, console)


def print_run(card: RunCard, console: Console) -> None:
    """What was trained, the epoch that was kept, and its figures."""
    title = f"{card.training.loss}, epoch {card.epoch} of {len(card.history)}"
    chosen = chosen_on(card.training)
    print_figures(
        {PARTS.get(part, part): own for part, own in card.figures.items()},
        f"{title}, {chosen}" if chosen else title,
        console,
    )


def print_rarest(classes: list[dict[str, Any]], console: Console, most: int = 10) -> None:
    """The classes with the fewest training positives, and how well they are found."""
    ranked = sorted(classes, key=lambda row: row["positives_train"])[:most]
    table = _table("the rarest classes", ["class", "train +", "here +", "AP", "precision", "recall", "F1"])
    for row in ranked:
        shares = (number(row.get(name)) for name in ("ap", "precision", "recall", "f1"))
        table.add_row(escape(row["class"]), f"{row['positives_train']:,}", f"{row['positives']:,}", *shares)
    console.print("", table)


def print_leaderboard(summary: Summary, console: Console) -> None:
    """The leaderboard at each loss's own rate, the verdict, and the command that trains the winner."""
    entries = summary.tuned
    found = [name for name in FIGURES if name in entries[0].figures]
    groups = [group for group in ("all", "tail") if group in summary.counted_classes]

    table = _table("", ["loss", *(FIGURES[name] for name in found)])
    for entry in entries:
        figures = (entry.figures[name] for name in found)
        cells = (number(figure.mean) + deviation(figure.sd).replace(" ", "") for figure in figures)
        table.add_row(escape(entry.loss), *cells)
    _print_titled(of_leaderboard(summary), table, console)

    table = _table("", ["loss", *groups, "rate"])
    for entry in entries:
        behind = (interval(entry.to_best[group]) for group in groups)
        table.add_row(escape(entry.loss), *behind, f"{entry.rate:g}")
    if len(entries) > 1:
        _print_titled("mAP behind the best, with 95 % intervals", table, console)
    console.print()
    for sentence in summary.verdict:
        console.print("• " + escape(sentence))
    console.print()
    console.print(f"train the winner: {summary.train_command}", markup=False, highlight=False, soft_wrap=True)


def print_ranks(ranking: "Ranking", console: Console) -> None:
    """The mAP of each loss on each data set, the average ranks, and what they say."""
    table = _table(f"test mAP of {ranking.words}, %", ["data set", *map(escape, ranking.ranks.methods)])
    for name, row in ranking.rows.items():
        table.add_row(escape(name), *map(number, row.values()))
    table.add_row("average rank", *(f"{rank:.2f}" for rank in ranking.ranks.average_ranks))
    console.print("", table, "")
    for sentence in ranking.ranks.verdict:
        console.print("• " + escape(sentence))


def _print_titled(title: str, table: Table, console: Console) -> None:
    """A table below its title, which may be longer than the table is wide."""
    console.print()
    console.print(title, style="italic", markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def _table(title: str, headings: list[str]) -> Table:
    """A table whose first column is text and whose others are figures."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=place > 0)
    return table


def _unknown_by_source(facts: Facts, names: list[str]) -> Table:
    """The share of unknown labels of each class in each source."""
    assert facts.by_source is not None
    table = _table("unknown by source", ["class", *map(escape, facts.by_source.sources)])
    place = {row.name: number for number, row in enumerate(facts.classes)}
    for name in names:
        table.add_row(escape(name), *(f"{shares[place[name]]:.1%}" for shares in facts.by_source.shares))
    return table


def print_audit(audit: Audit, console: Console) -> None:
    """Counts, the rarest classes, the strongest pairs and the findings."""
    facts = audit.facts
    parts = ", ".join(f"{size:,} {part}" for part, size in facts.parts.items() if size)
    console.print(f"[bold]{escape(facts.source)}[/]: {facts.items:,} items ({parts}), {len(facts.classes):,} classes")
    tail = ", ".join(f"{size} {tier}" for tier, size in facts.tiers.items())
    imbalance = "" if facts.imbalance is None else f", imbalance {facts.imbalance:,.0f} to 1"
    console.print(
        f"{facts.density:.2f} labels per training item{imbalance}; {tail} classes ({HEAD_POSITIVES} and "
        f"{MEDIUM_POSITIVES} training positives part them); {facts.unknown_share:.1%} of the training labels unknown"
    )
    ranked = sorted(facts.classes, key=lambda row: row.positives)
    hidden = len(ranked) - MOST_CLASSES
    title = "classes, rarest first" + (f" ({hidden} more not shown)" if hidden > 0 else "")
    table = _table(title, ["class", "tier", "train +", "train unknown", "val +", "test +", "AP ±"])
    for row in ranked[:MOST_CLASSES]:
        counts = (row.positives, row.unknown, row.positives_val, row.positives_test)
        table.add_row(escape(row.name), row.tier, *(f"{count:,}" for count in counts), number(row.deviation))
    console.print("", table, "")
    if facts.by_source is not None:
        console.print(_unknown_by_source(facts, [row.name for row in ranked[:MOST_CLASSES]]), "")
    if facts.pairs:
        pairs = (
            f"{pair.first} + {pair.second} (φ {pair.correlation:.2f}, {pair.together} items)" for pair in facts.pairs
        )
        console.print("strongest pairs: " + escape("; ".join(pairs)))
    for finding in audit.findings:
        style = SEVERITY_STYLES[finding.severity]
        console.print(f"[{style}]{finding.severity} {finding.code}[/]: {escape(finding.sentence)}")

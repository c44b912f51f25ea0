"""Tables and progress on the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from rarecall.data.audit import Audit
from rarecall.reports.wording import FIGURES, deviation, interval, number

MOST_CLASSES = 40


@contextmanager
def progress(what: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left; call it with how many are done and how many there are."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def print_leaderboard(summary: dict[str, Any], console: Console) -> None:
    """The leaderboard at each loss's own rate, and the verdict."""
    entries = summary["tuned"]
    console.print()
    found = [name for name in FIGURES if name in entries[0]["figures"]]
    groups = [group for group in ("all", "tail") if group in summary["counted_classes"]]
    seeds = f"{summary['seeds']} seed" + ("" if summary["seeds"] == 1 else "s")

    table = _table(f"test part, mean ± SD of {seeds}, %", ["loss", *(FIGURES[name] for name in found)])
    for entry in entries:
        figures = (entry["figures"][name] for name in found)
        cells = (number(figure["mean"]) + deviation(figure["sd"]).replace(" ", "") for figure in figures)
        table.add_row(escape(entry["loss"]), *cells)
    console.print(table, "")

    table = _table("mAP behind the best, with 95 % intervals", ["loss", *groups, "rate"])
    for entry in entries:
        behind = (interval(entry["to_best"][group]) for group in groups)
        table.add_row(escape(entry["loss"]), *behind, f"{entry['rate']:g}")
    console.print(table, "")
    for sentence in summary["verdict"]:
        console.print("• " + escape(sentence))


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


def print_audit(facts: Audit, console: Console) -> None:
    """Counts, the rarest classes, the strongest pairs and the advice."""
    parts = ", ".join(f"{size:,} {part}" for part, size in facts.parts.items() if size)
    console.print(f"[bold]{escape(facts.source)}[/]: {facts.items:,} items ({parts}), {len(facts.classes):,} classes")
    tail = ", ".join(f"{size} {tier}" for tier, size in facts.tiers.items())
    imbalance = "" if facts.imbalance is None else f", imbalance {facts.imbalance:,.0f} to 1"
    console.print(
        f"{facts.density:.2f} labels per training item{imbalance}; {tail} classes (100 and 20 training positives "
        f"part them); {facts.unknown_share:.1%} of the training labels unknown"
    )
    ranked = sorted(facts.classes, key=lambda row: row.positives)
    hidden = len(ranked) - MOST_CLASSES
    title = "classes, rarest first" + (f" ({hidden} more not shown)" if hidden > 0 else "")
    table = _table(title, ["class", "tier", "train +", "train unknown", "val +", "test +"])
    for row in ranked[:MOST_CLASSES]:
        counts = (row.positives, row.unknown, row.positives_val, row.positives_test)
        table.add_row(escape(row.name), row.tier, *(f"{count:,}" for count in counts))
    console.print("", table, "")
    if facts.pairs:
        pairs = (
            f"{pair.first} + {pair.second} (φ {pair.correlation:.2f}, {pair.together} items)" for pair in facts.pairs
        )
        console.print("strongest pairs: " + escape("; ".join(pairs)))
    for sentence in [*facts.warnings, *facts.advice]:
        console.print("• " + escape(sentence))

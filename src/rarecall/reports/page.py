"""The report: one self-contained page, without a script and without the network."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure

from rarecall.reports import figures, wording
from rarecall.studies import Results
from rarecall.studies.verdict import signed


def render(results: Results) -> str:
    """The page as HTML, from the results alone."""
    summary, rows = results.summary, results.rows
    losses = list(summary["losses"])
    drawings: dict[str, Callable[[figures.Size], Figure]] = {
        "wall": lambda size: figures.sparsity_wall(rows, losses, size),
        "per_class": lambda size: figures.per_class(rows, losses, size),
        "differences": lambda size: figures.differences(summary, size),
        "convergence": lambda size: figures.convergence(summary, size),
        "counts": lambda size: figures.class_counts(summary["data"], size),
    }
    return template("report.html").render(
        summary=summary,
        data=summary["data"],
        figures={name: both_sizes(draw) for name, draw in drawings.items()},
        names={name: title for name, title in wording.FIGURES.items() if name in summary["tuned"][0]["figures"]},
        colours=figures.colours(losses),
        classes=_class_table(rows),
        most_classes=figures.MOST_CLASSES,
    )


def template(name: str) -> Template:
    """A page's template, in which every text is escaped and a missing value is an error."""
    environment = Environment(
        loader=PackageLoader("rarecall.reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "number": wording.number,
        "deviation": wording.deviation,
        "interval": wording.interval,
        "p_value": wording.p_value,
        "signed": signed,
    }
    return environment.get_template(name)


def both_sizes(draw: Callable[[figures.Size], Figure]) -> Markup:
    """The figure drawn for wide and for narrow screens; the style sheet shows the one that fits."""
    drawn = []
    for name, size in (("wide", figures.WIDE), ("narrow", figures.NARROW)):
        with mpl.rc_context(figures.STYLE):
            drawn.append(f'<div class="{name}">{figures.to_svg(draw(size))}</div>')
    return Markup("".join(drawn))


def _class_table(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """One entry per class, rarest first: counts and the mean AP and F1 of each loss."""
    means = (
        rows.filter(pl.col("tuned"))
        .group_by("class", "loss", maintain_order=True)
        .agg(pl.col("ap", "f1").mean(), pl.col("tier", "positives_train", "positives_test").first())
    )
    table: dict[str, dict[str, Any]] = {}
    for row in means.to_dicts():
        entry = table.setdefault(row["class"], {**row, "ap": {}, "f1": {}})
        for figure in ("ap", "f1"):
            entry[figure][row["loss"]] = None if row[figure] is None else 100 * row[figure]
    for entry in table.values():
        known = [value for value in entry["ap"].values() if value is not None]
        entry["best"] = max(known, default=None)
    return sorted(table.values(), key=lambda entry: entry["positives_train"])

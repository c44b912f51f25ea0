"""The report: one self-contained page, without a script and without the network."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from rarecall.inference.run_folder import RunCard
from rarecall.reports import figures, recipe_words, wording
from rarecall.studies import Results
from rarecall.studies.summary import Summary
from rarecall.studies.verdict import signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[figures.Size], "Figure"]


def render(results: Results) -> str:
    """The page as HTML, from the results alone."""
    summary, means = results.summary, figures.class_means(results.rows)
    drawings: dict[str, Draw] = {
        "wall": lambda size: figures.sparsity_wall(means, summary.losses, size),
        "per_class": lambda size: figures.per_class(means, summary.losses, size),
        "differences": lambda size: figures.differences(summary, size),
        "counts": lambda size: figures.class_counts(summary.data.facts.classes, size),
    }
    if figures.has_convergence(summary):
        drawings["convergence"] = lambda size: figures.convergence(summary, size)
    return template("report.html").render(
        **_of_study(summary),
        data=summary.data,
        facts=summary.data.facts,
        figures=drawn(drawings),
        recipe=recipe_words.of_study(summary),
        chosen_by=recipe_words.METRICS[summary.protocol.metric],
        classes=_class_table(results.rows),
        most_classes=figures.MOST_CLASSES,
    )


def excerpt(results: Results) -> str:
    """The leaderboard and the verdict as a small piece of HTML, as a notebook shows it."""
    return template("excerpt.html").render(**_of_study(results.summary))


def excerpt_of_run(card: RunCard) -> str:
    """What was trained and its figures as a small piece of HTML, as a notebook shows it."""
    figures_of = {wording.PARTS.get(part, part): own for part, own in card.figures.items()}
    names = {name: words for name, words in wording.FIGURES.items() if any(name in own for own in figures_of.values())}
    return template("excerpt_of_run.html").render(
        card=card, figures=figures_of, names=names, chosen=recipe_words.chosen_on(card.training)
    )


def _of_study(summary: Summary) -> dict[str, Any]:
    """What the page and the excerpt need of a leaderboard."""
    shown = summary.tuned[0].figures
    return {
        "summary": summary,
        "title": wording.of_leaderboard(summary),
        "names": {name: title for name, title in wording.FIGURES.items() if name in shown},
        "colours": figures.colours(summary.losses),
    }


@cache
def _environment() -> Environment:
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
        "sentence": wording.sentence,
    }
    return environment


def template(name: str) -> Template:
    """A page's template, in which every text is escaped and a missing value is an error."""
    return _environment().get_template(name)


def drawn(drawings: Mapping[str, Draw]) -> dict[str, Markup]:
    """All figures of a page."""
    with figures.style():
        return {name: both_sizes(draw) for name, draw in drawings.items()}


def both_sizes(draw: Draw) -> Markup:
    """The figure drawn for wide and for narrow screens; the style sheet shows the one that fits."""
    both = [
        f'<div class="{name}">{figures.to_svg(draw(size))}</div>'
        for name, size in (("wide", figures.WIDE), ("narrow", figures.NARROW))
    ]
    return Markup("".join(both))


def _class_table(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """One entry per class, rarest first: counts and the mean AP of each loss."""
    means = (
        rows.filter(pl.col("tuned"))
        .group_by("class", "loss", maintain_order=True)
        .agg(pl.col("ap").mean(), pl.col("tier", "positives_train", "positives_test").first())
    )
    table: dict[str, dict[str, Any]] = {}
    for row in means.to_dicts():
        entry = table.setdefault(row["class"], {**row, "ap": {}})
        entry["ap"][row["loss"]] = None if row["ap"] is None else 100 * row["ap"]
    for entry in table.values():
        known = [value for value in entry["ap"].values() if value is not None]
        entry["best"] = max(known, default=None)
    return sorted(table.values(), key=lambda entry: entry["positives_train"])

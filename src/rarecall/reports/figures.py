"""The figures, each drawn from the summary and the rows alone, at a wide or a narrow size."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from rarecall import metrics

Size = tuple[float, float]
WIDE: Size = (9.2, 4.2)
NARROW: Size = (4.4, 4.0)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#555555")
TIER_COLOURS = {"head": "#2c5c8a", "medium": "#6f9cc4", "tail": "#d97a3a"}
STYLE: dict[Any, Any] = {
    "font.size": 10, "font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": "rarecall",
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6",
    "axes.axisbelow": True, "axes.edgecolor": "#888888", "legend.frameon": False, "legend.fontsize": 9,
}  # fmt: skip
MOST_CLASSES = 40
RELIABILITY_BINS = 15


def _canvas(size: Size) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def colours(losses: list[str]) -> dict[str, str]:
    """One colour for each loss, the same in every figure."""
    return {loss: COLOURS[place % len(COLOURS)] for place, loss in enumerate(losses)}


def _legend(figure: Figure, axes: Axes, size: Size) -> None:
    columns = 3 if size[0] > 6 else 1
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=columns)


def sparsity_wall(rows: pl.DataFrame, losses: list[str], size: Size) -> Figure:
    """AP of each class against its training positives; the lines are means over classes of similar counts."""
    figure, axes = _canvas(size)
    means = _class_means(rows)
    positives = means["positives_train"].to_numpy()
    edges = np.unique(np.geomspace(1, max(positives.max(), 2) + 1, 9).round())
    for loss, colour in colours(losses).items():
        own = means.filter(pl.col("loss") == loss)
        x, y = np.maximum(own["positives_train"].to_numpy(), 0.7), 100 * own["ap"].to_numpy()
        axes.scatter(x, y, s=14, color=colour, alpha=0.35, linewidths=0, rasterized=len(means) > 300)
        bins = np.digitize(x, edges)
        centres = [(np.exp(np.log(x[bins == at]).mean()), y[bins == at].mean()) for at in np.unique(bins)]
        axes.plot(*zip(*centres, strict=True), color=colour, linewidth=2, marker="o", markersize=4, label=loss)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for limit in (20, 100):
        if positives.max() > limit:
            axes.axvline(limit, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_xlabel("positives in train (dotted: 20 and 100)" if size[0] > 6 else "positives in train")
    axes.set_ylabel("AP, %")
    axes.set_ylim(0, None)
    _legend(figure, axes, size)
    return figure


def per_class(rows: pl.DataFrame, losses: list[str], size: Size) -> Figure:
    """AP of the rarest classes: a bar to the best loss, and a dot for each."""
    means = _class_means(rows)
    order = means.unique("class", maintain_order=True).sort("positives_train", maintain_order=True).head(MOST_CLASSES)
    names = order["class"].to_list()
    figure, axes = _canvas((size[0], 1.4 + 0.24 * len(names) + (0 if size[0] > 6 else 0.8)))
    table = {(row["class"], row["loss"]): 100 * row["ap"] for row in means.to_dicts()}
    height = range(len(names))
    best = [max(table[name, loss] for loss in losses) for name in names]
    axes.barh(height, best, color="#e3e8ee", height=0.7)
    for loss, colour in colours(losses).items():
        axes.scatter([table[name, loss] for name in names], height, s=24, color=colour, label=loss, zorder=3)
    shortest = 24 if size[0] > 6 else 14
    labels = [
        f"{_shorten(name, shortest)} ({count})" for name, count in zip(names, order["positives_train"], strict=True)
    ]
    axes.set_yticks(list(height), labels)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, None)
    axes.set_xlabel("AP, % (positives in train)")
    _legend(figure, axes, size)
    return figure


def differences(summary: Mapping[str, Any], size: Size) -> Figure:
    """Each loss's paired difference to the best with its interval, on all classes and on the tail."""
    groups = [group for group in ("all", "tail") if group in summary["counted_classes"]]
    losses = list(summary["losses"])
    stacked = size[0] < 6
    height = (0.5 + 0.32 * len(losses)) * (len(groups) if stacked else 1) + 0.9
    figure = Figure(figsize=(size[0], height), layout="constrained")
    grid = (len(groups), 1) if stacked else (1, len(groups))
    entries = {entry["loss"]: entry for entry in summary["tuned"]}
    order = [entry["loss"] for entry in summary["tuned"]]
    for place, group in enumerate(groups, start=1):
        axes = figure.add_subplot(*grid, place)
        for row, loss in enumerate(order):
            found = entries[loss]["to_best"][group]
            colour = colours(losses)[loss]
            axes.plot([found["low"], found["high"]], [row, row], color=colour, linewidth=2.5)
            axes.plot(found["mean"], row, "o", color=colour)
        axes.axvline(0, color="#555555", linewidth=1)
        axes.set_yticks(range(len(order)), order if stacked or place == 1 else [""] * len(order))
        axes.set_ylim(len(order) - 0.5, -0.5)
        axes.set_title(f"{group} ({summary['counted_classes'][group]} classes)", fontsize=10)
        axes.set_xlabel("points of mAP from the best")
    return figure


def convergence(summary: Mapping[str, Any], size: Size) -> Figure:
    """Validation mAP@class over the epochs, mean over seeds, with the range of the seeds."""
    figure, axes = _canvas(size)
    for loss, colour in colours(list(summary["losses"])).items():
        curves = [curve["val_map"] for curve in summary["curves"][loss]]
        epochs = min(len(curve) for curve in curves)
        if not epochs:
            continue
        values = np.array([curve[:epochs] for curve in curves])
        x = np.arange(1, epochs + 1)
        axes.plot(x, values.mean(0), color=colour, linewidth=2, label=loss)
        axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation mAP@class, %")
    _legend(figure, axes, size)
    return figure


def run_convergence(history: list[dict[str, Any]], epoch: int, size: Size) -> Figure:
    """The losses and validation mAP@class of one training, and the epoch that was kept."""
    stacked = size[0] < 6
    figure = Figure(figsize=(size[0], size[1] * (1.5 if stacked else 1)), layout="constrained")
    panels = figure.subplots(2, 1) if stacked else figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for name, colour, label in (("train_loss", COLOURS[0], "train"), ("val_loss", COLOURS[1], "validation")):
        values = [np.nan if row[name] is None else row[name] for row in history]
        panels[0].plot(epochs, values, color=colour, linewidth=2, marker="o", markersize=3, label=label)
    panels[0].set_ylabel("loss")
    panels[0].legend()
    values = [np.nan if row["val_map_class"] is None else 100 * row["val_map_class"] for row in history]
    panels[1].plot(epochs, values, color=COLOURS[2], linewidth=2, marker="o", markersize=3)
    panels[1].set_ylabel("validation mAP@class, %")
    for axes in panels:
        axes.axvline(epoch, color="#555555", linewidth=1, linestyle=":")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def threshold_shift(logits: Tensor, targets: Tensor, thresholds: Tensor, size: Size) -> Figure:
    """Mean precision, recall and F1 over classes, with all thresholds moved by the same number of logits."""
    figure, axes = _canvas(size)
    reach = max(float(logits.std(0).median()), 1e-3) * 2.5
    shifts = np.linspace(-reach, reach, 61)
    found = [metrics.precision_recall_f1(logits >= thresholds + shift, targets) for shift in shifts]
    present = (targets > 0).any(0)
    for name, colour, label in (
        ("precision", COLOURS[0], "precision"), ("recall", COLOURS[1], "recall"), ("f1", COLOURS[2], "F1"),
    ):  # fmt: skip
        values = [100 * float(getattr(decisions, name)[present].nanmean()) for decisions in found]
        axes.plot(shifts, values, color=colour, linewidth=2, label=label)
    axes.axvline(0, color="#555555", linewidth=1, linestyle=":")
    axes.set_ylim(0, None)
    axes.set_xlabel("all thresholds moved by (logits)")
    axes.set_ylabel("mean over classes, %")
    _legend(figure, axes, size)
    return figure


def reliability(probabilities: Tensor, targets: Tensor, size: Size) -> Figure:
    """How often entries with about the same score are present, all classes together, and how many entries those are."""
    of_class = metrics.reliability(probabilities, targets, bins=RELIABILITY_BINS)
    count = of_class.count.sum(0).numpy()
    confidence, frequency = (
        (values.nan_to_num() * of_class.count).sum(0).numpy() / np.maximum(count, 1)
        for values in (of_class.confidence, of_class.frequency)
    )
    figure, axes = _canvas(size)
    many = axes.twinx()
    middles = (np.arange(RELIABILITY_BINS) + 0.5) / RELIABILITY_BINS
    many.bar(100 * middles, np.maximum(count, 0.5), width=90 / RELIABILITY_BINS, bottom=0.5, color="#e3e8ee", zorder=0)
    many.set_yscale("log")
    many.set_ylabel("entries (bars)")
    many.grid(visible=False)
    axes.set_zorder(many.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.plot([0, 100], [0, 100], color="#555555", linewidth=1, linestyle=":", label="scores are probabilities")
    seen = count > 0
    axes.plot(
        100 * confidence[seen], 100 * frequency[seen], color=COLOURS[0], linewidth=2, marker="o", markersize=4,
        label="all classes together",
    )  # fmt: skip
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("score, %")
    axes.set_ylabel("share that is present, %")
    _legend(figure, axes, size)
    return figure


def class_counts(audit: Mapping[str, Any], size: Size) -> Figure:
    """Positives in train of every class, most frequent first, coloured by tier."""
    figure, axes = _canvas(size)
    ranked = sorted(audit["classes"], key=lambda row: -row["positives"])
    many = len(ranked) > (30 if size[0] > 6 else 14)
    for tier, colour in TIER_COLOURS.items():
        places = [place for place, row in enumerate(ranked) if row["tier"] == tier]
        heights = [max(ranked[place]["positives"], 0.7) for place in places]
        axes.bar(places, heights, width=1.0 if many else 0.8, color=colour, label=f"{tier} ({len(places)})")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(0.7, None)
    axes.set_xlim(-0.6, len(ranked) - 0.4)
    axes.set_ylabel("positives in train")
    if many:
        axes.set_xlabel("classes by frequency")
    else:
        axes.set_xticks(range(len(ranked)), [_shorten(row["name"], 16) for row in ranked], rotation=60, ha="right")
    axes.grid(axis="x", visible=False)
    _legend(figure, axes, size)
    return figure


def prevalences(audit: Mapping[str, Any], size: Size) -> Figure:
    """The share of known items with each class, in train and in the other parts; what moved is filled."""
    figure, axes = _canvas(size)
    moved = {(shift["part"], shift["classes"][0]) for shift in audit["prevalence_shifts"]["strongest"]}
    shares = {part: [row["shares"][part] for row in audit["classes"]] for part in ("train", "val", "test")}
    highest = 100 * max((share for own in shares.values() for share in own if share), default=1.0)
    lowest = 100 * min((share for own in shares.values() for share in own if share), default=0.01)
    axes.plot([lowest, highest], [lowest, highest], color="#666666", linewidth=1, linestyle=":")
    for part, colour, title in (("val", COLOURS[2], "validation"), ("test", COLOURS[1], "test")):
        known = [
            (100 * one, 100 * other, (part, row["name"]) in moved)
            for row, one, other in zip(audit["classes"], shares["train"], shares[part], strict=True)
            if one and other
        ]
        for filled in (False, True):
            points = [(one, other) for one, other, shifted in known if shifted == filled]
            if points:
                face = colour if filled else "none"
                label = f"{title}, {'more than chance' if filled else 'within chance'}"
                x, y = zip(*points, strict=True)
                axes.scatter(x, y, s=26, facecolors=face, edgecolors=colour, label=label)
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda *_: "")
    axes.set_xlabel("share of positives in train, %")
    axes.set_ylabel("in the other part, %")
    _legend(figure, axes, size)
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as SVG that scales with the page; the same bytes for the same figure."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), _any_script():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r'<svg([^>]*?) width="[^"]*" height="[^"]*"|<svg([^>]*?) height="[^"]*"([^>]*?) width="[^"]*"',
                  lambda match: "<svg" + "".join(part or "" for part in match.groups()), text, count=1)  # fmt: skip


def to_png(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE), _any_script():
        figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


@contextmanager
def _any_script() -> Iterator[None]:
    """Let names be in any script: a browser has the glyphs that the drawing font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _class_means(rows: pl.DataFrame) -> pl.DataFrame:
    """AP of each loss and class at the loss's own rate, mean over seeds; classes without a test positive left out."""
    return (
        rows.filter(pl.col("tuned") & pl.col("ap").is_not_null())
        .group_by("loss", "class", maintain_order=True)
        .agg(pl.col("ap").mean(), pl.col("positives_train").first(), pl.col("tier").first())
    )


def _shorten(name: str, most: int) -> str:
    shown = name if len(name) <= most else name[: most - 1] + "…"
    return shown.replace("$", r"\$")  # which would begin a formula

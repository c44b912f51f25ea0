"""The figures, each drawn from the summary and the rows alone, at a wide or a narrow size.

They are made and written within `style()`. Matplotlib is imported with the first one, because its import takes longer
than everything that needs no figure.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from markupsafe import escape
from torch import Tensor

from rarecall import metrics
from rarecall.audit import ClassFacts, Facts
from rarecall.labels import HEAD_POSITIVES, MEDIUM_POSITIVES
from rarecall.studies.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Size = tuple[float, float]  # in inches
WIDE: Size = (9.2, 4.2)
NARROW: Size = (4.0, 3.8)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#555555")
TIER_COLOURS = {"head": "#2c5c8a", "medium": "#6f9cc4", "tail": "#d97a3a"}
PALE, SOFT, INK = "#e3e8ee", "#777777", "#333333"
STYLE: dict[Any, Any] = {
    "font.size": 9, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "text.color": INK,
    "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "rarecall",
    "figure.autolayout": False, "figure.constrained_layout.use": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#e6e6e6",
    "axes.axisbelow": True, "axes.edgecolor": "#888888", "axes.titlesize": 9, "axes.labelcolor": INK,
    "xtick.color": "#888888", "xtick.labelcolor": INK, "ytick.color": "#888888", "ytick.labelcolor": INK,
    "lines.linewidth": 2, "lines.markersize": 4, "legend.frameon": False,
}  # fmt: skip
MOST_CLASSES = 40
RELIABILITY_BINS = 15
_LETTER = 0.075  # inches, of a letter on average
_MOST_POINTS = 3000  # that are drawn one by one; more are a picture


@contextmanager
def style() -> Iterator[None]:
    """Our style while figures are made and written, once for all of a page."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Names may be in any script: a browser has the glyphs that the drawing font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def colours(losses: Sequence[str]) -> dict[str, str]:
    """One colour for each loss, the same in every figure."""
    return {loss: COLOURS[place % len(COLOURS)] for place, loss in enumerate(losses)}


def class_means(rows: pl.DataFrame) -> pl.DataFrame:
    """AP of each loss and class at the loss's own rate, mean over seeds; classes without a test positive left out."""
    return (
        rows.filter(pl.col("tuned") & pl.col("ap").is_not_null())
        .group_by("loss", "class", maintain_order=True)
        .agg(pl.col("ap").mean(), pl.col("positives_train").first(), pl.col("tier").first())
    )


def sparsity_wall(means: pl.DataFrame, losses: Sequence[str], size: Size) -> "Figure":
    """AP of each class against its training positives; the lines are means over classes of similar counts."""
    figure, axes = _canvas(size, "AP of each class against its positives in train")
    positives = means["positives_train"].to_numpy()
    most = float(positives.max())
    edges = np.unique(np.geomspace(1, max(most, 2) + 1, 9).round())
    for loss, colour in colours(losses).items():
        x, y = _counts_and_ap(means, loss)
        axes.plot(x, y, "o", color=colour, alpha=0.35, markeredgewidth=0, rasterized=len(means) > _MOST_POINTS)
        axes.plot(*_means_of_bins(x, y, edges), color=colour, marker="o", label=loss, zorder=3)
    axes.set_xscale("log")
    axes.set_xlim(max(float(positives.min()), 0.7) / 1.2, max(most, 2) * 1.2)
    _ticks_of_logarithms(axes.xaxis)
    for limit in (MEDIUM_POSITIVES, HEAD_POSITIVES):
        if most > limit:
            axes.axvline(limit, color=SOFT, linewidth=0.8, linestyle=":")
            axes.text(limit, 1, f" {limit}", transform=axes.get_xaxis_transform(), va="top", color=SOFT, fontsize=8)
    axes.set(xlabel="positives in train", ylabel="AP, %")
    axes.set_ylim(0, None)
    _legend(figure, axes)
    return figure


def _counts_and_ap(means: pl.DataFrame, loss: str) -> tuple[np.ndarray, np.ndarray]:
    own = means.filter(pl.col("loss") == loss)
    return np.maximum(own["positives_train"].to_numpy(), 0.7), 100 * own["ap"].to_numpy()


def _means_of_bins(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> tuple[list[float], list[float]]:
    bins = np.digitize(x, edges)
    inside = [bins == at for at in np.unique(bins)]
    return [float(np.exp(np.log(x[own]).mean())) for own in inside], [float(y[own].mean()) for own in inside]


def per_class(means: pl.DataFrame, losses: Sequence[str], size: Size) -> "Figure":
    """AP of the rarest classes: a bar to the best loss, and a dot for each."""
    order = means.unique("class", maintain_order=True).sort("positives_train", maintain_order=True).head(MOST_CLASSES)
    names = order["class"].to_list()
    table = {(row["class"], row["loss"]): 100 * row["ap"] for row in means.to_dicts()}
    figure, axes = _canvas((size[0], 1.0 + 0.235 * len(names)), "AP of the rarest classes")
    rows = range(len(names))
    axes.barh(rows, [max(table[name, loss] for loss in losses) for name in names], color=PALE, height=0.66)
    for loss, colour in colours(losses).items():
        axes.plot([table[name, loss] for name in names], rows, "o", color=colour, markersize=6, label=loss)
    counts = [f" ({count:,})" for count in order["positives_train"]]
    room = 0.42 * size[0] / _LETTER
    labels = [_fitted(name, room - len(count)) + count for name, count in zip(names, counts, strict=True)]
    axes.set_yticks(rows, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, None)
    axes.set_xlabel("AP, % (positives in train)")
    _legend(figure, axes)
    return figure


def differences(summary: Summary, size: Size) -> "Figure":
    """Each loss's paired difference to the best with its interval, on all classes and on the tail."""
    groups = [group for group in ("all", "tail") if group in summary.counted_classes]
    across = size[0] > 6
    height = 1.2 + 0.3 * len(summary.tuned)
    figure = _figure((size[0], height * (1 if across else len(groups))), "paired differences to the best loss")
    grid = (1, len(groups)) if across else (len(groups), 1)
    names = [_fitted(entry.loss, (0.3 if across else 0.45) * size[0] / _LETTER) for entry in summary.tuned]
    for place, (group, axes) in enumerate(zip(groups, figure.subplots(*grid, squeeze=False).flat, strict=True)):
        for row, entry in enumerate(summary.tuned):
            found, colour = entry.to_best[group], colours(summary.losses)[entry.loss]
            axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.5)
            axes.plot(found.mean, row, "o", color=colour, markersize=6)
        axes.axvline(0, color=SOFT, linewidth=1)
        axes.set_yticks(range(len(names)), [""] * len(names) if across and place else names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(f"{group} ({summary.counted_classes[group]} classes)")
        axes.set_xlabel("points of mAP from the best")
    return figure


def convergence(summary: Summary, size: Size) -> "Figure":
    """The mAP@class that choices are made on over the epochs, mean over seeds, with the range of the seeds."""
    figure, axes = _canvas(size, "mAP@class over the epochs")
    for loss, colour in colours(summary.losses).items():
        values = _complete(summary, loss)
        if values.size:
            epochs = range(1, values.shape[1] + 1)
            axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(epochs, values.mean(0), color=colour, label=loss, marker="o" if len(epochs) == 1 else "")
    _epochs(axes)
    axes.set_ylabel("test mAP@class, %" if summary.protocol.val == "test" else "validation mAP@class, %")
    _legend(figure, axes)
    return figure


def _complete(summary: Summary, loss: str) -> np.ndarray:
    """The epochs that every seed reached, (seeds, epochs)."""
    curves = [curve.val_map for curve in summary.curves[loss]]
    epochs = min(map(len, curves))
    return np.array([curve[:epochs] for curve in curves])


def has_convergence(summary: Summary) -> bool:
    """Whether there was a part to look at after each epoch."""
    return any(_complete(summary, loss).size for loss in summary.losses)


def run_convergence(
    history: Sequence[Mapping[str, float | None]], epoch: int, size: Size, *, on: str = "validation"
) -> "Figure":
    """The losses and the mAP@class of one training, where there was a part to choose `on`, and the epoch kept."""
    losses = {"train": (_values(history, "train_loss"), COLOURS[0]), on: (_values(history, "val_loss"), COLOURS[1])}
    figures = {f"{on} mAP@class, %": (100 * _values(history, "val_map_class"), COLOURS[2])}
    panels = {"loss": losses} | {title: {"": own} for title, own in figures.items() if np.isfinite(own[0]).any()}
    across = size[0] > 6
    height = size[1] if across or len(panels) == 1 else 1.6 * size[1]
    figure = _figure((size[0], height), "losses and mAP@class over the epochs")
    grid = (1, len(panels)) if across else (len(panels), 1)
    for (title, curves), axes in zip(panels.items(), figure.subplots(*grid, squeeze=False).flat, strict=True):
        for words, (values, colour) in curves.items():
            if np.isfinite(values).any():
                axes.plot(range(1, len(values) + 1), values, color=colour, marker="o", label=words)
        if epoch:
            axes.axvline(epoch, color=SOFT, linewidth=1, linestyle=":")
        _epochs(axes)
        axes.set_ylabel(title)
        if len(axes.get_legend_handles_labels()[1]) > 1:
            axes.legend()
    return figure


def _values(history: Sequence[Mapping[str, float | None]], name: str) -> np.ndarray:
    return np.array([np.nan if row.get(name) is None else row[name] for row in history], dtype=float)


def threshold_curves(logits: Tensor, targets: Tensor, thresholds: Tensor) -> dict[str, np.ndarray]:
    """Mean precision, recall and F1 over classes, with all thresholds moved by the same number of logits."""
    reach = max(float(logits.std(0).median()), 1e-3) * 2.5
    shifts = np.linspace(-reach, reach, 61)
    found = [metrics.precision_recall_f1(logits >= thresholds + shift, targets) for shift in shifts]
    present = (targets > 0).any(0)
    means = {
        name: np.array([100 * float(getattr(decisions, name)[present].nanmean()) for decisions in found])
        for name in ("precision", "recall", "f1")
    }
    return {"shift": shifts, **means}


def threshold_shift(curves: Mapping[str, np.ndarray], size: Size) -> "Figure":
    """Draw `threshold_curves`."""
    figure, axes = _canvas(size, "precision, recall and F1 with the thresholds moved")
    for name, colour in zip(("precision", "recall", "f1"), COLOURS, strict=False):
        axes.plot(curves["shift"], curves[name], color=colour, label="F1" if name == "f1" else name)
    axes.axvline(0, color=SOFT, linewidth=1, linestyle=":")
    axes.set_ylim(0, None)
    axes.set(xlabel="all thresholds moved by (logits)", ylabel="mean over classes, %")
    _legend(figure, axes)
    return figure


def reliability_bins(probabilities: Tensor, targets: Tensor) -> dict[str, np.ndarray]:
    """Mean score, share that is present and number of the entries of each bin of scores, all classes together."""
    of_class = metrics.reliability(probabilities, targets, bins=RELIABILITY_BINS)
    count = of_class.count.sum(0).numpy()
    confidence, frequency = (
        (values.nan_to_num() * of_class.count).sum(0).numpy() / np.maximum(count, 1)
        for values in (of_class.confidence, of_class.frequency)
    )
    return {"confidence": 100 * confidence, "frequency": 100 * frequency, "count": count}


def reliability(bins: Mapping[str, np.ndarray], size: Size) -> "Figure":
    """How often entries with about the same score are present, and how many entries those are."""
    figure, axes = _canvas(size, "share that is present at each score")
    many, middles = axes.twinx(), (np.arange(RELIABILITY_BINS) + 0.5) / RELIABILITY_BINS
    seen = bins["count"] > 0
    many.bar(100 * middles[seen], bins["count"][seen], width=90 / RELIABILITY_BINS, color=PALE)
    many.set_yscale("log")
    many.set_ylim(0.5, max(float(bins["count"].max()), 1) * 1.5)
    _ticks_of_logarithms(many.yaxis)
    many.set_ylabel("entries (bars)")
    many.grid(visible=False)
    axes.set_zorder(many.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.grid(visible=False)
    axes.plot(
        bins["confidence"][seen], bins["frequency"][seen], color=COLOURS[0], marker="o", label="all classes together"
    )
    axes.plot([0, 100], [0, 100], color="#555555", linewidth=1, linestyle=":", label="scores are probabilities")
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="score, %", ylabel="share that is present, %")
    _legend(figure, axes)
    return figure


def class_counts(classes: Sequence[ClassFacts], size: Size) -> "Figure":
    """Positives in train of every class, most frequent first, coloured by tier."""
    figure, axes = _canvas(size, "positives in train of every class")
    ranked = sorted(classes, key=lambda row: -row.positives)
    many = len(ranked) > (30 if size[0] > 6 else 14)
    for tier, colour in TIER_COLOURS.items():
        heights = {place: max(row.positives, 0.75) for place, row in enumerate(ranked) if row.tier == tier}
        words = f"{tier} ({len(heights)})"
        if not heights:
            continue
        if many:  # one area, where a bar for each class would take long
            edges = np.arange(len(heights) + 1) + min(heights) - 0.5
            axes.stairs(list(heights.values()), edges, baseline=0.7, fill=True, color=colour, label=words)
        else:
            axes.bar(list(heights), list(heights.values()), width=0.8, color=colour, label=words)
    axes.set_yscale("log")
    axes.set_ylim(0.7, max([row.positives for row in ranked], default=1) * 1.3 + 1)
    _ticks_of_logarithms(axes.yaxis)
    axes.set_xlim(-0.6, max(len(ranked), 1) - 0.4)
    axes.set_ylabel("positives in train")
    names = [] if many else [_fitted(row.name, 18) for row in ranked]
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    if many:
        axes.set_xlabel("classes by frequency")
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="x", visible=False)
    _legend(figure, axes)
    return figure


def prevalences(facts: Facts, size: Size) -> "Figure":
    """The share of known items with each class, in train and in the other parts; what moved is filled."""
    figure, axes = _canvas(size, "share of items with each class, in train and in the other parts")
    moved = {(shift.part, shift.classes[0]) for shift in facts.prevalence_shifts.strongest}
    ends = []
    for part, words, colour in (("val", "validation", COLOURS[2]), ("test", "test", COLOURS[1])):
        for filled, kind in ((False, "within chance"), (True, "more than chance")):
            points = [
                (100 * one, 100 * other)
                for row in facts.classes
                if (one := row.shares["train"]) and (other := row.shares[part])
                if ((part, row.name) in moved) == filled
            ]
            if points:
                face = colour if filled else "none"
                axes.plot(
                    *zip(*points, strict=True), "o", color=colour, markersize=5, markerfacecolor=face,
                    label=f"{words}, {kind}",
                )  # fmt: skip
                ends += [min(map(min, points)), max(map(max, points))]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=SOFT, linewidth=1, linestyle=":")
    axes.set(xscale="log", yscale="log", xlabel="share of positives in train, %", ylabel="in the other part, %")
    for axis in (axes.xaxis, axes.yaxis):
        _ticks_of_logarithms(axis)
    _legend(figure, axes)
    return figure


def to_svg(figure: "Figure") -> str:
    """The figure as SVG that scales with the page; the same bytes for the same figure."""
    buffer = io.StringIO()
    _place(figure)
    figure.savefig(buffer, format="svg", dpi=200, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = re.sub(r' (width|height)="[^"]*pt"', "", text[text.index("<svg") :], count=2)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(figure.get_label())}" ', 1)


def to_png(figure: "Figure") -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    _place(figure)
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _place(figure: "Figure") -> None:
    """Make room for words once; saving a figure that has an engine for that draws it twice and makes it each time."""
    if engine := figure.get_layout_engine():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="constrained_layout not applied")  # names longer than the figure
            engine.execute(figure)
        figure.set_layout_engine(None)


def _figure(size: Size, title: str) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained", label=title)


def _canvas(size: Size, title: str) -> tuple["Figure", "Axes"]:
    figure = _figure(size, title)
    return figure, figure.add_subplot()


def _legend(figure: "Figure", axes: "Axes") -> None:
    """What the colours mean, above, in as many columns as there is room for."""
    handles, words = axes.get_legend_handles_labels()
    letters = figure.get_figwidth() / _LETTER
    shown = [_fitted(name, letters - 8) for name in words]
    columns = int(letters / (max(map(len, shown), default=0) + 8))
    figure.legend(handles, shown, loc="outside upper center", ncols=max(min(columns, len(shown)), 1))


def _ticks_of_logarithms(axis: "Axis") -> None:
    """Plain numbers at the powers of 10, and between them at 2 and 5 where there are few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def _epochs(axes: "Axes") -> None:
    """Whole numbers from 1 on."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.7, max(axes.dataLim.x1, 2) + 0.3)
    axes.set_xlabel("epoch")


def _fitted(name: str, letters: float) -> str:
    """The name, cut to the width of so many letters.

    >>> _fitted("a long name of a class", 10)
    'a long na…'
    """
    widths = np.cumsum([1.7 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in name])
    if not len(name) or widths[-1] <= letters:
        return name
    return name[: int(np.searchsorted(widths, letters - 1, side="right"))] + "…"

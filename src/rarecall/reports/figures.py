"""The figures, each drawn from the summary and the rows alone, at a wide or a narrow size."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from rarecall import metrics
from rarecall.audit import ClassFacts, Facts
from rarecall.labels import HEAD_POSITIVES, MEDIUM_POSITIVES
from rarecall.reports.drawing import SOFT, Drawing, Words, fitted, width_of
from rarecall.reports.panels import GAP, Panel, Scale, Ticks, heading, legend, room_for
from rarecall.studies.summary import Summary

Size = tuple[float, float]
WIDE: Size = (920.0, 420.0)
NARROW: Size = (400.0, 380.0)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#555555")
TIER_COLOURS = {"head": "#2c5c8a", "medium": "#6f9cc4", "tail": "#d97a3a"}
PALE = "#e3e8ee"
MOST_CLASSES = 40
RELIABILITY_BINS = 15
_BELOW = 44.0  # a panel: the words at its ticks and its title
_ROW = 23.0  # of a class
_AT_EDGE = 16.0  # half of the words at the last tick


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


def sparsity_wall(means: pl.DataFrame, losses: Sequence[str], size: Size) -> Drawing:
    """AP of each class against its training positives; the lines are means over classes of similar counts."""
    drawing = Drawing(*size, "AP of each class against its positives in train")
    top = _losses(drawing, losses)
    positives = means["positives_train"].to_numpy()
    most = float(positives.max())
    x = Scale(max(float(positives.min()), 0.7) / 1.2, max(most, 2) * 1.2, log=True)
    panel = _panel(drawing, x, Scale(0, _above(100 * means["ap"].to_numpy())), "positives in train", "AP, %", top)
    for limit in (MEDIUM_POSITIVES, HEAD_POSITIVES):
        if most > limit:
            panel.mark_x(limit)
            ((at, _),) = panel.points([limit], [0])
            drawing.add(Words((at + 3, panel.top + 6), str(limit), "left", SOFT, 10.5))
    edges = np.unique(np.geomspace(1, max(most, 2) + 1, 9).round())
    of_loss = {loss: _counts_and_ap(means, loss) for loss in losses}
    for loss, colour in colours(losses).items():
        panel.dots(*of_loss[loss], colour, opacity=0.35)
    for loss, colour in colours(losses).items():
        panel.line(*_means_of_bins(*of_loss[loss], edges), colour, dots=3)
    return drawing


def _counts_and_ap(means: pl.DataFrame, loss: str) -> tuple[np.ndarray, np.ndarray]:
    own = means.filter(pl.col("loss") == loss)
    return np.maximum(own["positives_train"].to_numpy(), 0.7), 100 * own["ap"].to_numpy()


def _means_of_bins(x: np.ndarray, y: np.ndarray, edges: np.ndarray) -> tuple[list[float], list[float]]:
    bins = np.digitize(x, edges)
    inside = [bins == at for at in np.unique(bins)]
    return [float(np.exp(np.log(x[own]).mean())) for own in inside], [float(y[own].mean()) for own in inside]


def per_class(means: pl.DataFrame, losses: Sequence[str], size: Size) -> Drawing:
    """AP of the rarest classes: a bar to the best loss, and a dot for each."""
    order = means.unique("class", maintain_order=True).sort("positives_train", maintain_order=True).head(MOST_CLASSES)
    names = order["class"].to_list()
    drawing = Drawing(size[0], 0, "AP of the rarest classes")
    top = _losses(drawing, losses)
    drawing.height = top + _ROW * len(names) + _BELOW
    table = {(row["class"], row["loss"]): 100 * row["ap"] for row in means.to_dicts()}
    counts = [f" ({count:,})" for count in order["positives_train"]]
    rows = _named_rows(names, size[0] * 0.4, counts)
    x, y = Scale(0, _above(np.array(list(table.values())))), Scale(len(names) - 0.5, -0.5)
    panel = _panel(drawing, x, y, "AP, % (positives in train)", "", top, y_ticks=rows, grid=(True, False))
    for row, name in enumerate(names):
        panel.bar((0, max(table[name, loss] for loss in losses)), (row - 0.33, row + 0.33), PALE)
    for loss, colour in colours(losses).items():
        panel.dots([table[name, loss] for name in names], range(len(names)), colour, radius=4)
    return drawing


def _named_rows(names: Sequence[str], room: float, after: Sequence[str]) -> Ticks:
    """A tick for each row, whose name is cut and what stands after it is not."""
    return [
        (row, fitted(name, room - width_of(tail), 12) + tail)
        for row, (name, tail) in enumerate(zip(names, after, strict=True))
    ]


def differences(summary: Summary, size: Size) -> Drawing:
    """Each loss's paired difference to the best with its interval, on all classes and on the tail."""
    groups = [group for group in ("all", "tail") if group in summary.counted_classes]
    side_by_side = size[0] > 600
    one = 30.0 + 30 * len(summary.tuned) + _BELOW
    drawing = Drawing(size[0], one * (1 if side_by_side else len(groups)), "paired differences to the best loss")
    names = [entry.loss for entry in summary.tuned]
    rows = _named_rows(names, size[0] * (0.3 if side_by_side else 0.42), [""] * len(names))
    left = room_for(rows, title=False)
    width = (size[0] - left) / (len(groups) if side_by_side else 1)
    of_loss = colours(summary.losses)
    for place, group in enumerate(groups):
        across, down = (left + place * width, 0.0) if side_by_side else (left, place * one)
        found = {entry.loss: entry.to_best[group] for entry in summary.tuned}
        x = _around(np.array([0.0] + [value for own in found.values() for value in (own.low, own.high)]))
        panel = Panel(
            drawing, across, down + 30, across + width - _AT_EDGE, down + one - _BELOW, x, Scale(len(names) - 0.5, -0.5)
        )
        counted = summary.counted_classes[group]
        heading(drawing, ((panel.left + panel.right) / 2, down + 14), f"{group} ({counted} classes)")
        panel.x_axis("points of mAP from the best")
        panel.y_axis("", [] if side_by_side and place else rows, grid=False)
        panel.mark_x(0, dotted=False)
        for row, (loss, own) in enumerate(found.items()):
            panel.line([own.low, own.high], [row, row], of_loss[loss])
            panel.dots([own.mean], [row], of_loss[loss], radius=4.5)
    return drawing


def convergence(summary: Summary, size: Size) -> Drawing:
    """The mAP@class that choices are made on over the epochs, mean over seeds, with the range of the seeds."""
    drawing = Drawing(*size, "mAP@class over the epochs")
    top = _losses(drawing, summary.losses)
    curves = {loss: _complete(summary, loss) for loss in summary.losses}
    known = [own for own in curves.values() if own.size]
    longest, y = max(own.shape[1] for own in known), _around(np.concatenate([own.ravel() for own in known]))
    title = "test mAP@class, %" if summary.protocol.val == "test" else "validation mAP@class, %"
    panel = _panel(drawing, Scale(1, max(longest, 2)), y, "epoch", title, top, whole=True)
    for loss, colour in colours(summary.losses).items():
        own = curves[loss]
        if own.size:
            epochs = range(1, own.shape[1] + 1)
            panel.band(epochs, own.min(0).tolist(), own.max(0).tolist(), colour)
            panel.line(epochs, own.mean(0), colour)
    return drawing


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
) -> Drawing:
    """The losses and the mAP@class of one training, where there was a part to choose `on`, and the epoch kept."""
    curves = {name: _values(history, name) for name in ("train_loss", "val_loss", "val_map_class")}
    seen = {name: own for name, own in curves.items() if np.isfinite(own).any()}
    drawing = Drawing(*size, "losses and mAP@class over the epochs")
    losses = [("train", COLOURS[0], "train_loss"), (on, COLOURS[1], "val_loss")]
    shown = [(words, colour, name) for words, colour, name in losses if name in seen]
    figures = [("val_map_class", COLOURS[2])] if "val_map_class" in seen else []
    top = legend(drawing, [(words, colour, "dot") for words, colour, _ in shown])
    stacked = size[0] < 600
    if stacked and figures:
        drawing.height *= 1.6
    boxes = list(_boxes(drawing, top, 1 + len(figures), stacked))
    x = Scale(1, max(len(history), 2))
    panel = _run_panel(drawing, boxes[0], x, [seen[name] for _, _, name in shown], "loss", epoch)
    for _, colour, name in shown:
        panel.line(range(1, len(history) + 1), seen[name], colour, dots=3)
    for name, colour in figures:
        panel = _run_panel(drawing, boxes[1], x, [100 * seen[name]], f"{on} mAP@class, %", epoch)
        panel.line(range(1, len(history) + 1), 100 * seen[name], colour, dots=3)
    return drawing


def _values(history: Sequence[Mapping[str, float | None]], name: str) -> np.ndarray:
    return np.array([np.nan if row.get(name) is None else row[name] for row in history], dtype=float)


def _boxes(drawing: Drawing, top: float, panels: int, stacked: bool) -> Iterator[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each panel with its axes."""
    for place in range(panels):
        if stacked:
            height = (drawing.height - top) / panels
            yield 0.0, top + place * height, drawing.width, top + (place + 1) * height
        else:
            width = drawing.width / panels
            yield place * width, top, (place + 1) * width, drawing.height


def _run_panel(
    drawing: Drawing,
    box: tuple[float, float, float, float],
    x: Scale,
    curves: Sequence[np.ndarray],
    title: str,
    epoch: int,
) -> Panel:
    y = _around(np.concatenate(curves)) if curves else Scale(0, 1)
    panel = _panel(drawing, x, y, "epoch", title, box[1], box=box, whole=True)
    if epoch:
        panel.mark_x(epoch)
    return panel


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


def threshold_shift(curves: Mapping[str, np.ndarray], size: Size) -> Drawing:
    """Draw `threshold_curves`."""
    drawing = Drawing(*size, "precision, recall and F1 with the thresholds moved")
    names = {"precision": ("precision", COLOURS[0]), "recall": ("recall", COLOURS[1]), "f1": ("F1", COLOURS[2])}
    top = legend(drawing, [(words, colour, "dot") for words, colour in names.values()])
    shifts = curves["shift"]
    y = Scale(0, _above(np.concatenate([curves[name] for name in names])))
    x = Scale(float(shifts[0]), float(shifts[-1]))
    panel = _panel(drawing, x, y, "all thresholds moved by (logits)", "mean over classes, %", top)
    panel.mark_x(0)
    for name, (_, colour) in names.items():
        panel.line(shifts, curves[name], colour)
    return drawing


def reliability_bins(probabilities: Tensor, targets: Tensor) -> dict[str, np.ndarray]:
    """Mean score, share that is present and number of the entries of each bin of scores, all classes together."""
    of_class = metrics.reliability(probabilities, targets, bins=RELIABILITY_BINS)
    count = of_class.count.sum(0).numpy()
    confidence, frequency = (
        (values.nan_to_num() * of_class.count).sum(0).numpy() / np.maximum(count, 1)
        for values in (of_class.confidence, of_class.frequency)
    )
    return {"confidence": 100 * confidence, "frequency": 100 * frequency, "count": count}


def reliability(bins: Mapping[str, np.ndarray], size: Size) -> Drawing:
    """How often entries with about the same score are present, and how many entries those are."""
    drawing = Drawing(*size, "share that is present at each score")
    top = legend(
        drawing, [("all classes together", COLOURS[0], "dot"), ("scores are probabilities", "#555555", "line")]
    )
    count, percent = bins["count"], Scale(0, 100)
    entries = Scale(0.5, max(float(count.max()), 1) * 1.5, log=True)
    right = drawing.width - room_for(entries.ticks(6))
    panel = _panel(
        drawing, percent, percent, "score, %", "share that is present, %", top, right=right, grid=(False, False)
    )
    many = Panel(drawing, panel.left, panel.top, panel.right, panel.bottom, percent, entries)
    width = 100 / RELIABILITY_BINS
    for place in np.flatnonzero(count):
        many.bar(((place + 0.05) * width, (place + 0.95) * width), (0.5, float(count[place])), PALE)
    many.y_axis("entries (bars)", grid=False, on_right=True)
    panel.line([0, 100], [0, 100], "#555555", width=1, dotted=True)
    seen = count > 0
    panel.line(bins["confidence"][seen], bins["frequency"][seen], COLOURS[0], dots=4)
    return drawing


def class_counts(classes: Sequence[ClassFacts], size: Size) -> Drawing:
    """Positives in train of every class, most frequent first, coloured by tier."""
    ranked = sorted(classes, key=lambda row: -row.positives)
    many = len(ranked) > (30 if size[0] > 600 else 14)
    drawing = Drawing(*size, "positives in train of every class")
    sizes = {tier: sum(row.tier == tier for row in ranked) for tier in TIER_COLOURS}
    top = legend(drawing, [(f"{tier} ({sizes[tier]})", colour, "dot") for tier, colour in TIER_COLOURS.items()])
    names = [] if many else [fitted(row.name, 110) for row in ranked]
    below = _BELOW if many else GAP + 12 + 0.87 * max(map(width_of, names), default=0.0)
    x = Scale(-0.6, max(len(ranked), 1) - 0.4)
    y = Scale(0.7, max([row.positives for row in ranked], default=1) * 1.3 + 1, log=True)
    panel = _panel(
        drawing, x, y, "classes by frequency" if many else "", "positives in train", top, x_ticks=[], below=below
    )
    half = 0.5 if many else 0.4
    for place, row in enumerate(ranked):
        panel.bar((place - half, place + half), (0.7, max(row.positives, 0.75)), TIER_COLOURS[row.tier])
    for (at, _), name in zip(panel.points(range(len(names)), [0.7] * len(names)), names, strict=True):
        drawing.add(Words((at + 3, panel.bottom + GAP + 4), name, "right", SOFT, angle=60))
    return drawing


def prevalences(facts: Facts, size: Size) -> Drawing:
    """The share of known items with each class, in train and in the other parts; what moved is filled."""
    drawing = Drawing(*size, "share of items with each class, in train and in the other parts")
    moved = {(shift.part, shift.classes[0]) for shift in facts.prevalence_shifts.strongest}
    known = {
        (part, row.name): (100 * one, 100 * other)
        for part in ("val", "test")
        for row in facts.classes
        if (one := row.shares["train"]) and (other := row.shares[part])
    }
    kinds = [
        (part, filled, [pair for key, pair in known.items() if key[0] == part and (key in moved) == filled])
        for part in ("val", "test")
        for filled in (False, True)
    ]
    words = {"val": ("validation", COLOURS[2]), "test": ("test", COLOURS[1])}
    entries = [
        (f"{words[part][0]}, {kind} chance", words[part][1], "dot" if filled else "ring")
        for part, filled, pairs in kinds
        for kind in ("more than" if filled else "within",)
        if pairs
    ]
    top = legend(drawing, entries)
    values = [value for pair in known.values() for value in pair] or [0.01, 100.0]
    scale = Scale(min(values) / 1.3, max(values) * 1.3, log=True)
    panel = _panel(drawing, scale, scale, "share of positives in train, %", "in the other part, %", top)
    panel.line([min(values), max(values)], [min(values), max(values)], SOFT, width=1, dotted=True)
    for part, filled, pairs in kinds:
        panel.dots([one for one, _ in pairs], [other for _, other in pairs], words[part][1], 4, ring=not filled)
    return drawing


def _losses(drawing: Drawing, losses: Sequence[str]) -> float:
    """The legend of the losses; returns where it ends."""
    room = drawing.width - 50
    return legend(drawing, [(fitted(loss, room, 13), colour, "dot") for loss, colour in colours(losses).items()])


def _above(values: Any) -> float:
    """The upper end of a scale for values from 0 on, of which some may be NaN."""
    return max(float(np.nanmax(values)), 1e-3) * 1.06


def _around(values: np.ndarray) -> Scale:
    """A scale that holds the values, of which some may be NaN, with a little room on both sides."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = 0.05 * max(high - low, 0.02 * abs(high), 1e-3)
    return Scale(low - room, high + room)


def _panel(
    drawing: Drawing,
    x: Scale,
    y: Scale,
    x_title: str,
    y_title: str,
    top: float,
    *,
    box: tuple[float, float, float, float] | None = None,
    right: float | None = None,
    below: float = _BELOW,
    x_ticks: Ticks | None = None,
    y_ticks: Ticks | None = None,
    grid: tuple[bool, bool] = (True, True),
    whole: bool = False,
) -> Panel:
    """A panel with its axes that fills the drawing below the legend, or a box of it."""
    left, _, end, bottom = box or (0.0, 0.0, drawing.width, drawing.height)
    panel = Panel(drawing, left, top + GAP, (end if right is None else right) - _AT_EDGE, bottom - below, x, y)
    y_ticks = panel.y_ticks() if y_ticks is None else y_ticks
    panel.left += room_for(y_ticks, title=bool(y_title))
    if whole and x_ticks is None:
        most = max(2, int((panel.right - panel.left) / 50))
        x_ticks = [(value, words) for value, words in x.ticks(most) if value.is_integer()]
    panel.x_axis(x_title, x_ticks, grid=grid[0])
    panel.y_axis(y_title, y_ticks, grid=grid[1])
    return panel

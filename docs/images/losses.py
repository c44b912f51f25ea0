"""Draw losses.png: the pull of every loss on one entry, as its logit sweeps.

python docs/images/losses.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from rarecall import losses

IDEAS = {
    "entries": (
        "binary-cross-entropy",
        "focal",
        "asymmetric",
        "hill",
        "splc",
        "hard-selection",
        "soft-selection",
    ),
    "class frequency": (
        "frequency-weighted-cross-entropy",
        "attribute-weighted-cross-entropy",
        "reweighted-cross-entropy",
        "class-balanced",
        "distribution-balanced",
        "ldam",
    ),
    "margins": (
        "softmax-regression",
        "lsep",
        "zlpr",
        "multi-similarity",
        "circle",
        "two-way",
        "distributionally-robust",
    ),
    "unknown labels": (
        "assume-negative",
        "weak-assume-negative",
        "expected-positive",
        "role",
        "entropy-maximization",
        "large-loss",
        "generalized-robust",
    ),
}
OPTIONS = {"expected-positive": {"expected_positives": 0.5}, "role": {"expected_positives": 0.5}}
OF_COLUMNS = ("distributionally-robust",)
MARGIN_PARTNERS = [(1.0, 1), (-0.5, 1), (-1.5, 0), (0.5, 0)]
# Present in 5 of 100 items; the partner in 50.
LABELS = torch.tensor([[1, 1]] * 5 + [[0, 1]] * 45 + [[0, 0]] * 50)
KINDS = {1: ("present", "#2a6fb0"), 0: ("absent", "#c8552d"), -1: ("unknown", "#7a7a7a")}
SWEEP = torch.linspace(-8, 8, 321)
COLUMNS = 7


def pull(name: str, label: int) -> Tensor:
    """The derivative by the logit of one entry, in its row or column with fixed partners."""
    labels = torch.full_like(LABELS, -1) if name == "role" else LABELS  # an estimate that starts uncertain
    loss = losses.build(name, labels=labels, **OPTIONS.get(name, {}))
    loss.set_progress(0.9, 10)
    partners = MARGIN_PARTNERS if name in IDEAS["margins"] else [(0.0, 0 if label == 1 else 1)]
    targets = torch.tensor([[label, *(known for _, known in partners)]])
    others = torch.tensor([logit for logit, _ in partners])
    result = []
    for value in SWEEP:
        z = value.clone().requires_grad_()
        logits = torch.cat([z[None], others])[None]
        pair = (logits.T, targets.T) if name in OF_COLUMNS else (logits, targets)
        loss(*pair, torch.zeros(len(pair[0]), dtype=torch.long)).backward()
        assert z.grad is not None
        result.append(z.grad)
    return torch.stack(result)


def draw() -> plt.Figure:
    """One panel for each loss, each scaled by its own largest pull."""
    plt.rcParams.update(
        {"font.size": 8, "font.family": "DejaVu Sans", "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, grid = plt.subplots(
        len(IDEAS), COLUMNS, figsize=(13.5, 7.6), sharex=True, sharey=True, layout="constrained"
    )
    for row, (idea, names) in zip(grid, IDEAS.items(), strict=True):
        for axes, name in zip(row, names, strict=False):
            kinds = (1, 0, -1) if idea == "unknown labels" else (1, 0)
            pulls = {kind: pull(name, kind) for kind in kinds}
            largest = max(float(one.abs().max()) for one in pulls.values())
            axes.axhline(0, color="#dddddd", linewidth=0.8, zorder=0)
            axes.axvline(0, color="#dddddd", linewidth=0.8, zorder=0)
            for kind, one in pulls.items():
                axes.plot(SWEEP, one / largest, color=KINDS[kind][1], linewidth=1.7)
            axes.set_title(name.replace("-cross-entropy", "\ncross-entropy"), fontsize=8)
        for axes in row[len(names) :]:
            axes.set_visible(False)
        row[0].set_ylabel(idea, fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("logit")
    handles = [plt.Line2D([], [], color=colour, linewidth=2, label=word) for word, colour in KINDS.values()]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=10)
    return figure


if __name__ == "__main__":
    draw().savefig(Path(__file__).with_suffix(".png"), dpi=110)

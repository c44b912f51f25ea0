"""Figures of the main job: two studies on real data, their speed against peers, and start-up times.

    RARECALL_DATA=… RARECALL_WEIGHTS=… python benchmarks/studies.py

Every ratio is measured against its peer in the same process and run. Results of dated runs stand in RESULTS.md.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor, nn

from rarecall import data, metrics, studies
from rarecall.studies.heads import train_head
from rarecall.studies.plan import DEFAULT_LOSSES
from rarecall.studies.runs import Job

PAIRS = 3


def plain_losses() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The five losses as one writes them down from the papers, for labels that are all known."""

    def focal(z: Tensor, y: Tensor) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(z, y, reduction="none")
        return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()

    def asymmetric(z: Tensor, y: Tensor) -> Tensor:
        p = torch.sigmoid(z)
        q = (1 - p + 0.05).clamp(max=1)
        terms = y * p.clamp(min=1e-8).log() + (1 - y) * q.clamp(min=1e-8).log()
        with torch.no_grad():
            weight = (1 - p * y - q * (1 - y)) ** (0 * y + 4 * (1 - y))
        return -(terms * weight).mean()

    def two_way(z: Tensor, y: Tensor) -> Tensor:
        def along(dim: int) -> Tensor:
            low = 4 * torch.logsumexp((-z / 4).masked_fill(y == 0, -torch.inf), dim)
            high = torch.logsumexp(z.masked_fill(y == 1, -torch.inf), dim)
            return F.softplus(low + high)[(y == 1).any(dim)].mean()

        return along(0) + along(1)

    def distributionally_robust(z: Tensor, y: Tensor) -> Tensor:
        high = torch.logsumexp((5 * z).masked_fill(y == 1, -1e9), 0)
        low = torch.logsumexp((-5 * z).masked_fill(y == 0, -1e9), 0)
        own = torch.logsumexp((7 * z).masked_fill(y == 1, -1e9), 0)
        return torch.logsumexp(torch.stack([torch.zeros_like(own), high + low, own]), 0).mean()

    functions = (F.binary_cross_entropy_with_logits, focal, asymmetric, two_way, distributionally_robust)
    return dict(zip(DEFAULT_LOSSES, functions, strict=True))


def plain_loop(loss: Callable[[Tensor, Tensor], Tensor], features: Tensor, targets: Tensor, rate: float) -> None:
    """The loop that one would write by hand: one hidden layer of 256, dropout .5, AdamW, batch 128, 30 epochs."""
    head = nn.Sequential(
        nn.Linear(features.shape[1], 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, targets.shape[1])
    )
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30 * -(-len(features) // 128))
    for _ in range(30):
        for rows in torch.randperm(len(features)).split(128):
            optimizer.zero_grad()
            loss(head(features[rows]), targets[rows]).backward()
            optimizer.step()
            schedule.step()


def head_ratios(folder: Path) -> list[str]:
    """Training against the plain loop, and evaluation against scikit-learn, on Corel5k and one thread each."""
    table, _ = data.complete_split(data.load(str(folder)))
    train, test = table.part("train"), table.part("test")
    protocol, peers = studies.protocol(table), plain_losses()
    features, floats = torch.from_numpy(table.features[train]), torch.from_numpy(table.labels[train]).float()
    torch.set_num_threads(1)
    lines, ours, theirs = [], 0.0, 0.0
    for name in DEFAULT_LOSSES:
        times: tuple[list[float], list[float]] = ([], [])
        for pair in range(PAIRS):
            run = train_head(Job(name, 3e-3, pair), table, protocol)
            start = time.perf_counter()
            plain_loop(peers[name], features, floats, 3e-3)
            times[1].append(time.perf_counter() - start)
            times[0].append(run.seconds["training"])
        mine, plain = map(statistics.median, times)
        ours, theirs = ours + mine, theirs + plain
        lines.append(
            f"training, {name}: {mine:.2f} s against {plain:.2f} s of the plain loop: ratio {mine / plain:.2f}"
        )
    lines.append(f"training, all five: ratio {ours / theirs:.2f} (at most 1.0)")
    scores, targets = run.scores, torch.from_numpy(table.labels[test])
    measured = np.flatnonzero((targets > 0).any(0).numpy())
    fast = _median_seconds(lambda: metrics.average_precision(scores, targets))
    slow = _median_seconds(
        lambda: [average_precision_score(targets[:, place] > 0, scores[:, place]) for place in measured]
    )
    lines.append(
        f"evaluation, {len(scores)} × {targets.shape[1]}: {1e3 * fast:.1f} ms against {1e3 * slow:.0f} ms of "
        f"scikit-learn: ratio {fast / slow:.3f} (at most 0.6)"
    )
    return lines


def study(name: str, *arguments: str, cache: Path) -> tuple[float, dict]:
    """Run the command line in a fresh process and folder; seconds, and the summary."""
    out = Path(tempfile.mkdtemp())
    start = time.perf_counter()
    command = [sys.executable, "-m", "rarecall", "study", *arguments, "--out", str(out)]
    subprocess.run(command, check=True, env={**os.environ, "RARECALL_CACHE": str(cache)}, capture_output=True)
    seconds = time.perf_counter() - start
    summary = json.loads((out / "summary.json").read_text())
    shutil.rmtree(out)
    print(f"  {name} done in {seconds:.0f} s", file=sys.stderr)
    return seconds, summary


def board(summary: dict) -> str:
    """Test mAP@class of every loss."""
    return ", ".join(f"{entry['loss']} {entry['figures']['map_class']['mean']:.1f}" for entry in summary["tuned"])


def _median_seconds(function: Callable[[], object], times: int = 5) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def start_up() -> list[str]:
    """Import beyond torch, measured inside fresh processes, and --help of whole processes; medians of five."""

    def beyond_torch(statement: str) -> float:
        code = f"import time, torch; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
        runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True) for _ in range(5)]
        return statistics.median(float(run.stdout) for run in runs)

    command = [sys.executable, "-m", "rarecall", "--help"]
    helped = _median_seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    return [
        f"import rarecall: {beyond_torch('import rarecall'):.3f} s beyond import torch (at most 0.2); "
        f"with losses and metrics {beyond_torch('from rarecall import losses, metrics'):.3f} s, "
        f"with data too {beyond_torch('from rarecall import data, losses, metrics'):.3f} s",
        f"rarecall --help: {helped:.2f} s (below 0.5)",
    ]


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    folder, weights = Path(os.environ["RARECALL_DATA"]), Path(os.environ["RARECALL_WEIGHTS"])
    print(f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}")
    for line in start_up():
        print(line)
    cache = Path(tempfile.mkdtemp())
    seconds, summary = study("digits", cache=cache)
    print(f"digits, 5 seeds: {seconds:.0f} s (below 120): {board(summary)}")
    seconds, summary = study("corel5k", str(folder / "corel5k"), "--seeds", "3", cache=cache)
    print(f"corel5k, 3 seeds: {seconds:.0f} s (at most 240): {board(summary)}")
    arguments = (
        str(folder / "pa100k"), "--weights", str(weights / "mobilenetv2_100_imagenet.safetensors"),
        "--image-size", "128x64", "--seeds", "3",
    )  # fmt: skip
    seconds, summary = study("pa100k", *arguments, cache=cache)
    print(f"pa100k part, 3 seeds, cold: {seconds:.0f} s (at most 120): {board(summary)}")
    seconds, again = study("pa100k", *arguments, cache=cache)
    print(f"pa100k part, 3 seeds, features cached: {seconds:.0f} s (at most 60)")
    print(f"  not found by any loss: {', '.join(row['class'] for row in again['not_found'])}")
    shutil.rmtree(cache)
    for line in head_ratios(folder / "corel5k"):
        print(line)


if __name__ == "__main__":
    main()

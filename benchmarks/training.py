"""Figures of training: steps a second against a plain PyTorch loop, and what fine-tuning reaches on real images.

    RARECALL_DATA=… RARECALL_WEIGHTS=… python benchmarks/training.py [--speed]

The ratio is measured in one process, in alternating runs. Results of dated runs stand in RESULTS.md.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from rarecall import data
from rarecall.listener import Listener
from rarecall.models import load_backbone
from rarecall.training import build, fit, recipe_for

SIZE, BATCH, PAIRS, WARM = (128, 64), 64, 5, 4  # steps before the clock starts
LOSSES = ("two-way", "binary-cross-entropy")


class Clock(Listener):
    """Seconds at which each step ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def progress(self, *_: object) -> None:
        self.ended.append(time.perf_counter())


def rate(ended: list[float]) -> float:
    """Steps a second after the first few, by the median step: other work on the machine comes in bursts."""
    return 1 / float(np.median(np.diff(ended[WARM:])))


class Photos(Dataset):
    """Decoded, resized, flipped, normalised: as one writes it for a plain loop."""

    def __init__(self, paths: list[Path], labels: Tensor) -> None:
        self.paths, self.labels = paths, labels
        self.prepare = v2.Compose(
            [
                v2.PILToTensor(),
                v2.Resize(SIZE, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.paths[row]) as image:
            return self.prepare(image.convert("RGB")), self.labels[row]


def plain_loop(table: data.LabelTable, weights: Path, workers: int) -> float:
    """Steps a second of an epoch of the same work: model, batch, optimiser, schedule, channels last."""
    rows = table.part("train")
    photos = Photos([table.root / table.items[row] for row in rows], torch.from_numpy(table.labels[rows]).float())
    loader = DataLoader(photos, BATCH, shuffle=True, drop_last=True, num_workers=workers)
    network = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1000)
    network.load_state_dict(load_file(weights))
    network.reset_classifier(len(table.names))
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(loader))
    ended = []
    for images, targets in loader:
        optimizer.zero_grad()
        logits = network(images.contiguous(memory_format=torch.channels_last))
        F.binary_cross_entropy_with_logits(logits, targets).backward()
        optimizer.step()
        schedule.step()
        ended.append(time.perf_counter())
    return rate(ended)


def our_loop(table: data.LabelTable, weights: Path, workers: int) -> float:
    """Steps a second of an epoch of `fit`, without its validation."""
    settings = recipe_for(table, epochs=1, batch_size=BATCH).training("binary-cross-entropy")
    backbone, clock = load_backbone(None, str(weights), SIZE), Clock()
    with tempfile.TemporaryDirectory() as folder:
        network = build(settings, table, backbone, 0)
        fit(settings, table, network, Path(folder), clock, workers=workers)
    return rate(clock.ended)


def speed(folder: Path, weights: Path) -> list[str]:
    """The ratio for as many loader processes as `train` starts by default on a CPU, and for two."""
    table, _ = data.complete_split(data.load(str(folder)))
    small = table.select(np.concatenate([table.part("train"), table.part("val")[:20], table.part("test")[:20]]))
    lines = []
    for workers in (1, 2):
        pairs = [(our_loop(small, weights, workers), plain_loop(small, weights, workers)) for _ in range(PAIRS)]
        ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        lines.append(
            f"training, {workers} loader process(es): {ours:.2f} steps/s against {plain:.2f} of the plain loop: "
            f"ratio {ratio:.2f} (at least 0.95)"
        )
    return lines


def tuned(folder: Path, weights: Path) -> list[str]:
    """The best frozen head of a study, and whole networks at the default recipe, on the test part."""
    base = [sys.executable, "-m", "rarecall"]
    common = [str(folder), "--weights", str(weights), "--image-size", "x".join(map(str, SIZE))]
    lines = []
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "study"
        command = [*base, "study", *common, "--seeds", "3", "--out", str(study)]
        subprocess.run(command, check=True, capture_output=True)
        best = json.loads((study / "summary.json").read_text())["tuned"][0]
        lines.append(
            f"best frozen head, 3 seeds: {best['loss']} {best['figures']['map_class']['mean']:.1f} mAP@class on test"
        )
        for loss in LOSSES:
            start, run = time.perf_counter(), Path(place) / loss
            subprocess.run(
                [*base, "train", *common, "--loss", loss, "--out", str(run)], check=True, capture_output=True
            )
            card = json.loads((run / "run.json").read_text())
            test = card["figures"]["test"]
            lines.append(
                f"fine-tuning, {loss}, defaults ({card['training']['epochs']} epochs, epoch {card['epoch']} by "
                f"validation): {test['map_class']:.1f} mAP@class on test, macro F1 {test['macro_f1']:.1f}, "
                f"{time.perf_counter() - start:.0f} s"
            )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="only the ratio")
    options = parser.parse_args()
    folder = Path(os.environ["RARECALL_DATA"]) / "pa100k"
    weights = Path(os.environ["RARECALL_WEIGHTS"]) / "mobilenetv2_100_imagenet.safetensors"
    print(f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}", flush=True)
    for line in [*speed(folder, weights), *([] if options.speed else tuned(folder, weights))]:
        print(line, flush=True)


if __name__ == "__main__":
    main()

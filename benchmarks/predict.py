"""Figures of prediction: images a second against a plain timm loop, and the memory of 100,000 images.

    RARECALL_DATA=… RARECALL_WEIGHTS=… python benchmarks/predict.py

The ratio is measured in one process, in alternating runs. Results of dated runs stand in RESULTS.md.
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import ImageDataset, create_transform
from torch.utils.data import DataLoader

from rarecall import data
from rarecall.inference import Predictor
from rarecall.listener import Listener
from rarecall.models import load_backbone
from rarecall.preparation import divide
from rarecall.training import recipe_for, train

SIZE, PAIRS, PROCESSES, MANY = (128, 64), 5, 2, 100_000


def plain_loop(images: Path, weights: Path) -> float:
    """Seconds of the usual timm inference: its data set and transform, worker processes, channels last."""
    start = time.perf_counter()
    network = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1000)
    network.load_state_dict(load_file(weights))
    network.reset_classifier(26)
    network.eval().to(memory_format=torch.channels_last)
    prepare = create_transform(
        (3, *SIZE), is_training=False, mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=1.0, crop_mode="squash"
    )
    loader = DataLoader(ImageDataset(str(images), transform=prepare), 64, num_workers=PROCESSES)
    with torch.inference_mode():
        scores = [network(batch.contiguous(memory_format=torch.channels_last)).sigmoid() for batch, _ in loader]
    assert len(torch.cat(scores)) == 2000
    return time.perf_counter() - start


def our_loop(images: Path, run: Path) -> float:
    """Seconds of loading the run folder and predicting every image of the folder."""
    from rarecall.inference.inputs import image_paths

    start = time.perf_counter()
    predictor = Predictor.load(run)
    scored = sum(len(part) for part in predictor.stream(image_paths([str(images)])))
    assert scored == 2000
    return time.perf_counter() - start


def make_run(out: Path, model: str | None, weights: str, size: tuple[int, int], folder: Path) -> Path:
    """A run folder of a head that was trained for one epoch."""
    table = data.load(str(folder))
    settings = recipe_for(table, head_only=True, epochs=1).training("binary-cross-entropy")
    train(settings, divide(table), out, Listener(), backbone=load_backbone(model, weights, size))
    return out


def memory(place: Path, folder: Path) -> str:
    """The largest memory of `rarecall predict` on 100,000 tiny images."""
    run = make_run(place / "tiny", "mobilenetv3_small_050", "none", (32, 32), folder)
    random = np.random.default_rng(0)
    for number in range(100):
        Image.fromarray(random.integers(0, 255, (24, 16, 3), dtype=np.uint8)).save(place / f"{number}.jpg")
    pl.DataFrame({"image": [f"{number % 100}.jpg" for number in range(MANY)]}).write_csv(place / "many.csv")
    start = time.perf_counter()
    command = [sys.executable, "-m", "rarecall", "predict", run, place / "many.csv", "--out", place / "p.parquet"]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    assert len(pl.read_parquet(place / "p.parquet")) == MANY
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return f"{MANY:,} tiny images: {peak:.2f} GiB at most (below 2), {seconds:.0f} s, {MANY / seconds:.0f} images/s"


def main() -> None:
    """Measure and print."""
    folder = Path(os.environ["RARECALL_DATA"]) / "pa100k"
    weights = Path(os.environ["RARECALL_WEIGHTS"]) / "mobilenetv2_100_imagenet.safetensors"
    print(f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print(memory(place, folder), flush=True)
        run = make_run(place / "run", None, str(weights), SIZE, folder)
        assert len(json.loads((run / "run.json").read_text())["classes"]) == 26
        pairs = [(our_loop(folder / "data", run), plain_loop(folder / "data", weights)) for _ in range(PAIRS)]
        ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(theirs / mine for mine, theirs in pairs)
        print(
            f"2,000 pedestrian images: {2000 / ours:.0f} images/s against {2000 / plain:.0f} of a plain timm loop "
            f"with {PROCESSES} worker processes: {ratio:.2f} times as fast (at least 1)"
        )


if __name__ == "__main__":
    main()

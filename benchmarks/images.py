"""Loading training images at 224 x 224, against Pillow and torchvision's first transforms, with as many workers.

    python benchmarks/images.py

Both loaders give batches of 64 of the same JPEGs: random crops of 8 % to all of the area, flipped or not. The classic
one normalises to float32 in its workers; ours gives uint8, channels last, which the network normalises where it is: on
a GPU for nothing, on a CPU in the main process, hence two figures. They take turns; a figure is the median of five
ratios. Photos are made here (smooth colours and noise);
`RARECALL_DATA` adds the real pedestrian images.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from rarecall.data import LabelTable, load
from rarecall.models.backbones import normalise
from rarecall.training import recipe_for
from rarecall.training.loading import Batches

SIZE, BATCH, WORKERS, PAIRS = (224, 224), 64, 2, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTOS = {"500 x 375": (500, 375, 512), "1600 x 1200": (1600, 1200, 192)}


class Classic(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set as the field writes it."""

    def __init__(self, files: list[Path], labels: np.ndarray) -> None:
        self.files, self.labels = files, torch.from_numpy(labels)
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        with Image.open(self.files[row]) as image:
            return self.transform(image.convert("RGB")), self.labels[row]


def write_photos(folder: Path, width: int, height: int, number: int) -> LabelTable:
    """JPEGs of smooth colours with some noise, as large in bytes as photos are."""
    random = np.random.default_rng(0)
    for place in range(number):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height))
        noisy = np.asarray(coarse, np.int16) + random.integers(-12, 13, (height, width, 3), dtype=np.int16)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{place:04}.jpg", quality=90)
    items = [f"{place:04}.jpg" for place in range(number)]
    labels = np.ones((number, 1), np.int8)
    return LabelTable(items, ["x"], labels, np.full(number, "train"), "photos", folder)


def compare(table: LabelTable) -> str:
    """Images per second of ours, and the medians of its ratios to the classic loader's."""
    assert table.root is not None
    table = table.select(table.part("train"))
    files = [table.root / item for item in table.items]
    classic = DataLoader(
        Classic(files, table.labels), BATCH, shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True
    )
    training = recipe_for(table, batch_size=BATCH, augmentation="crop").training("binary-cross-entropy")
    ours = Batches(table, SIZE, training, WORKERS, pin=False)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (MEAN, STD))
    rates = [
        (
            rate(batch.inputs for batch in ours.epoch(1)),
            rate(normalise(batch.inputs, mean, std) for batch in ours.epoch(1)),
            rate(images for images, _ in classic),
        )
        for _ in range(PAIRS + 1)
    ][1:]  # the first starts the workers
    uint8, normalised = (statistics.median(row[place] / row[2] for row in rates) for place in (0, 1))
    most = max(row[0] for row in rates)
    return f"{most:6.0f} images/s  {uint8:5.2f} times the classic loader, {normalised:5.2f} with normalising"


def rate(images: Iterable[torch.Tensor]) -> float:
    """Images per second of one epoch."""
    start, number = time.perf_counter(), 0
    for batch in images:
        number += len(batch)
    return number / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print(f"{date.today()}  torch {torch.__version__}  {WORKERS} workers, batches of {BATCH}, 224 x 224")
    for name, (width, height, number) in PHOTOS.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"photos {name:12} {compare(write_photos(Path(folder), width, height, number))}")
    if folder := os.environ.get("RARECALL_DATA"):
        print(f"pedestrians         {compare(load(f'{folder}/pa100k'))}")


if __name__ == "__main__":
    main()

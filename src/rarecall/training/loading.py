"""Batches of training data: in an order that the seed decides, decoded and augmented by worker processes."""

import signal
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from rarecall.data.table import LabelTable
from rarecall.images.augmentation import augment
from rarecall.images.containers import Located
from rarecall.images.decoding import Size, stack
from rarecall.labels import UNKNOWN
from rarecall.models import cores
from rarecall.seeds import AUGMENTATION, ORDER, stream
from rarecall.training.config import Training

MOST_WORKERS = 16


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        inputs: uint8 images (N, 3, H, W) or float32 features (N, ...).
        targets: (N, C) int8 of 1, 0 and -1.
        rows: the table's row of each.
        unreadable: why a row's image could not be read; another image of the batch stands in for it then, and
            all its labels are unknown, so that nothing is learnt from it.
    """

    inputs: Tensor
    targets: Tensor
    rows: list[int]
    unreadable: dict[int, str]


class Order(Sampler[tuple[int, list[int]]]):
    """The epoch and the rows of each batch. An epoch's order depends on the seed and its number alone.

    Set `epoch` before iterating, and `start` to the number of batches to leave out.
    """

    def __init__(self, rows: Tensor, batch_size: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self.batch_size = min(batch_size, len(rows))
        self.epoch, self.start = 1, 0

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        generator = torch.Generator().manual_seed(stream(self.seed, ORDER, self.epoch))
        shuffled = self.rows[torch.randperm(len(self.rows), generator=generator)]
        for batch in shuffled.split(self.batch_size)[self.start : len(self)]:
            yield self.epoch, batch.tolist()


class _Images(Dataset[Batch]):
    def __init__(self, images: list[Located], labels: Tensor, size: Size, training: Training) -> None:
        self.images, self.labels, self.size = images, labels, size
        self.preset, self.seed = training.augmentation, training.seed

    def __getitem__(self, place: tuple[int, list[int]]) -> Batch:
        epoch, rows = place
        images = [self._image(epoch, row) for row in rows]
        unreadable = {row: image for row, image in zip(rows, images, strict=True) if isinstance(image, str)}
        blank = torch.zeros(3, *self.size, dtype=torch.uint8)
        stand_in = next((image for image in images if isinstance(image, Tensor)), blank)
        targets = self.labels[rows]
        targets[[row in unreadable for row in rows]] = UNKNOWN
        stacked = stack([stand_in if isinstance(image, str) else image for image in images])
        return Batch(stacked, targets, rows, unreadable)

    def _image(self, epoch: int, row: int) -> Tensor | str:
        return augment(self.preset, self.images[row], self.size, stream(self.seed, AUGMENTATION, epoch, row))


class _Features(Dataset[Batch]):
    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features, self.labels = features, labels

    def __getitem__(self, place: tuple[int, list[int]]) -> Batch:
        _, rows = place
        return Batch(self.features[rows], self.labels[rows], rows, {})


def batches(table: LabelTable, size: Size | None, training: Training, workers: int, pin: bool) -> DataLoader[Batch]:
    """The loader of the training part, whose sampler is an `Order`; features need no workers."""
    order = Order(torch.from_numpy(table.part("train")), training.batch_size, training.seed)
    labels = torch.from_numpy(table.labels)
    dataset: Dataset[Batch]
    if table.features is not None:
        dataset, workers = _Features(torch.from_numpy(table.features), labels), 0
    else:
        assert size is not None
        dataset = _Images(table.images(), labels, size, training)
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        collate_fn=_as_is,
        worker_init_fn=_start_worker,
        persistent_workers=workers > 0,
        pin_memory=pin,
    )


def default_workers(device: torch.device) -> int:
    """One process for each core that does not train: all of them beside a GPU, one on a CPU."""
    return min(cores(), MOST_WORKERS) if device.type == "cuda" else 1


def _as_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    warnings.simplefilter("ignore")  # an odd image is no reason to worry a user

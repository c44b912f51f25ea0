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
from rarecall.seeds import AUGMENTATION, stream
from rarecall.settings import Training
from rarecall.training.step import batches_of

MOST_WORKERS = 16


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        inputs: uint8 images (N, 3, H, W) or float32 features (N, ...).
        targets: (N, C) int8 of 1, 0 and -1.
        rows: (N,) the number of each among the training items.
        unreadable: why the image at a place in the batch could not be read; another image of the batch stands in for
            it then, and all its labels are unknown, so that nothing is learnt from it.
    """

    inputs: Tensor
    targets: Tensor
    rows: Tensor
    unreadable: dict[int, str]

    @property
    def readable(self) -> Tensor | None:
        """The places of what could be read, where not everything could."""
        if not self.unreadable:
            return None
        kept = [place for place in range(len(self.rows)) if place not in self.unreadable]
        return torch.tensor(kept, dtype=torch.long)


class Batches:
    """The training part of a table, a batch at a time, from any batch of any epoch on."""

    def __init__(self, table: LabelTable, size: Size | None, training: Training, workers: int, *, pin: bool) -> None:
        """Make ready.

        Args:
            table: images or features with a complete split.
            size: of the images; None for features, which need no processes.
            training: how.
            workers: processes that decode and augment.
            pin: lay batches where a GPU fetches them fastest.
        """
        rows = table.part("train")
        self.training, self.items = training, len(rows)
        self.labels = torch.from_numpy(table.labels[rows])
        self.features: Tensor | None = None
        self._loader: DataLoader[Batch] | None = None
        self._order = _Order(training, self.items)
        if table.features is not None:
            self.features = torch.from_numpy(table.features[rows])
            return
        assert size is not None
        self._loader = DataLoader(
            _Images([table.image(row) for row in rows.tolist()], self.labels, size, training),
            batch_size=None,
            sampler=self._order,
            num_workers=workers,
            collate_fn=_as_is,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
            pin_memory=pin,
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, counted from 1, without the first `start`."""
        self._order.epoch, self._order.start = epoch, start
        if self._loader is not None:
            yield from self._loader
            return
        assert self.features is not None
        for _, numbers in self._order:
            rows = torch.tensor(numbers)
            yield Batch(self.features[rows], self.labels[rows], rows, {})

    def close(self) -> None:
        """End the processes now: an exception that someone holds would keep them, and the interpreter, alive.

        PyTorch has no public way to do so; where it has another one than today, they end with the loader.
        """
        iterator = getattr(self._loader, "_iterator", None)
        shut_down = getattr(iterator, "_shutdown_workers", None)
        self._loader = None
        if shut_down is not None:
            shut_down()


class _Order(Sampler[tuple[int, list[int]]]):
    """The epoch and the items of each batch, from batch `start` of `epoch` on."""

    def __init__(self, training: Training, items: int) -> None:
        self.training, self.items = training, items
        self.epoch, self.start = 1, 0

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        for place, rows in enumerate(batches_of(self.training, self.items, self.epoch)):
            if place >= self.start:
                yield self.epoch, rows.tolist()


class _Images(Dataset[Batch]):
    def __init__(self, images: list[Located], labels: Tensor, size: Size, training: Training) -> None:
        self.images, self.labels, self.size = images, labels, size
        self.preset, self.seed = training.augmentation, training.seed

    def __getitem__(self, place: tuple[int, list[int]]) -> Batch:
        epoch, rows = place
        images = [self._image(epoch, row) for row in rows]
        unreadable = {place: image for place, image in enumerate(images) if isinstance(image, str)}
        blank = torch.zeros(3, *self.size, dtype=torch.uint8)
        stand_in = next((image for image in images if isinstance(image, Tensor)), blank)
        targets = self.labels[rows]
        targets[list(unreadable)] = UNKNOWN
        stacked = stack([stand_in if isinstance(image, str) else image for image in images])
        return Batch(stacked, targets, torch.tensor(rows), unreadable)

    def _image(self, epoch: int, row: int) -> Tensor | str:
        return augment(self.preset, self.images[row], self.size, stream(self.seed, AUGMENTATION, epoch, row))


def default_workers(device: torch.device) -> int:
    """One process for each core that does not train: all of them beside a GPU, one on a CPU."""
    return min(cores(), MOST_WORKERS) if device.type == "cuda" else 1


def _as_is(batch: Any) -> Any:
    return batch


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    warnings.simplefilter("ignore")  # an odd image is no reason to worry a user

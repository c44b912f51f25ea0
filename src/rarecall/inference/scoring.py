"""Logits of any number of images in a bounded memory: threads decode while the network works."""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rarecall.data.mapped import Reader
from rarecall.data.table import LabelTable
from rarecall.images.containers import Located
from rarecall.images.decoding import Size, read_image, stack
from rarecall.labels import UNKNOWN
from rarecall.models import Classifier, cores

Source = Path | str | bytes | Image.Image | Located | np.ndarray | Tensor
S = TypeVar("S", bound=Source)
BATCH = {"cpu": 32, "cuda": 128}  # on a CPU the activations of more images leave its cache, which costs a third
AHEAD = 4  # batches of images that may be decoded or waiting at any time
ROWS_AT_ONCE = 4096  # of features


@dataclass(frozen=True)
class ScoredBatch(Generic[S]):
    """One batch of images with their logits.

    Attributes:
        sources: what was given.
        logits: (N, C) float32 on the CPU; NaN for what could not be read.
        errors: why an image could not be read, else None.
    """

    sources: list[S]
    logits: Tensor
    errors: list[str | None]


def score(network: Classifier, sources: Iterable[S], batch_size: int | None = None) -> Iterator[ScoredBatch[S]]:
    """The logits of images, in their order, a batch at a time; `sources` may be endless."""
    size, threads = network.architecture.image_size, cores()
    batch_size = batch_size or default_batch(network)
    remaining = iter(sources)
    pending: deque[tuple[list[S], list[Future[Tensor | str]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                while len(pending) < AHEAD and (batch := list(islice(remaining, batch_size))):
                    for source in batch:
                        if isinstance(source, Image.Image):
                            _load(source)  # here, as the same lazy image may stand twice
                    pending.append((batch, [pool.submit(_read, source, size) for source in batch]))
                if not pending:
                    return
                batch, futures = pending.popleft()
                yield _score_batch(network, batch, [future.result() for future in futures])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def default_batch(network: Classifier) -> int:
    """How many images at once are fastest where the network is."""
    return BATCH["cpu" if network.mean.device.type == "cpu" else "cuda"]


def score_features(network: Classifier, features: Tensor) -> Tensor:
    """Logits (N, C) float32 on the CPU of features (N, ...)."""
    return torch.cat([_logits(network, part) for part in features.split(ROWS_AT_ONCE)])


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    """Rows a few at a time; at least one block, that may be empty."""
    return [rows[start : start + ROWS_AT_ONCE] for start in range(0, max(len(rows), 1), ROWS_AT_ONCE)]


def _score_rows(network: Classifier, features: np.ndarray, rows: np.ndarray) -> Tensor:
    """Logits (N, C) of some rows of features."""
    reader = Reader(features)
    return torch.cat([_logits(network, torch.from_numpy(reader.rows(some))) for some in _blocks(rows)])


def score_table(
    network: Classifier, table: LabelTable, rows: np.ndarray, batch_size: int | None = None
) -> tuple[Tensor, Tensor, dict[int, str]]:
    """Logits (N, C) and targets (N, C) of some rows of a table, and why rows could not be read.

    Such a row has logits of 0 and unknown targets, so that no metric counts it.
    """
    targets = torch.from_numpy(table.labels[rows])
    if table.features is not None:
        return _score_rows(network, table.features, rows), targets, {}
    scored = list(score(network, [table.image(row) for row in rows.tolist()], batch_size))
    errors = [error for batch in scored for error in batch.errors]
    reasons = {row: error for row, error in zip(rows.tolist(), errors, strict=True) if error}
    logits, unreadable = torch.cat([batch.logits for batch in scored]), [error is not None for error in errors]
    logits[unreadable], targets[unreadable] = 0.0, UNKNOWN
    return logits, targets, reasons


def _score_batch(network: Classifier, sources: list[S], images: list[Tensor | str]) -> ScoredBatch[S]:
    logits = torch.full((len(images), network.architecture.classes), torch.nan)
    readable = [row for row, image in enumerate(images) if isinstance(image, Tensor)]
    if readable:
        logits[readable] = _logits(network, stack([image for image in images if isinstance(image, Tensor)]))
    return ScoredBatch(sources, logits, [image if isinstance(image, str) else None for image in images])


@torch.inference_mode()
def _logits(network: Classifier, inputs: Tensor) -> Tensor:
    was_training = network.training
    network.eval()
    logits: Tensor = network(inputs.to(network.mean.device)).cpu()
    network.train(was_training)
    return logits


def _load(image: Image.Image) -> None:
    with contextlib.suppress(Exception):  # the thread that reads it meets the same error, and says it
        image.load()


def located(path: Path) -> Path | Located:
    """The file, or where it leads: through an archive, to a region of an image."""
    try:
        if path.is_file():
            return path
        folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    except OSError:  # a name that is too long
        return path
    return Located(folder, path.relative_to(folder).as_posix())


def _read(source: Source, size: Size) -> Tensor | str:
    """The image (3, H, W) uint8 at this size, or why there is none."""
    if isinstance(source, str | Path):
        return read_image(located(Path(source)), size)
    if isinstance(source, np.ndarray | Tensor):
        if source.dtype not in (np.uint8, torch.uint8):
            return f"not an image: pixels are {source.dtype}, not uint8"
        pixels = source.cpu().numpy() if isinstance(source, Tensor) else source
        if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4) and pixels.shape[2] not in (1, 3, 4):
            pixels = np.moveaxis(pixels, 0, 2)
        try:
            source = Image.fromarray(pixels.squeeze(2) if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
        except (TypeError, ValueError):
            return f"not an image: shape {pixels.shape}"
    known: object = source  # what a caller gives is not checked by types
    return (
        read_image(source, size)
        if isinstance(known, Path | bytes | Image.Image | Located)
        else f"not an image: {known!r:.40}"
    )

"""Work on some entries at a time, so that the extra memory does not grow with the data."""

from collections.abc import Iterator

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

BLOCK = 1 << 22
"""Entries that are worked on at once, if a function does not say otherwise."""


def class_blocks(*tensors: Tensor, entries: int | None = None) -> Iterator[tuple[Tensor, ...]]:
    """Tensors (..., N, C) as rows (classes, N), with some classes of every leading problem at a time.

    A block has `entries` or fewer, by default `BLOCK`, though one class at least.
    """
    width = max((entries or BLOCK) // max(tensors[0].shape[:-1].numel(), 1), 1)
    for parts in zip(*(tensor.split(width, -1) for tensor in tensors), strict=True):
        yield tuple(part.mT.contiguous().flatten(0, -2) for part in parts)


def join_blocks(blocks: list[Tensor], lead: torch.Size) -> Tensor:
    """What was found for the rows of each block of `class_blocks`, (classes, ...), as (*lead, C, ...)."""
    return torch.cat([block.unflatten(0, (*lead, -1)) for block in blocks], len(lead))


def row_blocks(*rows: Shaped[Tensor, "rows entries"], entries: int | None = None) -> Iterator[tuple[Tensor, ...]]:
    """Views of some columns of every row at a time: `entries` or `BLOCK`, though one column at least."""
    width = max((entries or BLOCK) // max(len(rows[0]), 1), 1)
    return zip(*(row.split(width, 1) for row in rows), strict=True)


def count_positives(targets: Shaped[Tensor, "*shape"], dim: int) -> Int[Tensor, "*rest"]:
    """How many targets along the dimension are positive.

    A sum of truth values is one of a copy in int64, eight times as large as they are.
    """
    width = max(BLOCK * targets.shape[dim] // max(targets.numel(), 1), 1)
    return torch.stack([(part > 0).sum(dim) for part in targets.split(width, dim)]).sum(0)

"""Collected items as rows (index, scores, targets), in RAM and in shards: .npy files that grow.

A shard has one writer and counts only whole batches, so a folder of shards can be read at any time, by anyone.
"""

import os
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from rarecall.errors import DataError
from rarecall.files import replacing

Rows = NDArray[np.void]

SHARD = "*.rows.npy"
BLOCK = 2**24  # bytes that are copied or sent at a time
# How far apart the scores of one item may be: padding that is computed again, in another batch, is rounded otherwise.
RELATIVE, ABSOLUTE = 1e-2, 1e-3
# NumPy has no bfloat16: its bits are kept as integers, which scores never are.
STORED = {torch.float16: "<f2", torch.bfloat16: "<i2", torch.float32: "<f4", torch.float64: "<f8"}


def pack(scores: Tensor, targets: Tensor, numbers: Tensor) -> Rows:
    shape = (scores.shape[1],)
    fields = [("index", "<i8"), ("scores", STORED[scores.dtype], shape), ("targets", "i1", shape)]
    rows = np.zeros(len(scores), np.dtype(fields, align=True))  # aligned, so that a column can be a tensor
    scores = scores.detach().cpu()
    rows["index"] = numbers.cpu().numpy()
    rows["scores"] = (scores.view(torch.int16) if scores.dtype == torch.bfloat16 else scores).numpy()
    rows["targets"] = targets.to("cpu", torch.int8).numpy()
    return rows


def unpack(rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    index = torch.from_numpy(rows["index"]) if is_numbered(rows["index"]) else torch.arange(len(rows))
    return scores_of(rows), torch.from_numpy(rows["targets"]), index


def scores_of(rows: Rows) -> Tensor:
    scores = torch.from_numpy(rows["scores"])
    return scores.view(torch.bfloat16) if scores.dtype == torch.int16 else scores


def in_order(parts: list[Rows], limit: int, folder: Path | None) -> Rows:
    """Each item once, its first copy, in the order of the indices; a warning if later copies are not like it."""
    index = np.concatenate([part["index"] for part in parts])
    first = np.unique(index, return_index=True)[1] if is_numbered(index) else np.arange(len(index))
    if len(parts) == 1 and parts[0].nbytes > limit and np.array_equal(first, np.arange(len(index))):
        return parts[0]  # already a file in order
    place = np.full(len(index), -1)
    place[first] = np.arange(len(first))
    ordered, start = _room(len(first), parts[0].dtype, limit, folder), 0
    numbers, unlike = index[first], np.zeros(len(first), bool)
    for rows in pieces(parts):
        places = place[start : start + len(rows)]
        ordered[places[places >= 0]] = rows[places >= 0]
        start += len(rows)
        again = rows[places < 0]
        original = np.searchsorted(numbers, again["index"])
        unlike[original[_differ(ordered[original], again)]] = True
    if unlike.any():
        warnings.warn(_warning(int(unlike.sum())), UserWarning, stacklevel=3)
    return ordered


def _differ(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Which rows have other scores, beyond what rounding makes of them, or other targets."""
    scores, again = (scores_of(part) for part in (rows, others))
    if scores.dtype.itemsize < 4:
        scores, again = scores.float(), again.float()
    apart = ~torch.isclose(again, scores, rtol=RELATIVE, atol=ABSOLUTE).all(1).numpy()
    return np.asarray(apart | (rows["targets"] != others["targets"]).any(1))


def _warning(count: int) -> str:
    came = "1 item came" if count == 1 else f"{count} items came"
    advice = "give each pass over the data a folder of its own, or call reset()"
    return f"{came} again with other scores or targets, and the first copy stays: {advice}"


def _room(count: int, row_type: np.dtype[np.void], limit: int, folder: Path | None) -> Rows:
    """An array in RAM, or beyond the limit in a file without a name, which goes with the array."""
    size = count * row_type.itemsize
    if size <= limit:
        return np.empty(count, row_type)
    with tempfile.TemporaryFile(dir=folder) as file:
        for start in range(0, size, BLOCK):  # a full disk is an error here, and would be a crash once mapped
            file.write(bytes(min(BLOCK, size - start)))
        file.flush()
        return np.asarray(np.memmap(file, row_type, "r+", shape=(count,)))


def pieces(parts: Iterable[Rows]) -> Iterator[Rows]:
    for part in parts:
        step = max(BLOCK // part.dtype.itemsize, 1)
        yield from (part[start : start + step] for start in range(0, len(part), step))


def is_numbered(index: NDArray[np.int64]) -> bool:
    numbered = index >= 0
    if numbered.any() and not numbered.all():
        raise DataError("some batches came with indices and some without: pass them with all batches or with none")
    return not len(index) or bool(numbered[0])


def classes_of(rows: Rows) -> int:
    return int(rows.dtype["scores"].shape[0])


def type_name(row_type: np.dtype[np.void]) -> str:
    return str(row_type["scores"].base).replace("int16", "bfloat16")


def check_alike(parts: list[Rows], classes: int) -> None:
    kinds = sorted({f"{classes_of(part)} classes in {type_name(part.dtype)}" for part in parts})
    if len(kinds) > 1:
        raise DataError(f"the rows differ: {' and '.join(kinds)}: collect in one type, or in separate folders")
    if parts and classes_of(parts[0]) != classes:
        raise DataError(f"the rows are of {kinds[0]}, not of {classes} classes: pass another folder")


# --- shards -------------------------------------------------------------------------------------------------


def existing(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file: pass a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_shard(folder: Path, rows: Rows) -> Path:
    """A file that no other process writes to; their order is that in which they were begun."""
    shard = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{SHARD[1:]}"
    with replacing(shard) as part, part.open("wb") as file:
        np.save(file, rows)
    return shard


def append_rows(shard: Path, blocks: list[Rows], written: int) -> int:
    """Add rows after those written; they count from the moment that the header, which has room for it, says so."""
    with shard.open("r+b", buffering=0) as file:
        npy.read_magic(file)
        npy.read_array_header_1_0(file)
        file.seek(written * blocks[0].itemsize, os.SEEK_CUR)
        for rows in blocks:
            rows.tofile(file)
            written += len(rows)
        file.seek(0)
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(blocks[0]) | {"shape": (written,)})
    return written


def load_shards(folder: Path) -> list[Rows]:
    """The shards of a folder, in the order in which they were begun."""
    shards = (load_shard(shard) for shard in sorted(folder.glob(SHARD)))
    return [shard for shard in shards if shard is not None]


def load_shard(shard: Path) -> Rows | None:
    """The rows of a shard, or nothing if a `reset` elsewhere has just deleted it."""
    try:
        rows = np.asarray(np.load(shard, mmap_mode="c"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{shard}: cannot be read ({error}): make it readable, or pass another folder") from None
    except (ValueError, EOFError) as error:
        raise DataError(f"{shard}: is damaged ({error}): remove it and collect its items again") from None
    if rows.dtype.names != ("index", "scores", "targets"):
        raise DataError(f"{shard}: holds no collected rows: pass another folder")
    return rows

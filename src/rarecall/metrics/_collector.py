"""Every score of a pass over the data, exactly: in bounded memory, across processes and across restarts.

One item is one row (index, scores, targets). Rows wait in RAM and move to a shard, a .npy file that grows, when
they outgrow the limit, or at once where a folder is given. A shard has one writer and counts only whole batches,
so a folder of shards is the state of every process that writes to it, and nothing has to be locked or repaired.
"""

import copy
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float, Int, Int8, Int64, Shaped
from torch import Tensor
from torchmetrics import Metric

from rarecall.errors import DataError, OptionError, RarecallError, ShapeError, listing, unknown_name
from rarecall.metrics._ranking import mean_average_precision
from rarecall.metrics._rows import (
    SHARD,
    STORED,
    Rows,
    append_rows,
    check_alike,
    classes_of,
    existing,
    in_order,
    is_numbered,
    load_shards,
    new_shard,
    pack,
    pieces,
    type_name,
    unpack,
)  # fmt: skip
from rarecall.metrics._shared import check_inputs

Summary = Callable[[Tensor, Tensor], dict[str, float]]
Figures = dict[str, float] | Float[Tensor, ""]


def mean_average_precisions(scores: Tensor, targets: Tensor) -> dict[str, float]:
    """`map_class` and `map_sample`, the figures that a `Collector` computes unless told otherwise.

    >>> mean_average_precisions(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.eye(2))
    {'map_class': 1.0, 'map_sample': 1.0}
    """
    return {f"map_{way}": float(mean_average_precision(scores, targets, way)) for way in ("class", "sample")}


def _check_number(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise OptionError(f"{name} is {value!r}: it must be a whole number of {least} or more")


class Collector(Metric):
    """Stream batches, end with all scores and targets, exactly; a `torchmetrics.Metric`.

    An item that comes twice, in one process or in several, counts once: the first copy stays, with a warning if
    another one has other targets, or scores that are further off than rounding explains. Items are told apart by
    `indices`. Without them, `items` says how many there are, and the k-th item of process r among W is taken to
    be item r + k·W, as `DistributedSampler(shuffle=False)` deals them out; what lies beyond `items` is its padding.
    With neither, in one process only, every row counts, in the order of arrival.

    Rows and the ordered copy that `collected` makes of them stay in RAM as long as both fit the limit; beyond
    that they are memory-mapped files. With a `folder` every batch is on disk when `update` returns: a new
    collector on the folder has all batches of the processes before it, however they ended (a loss of power
    aside), and all processes of a distributed run must see the same folder. Give each pass over the data a
    folder of its own, or call `reset`, which deletes what the folder holds.

    Where `torch.distributed` runs, `collected` and `compute` are collective: every process calls them and has
    everything, however many rows each has. With a shared folder, make all collectors before one is filled: what
    a collector finds in its folder is deleted by its `reset`.

    Rows stay on the CPU: `.to(device)` moves nothing but the `figure`. They are not part of `state_dict`. A copy
    (`clone`, pickle) has the rows in RAM and sees those in the folder, but owns none of its shards: its `reset`
    deletes only what it has written itself.

    Args:
        classes: number of classes C.
        items: number of items in the data set; an index must be below it.
        memory_limit: bytes; 2**30 is 1 GiB. Sorting takes about 50 bytes an item more.
        folder: where shards are kept; by default a temporary folder, removed with the collector.
        summary: the figures that `compute` gives, from scores (N, C) and targets (N, C).
        figure: name of the one figure that `compute` and `forward` give instead, as a scalar float32 tensor.
        options: those of `torchmetrics.Metric`, such as `sync_on_compute` and `process_group`.

    Raises:
        OptionError: a number that is not whole or out of range.
        DataError: the folder is a file, or holds rows of another number of classes.

    >>> collector = Collector(2)
    >>> collector.update(torch.tensor([[0.2, 0.8]]), torch.tensor([[0, 1]]), torch.tensor([7]))
    >>> collector.update(torch.tensor([[0.9, 0.1]]), torch.tensor([[1, -1]]), torch.tensor([3]))
    >>> collector.collected()[2]
    tensor([3, 7])
    >>> collector.compute()
    {'map_class': 1.0, 'map_sample': 1.0}

    In Lightning, all figures are logged at the end of the epoch, by `self.log_dict(self.collector.compute())`
    followed by `self.collector.reset()`. A collector of one `figure` is logged as any other metric of
    torchmetrics, by `self.log("map", self.collector)` after each `update`; Lightning computes and resets it.

    >>> collector = Collector(2, figure="map_class")
    >>> collector.update(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.eye(2))
    >>> collector.compute()
    tensor(1.)

    Reference: torchmetrics documentation, section on implementing a metric.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self,
        classes: int,
        *,
        items: int | None = None,
        memory_limit: int = 2**30,
        folder: str | Path | None = None,
        summary: Summary = mean_average_precisions,
        figure: str | None = None,
        **options: Any,
    ) -> None:
        _check_number("classes", classes, least=1)
        _check_number("items", 0 if items is None else items, least=0)
        _check_number("memory_limit", memory_limit, least=0)
        super().__init__(**options)
        self.classes, self.items, self.memory_limit = classes, items, memory_limit
        self.summary, self.figure = summary, figure
        self.folder = None if folder is None else existing(Path(folder)).resolve()  # one folder, one spelling
        self._temporary: Path | None = None  # made when rows outgrow the limit and no folder is given
        self._merged: list[Path] = []  # folders of others, read only
        self._shards: list[Path] = [] if self.folder is None else sorted(self.folder.glob(SHARD))  # `reset` deletes
        self._begin()
        parts = self._parts()
        self._row_type: np.dtype[np.void] | None = parts[0].dtype if parts else None

    @classmethod
    def merge(cls, folders: Iterable[str | Path], **options: Any) -> Self:
        """A collector of all that other collectors, in any processes, have put into these folders.

        Args:
            folders: read where they are, neither copied nor changed.
            options: those of `Collector`.

        Raises:
            DataError: a folder without rows or named twice, or folders whose rows differ in classes or type.

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Collector(1, folder=folder).update(torch.tensor([[0.5]]), torch.tensor([[1]]), torch.tensor([4]))
        ...     Collector.merge([folder]).seen()
        tensor([4])
        """
        merged = [Path(folder).resolve() for folder in folders]
        if twice := sorted({str(folder) for folder in merged if merged.count(folder) > 1}):
            raise DataError(f"{listing(twice)}: named twice: pass each folder once")
        rows = [load_shards(folder) for folder in merged]
        empty = [str(folder) for folder, found in zip(merged, rows, strict=True) if not found]
        if empty or not merged:
            where = listing(empty) or "no folder"
            raise DataError(f"{where}: no collected rows there: pass folders that a Collector has written to")
        collector = cls(classes_of(rows[0][0]), **options)
        collector._merged = merged
        collector._row_type = collector._parts()[0].dtype
        return collector

    def update(
        self,
        scores: Float[Tensor, "batch classes"],
        targets: Shaped[Tensor, "batch classes"],
        indices: Int[Tensor, " batch"] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            scores: (B, C) of 16, 32 or 64 bits, kept as they are; the same type in every batch.
            targets: (B, C), 1 present, 0 absent, -1 unknown.
            indices: (B,), the place of each item in the data set.

        Raises:
            ShapeError: with the number of the batch, the first being 1.
            OptionError: no `indices`, where they are needed to tell items apart.
        """
        try:
            check_inputs("scores", scores, targets)
            self._check_scores(scores)
            numbers = self._numbered(len(scores)) if indices is None else self._checked(indices, len(scores))
            rows = pack(scores, targets, numbers)
            self._add(rows if self.items is None else rows[rows["index"] < self.items])
            self._arrived += len(scores) if indices is None else 0  # a refused batch shifts no later one
        except ShapeError as error:
            raise ShapeError(f"batch {self.update_count}: {error}") from None

    def forward(self, scores: Tensor, targets: Tensor, indices: Tensor | None = None) -> Figures:
        """Add a batch and give the figures, or the one `figure`, of this batch alone."""
        self.update(scores, targets, indices)
        figures = self._figures(scores, targets)
        self._forward_cache: Any = figures
        return copy.deepcopy(figures)

    def compute(self) -> Figures:
        """The figures, or the one `figure`, of everything collected; in a distributed run every process calls it.

        Raises:
            OptionError: the summary has no such figure.
            DataError: as `collected`.
        """
        scores, targets, _ = self.collected()
        return self._figures(scores, targets)

    def _figures(self, scores: Tensor, targets: Tensor) -> Figures:
        figures = self.summary(scores, targets)
        if self.figure is None:
            return figures
        if self.figure not in figures:
            raise OptionError(unknown_name("figure", self.figure, figures))
        return torch.tensor(figures[self.figure], dtype=torch.float32, device=self.device)

    def collected(
        self,
    ) -> tuple[Float[Tensor, "items classes"], Int8[Tensor, "items classes"], Int64[Tensor, " items"]]:
        """Everything collected so far, each item once, in the order of the indices, or of arrival without any.

        Returns:
            Scores (N, C) in their own type, targets (N, C) int8 and indices (N,), on the CPU; memory-mapped if
            they exceed the limit. Changes to them are private: files never change.

        Warns:
            UserWarning: items came again with other targets, or with scores beyond 1e-3 + 1e-2 of the first ones.

        Raises:
            DataError: shards that are damaged, that differ in classes or type, or that some process cannot see;
                batches of which only some came with indices.
        """
        parts = self._parts_of_all()
        if not parts:
            return torch.empty(0, self.classes), torch.empty(0, self.classes, dtype=torch.int8), torch.arange(0)
        return unpack(in_order(parts, self.memory_limit // 2, self.folder))

    def seen(self) -> Int64[Tensor, " items"]:
        """Indices, ascending, of the items that are here already: what a loop that is continued can skip.

        With a folder they are those of every process that writes to it. Without indices they count arrivals.
        """
        index = np.concatenate([np.empty(0, np.int64), *(part["index"] for part in self._parts())])
        return torch.from_numpy(np.unique(index)) if is_numbered(index) else torch.arange(len(index))

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the rows of another collector; items that are here already are not counted again.

        Raises:
            OptionError: it is no collector, or one of another number of classes.
            ShapeError: its scores are of another type.
        """
        if not isinstance(incoming_state, Collector):
            raise OptionError(f"merge_state takes a Collector, not a {type(incoming_state).__name__}")
        if incoming_state.classes != self.classes:
            raise OptionError(f"merge_state: {incoming_state.classes} classes into {self.classes}, must be equal")
        self._computed: Any = None
        for rows in pieces(incoming_state._parts(but=self._folders())):  # what is in those is here already
            self._add(rows)

    def reset(self) -> None:
        """Forget everything, and delete the shards of this collector and those it found in its folder.

        A copy has found none, so what others have written to the folder stays, and the copy sees it still.
        """
        super().reset()
        for shard in self._shards:
            shard.unlink(missing_ok=True)
        self._shards, self._merged, self._row_type = [], [], None
        self._begin()

    @property
    def update_called(self) -> bool:
        """Whether there is anything to compute on, from this process or, with a folder, from an earlier one."""
        return super().update_called or bool(self._parts())

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has: the rows in RAM and the folder; it owns no shard and writes to one of its own.

        Raises:
            RarecallError: rows are in a temporary folder, which belongs to one collector.
        """
        if self._shard and not self.folder:
            raise RarecallError("a Collector whose rows exceed memory_limit cannot be copied: give it a folder")
        return super().__getstate__() | {"_shard": None, "_shards": [], "_temporary": None}

    # --- one process ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._blocks: list[Rows] = []
        self._bytes = self._arrived = self._written = 0
        self._shard: Path | None = None

    def _check_scores(self, scores: Tensor) -> None:
        if scores.ndim != 2 or scores.shape[1] != self.classes:
            raise ShapeError(f"scores {tuple(scores.shape)} must be (batch, {self.classes})")
        if scores.dtype not in STORED:
            raise ShapeError(f"scores are {scores.dtype}: pass scores.float()")

    def _checked(self, indices: Any, count: int) -> Tensor:
        numbers = torch.as_tensor(indices)
        if numbers.shape != (count,) or numbers.is_floating_point() or numbers.dtype == torch.bool:
            raise ShapeError(f"indices {tuple(numbers.shape)} of {numbers.dtype} must be ({count},) whole numbers")
        end = torch.iinfo(torch.int64).max if self.items is None else self.items
        wrong = (numbers < 0) | (numbers >= end)
        if wrong.any():
            raise ShapeError(f"the index {numbers[wrong][0].item()} is out of range: it must be from 0 to {end - 1}")
        return numbers

    def _numbered(self, count: int) -> Tensor:
        """Indices for a batch that has none; -1 means that nothing tells the items apart."""
        rank, world = self._place()
        if self.items is None:
            if world > 1:
                raise OptionError("update without indices in a distributed run: pass them, or items= to Collector")
            return torch.full((count,), -1)
        if self.folder:
            raise OptionError("update without indices, but with items and a folder: a continued run needs indices")
        return torch.arange(self._arrived, self._arrived + count) * world + rank

    def _add(self, rows: Rows) -> None:
        if self._row_type and self._row_type != rows.dtype:
            here, before = type_name(rows.dtype), type_name(self._row_type)
            raise ShapeError(f"scores are {here}, those before {before}: pass one type")
        if not len(rows):
            return
        self._row_type = rows.dtype
        self._blocks.append(rows)
        self._bytes += rows.nbytes
        if self.folder or self._bytes > self.memory_limit // 2:
            self._write_or_drop_last()

    def _write_or_drop_last(self) -> None:
        try:
            self._write()
        except Exception:
            self._bytes -= self._blocks.pop().nbytes  # the batch is refused: it must not count when it comes again
            raise

    def _write(self) -> None:
        if not self._shard:
            self._shard, self._written = new_shard(self._home(), self._blocks[0]), len(self._blocks[0])
            self._shards.append(self._shard)
            self._bytes -= self._blocks.pop(0).nbytes
        if self._blocks:
            self._written = append_rows(self._shard, self._blocks, self._written)
        self._blocks, self._bytes = [], 0

    def _home(self) -> Path:
        if self.folder:
            return self.folder
        if not self._temporary:
            self._temporary = Path(tempfile.mkdtemp(prefix="rarecall-"))
            # Unlike weakref.finalize it also runs at the end of a worker process, and never in a fork of this one.
            Finalize(self, shutil.rmtree, (self._temporary, True), exitpriority=0)
        return self._temporary

    def _folders(self) -> list[Path]:
        """Where its shards are, each once."""
        folders = (*self._merged, self.folder, self._temporary)
        return list(dict.fromkeys(folder for folder in folders if folder))

    def _parts(self, but: Collection[Path] = ()) -> list[Rows]:
        """All rows that this process can see, as memory-mapped shards and blocks in RAM, but for some folders."""
        shards = [shard for folder in self._folders() if folder not in but for shard in load_shards(folder)]
        check_alike(shards + self._blocks, self.classes)
        return shards + self._blocks

    # --- several processes ------------------------------------------------------------------------------------

    def _place(self) -> tuple[int, int]:
        """Rank and number of processes."""
        if not self.distributed_available_fn():
            return 0, 1
        return dist.get_rank(self.process_group), dist.get_world_size(self.process_group)

    def _from_all(self, value: Any) -> list[Any]:
        values = [None] * self._place()[1]
        dist.all_gather_object(values, value, group=self.process_group)
        return values

    def _parts_of_all(self) -> list[Rows]:
        if not self.sync_on_compute or self._place()[1] == 1:
            return self._parts()
        return self._parts_in_folder(self.folder) if self.folder else self._parts_sent()

    def _parts_in_folder(self, folder: Path) -> list[Rows]:
        names = self._from_all(self._shard and self._shard.name)  # every process has written by now
        missing = [name for name in names if name and not (folder / name).is_file()]
        parts = [] if missing else self._parts()
        if any(self._from_all(missing)):  # and has opened all by now: a `reset` elsewhere does no harm
            raise DataError(f"{folder}: is not the same folder in all processes: pass one that they share")
        return parts

    def _parts_sent(self) -> list[Rows]:
        """The rows of all processes, block by block, spilled where they exceed the limit."""
        everything = Collector(self.classes, memory_limit=self.memory_limit)
        blocks = pieces(self._parts())
        while received := [rows for rows in self._from_all(next(blocks, None)) if rows is not None]:
            for rows in received:
                everything._add(rows)
        return everything._parts()

"""What a training writes down while it runs."""

from pathlib import Path
from typing import Any

import polars as pl

from rarecall.files import write_bytes
from rarecall.listener import Listener


class Records(Listener):
    """Passes on what a listener is told, and writes it down: history.csv, and logs for TensorBoard."""

    def __init__(self, out: Path, listener: Listener, tensorboard: bool) -> None:
        self.out, self.listener, self.tensorboard = out, listener, tensorboard
        self.writer: Any = None

    def progress(self, what: str, done: int, total: int | None) -> None:
        self.listener.progress(what, done, total)

    def say(self, kind: str, sentence: str) -> None:
        self.listener.say(kind, sentence)

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        if self.writer:
            self.writer.finalize("")

    def epoch(self, history: list[dict[str, float]], best_epoch: int | None, epochs: int, part: str | None) -> None:
        write_history(self.out, history)
        self.listener.epoch(history, best_epoch, epochs, part)

    def log(self, values: dict[str, float], step: int) -> None:
        self.listener.log(values, step)
        if self.tensorboard and self.writer is None:
            from lightning_fabric.loggers import TensorBoardLogger

            # What a killed process logged beyond its last checkpoint is hidden.
            self.writer = TensorBoardLogger(self.out, name="tensorboard", version="", purge_step=step)
        if self.writer:
            self.writer.log_metrics(values, step)


def write_history(out: Path, history: list[dict[str, float]]) -> None:
    """Write history.csv: one row for each epoch."""
    write_bytes(out / "history.csv", pl.DataFrame(history, infer_schema_length=None).write_csv().encode())

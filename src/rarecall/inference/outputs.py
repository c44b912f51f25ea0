"""Predictions as CSV, Parquet or JSON Lines, written a batch at a time and in place in one step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from rarecall.errors import OptionError, unknown_name
from rarecall.files import replacing
from rarecall.inference.predictor import Predictions

Write = Callable[[Predictions], None]
SEPARATOR = "|"  # between the labels of one image in a CSV


@contextmanager
def writing(out: Path, top: int | None = None) -> Iterator[Write]:
    """Write predictions to a file whose suffix says its format; a block that fails leaves nothing behind.

    Every format has `image`, `error` and the decided `labels`. CSV and Parquet then have a column
    `score:<class>` for each class, or `top_1`, `score_1`, … with `top`; JSON Lines has an object `scores`, or a
    list `top`.

    Raises:
        OptionError: a suffix other than .csv, .parquet, .jsonl or .ndjson.
    """
    writer = writer_of(out)
    with replacing(out) as part, writer(part, top) as write:
        yield write


def writer_of(out: Path) -> "Callable[[Path, int | None], _Writer]":
    """What writes this kind of file; tried before any work is done.

    Raises:
        OptionError: a suffix that no format has, or a folder.
    """
    if out.suffix.lower() not in _WRITERS:
        raise OptionError(f"--out {out}: {unknown_name('suffix', out.suffix, _WRITERS)}")
    if out.is_dir():
        raise OptionError(f"--out {out}: is a folder: name a file in it")
    return _WRITERS[out.suffix.lower()]


class _Writer:
    def __init__(self, part: Path, top: int | None) -> None:
        self.top = top
        self.stream = part.open("wb")

    def __enter__(self) -> Write:
        return self.write

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def write(self, predictions: Predictions) -> None:
        raise NotImplementedError


class _Csv(_Writer):
    def write(self, predictions: Predictions) -> None:
        if torn := [name for name in predictions.names if SEPARATOR in name]:
            raise OptionError(f"class {torn[0]!r}: {SEPARATOR} separates labels in a CSV: use .parquet or .jsonl")
        labels = pl.col("labels").list.join(SEPARATOR)
        frame(predictions, self.top).with_columns(labels).write_csv(self.stream, include_header=self.stream.tell() == 0)


class _Parquet(_Writer):
    def __init__(self, part: Path, top: int | None) -> None:
        super().__init__(part, top)
        self.parquet: Any = None

    def write(self, predictions: Predictions) -> None:
        import pyarrow.parquet as pq

        rows = frame(predictions, self.top).to_arrow()
        if self.parquet is None:
            self.parquet = pq.ParquetWriter(self.stream, rows.schema)
        self.parquet.write_table(rows)

    def __exit__(self, *details: object) -> None:
        if self.parquet is not None:
            self.parquet.close()
        super().__exit__(*details)


class _JsonLines(_Writer):
    def write(self, predictions: Predictions) -> None:
        rows = frame(predictions, self.top)
        facts = rows.select("image", "error", "labels")
        if self.top is None:
            scores = pl.DataFrame(predictions.scores, schema=list(predictions.names)).fill_nan(None)
            facts = facts.with_columns(scores.to_struct("scores"))
        else:
            ranked = [[{"label": name, "score": value} for name, value in row] for row in predictions.top(self.top)]
            kind = pl.List(pl.Struct({"label": pl.String, "score": pl.Float32}))
            facts = facts.with_columns(pl.Series("top", ranked, dtype=kind))
        facts.write_ndjson(self.stream)


_WRITERS: dict[str, Callable[[Path, int | None], _Writer]] = {
    ".csv": _Csv, ".parquet": _Parquet, ".jsonl": _JsonLines, ".ndjson": _JsonLines,
}  # fmt: skip


def frame(predictions: Predictions, top: int | None = None) -> pl.DataFrame:
    """One row for each item; scores of what cannot be read are null."""
    facts = pl.DataFrame(
        {"image": predictions.items, "error": predictions.errors, "labels": predictions.labels},
        schema={"image": pl.String, "error": pl.String, "labels": pl.List(pl.String)},
    )
    if top is None:
        names = [f"score:{name}" for name in predictions.names]
        return facts.hstack(pl.DataFrame(predictions.scores, schema=names).fill_nan(None))
    ranked = predictions.top(top)
    columns: dict[str, pl.Series] = {}
    for place in range(min(top, len(predictions.names))):
        pairs = [row[place] if row else (None, None) for row in ranked]
        columns[f"top_{place + 1}"] = pl.Series([name for name, _ in pairs], dtype=pl.String)
        columns[f"score_{place + 1}"] = pl.Series([value for _, value in pairs], dtype=pl.Float32)
    return facts.hstack(pl.DataFrame(columns))

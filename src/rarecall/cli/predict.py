"""`rarecall predict`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rarecall.cli import _options
from rarecall.cli._options import Device, ImageColumn, Images, Run
from rarecall.errors import DataError, OptionError

if TYPE_CHECKING:
    from rarecall.inference import Predictions, Predictor
    from rarecall.inference.outputs import Write
    from rarecall.listener import Listener


def predict(
    run: Run,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...",
            help="Images, folders of them, patterns such as 'shots/*.jpg', or a CSV with a column of paths; for a "
            "model of features an .npz or Parquet file of them.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="A .csv, .parquet or .jsonl file. Default: one line for each image on the terminal."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only the classes with the highest scores.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Decide from this score on. Default: each class's own, fitted on validation."),
    ] = None,
    images: Images = None,
    image_column: ImageColumn = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images that go through the network at once. Default 32; 128 on a GPU.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Predict names, scores and decisions for any number of images.

    What cannot be read is a row with an error, and the others are predicted.

    Example: `rarecall predict run shots/ --out predictions.csv`
    """
    from rarecall.inference import Predictor, outputs
    from rarecall.reports import terminal

    if out is not None:
        outputs.writer_of(out)
        if any(Path(word).resolve() == out.resolve() for word in paths):
            raise OptionError(f"--out {out}: is one of the inputs: name another file")
    predictor = Predictor.load(run, device)
    base = Path(images) if images else None
    done = failed = 0
    reason = ""
    with _output(out, top) as write, terminal.listening(_options.messages) as listener:
        for part in _predictions(predictor, paths, base, image_column, threshold, batch_size, listener):
            write(part)
            errors = [error for error in part.errors if error]
            done, failed, reason = done + len(part), failed + len(errors), reason or next(iter(errors), "")
            listener.progress("images", done, None)
        if failed == done:  # within the block, so that an older file stays
            raise DataError(f"none of the {done:,} images can be read ({reason}): check the paths")
    if failed:
        _options.say("warning", f"{failed:,} of {done:,} cannot be read (the first: {reason}): see their error")
    if out is not None:
        _options.output.print(f"{out}: {done:,} rows written", soft_wrap=True)


def _predictions(
    predictor: "Predictor",
    words: list[str],
    images: Path | None,
    image_column: str | None,
    threshold: float | None,
    batch_size: int | None,
    listener: "Listener",
) -> "Iterator[Predictions]":
    from rarecall.inference.inputs import feature_blocks, image_paths

    if predictor.takes_images:
        yield from predictor.stream(
            image_paths(words, images, image_column, listener), threshold=threshold, batch_size=batch_size
        )
        return
    if images or image_column:
        raise OptionError("--images, --image-column: this model takes features, not images: leave them out")
    for items, features in feature_blocks(words):
        yield predictor.predict_features(features, items, threshold=threshold)


@contextmanager
def _output(out: Path | None, top: int | None) -> "Iterator[Write]":
    from rarecall.inference import outputs

    if out is None:
        yield lambda part: _print(part, top)
        return
    with outputs.writing(out, top) as write:
        yield write


def _print(part: "Predictions", top: int | None) -> None:
    """One line for each item: the decided classes, or the highest, with their scores."""
    ranked = part.top(top or len(part.names))
    for item, pairs, labels, error in zip(part.items, ranked, part.labels, part.errors, strict=True):
        decided = set(labels)
        shown = pairs if top else [(name, score) for name, score in pairs if name in decided]
        words = f"error: {error}" if error else ", ".join(f"{name} {score:.3f}" for name, score in shown) or "–"
        sys.stdout.write(f"{item}: {words}\n")

"""Features of images, computed once: a frozen backbone's output for each image, cached on disk by content.

Images go through in blocks of 256. A block's cache file is named after the contents of its images, the model,
the weights and the preprocessing, so that nothing stale is ever read, a run that is killed loses one block at
most, and images added at the end of a data set cost only themselves.
"""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from rarecall.data.images import read_image
from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing
from rarecall.files import write_bytes
from rarecall.models import Backbone

BLOCK, BATCH = 256, 64
FORMAT = 1  # raised when decoding or pooling changes


def cache_folder() -> Path:
    """`$RARECALL_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("RARECALL_CACHE") or user_cache_path("rarecall"))


def extract(
    table: LabelTable,
    backbone: Backbone,
    *,
    strict: bool = False,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[LabelTable, list[str]]:
    """The table with features in place of images, without the images that cannot be read.

    Args:
        table: a table of images.
        backbone: what computes the features.
        strict: refuse a data set with an unreadable image instead of leaving the image out.
        advance: called with the number of images done.

    Returns:
        The table, and a sentence on what was left out if anything was.

    Raises:
        DataError: no image can be read, or one cannot under `strict`.
    """
    if table.root is None:
        raise DataError(f"{table.source}: has no images")
    paths = [table.root / item for item in table.items]
    rows = []
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        rows.append(_block(block, backbone))
        advance(len(block))
    features = torch.cat(rows).numpy()
    readable = ~np.isnan(features[:, 0])
    notes = _left_out(table, readable, backbone, strict)
    kept = table.select(readable)
    return LabelTable(kept.items, kept.names, kept.labels, kept.split, kept.source, None, features[readable]), notes


def _left_out(table: LabelTable, readable: np.ndarray, backbone: Backbone, strict: bool) -> list[str]:
    bad = [table.items[row] for row in np.flatnonzero(~readable).tolist()]
    if not bad:
        return []
    assert table.root is not None
    reason = read_image(table.root / bad[0], backbone.image_size)
    message = (
        f"{len(bad):,} of {len(table):,} images are missing or unreadable ({listing(bad, 3)}; the first: {reason})"
    )
    if len(bad) == len(table):
        raise DataError(f"{table.root}: {message}: check the folder of the images")
    if strict:
        raise DataError(f"{table.root}: {message}: mend them, or go on without them by leaving out --strict")
    return [message + ": they are left out"]


def _block(paths: list[Path], backbone: Backbone) -> Tensor:
    """Features (N, D) of a block from the cache or computed; a row of NaN is an unreadable image."""
    with ThreadPoolExecutor() as threads:
        contents = list(threads.map(_content, paths))
        key = hashlib.sha256(json.dumps([FORMAT, backbone.description, contents]).encode()).hexdigest()[:32]
        file = cache_folder() / "features" / f"{key}.safetensors"
        if file.is_file():
            try:
                return load_file(file)["features"]
            except (SafetensorError, OSError, KeyError):
                file.unlink()  # a damaged file is as good as none
        images = list(threads.map(lambda path: read_image(path, backbone.image_size), paths))
    readable = [place for place, image in enumerate(images) if isinstance(image, Tensor)]
    computed = [
        backbone.features(torch.stack([image for image in images[start : start + BATCH] if isinstance(image, Tensor)]))
        for start in range(0, len(images), BATCH)
        if any(isinstance(image, Tensor) for image in images[start : start + BATCH])
    ]
    features = torch.full((len(paths), backbone.width), torch.nan)
    if computed:
        features[readable] = torch.cat(computed)
        write_bytes(file, save({"features": features}))
    return features


def _content(path: Path) -> str:
    """A hash of the file's bytes; of nothing for a file that cannot be opened."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""

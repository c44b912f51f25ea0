"""Features of images, computed once: a frozen backbone's output for each image, cached on disk by content.

Images go through in blocks of 256. A block's cache file is named after the contents of its images, the model,
the weights and the preprocessing, so that nothing stale is ever read, a run that is killed loses one block at
most, and images added at the end of a data set cost only themselves.
"""

import hashlib
import json
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from rarecall.data.table import LabelTable
from rarecall.errors import DataError, listing
from rarecall.files import write_bytes
from rarecall.images.containers import Located, UnreadableItem
from rarecall.images.decoding import read_image, stack
from rarecall.listener import Listener
from rarecall.models import Backbone

BLOCK, BATCH = 256, 64
FORMAT = 3  # raised when decoding or pooling changes


def cache_folder() -> Path:
    """`$RARECALL_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("RARECALL_CACHE") or user_cache_path("rarecall"))


def extract(
    table: LabelTable,
    backbone: Backbone,
    listener: Listener | None = None,
    *,
    strict: bool = False,
) -> tuple[LabelTable, LabelTable, list[str]]:
    """The table without the images that cannot be read, the same with features in place of them, and what is lost.

    Args:
        table: a table of images.
        backbone: what computes the features.
        listener: is told how many images are done.
        strict: refuse a data set with an unreadable image instead of leaving the image out.

    Returns:
        Images, features, and a sentence on what was left out if anything was.

    Raises:
        DataError: no image can be read, or one cannot under `strict`.
    """
    if table.root is None:
        raise DataError(f"{table.source}: has no images")
    paths = table.images()
    blocks: list[Tensor] = []
    reasons: dict[int, str] = {}
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large is no reason to worry a user
            computed, unreadable = _block(block, backbone)
        blocks.append(computed)
        reasons |= {start + row: reason for row, reason in unreadable.items()}
        (listener or Listener()).progress("features", min(start + BLOCK, len(paths)), len(paths))
    notes = _left_out(table, reasons, strict)
    readable = np.ones(len(table), bool)
    readable[list(reasons)] = False
    kept = table.select(readable)
    return kept, replace(kept, root=None, features=torch.cat(blocks).numpy()[readable]), notes


def without_unreadable(
    table: LabelTable, *, strict: bool = False, decode: bool = False
) -> tuple[LabelTable, list[str]]:
    """The table without the images that are not there, and a sentence on them.

    Args:
        table: a table of images.
        strict: refuse such a data set; every image is then read in full.
        decode: leave out what cannot be read, too, which takes the time to read every image.

    Raises:
        DataError: there is no image at all, or one cannot be read under `strict`.
    """
    assert table.root is not None
    paths = table.images()
    if strict or decode:
        with ThreadPoolExecutor() as threads, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            found = list(threads.map(_why_unreadable, paths))
    else:
        found = [None if path.exists() else "no such file" for path in paths]
    reasons = {row: reason for row, reason in enumerate(found) if reason}
    notes = _left_out(table, reasons, strict)
    readable = np.ones(len(table), bool)
    readable[list(reasons)] = False
    return table.select(readable), notes


def _why_unreadable(path: Located) -> str | None:
    image = read_image(path, (8, 8))
    return image if isinstance(image, str) else None


def _left_out(table: LabelTable, reasons: dict[int, str], strict: bool) -> list[str]:
    if not reasons:
        return []
    bad = [table.items[row] for row in reasons]
    first = next(iter(reasons.values()))
    message = f"{len(bad):,} of {len(table):,} images are missing or unreadable ({listing(bad, 3)}; the first: {first})"
    if len(bad) == len(table):
        raise DataError(f"{table.root}: {message}: check the folder of the images")
    if strict:
        raise DataError(f"{table.root}: {message}: mend them, or go on without them by leaving out --strict")
    return [message + ": they are left out"]


def _block(paths: list[Located], backbone: Backbone) -> tuple[Tensor, dict[int, str]]:
    """Features (N, D) of a block, from the cache or computed, and why rows of NaN could not be read."""
    with ThreadPoolExecutor() as threads:
        contents = list(threads.map(_content, paths))
        key = hashlib.sha256(
            json.dumps([FORMAT, backbone.description, backbone.device.type, contents]).encode()
        ).hexdigest()[:32]
        file = cache_folder() / "features" / f"{key}.safetensors"
        cached = _cached(file)
        if cached is not None:
            # What could not be read once is tried again: a disk may have failed for a moment.
            again = {row: read_image(paths[row], backbone.image_size) for row in _rows_of_nan(cached)}
            reasons = {row: reason for row, reason in again.items() if isinstance(reason, str)}
            if len(reasons) == len(again):
                return cached, reasons
        images = list(threads.map(lambda path: read_image(path, backbone.image_size), paths))
    features = torch.full((len(paths), backbone.width), torch.nan)
    readable = [(row, image) for row, image in enumerate(images) if isinstance(image, Tensor)]
    for start in range(0, len(readable), BATCH):
        rows, batch = zip(*readable[start : start + BATCH], strict=True)
        features[list(rows)] = backbone.features(stack(batch))
    if readable:
        write_bytes(file, save({"features": features}))
    return features, {row: reason for row, reason in enumerate(images) if isinstance(reason, str)}


def _cached(file: Path) -> Tensor | None:
    """The block in the file; a damaged file is as good as none."""
    try:
        return load_file(file)["features"] if file.is_file() else None
    except (SafetensorError, OSError, KeyError):
        return None


def _rows_of_nan(features: Tensor) -> list[int]:
    rows: list[int] = torch.nonzero(features[:, 0].isnan())[:, 0].tolist()
    return rows


def _content(image: Located) -> str:
    """A hash of the image's bytes and region; of nothing for one that cannot be opened."""
    try:
        return hashlib.sha256(image.digestible()).hexdigest()
    except (OSError, UnreadableItem):
        return ""

"""Small pictures of items, as they stand inside a page."""

import base64
import io
import warnings

import numpy as np
from PIL import Image

from rarecall.data.table import LabelTable
from rarecall.images.decoding import decode

LARGEST = (130, 110)  # width and height; smaller pictures stay as they are, and the style sheet enlarges them
QUALITY = 75
CANVAS = 72  # the least height of a canvas of pixels


def thumbnail(table: LabelTable, row: int) -> str | None:
    """A small JPEG in base64 of an image or a pixel canvas; None where there is nothing to see."""
    image = _of_image(table, row) if table.features is None else _of_features(table.features[row])
    if image is None:
        return None
    image.thumbnail(LARGEST)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()


def _of_image(table: LabelTable, row: int) -> Image.Image | None:
    """The image; None of one that cannot be read any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = decode(table.image(row), LARGEST)
    return None if isinstance(image, str) else image


def _of_features(features: np.ndarray) -> Image.Image | None:
    """A canvas of pixels in grey; None of features that are no picture."""
    if features.ndim != 3 or features.shape[0] != 1:
        return None
    pixels = features[0]
    spread = max(float(np.ptp(pixels)), 1e-6)
    grey = (255 * (pixels - pixels.min()) / spread).astype(np.uint8)
    times = max(CANVAS // grey.shape[0], 1)
    return Image.fromarray(grey.repeat(times, 0).repeat(times, 1))

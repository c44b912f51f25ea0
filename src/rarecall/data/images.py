"""Decoding images: any file to one uint8 RGB tensor of a given size."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms


def read_image(path: Path, size: tuple[int, int]) -> Tensor | str:
    """The image (3, H, W) uint8 resized to `size`, upright as its EXIF says; or why it cannot be read.

    The first frame stands for an animation, transparency is dropped, and 16-bit levels become 8-bit ones.
    Pillow decodes: it outlives torchvision's own decoders, which are deprecated since 0.29.
    """
    if not path.is_file():
        return "no such file"
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if "transparency" in upright.info:
                upright = upright.convert("RGBA")
            image = _eight_bits(upright).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"not a readable image ({type(error).__name__})"
    resized: Tensor = transforms.resize(
        transforms.pil_to_tensor(image), list(size), interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    return resized


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey levels brought to 8 bits by their range, which `convert` would cut off at 255."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    if not image.mode.startswith("I"):
        return image
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise ValueError("32-bit pixels have no known range")
    return Image.fromarray((pixels >> 8).astype(np.uint8))

"""Decoding images: any file to one uint8 RGB tensor of a given size."""

import warnings
from pathlib import Path

from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms


def read_image(path: Path, size: tuple[int, int]) -> Tensor | str:
    """The image (3, H, W) uint8 resized to `size`, upright as its EXIF says; or why it cannot be read.

    The first frame stands for an animation, and transparency is dropped. Pillow decodes: it outlives
    torchvision's own decoders, which are deprecated since 0.29, and reads more formats.
    """
    if not path.is_file():
        return "no such file"
    try:
        with warnings.catch_warnings(), Image.open(path) as opened:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"not a readable image ({type(error).__name__})"
    resized: Tensor = transforms.resize(
        transforms.pil_to_tensor(image), list(size), interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    return resized

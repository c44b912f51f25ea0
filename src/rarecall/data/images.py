"""Decoding images: any file to one uint8 RGB tensor of a given size."""

from pathlib import Path

from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms


def read_image(path: Path, size: tuple[int, int]) -> Tensor | str:
    """The image (3, H, W) uint8 resized to `size`, upright as its EXIF says; or why it cannot be read."""
    try:
        image = decode_image(str(path), mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except FileNotFoundError:
        return "no such file"
    except (RuntimeError, ValueError, OSError) as error:
        return f"cannot be decoded ({_first_line(error)})"
    if image.ndim == 4:  # an animation: its first frame
        image = image[0]
    resized: Tensor = transforms.resize(image, list(size), interpolation=InterpolationMode.BICUBIC, antialias=True)
    return resized


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:100]



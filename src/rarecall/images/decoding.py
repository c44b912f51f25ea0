"""Decoding images: anything that is one to uint8 RGB, and a reason for everything else.

Whatever a file holds has one defined result: it is read upright as its EXIF says; the first frame stands for
an animation; transparency is laid over white; 16-bit levels become 8-bit ones by their range; CMYK and palettes
become RGB. What is truncated, empty, no image, or larger than 179 million pixels cannot be read.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from rarecall.images.containers import Box, Located, UnreadableItem, crop, split_region

if TYPE_CHECKING:  # reading labels takes neither of PyTorch's packages, which take seconds to import
    from torch import Tensor

Size = tuple[int, int]  # height and width
Draw = Callable[[Size], Box]  # which part of an image of this size: left, top, width and height in its pixels
Picture = Path | bytes | Image.Image | Located
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".jfif",
        ".jp2",
        ".avif",
        ".heic",
        ".heif",
    )
)
# A JPEG is decoded at a half, a quarter or an eighth of its size where that leaves this many pixels for each
# that is wanted, in each direction: faster for photos, and no visible difference.
SPARE = 2
_SIDEWAYS = range(5, 9)  # of EXIF's orientations: as stored, height and width have changed places


def whole(size: Size) -> Box:
    """All of an image of this size."""
    height, width = size
    return 0, 0, width, height


def read_image(source: Picture, size: Size, draw: Draw = whole) -> "Tensor | str":
    """The image, or the part that `draw` names, (3, H, W) uint8 resized to `size`; or why it cannot be read."""
    image = decode(source, size, draw)
    return image if isinstance(image, str) else resize(image, size)


def decode(source: Picture, size: Size, draw: Draw = whole) -> Image.Image | str:
    """A part of the image or of its region, upright in 8-bit RGB; or why there is none.

    Pillow decodes: it outlives torchvision's own decoders, which are deprecated since 0.29.

    Args:
        source: where the image is, or its bytes.
        size: the height and width that the part will be resized to; a large JPEG comes with fewer pixels than it
            has, but enough for these.
        draw: given the height and width of the upright image or its region, which part; default: all of it. It is
            called once, and not for what has no readable header.
    """
    box = None
    if isinstance(source, Located):
        _, box = split_region(source.item)
        try:
            source = source.open()
        except UnreadableItem as error:
            return str(error)
    if isinstance(source, Path) and (missing := _missing(source)):
        return missing
    try:
        if isinstance(source, Image.Image):
            return _part(to_rgb(source), box, draw)
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as opened:
            if box is None and isinstance(opened, JpegImageFile):
                return _part_of_jpeg(opened, size, draw)
            return _part(to_rgb(opened), box, draw)
    except MemoryError:
        raise
    except UnreadableItem as error:
        return str(error)
    except Image.DecompressionBombError:
        return "too large (over 179 million pixels)"
    except Exception as error:  # noqa: BLE001 - on damaged bytes decoders raise errors of every kind
        return f"not a readable image ({_reason(error, source)})"


def _part(image: Image.Image, box: Box | None, draw: Draw) -> Image.Image:
    """What is drawn of a region of an image, or of all of it."""
    if box is not None:
        image = crop(image, box)
    return crop(image, draw((image.height, image.width)))


def _part_of_jpeg(file: JpegImageFile, size: Size, draw: Draw) -> Image.Image:
    """What is drawn of a JPEG that is not decoded yet, at the least scale that leaves the spare pixels.

    At a smaller scale its edges are those of the nearest pixels: less than one wanted pixel off.
    """
    stored = file.size
    sideways = file.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS
    width, height = stored[::-1] if sideways else stored
    box = draw((height, width))
    scale = max(1, min(box[2:]) // (SPARE * max(size)))
    file.draft("RGB", (stored[0] // scale, stored[1] // scale))  # the next of 1/1, 1/2, 1/4 and 1/8 that is no smaller
    image = to_rgb(file)
    across, down = image.width / width, image.height / height
    left, right = (round(across * edge) for edge in (box[0], box[0] + box[2]))
    top, bottom = (round(down * edge) for edge in (box[1], box[1] + box[3]))
    return crop(image, (left, top, right - left, bottom - top))


def _missing(path: Path) -> str:
    """Why there is no file, if there is none."""
    try:
        if path.is_file():
            return ""
        return "is a folder" if path.is_dir() else "no such file"
    except OSError as error:  # a name that is too long, a folder that may not be entered
        return f"no such file ({type(error).__name__})"


def _reason(error: Exception, source: Path | bytes | Image.Image) -> str:
    """Words for a user in place of what a decoder raises."""
    if isinstance(error, UnidentifiedImageError):
        content = source
        if isinstance(source, Path):
            with contextlib.suppress(OSError), source.open("rb") as stream:
                content = stream.read(1)
        return "an empty file" if content == b"" else "of no known format"
    if isinstance(error, PixelRangeError):
        return str(error)
    return "truncated" if "truncated" in str(error) else f"damaged: {type(error).__name__}"


class PixelRangeError(ValueError):
    """Pixels whose range is unknown."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Upright 8-bit RGB, transparency laid over white.

    Raises:
        PixelRangeError: pixels of 32 bits, whose range is unknown.
    """
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):  # PPM's 16 bits come as 32
        raise PixelRangeError("32-bit pixels have no known range")
    ImageOps.exif_transpose(image, in_place=True)  # a copy would cost a tenth of the decoding
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    image = _eight_bits(image)
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def resize(image: Image.Image, size: Size) -> "Tensor":
    """The image (3, H, W) uint8 of this size, bicubic and antialiased; its proportions are not kept."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as transforms

    resized: Tensor = transforms.resize(
        to_tensor(image), list(size), interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    return resized


def to_tensor(image: Image.Image) -> "Tensor":
    """The pixels (3, H, W) uint8 of an RGB image, channels last in memory, which resizing is fastest with."""
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def stack(images: "Sequence[Tensor]") -> "Tensor":
    """Images (3, H, W) as one batch (N, 3, H, W), channels last in memory, which convolutions are fastest with."""
    import torch

    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey levels brought to 8 bits by their range, which `convert` would cut off at 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))

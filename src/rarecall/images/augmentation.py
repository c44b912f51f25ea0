"""Random changes of training images, by preset; each image's are found again by seed, epoch and row."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from rarecall.images.containers import Box
from rarecall.images.decoding import Draw, Picture, Size, read_image, whole

if TYPE_CHECKING:  # importing it takes as long as importing all else
    from torchvision.transforms import v2

# The least share of an image's area in a crop, and how far a crop's proportions may differ from the image's.
# The pedestrian paper names its augmentations and gives no ranges but the rotation's; smaller crops would cut
# off the shoes or the hat that a label speaks of.
LEAST_AREA, PROPORTION = 0.6, 4 / 3
LEAST_SIDE, MOST_LEVELS = 0.8, 32  # of VOC-LT by Wu et al.


class Preset(NamedTuple):
    """What is random in an image, in two steps, so that the part is known before a large one is decoded.

    Attributes:
        draw: which part is kept.
        change: what becomes of that part (3, H, W) uint8, which has the wanted size by then.
    """

    draw: Draw
    change: Callable[[Tensor], Tensor]


def _random_crop(size: Size, law: "v2.RandomResizedCrop") -> Box:
    """A part of random area and proportions; the law's own size is of no matter."""
    found = law.make_params([torch.empty(0, *size)])
    return found["left"], found["top"], found["width"], found["height"]


@cache
def _imagenet() -> "v2.RandomResizedCrop":
    from torchvision.transforms import v2

    return v2.RandomResizedCrop(1, scale=(0.08, 1.0))


def _much_or_little(size: Size) -> Box:
    """8 % to all of the area: how ImageNet is trained (Szegedy et al., 2015)."""
    return _random_crop(size, _imagenet())


def _most(size: Size) -> Box:
    """A part of nearly the image's proportions."""
    from torchvision.transforms import v2

    proportion = size[1] / size[0]
    ratio = proportion / PROPORTION, proportion * PROPORTION
    return _random_crop(size, v2.RandomResizedCrop(1, scale=(LEAST_AREA, 1.0), ratio=ratio))


def _sides_cut(size: Size) -> Box:
    """Each side cut to 0.8 of its length or more."""
    shares = torch.empty(2).uniform_(LEAST_SIDE, 1.0)
    width, height = (max(1, round(share * side)) for share, side in zip(shares.tolist(), size[::-1], strict=True))
    left = int(torch.randint(size[1] - width + 1, ()))
    top = int(torch.randint(size[0] - height + 1, ()))
    return left, top, width, height


def _as_it_is(image: Tensor) -> Tensor:
    return image


def _flip(image: Tensor) -> Tensor:
    """Flipped or not."""
    return image.flip(-1) if torch.rand(()) < 0.5 else image


def _translate(image: Tensor) -> Tensor:
    """Moved by up to an eighth of each side, with black where nothing was, flipped or not: CIFAR's usual 4 of 32."""
    from torchvision.transforms import v2

    height, width = image.shape[-2:]
    return _flip(v2.RandomCrop((height, width), padding=[width // 8, height // 8])(image))


def _brighten(image: Tensor) -> Tensor:
    """Up to 32 levels more or less for all pixels, with probability 1/2."""
    if torch.rand(()) < 0.5:
        return image
    levels = round(float(torch.empty(()).uniform_(-MOST_LEVELS, MOST_LEVELS)))
    return (image.to(torch.int16) + levels).clamp_(0, 255).to(torch.uint8)


@cache
def _turns_and_colours() -> "v2.Compose":
    from torchvision.transforms import v2

    turn = v2.RandomRotation((-15, 15), interpolation=v2.InterpolationMode.BILINEAR)
    colour = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05)
    return v2.Compose([v2.RandomHorizontalFlip(), turn, colour])


def _rotate_and_colour(image: Tensor) -> Tensor:
    """Flipped or not, rotated by up to 15° and changed in colour."""
    changed: Tensor = _turns_and_colours()(image)
    return changed


@cache
def _distortions() -> "v2.Compose":
    from torchvision.transforms import v2

    distort = v2.RandomPhotometricDistort(
        brightness=(1.0, 1.0), contrast=(0.5, 1.5), saturation=(0.5, 1.5), hue=(-0.05, 0.05)
    )
    return v2.Compose([v2.Lambda(_brighten), distort, v2.RandomHorizontalFlip()])


def _photometric_and_flip(image: Tensor) -> Tensor:
    """32 levels, 18° of hue and swapped channels, each with probability 1/2: how Wu et al. train VOC-LT.

    Their levels are added; torchvision's brightness would multiply.
    """
    changed: Tensor = _distortions()(image)
    return changed


PRESETS: dict[str, Preset] = {
    "none": Preset(whole, _as_it_is),
    "plain": Preset(whole, _flip),
    "pedestrian": Preset(_most, _rotate_and_colour),
    "photometric": Preset(_sides_cut, _photometric_and_flip),
    "translate": Preset(whole, _translate),
    "crop": Preset(_much_or_little, _flip),
}


def augment(preset: str, source: Picture, size: Size, seed: int) -> Tensor | str:
    """The image (3, H, W) uint8 at this size as the preset and the seed change it; or why it cannot be read."""
    draw, change = PRESETS[preset]
    before = torch.get_rng_state()  # by hand: fork_rng takes as long as resizing a small image
    torch.default_generator.manual_seed(seed)
    try:
        image = read_image(source, size, draw)
        return image if isinstance(image, str) else change(image)
    finally:
        torch.set_rng_state(before)

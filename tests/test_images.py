"""Images as they come: whatever a file holds has one defined result."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rarecall.data.augmentation import PRESETS, augment
from rarecall.data.images import decode, read_image

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)
Make = Callable[[Path], None]


def solid(colour: tuple[int, int, int], size: tuple[int, int] = (30, 20)) -> Image.Image:
    """One colour; size is width and height."""
    return Image.new("RGB", size, colour)


def _turned(path: Path) -> None:
    """Red above blue as stored; red on the right once the camera's turn by a quarter is undone."""
    image = Image.new("RGB", (40, 20), BLUE)
    image.paste(RED, (0, 0, 40, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif, quality=100)


def _animation(path: Path) -> None:
    solid(RED).save(path, "GIF", save_all=True, append_images=[solid(BLUE)])


def _alpha(path: Path) -> None:
    """Half transparent, with blue hidden below: only the opaque red counts."""
    image = Image.new("RGBA", (30, 20), (*BLUE, 0))
    image.paste((*RED, 255), (0, 0, 15, 20))
    image.save(path, "PNG")


def _palette_with_transparency(path: Path) -> None:
    image = Image.new("P", (30, 20), 1)
    image.putpalette([*RED, *BLUE])
    image.paste(0, (0, 0, 15, 20))
    image.save(path, "PNG", transparency=1)


def _truncated(path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(buffer, "JPEG")
    path.write_bytes(buffer.getvalue()[:3000])


def _grey16(path: Path) -> None:
    Image.fromarray(np.full((20, 30), 0x8000, np.uint16)).save(path, "PNG")


READABLE: dict[str, tuple[Make, tuple[int, int, int], tuple[int, int, int]]] = {
    # name: how it is made, the colour of its left and of its right half
    "rgb.png": (lambda path: solid(RED).save(path), RED, RED),
    "one pixel.png": (lambda path: solid(RED, (1, 1)).save(path), RED, RED),
    "wide.png": (lambda path: solid(RED, (20_000, 30)).save(path), RED, RED),
    "tall.jpg": (lambda path: solid(RED, (30, 20_000)).save(path, quality=100), RED, RED),
    "cmyk.jpg": (lambda path: solid(RED).convert("CMYK").save(path, quality=100), RED, RED),
    "grey.png": (lambda path: Image.new("L", (30, 20), 128).save(path), (128,) * 3, (128,) * 3),
    "bilevel.png": (lambda path: Image.new("1", (30, 20), 1).save(path), WHITE, WHITE),
    "16 bits.png": (_grey16, (128,) * 3, (128,) * 3),
    "palette.png": (lambda path: solid(RED).convert("P").save(path), RED, RED),
    "palette with transparency.png": (_palette_with_transparency, RED, WHITE),
    "alpha.png": (_alpha, RED, WHITE),
    "animation.gif": (_animation, RED, RED),
    "turned.jpg": (_turned, BLUE, RED),
    "wrong suffix.png": (lambda path: solid(RED).save(path, "BMP"), RED, RED),
}
UNREADABLE: dict[str, tuple[Make, str]] = {
    "empty.jpg": (lambda path: path.write_bytes(b""), "not a readable image (an empty file)"),
    "text.jpg": (lambda path: path.write_text("this is no image"), "not a readable image (of no known format)"),
    "truncated.jpg": (_truncated, "not a readable image (truncated)"),
    "float.tiff": (
        lambda path: Image.new("F", (30, 20), 0.5).save(path),
        "not a readable image (32-bit pixels have no known range)",
    ),
    "32 bits.tiff": (lambda path: Image.new("I", (30, 20), 300).save(path), "not a readable image (32-bit"),
    "folder.jpg": (lambda path: path.mkdir(), "is a folder"),
    "missing.jpg": (lambda _: None, "no such file"),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_can_be_read_has_its_colours_and_size(name: str, tmp_path: Path) -> None:
    make, left, right = READABLE[name]
    make(tmp_path / name)
    image = read_image(tmp_path / name, (16, 24))
    assert isinstance(image, torch.Tensor), image
    assert (image.shape, image.dtype) == ((3, 16, 24), torch.uint8)
    for half, colour in ((image[:, :, :8], left), (image[:, :, 16:], right)):
        assert half.float().mean((1, 2)).tolist() == pytest.approx(colour, abs=4)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_says_why(name: str, tmp_path: Path) -> None:
    make, reason = UNREADABLE[name]
    make(tmp_path / name)
    found = read_image(tmp_path / name, (16, 24))
    assert isinstance(found, str)
    assert found.startswith(reason)


def test_levels_of_16_bits_keep_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray((ramp >> 8).astype(np.uint8)).save(tmp_path / "flat.png")
    deep, flat = (read_image(tmp_path / name, (16, 16)) for name in ("deep.png", "flat.png"))
    assert isinstance(deep, torch.Tensor)
    assert torch.equal(deep, flat)  # type: ignore[arg-type]


def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert read_image(tmp_path / "bomb.png", (16, 16)) == "too large (over 179 million pixels)"


@given(position=st.integers(0, 10**6), byte=st.integers(0, 255), kind=st.sampled_from(["JPEG", "PNG", "GIF", "TIFF"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_is_an_image_or_a_reason(position: int, byte: int, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(40 * 30 * 3, dtype=np.uint8).reshape(40, 30, 3)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    content[position % len(content)] = byte
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as everywhere that decodes
        found = read_image(bytes(content), (8, 8))
    assert isinstance(found, str) or found.shape == (3, 8, 8)


def test_a_large_jpeg_is_decoded_smaller_with_no_visible_difference() -> None:
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
        (1600, 1200)
    )
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG", quality=95)
    smaller, whole = decode(buffer.getvalue(), (64, 64)), decode(buffer.getvalue(), (1200, 1600))
    assert isinstance(smaller, Image.Image)
    assert isinstance(whole, Image.Image)
    assert max(smaller.size) < 400 < max(whole.size)
    difference = read_image(buffer.getvalue(), (64, 64)).int() - _resized(whole)  # type: ignore[union-attr]
    assert difference.abs().float().mean() < 1


def _resized(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC)).copy()).permute(2, 0, 1).int()


@pytest.mark.parametrize("preset", PRESETS)
def test_augmentation_depends_on_its_seed_alone(preset: str) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 40, 3), dtype=np.uint8))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = augment(preset, image, (32, 16), seed=1)
    torch.rand(3)
    again = augment(preset, image, (32, 16), seed=1)
    others = [augment(preset, image, (32, 16), seed=seed) for seed in range(2, 12)]
    torch.manual_seed(5)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (first.shape, first.dtype) == ((3, 32, 16), torch.uint8)
    assert torch.equal(first, again)
    assert all(torch.equal(first, other) for other in others) == (preset == "none")

"""Images as they come: whatever a file holds has one defined result."""

import io
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision import transforms

from rarecall.audit.copies import find_copies
from rarecall.data import LabelTable
from rarecall.images.augmentation import PRESETS, augment
from rarecall.images.containers import Located
from rarecall.images.decoding import SPARE, decode, read_image, resize
from rarecall.seeds import AUGMENTATION, stream
from rarecall.training import recipe_for
from rarecall.training.loading import Batches

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


def _photo(width: int = 1600, height: int = 1200) -> Image.Image:
    """Shapes of all sizes, from a twelfth of the image to a few pixels: the smaller, the fainter, as in photos."""
    random, levels = np.random.default_rng(2), np.full((height, width, 3), 127.5)
    for cells, contrast in ((12, 60), (40, 40), (130, 25), (400, 15)):
        noise = random.integers(-127, 128, (cells * height // width, cells, 3)) * contrast / 127 + 127.5
        coarse = Image.fromarray(noise.astype(np.uint8))
        levels += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) - 127.5
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


PHOTO = _photo()


def _jpeg(image: Image.Image, orientation: int = 1) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image.save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def _levels(image: torch.Tensor | str) -> torch.Tensor:
    assert isinstance(image, torch.Tensor), image
    return image.float()


def _sharpness(image: torch.Tensor) -> float:
    return float((image[:, :, 1:] - image[:, :, :-1]).abs().mean() + (image[:, 1:] - image[:, :-1]).abs().mean())


def _assert_alike(found: torch.Tensor | str, wanted: torch.Tensor | str) -> None:
    """As good as the same picture: as sharp, and nothing moved but by a part of a pixel."""
    levels, reference = _levels(found), _levels(wanted)
    assert (levels - reference).abs().mean() < 3
    assert _sharpness(levels) == pytest.approx(_sharpness(reference), rel=0.04)


@pytest.mark.parametrize("share", [0.08, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("side", [64, 224])
def test_a_crop_of_a_large_jpeg_is_as_sharp_as_if_all_of_it_were_decoded(share: float, side: int) -> None:
    content = _jpeg(PHOTO)
    width, height = (round(share**0.5 * length) for length in PHOTO.size)
    left, top = (1600 - width) // 3, (1200 - height) // 3
    with Image.open(io.BytesIO(content)) as opened:
        reference = resize(opened.crop((left, top, left + width, top + height)), (side, side))
    found = read_image(content, (side, side), lambda _: (left, top, width, height))
    _assert_alike(found, reference)


def test_a_small_crop_from_what_is_decoded_for_the_whole_would_be_blurred() -> None:
    """Which is why the crop is drawn first; and the limits above are narrow enough to see it."""
    smaller = decode(_jpeg(PHOTO), (64, 64))
    assert isinstance(smaller, Image.Image)
    assert smaller.size == (200, 150)
    blurred, wanted = (
        _levels(resize(image.crop((side, side, 2 * side, 2 * side)), (64, 64)))
        for image, side in ((smaller, 50), (PHOTO, 400))
    )
    assert _sharpness(blurred) < 0.9 * _sharpness(wanted)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [(224, 224), (96, 48)])
def test_a_large_jpeg_is_augmented_like_its_pixels(preset: str, size: tuple[int, int]) -> None:
    content = _jpeg(PHOTO)
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        for seed in range(6):
            _assert_alike(augment(preset, content, size, seed), augment(preset, opened, size, seed))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_large_jpeg_is_decoded_at_the_smallest_scale_that_its_crop_allows(preset: str) -> None:
    content, drawn = _jpeg(Image.new("RGB", (3200, 2400))), []

    def draw(size: tuple[int, int]) -> tuple[int, int, int, int]:
        drawn.append(PRESETS[preset].draw(size))
        return drawn[-1]

    for seed in range(8):
        torch.manual_seed(seed)
        image = decode(content, (112, 112), draw)
        assert isinstance(image, Image.Image)
        assert SPARE * 112 <= min(image.size) < 2 * SPARE * 112 + 1  # at half the scale it would be too few
        assert image.width / image.height == pytest.approx(drawn[-1][2] / drawn[-1][3], rel=0.01)
    assert len(drawn) == 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_is_drawn_from_the_upright_image(orientation: int) -> None:
    content, sizes = _jpeg(PHOTO, orientation), []

    def draw(size: tuple[int, int]) -> tuple[int, int, int, int]:
        sizes.append(size)
        return 100, 300, 960, 640

    found = read_image(content, (64, 96), draw)
    with Image.open(io.BytesIO(content)) as opened:
        upright = ImageOps.exif_transpose(opened)
    assert sizes == [(upright.height, upright.width)]
    assert (upright.width < upright.height) == (orientation >= 5)
    _assert_alike(found, resize(upright.crop((100, 300, 1060, 940)), (64, 96)))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
def test_a_part_is_drawn_from_the_item_s_region(suffix: str, tmp_path: Path) -> None:
    sizes, turned = [], Image.Exif()
    turned[0x0112] = 8
    PHOTO.resize((400, 300)).save(tmp_path / f"a.{suffix}", quality=95, exif=turned)
    whole = decode(tmp_path / f"a.{suffix}", (400, 400))
    assert isinstance(whole, Image.Image)
    assert whole.size == (300, 400)

    def draw(size: tuple[int, int]) -> tuple[int, int, int, int]:
        sizes.append(size)
        return 10, 20, 64, 32

    for item, left, top, size in (("", 0, 0, (400, 300)), ("#xywh=100,250,500,100", 100, 250, (100, 200))):
        found = read_image(Located(tmp_path, f"a.{suffix}{item}"), (32, 64), draw)
        wanted = resize(whole.crop((left + 10, top + 20, left + 74, top + 52)), (32, 64))
        assert torch.equal(_levels(found), wanted.float())
        assert sizes.pop() == size
    assert not sizes


def test_random_crops_follow_torchvision_s_law() -> None:
    height, width = 1200, 1600
    for preset, areas, ratios in (
        ("crop", (0.08, 1.0), (3 / 4, 4 / 3)),
        ("pedestrian", (0.6, 1.0), (width / height * 3 / 4, width / height * 4 / 3)),
    ):
        for seed in range(50):
            torch.manual_seed(seed)
            left, top, *sides = PRESETS[preset].draw((height, width))
            torch.manual_seed(seed)
            law = transforms.RandomResizedCrop.get_params(torch.empty(3, height, width), list(areas), list(ratios))
            assert (top, left, *sides[::-1]) == law


@pytest.mark.parametrize("preset", PRESETS)
def test_what_cannot_be_read_is_not_augmented(preset: str, tmp_path: Path) -> None:
    _truncated(tmp_path / "a.jpg")
    assert augment(preset, tmp_path / "a.jpg", (16, 16), seed=0) == "not a readable image (truncated)"


@pytest.mark.parametrize("workers", [0, 2])
def test_training_augments_by_seed_epoch_and_row(workers: int, tmp_path: Path) -> None:
    names, seed = [f"{row}.jpg" for row in range(4)], 3
    for row, name in enumerate(names):
        (tmp_path / name).write_bytes(_jpeg(PHOTO.crop((0, 0, 1200 + 100 * row, 1000))))
    table = LabelTable(names, ["x"], np.ones((4, 1), np.int8), np.full(4, "train"), root=tmp_path)
    settings = recipe_for(table, augmentation="crop", batch_size=2).training("bce", seed=seed)
    batches = Batches(table, (96, 96), settings, workers, pin=False)
    for batch in batches.epoch(1):
        for row, image in zip(batch.rows.tolist(), batch.inputs, strict=True):
            wanted = augment("crop", tmp_path / names[row], (96, 96), stream(seed, AUGMENTATION, 1, row))
            assert torch.equal(image, wanted)  # type: ignore[arg-type]
    batches.close()


def test_brightness_is_added_and_not_multiplied() -> None:
    for level, least, most in ((20, 0, 52), (128, 96, 160), (250, 218, 255)):
        grey = Image.new("RGB", (8, 8), (level,) * 3)
        images = [augment("photometric", grey, (8, 8), seed) for seed in range(300)]
        found = torch.stack(images).flatten(1).int()
        assert (found.max(1).values - found.min(1).values).max() <= 1  # grey as it was
        assert least - 1 <= found.min() <= least + 3
        assert most - 3 <= found.max() <= most + 1
        assert 0.35 < ((found[:, 0] - level).abs() <= 1).float().mean() < 0.65  # half of them are left alone


def test_one_long_name_among_many_rows_costs_its_own_length_when_copies_are_sought() -> None:
    items = ["b", "x" * 1_000_000, *[f"row {number}" for number in range(300)], "b"]
    features = np.arange(len(items), dtype=np.float32)[:, None]
    features[5] = features[7]
    split = np.full(len(items), "train")
    table = LabelTable(items, ["x"], np.ones((len(items), 1), np.int8), split, features=features)
    tracemalloc.start()
    try:
        copies = find_copies(table)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    assert copies.compared.tolist() == list(range(len(items) - 1))  # the last is the first again
    assert copies.exact == [[5, 7]]

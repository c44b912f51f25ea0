"""Small files that several tests write."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(7)


def write_image(path: Path, red: int, bright: int) -> None:
    """A noisy colour patch."""
    pixels = RNG.integers(0, 60, (24, 16, 3)) + 150 * bright * np.ones(3, int)
    pixels[..., 0] += 40 + 60 * red
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def write_photos(folder: Path, name: Callable[[int], str] = "{:02d}.jpg".format, unknown: Collection[int] = ()) -> Path:
    """40 JPEGs and tags.csv, which is returned: every second is `red`, every fifth `bright`, where that is known."""
    lines = ["image,red,bright"]
    for number in range(40):
        red, bright = number % 2, int(number % 5 == 0)
        (folder / name(number)).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name(number), red, bright)
        lines.append(f"{name(number)},{red},{'' if number in unknown else bright}")
    (folder / "tags.csv").write_text("\n".join(lines) + "\n")
    return folder / "tags.csv"


def write_table(path: Path, rows: int = 120, seed: int = 0) -> None:
    """Features (rows, 4), labels (rows, 3) of 1, 0 and -1, and a split."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, 4)).astype(np.float32)
    labels = np.stack([features[:, 0] > 0, features[:, 1] > 0.8, features[:, 0] + features[:, 1] > 1.5], axis=1).astype(
        np.int8
    )
    labels[random.random(labels.shape) < 0.1] = -1
    split = np.array(["train"] * (rows * 2 // 3) + ["test"] * (rows - rows * 2 // 3))
    np.savez(path, features=features, labels=labels, names=np.array(["a", "b", "c"]), split=split)

"""Small files that several tests write."""

from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(7)


def write_image(path: Path, red: int, bright: int) -> None:
    """A noisy colour patch."""
    pixels = RNG.integers(0, 60, (24, 16, 3)) + 150 * bright * np.ones(3, int)
    pixels[..., 0] += 40 + 60 * red
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


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

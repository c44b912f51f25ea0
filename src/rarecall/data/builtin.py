"""The built-in data: canvases of real handwritten digits with a long tail made on purpose."""

from pathlib import Path

import numpy as np

from rarecall.data.table import LabelTable

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CANVAS, CELL, GLYPH = 18, 9, 8
TRAIN, TEST, MOST_DIGITS = 1000, 600, 3
DECAY = 0.55
WRITERS_FOR_TRAIN = 110  # of about 178 glyphs of each digit; the test part is composed from the others
SEED = 0
GREY_UNIT = 4  # of 16 grey levels; brings the pixels' deviation near 1


def digits() -> LabelTable:
    """Canvases of 18 × 18 pixels with one to three of scikit-learn's 8 × 8 digits, each in its own quarter.

    In the training part each digit is 0.55 times as frequent as the one before, from hundreds of zeros to
    fewer than ten of the rarest; in the test part all are equally frequent, so that the tail can be measured. No
    glyph stands in both parts. The same bytes on every call.

    >>> table = digits()
    >>> table.features.shape, table.labels.shape
    ((1600, 1, 18, 18), (1600, 10))

    Reference: E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI 1998.
    """
    from sklearn.datasets import load_digits

    glyphs, values = load_digits(return_X_y=True)
    glyphs = (glyphs / GREY_UNIT).astype(np.float32).reshape(-1, GLYPH, GLYPH)
    of_class = [glyphs[values == digit] for digit in range(len(NAMES))]
    long_tail = DECAY ** np.arange(len(NAMES))
    random = np.random.Generator(np.random.PCG64(SEED))
    train = _compose(random, TRAIN, long_tail, [own[:WRITERS_FOR_TRAIN] for own in of_class])
    test = _compose(random, TEST, np.ones(len(NAMES)), [own[WRITERS_FOR_TRAIN:] for own in of_class])
    return LabelTable(
        items=[f"canvas {number:04d}" for number in range(TRAIN + TEST)],
        names=NAMES,
        labels=np.concatenate([train[1], test[1]]),
        split=np.array(["train"] * TRAIN + ["test"] * TEST),
        source="digits",
        features=np.concatenate([train[0], test[0]]),
    )


def _compose(
    random: np.random.Generator, canvases: int, weights: np.ndarray, glyphs: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    pixels = np.zeros((canvases, 1, CANVAS, CANVAS), np.float32)
    labels = np.zeros((canvases, len(NAMES)), np.int8)
    for canvas in range(canvases):
        drawn = random.choice(len(NAMES), random.integers(1, MOST_DIGITS + 1), replace=False, p=weights / weights.sum())
        for digit, quarter in zip(drawn, random.permutation(4), strict=False):
            top, left = CELL * np.array(divmod(quarter, 2)) + random.integers(0, CELL - GLYPH + 1, 2)
            glyph = glyphs[digit][random.integers(len(glyphs[digit]))]
            pixels[canvas, 0, top : top + GLYPH, left : left + GLYPH] = glyph
            labels[canvas, digit] = 1
    return pixels, labels


def is_builtin(spec: str | Path) -> bool:
    """Whether the specification names built-in data."""
    return str(spec) == "digits"

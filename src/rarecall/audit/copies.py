"""Copies and near-copies among images: found by their bytes, by a perceptual hash, and by their colours.

Every image is brought to a sketch: a digest of its bytes, a 64-bit hash of its shapes (pHash: the signs of the 63
lowest frequencies of a cosine transform of the grey image, against their median) and 8 × 8 colours. Two images are
near copies if at most 12 bits of the hash differ and their colours correlate by 0.9 or more. Both are needed: the
hash alone takes two people of one pose for a copy, the more so the more pairs there are. What was measured for the
two limits stands in docs/audit.md. A mirrored or a cut copy is not found.

References: C. Zauner, Implementation and benchmarking of perceptual image hash functions, 2010 (pHash);
B. Barz and J. Denzler, Do we train on test data?, J. Imaging 2020 (near copies across the parts of CIFAR).
"""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from rarecall.data.table import LabelTable
from rarecall.images.containers import Located, UnreadableItem
from rarecall.images.decoding import decode
from rarecall.listener import Listener

FARTHEST_HASH = 12  # bits
LEAST_LIKENESS = 0.9
SIDE, FREQUENCIES, COLOURS = 32, 8, 8
FLAT = 1.0  # grey levels: an image that varies less has no shapes
BLOCK = 16  # images against all later ones
OPENED = 64  # images between two steps of the bar
MOST_OF_ONE = 50  # near hashes of one image that are looked at: a still camera's frames are near all others
CHUNK = 1 << 18
DIGEST_BYTES = 16

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_COSINES = np.cos(np.pi / SIDE * np.outer(np.arange(FREQUENCIES), np.arange(SIDE) + 0.5)).astype(np.float32)


class Sketch(NamedTuple):
    """What of an image is compared."""

    digest: bytes
    hash: np.uint64
    colours: np.ndarray


class NearPair(NamedTuple):
    """Two rows whose images are nearly the same, how many bits of the hash differ, and how alike the colours are."""

    first: int
    second: int
    distance: int
    likeness: float


@dataclass(frozen=True)
class Copies:
    """What was found, in row numbers of the table; of rows with the same item only the first counts.

    Attributes:
        compared: the rows that were compared.
        unreadable: rows whose image cannot be read, and why.
        exact: groups of rows with the same bytes.
        near: pairs of rows that look nearly the same, of which no two have the same bytes.
    """

    compared: np.ndarray
    unreadable: dict[int, str]
    exact: list[list[int]]
    near: list[NearPair]

    def groups(self) -> list[list[int]]:
        """Rows joined by copies and near copies, also through others."""
        links = [(group[0], row) for group in self.exact for row in group[1:]]
        links += [(pair.first, pair.second) for pair in self.near]
        return joined(links)


def find_copies(table: LabelTable, listener: Listener | None = None) -> Copies:
    """Open every image once and compare all; of a table of features, the rows that are the same.

    Args:
        table: of images or of features.
        listener: told how many images are done.
    """
    rows = _first_rows(table.items)
    if table.features is not None:
        features = table.features
        digests = [_digest(np.ascontiguousarray(features[row]).tobytes()) for row in rows.tolist()]
        return Copies(rows, {}, _same(rows, digests), [])
    found = list(_sketches([table.image(row) for row in rows.tolist()], listener or Listener()))
    unreadable = {int(row): one for row, one in zip(rows, found, strict=True) if isinstance(one, str)}
    sketches = [one for one in found if not isinstance(one, str)]
    rows = rows[[not isinstance(one, str) for one in found]]
    if not sketches:
        return Copies(rows, unreadable, [], [])
    exact = _same(rows, [one.digest for one in sketches])
    spare = np.isin(rows, [row for group in exact for row in group[1:]])
    hashes, colours = np.array([one.hash for one in sketches]), np.stack([one.colours for one in sketches])
    return Copies(rows, unreadable, exact, near_pairs(rows[~spare], hashes[~spare], colours[~spare]))


def sketch(image: Located) -> Sketch | str:
    """What of an image is compared, or why it cannot be read."""
    picture = decode(image, (SIDE, SIDE))
    if isinstance(picture, str):
        return picture
    try:
        digest = _digest(image.digestible())
    except (OSError, UnreadableItem) as error:
        return str(error)
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    colours = np.asarray(picture.resize((COLOURS, COLOURS), Image.Resampling.BOX))
    return Sketch(digest, perceptual_hash(pixels @ _GREY), colours)


def perceptual_hash(grey: np.ndarray) -> np.uint64:
    """The hash of grey levels (32, 32): 63 signs against the median of the frequencies, without the mean grey.

    >>> int(perceptual_hash(np.full((32, 32), 77.0)))
    0
    """
    if grey.std() < FLAT:
        return np.uint64(0)
    frequencies = (_COSINES @ grey @ _COSINES.T).ravel()[1:]
    bits = np.packbits(frequencies > np.sort(frequencies)[len(frequencies) // 2])
    return np.uint64(int.from_bytes(bits.tobytes(), "big"))


def near_pairs(rows: np.ndarray, hashes: np.ndarray, colours: np.ndarray) -> list[NearPair]:
    """All pairs of near hashes and like colours, nearest first.

    Every pair of hashes is compared, in blocks: 100,000 images are 5 billion pairs, a few seconds.

    Args:
        rows: (N,) what to call each image.
        hashes: (N,) uint64.
        colours: (N, 8, 8, 3) uint8.
    """
    first, second = _near_hashes(hashes)
    alike = np.concatenate([np.empty(0), *_likeness(colours, first, second)])
    kept = np.flatnonzero(alike >= LEAST_LIKENESS)
    first, second, alike = first[kept], second[kept], alike[kept]
    distance = np.bitwise_count(hashes[first] ^ hashes[second])
    order = np.lexsort((-alike, distance))
    columns = (rows[first], rows[second], distance, alike.round(3))
    return [NearPair(*values) for values in zip(*(column[order].tolist() for column in columns), strict=True)]


def joined(links: list[tuple[int, int]]) -> list[list[int]]:
    """Groups of numbers that links join, largest first.

    >>> joined([(1, 2), (7, 9), (2, 5)])
    [[1, 2, 5], [7, 9]]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not links:
        return []
    names, ends = np.unique(np.array(links), return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    groups = _by_number(names, connected_components(graph, directed=False)[1])
    return sorted((group.tolist() for group in groups), key=lambda group: (-len(group), group))


def _first_rows(items: Sequence[str]) -> np.ndarray:
    """The first row of each item; not by an array of them, in which each takes as much as the longest."""
    first = dict(zip(reversed(items), reversed(range(len(items))), strict=True))
    return np.sort(np.fromiter(first.values(), np.int64, len(first)))


def _sketches(images: list[Located], listener: Listener) -> Iterator[Sketch | str]:
    with ThreadPoolExecutor() as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd images are counted, not complained of
        for start in range(0, len(images), OPENED):  # so that Ctrl-C need not wait for all
            yield from threads.map(sketch, images[start : start + OPENED])
            listener.progress("images", min(start + OPENED, len(images)), len(images))


def _near_hashes(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of pairs within `FARTHEST_HASH` bits, the later second; of each image the next `MOST_OF_ONE`."""
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(hashes), BLOCK):
        block, others = hashes[start : start + BLOCK], hashes[start:]
        near = np.bitwise_count(block[:, None] ^ others) <= FARTHEST_HASH
        near[:, : len(block)] &= np.triu(np.ones((len(block), len(block)), bool), 1)
        if np.count_nonzero(near) > MOST_OF_ONE:
            near &= near.cumsum(1, dtype=np.int32) <= MOST_OF_ONE
        one, other = np.divmod(np.flatnonzero(near), len(others))
        first.append(one + start)
        second.append(other + start)
    return np.concatenate(first), np.concatenate(second)


def _likeness(colours: np.ndarray, first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """The correlation of the colours of each pair; of two flat greys, 1 where they are nearly the same grey."""
    levels = colours.reshape(len(colours), -1).astype(np.float32)
    means, flat = levels.mean(1), levels.std(1) < FLAT
    levels -= means[:, None]
    levels /= np.maximum(np.linalg.norm(levels, axis=1, keepdims=True), 1e-6)
    for start in range(0, len(first), CHUNK):
        one, other = first[start : start + CHUNK], second[start : start + CHUNK]
        same_grey = np.abs(means[one] - means[other]) < 2 * FLAT
        correlation = np.einsum("nc,nc->n", levels[one], levels[other])
        yield np.where(flat[one] & flat[other], same_grey, np.where(flat[one] | flat[other], 0, correlation))


def _same(rows: np.ndarray, digests: list[bytes]) -> list[list[int]]:
    """Groups of rows with the same digest, each of two rows or more."""
    numbers = np.unique(np.array(digests, f"V{DIGEST_BYTES}"), return_inverse=True)[1]
    return [group.tolist() for group in _by_number(rows, numbers) if len(group) > 1]


def _by_number(names: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """The names of each number, in their order."""
    order = np.argsort(numbers, kind="stable")
    return np.split(names[order], np.flatnonzero(np.diff(numbers[order])) + 1)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()

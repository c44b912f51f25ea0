"""Stratified parts hold their share of the items and of every class's positives."""

import numpy as np
import pytest

from rarecall.stratification import stratified_parts

SHARES = ([0.5, 0.5], [1 / 3] * 3, [0.2] * 5, [0.1] * 10, [0.64, 0.16, 0.2], [0.9, 0.1])


def long_tail(items, classes, seed=0, together=0.0):
    """Where classes are present, each a third rarer than the one before; `together` of the rarer with the first."""
    random = np.random.default_rng(seed)
    present = random.random((items, classes)) < 0.5 / 1.5 ** np.arange(classes)
    present[:, 0] |= present.any(1) & (random.random(items) < together)
    return present[:, present.any(0)]


def parts_of(present, shares, seed=0):
    return stratified_parts(present, shares, seed)


def excess(present, part, shares):
    """How many items and positives of each class every part has beyond its share, (parts, classes + 1)."""
    counted = np.column_stack([present, np.ones(len(present))])
    return np.stack([counted[part == p].sum(0) - share * counted.sum(0) for p, share in enumerate(shares)])


@pytest.mark.parametrize("shares", SHARES, ids=str)
@pytest.mark.parametrize("together", [0.0, 0.9])
def test_the_rarest_class_is_dealt_out_evenly_and_the_others_nearly(shares, together):
    present = long_tail(300, 10, together=together)
    beyond = np.abs(excess(present, parts_of(present, shares), shares))
    assert beyond[:, present.sum(0).argmin()].max() <= 1
    assert (beyond <= 1 + 0.1 * np.append(present.sum(0), len(present))).all()


def test_rare_positives_are_parted_better_than_by_chance():
    present, shares = long_tail(300, 10), [0.2] * 5
    stratified = by_chance = 0.0
    for seed in range(10):
        stratified += (excess(present, parts_of(present, shares, seed), shares) ** 2).sum()
        by_chance += (excess(present, np.random.default_rng(seed).integers(5, size=300), shares) ** 2).sum()
    assert stratified < by_chance / 10


def test_every_item_has_one_part_and_no_part_is_empty():
    random = np.random.default_rng(0)
    for shape, parts in (((7, 3), 7), ((7, 0), 2), ((5, 1), 3)):
        part = parts_of(random.random(shape) < 0.5, [1 / parts] * parts)
        assert sorted(set(part.tolist())) == list(range(parts))


def test_the_same_seed_gives_the_same_parts_and_another_does_not():
    present = long_tail(100, 5)
    first, again, other = (stratified_parts(present, [0.5, 0.5], seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)

"""Matching characteristic and average precision of re-identification against loops written from the rules."""

import math
import re

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from PIL import Image

from rarecall.errors import OptionError, ShapeError
from rarecall.metrics import _retrieval
from rarecall.metrics._ranking import average_precision
from rarecall.metrics._retrieval import Retrieval, cumulative_matching

LAW = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
RANKS = (1, 2, 5, 10)
BOTH = ("step", "trapezoid")


def answers(distances, query, gallery, camera):
    """For one query: is it a match, from the nearest gallery image that is not junk to the farthest."""
    kept = []
    for place, (distance, identity, seen_by) in enumerate(zip(distances, *gallery, strict=True)):
        if identity == -1 or (identity == query and seen_by == camera):
            continue
        kept.append((distance, place, identity == query and identity != 0))
    return [match for _, _, match in sorted(kept)]


def step_precision(matches):
    found, total = 0, 0.0
    for place, match in enumerate(matches, 1):
        if match:
            found += 1
            total += found / place
    return total / sum(matches)


def trapezoid_precision(matches):
    """Area under precision over recall, joined by straight lines from precision 1 at recall 0."""
    total, found, old_recall, old_precision = 0.0, 0, 0.0, 1.0
    for place, match in enumerate(matches, 1):
        found += match
        recall, precision = found / sum(matches), found / place
        total += (recall - old_recall) * (old_precision + precision) / 2
        old_recall, old_precision = recall, precision
    return total


def by_loop(distances, query_ids, gallery_ids, query_cams, gallery_cams, interpolation="step", ranks=RANKS):
    precision = {"step": step_precision, "trapezoid": trapezoid_precision}[interpolation]
    gallery = gallery_ids.tolist(), gallery_cams.tolist()
    of_each = [
        answers(row, identity, gallery, camera)
        for row, identity, camera in zip(distances.tolist(), query_ids.tolist(), query_cams.tolist(), strict=True)
    ]
    counted = [matches for matches in of_each if any(matches)]
    left_out = len(of_each) - len(counted)
    if not counted:
        return Retrieval(dict.fromkeys(ranks, math.nan), math.nan, 0, left_out)
    shares = {rank: sum(any(matches[:rank]) for matches in counted) / len(counted) for rank in ranks}
    return Retrieval(shares, sum(map(precision, counted)) / len(counted), len(counted), left_out)


def problem(queries, gallery, *, seed=0, people=6, cameras=3, decimals=1, dtype=torch.float32):
    """Distances with ties, identities with junk and distractors, and cameras."""
    generator = torch.Generator().manual_seed(seed)

    def numbers(low, high, size):
        return torch.randint(low, high, (size,), generator=generator)

    distances = torch.randn(queries, gallery, generator=generator, dtype=torch.float64).round(decimals=decimals)
    ids = numbers(1, people, queries), numbers(-1, people, gallery)
    return distances.to(dtype), *ids, numbers(0, cameras, queries), numbers(0, cameras, gallery)


def assert_same(actual, expected):
    assert (actual.queries, actual.left_out) == (expected.queries, expected.left_out)
    assert actual.rank == pytest.approx(expected.rank, abs=1e-12, nan_ok=True)
    assert actual.mean_average_precision == pytest.approx(expected.mean_average_precision, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("interpolation", BOTH)
@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_figures_are_those_of_the_rules(dtype, decimals, interpolation):
    for seed, (queries, gallery) in enumerate([(1, 9), (12, 40), (30, 150), (25, 4)]):
        batch = problem(queries, gallery, seed=seed, decimals=decimals, dtype=dtype)
        actual = cumulative_matching(*batch, ranks=RANKS, interpolation=interpolation)
        assert_same(actual, by_loop(*batch, interpolation))


@LAW
@given(st.integers(0, 5), st.integers(0, 12), st.integers(2, 5), st.integers(1, 3), st.integers(0, 10_000))
def test_figures_of_any_small_problem_are_those_of_the_rules(queries, gallery, people, cameras, seed):
    batch = problem(queries, gallery, people=people, cameras=cameras, seed=seed, decimals=0)
    for interpolation in BOTH:
        actual = cumulative_matching(*batch, ranks=RANKS, interpolation=interpolation)
        assert_same(actual, by_loop(*batch, interpolation))


def one_query(gallery_ids, gallery_cams, **options):
    """A query of person 7 in camera 1, and a gallery in the order of its distance."""
    size = len(gallery_ids)
    distances, ids = torch.arange(float(size))[None], torch.tensor(gallery_ids)
    return cumulative_matching(
        distances, torch.tensor([7]), ids, torch.tensor([1]), torch.tensor(gallery_cams), **options
    )


def test_junk_is_taken_out_and_distractors_stay():
    clean = one_query([8, 7, 8, 7], [2, 2, 2, 3], ranks=[1, 2])
    assert clean.rank == {1: 0.0, 2: 1.0}
    assert clean.mean_average_precision == 0.5
    with_junk = one_query([7, -1, 8, 7, -1, 7, 8, 7], [1, 1, 2, 2, 3, 1, 2, 3], ranks=[1, 2])
    assert with_junk == clean
    with_distractors = one_query([0, 8, 7, 0, 8, 7], [1, 2, 2, 2, 2, 3], ranks=[1, 2])
    assert with_distractors.rank == {1: 0.0, 2: 0.0}
    assert with_distractors.mean_average_precision == pytest.approx((1 / 3 + 2 / 6) / 2)


@pytest.mark.parametrize("interpolation", BOTH)
def test_a_perfect_order_reaches_one(interpolation):
    found = one_query([7, 7, 8, 0], [2, 3, 2, 1], interpolation=interpolation)
    assert found == Retrieval({1: 1.0, 5: 1.0, 10: 1.0, 20: 1.0}, 1.0, 1, 0)


def test_the_two_interpolations_by_hand():
    order = [8, 7, 8, 8, 7], [2, 2, 2, 2, 2]
    assert one_query(*order).mean_average_precision == pytest.approx((1 / 2 + 2 / 5) / 2)
    trapezoid = one_query(*order, interpolation="trapezoid").mean_average_precision
    assert trapezoid == pytest.approx(((0 + 1 / 2) / 2 + (1 / 4 + 2 / 5) / 2) / 2)


def test_equal_distances_stand_in_the_order_of_the_gallery():
    person, camera = torch.tensor([7]), torch.tensor([1])
    for ids, place in (([7, 8, 8], 1), ([8, 7, 8], 2), ([8, 8, 7], 3)):
        batch = torch.full((1, 3), 0.5), person, torch.tensor(ids), camera, torch.full((3,), 2)
        assert cumulative_matching(*batch).mean_average_precision == pytest.approx(1 / place)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_distances_that_are_neighbouring_numbers_are_told_apart(dtype):
    low = torch.tensor(0.7, dtype=dtype)
    high = torch.nextafter(low, torch.tensor(1.0, dtype=dtype))
    people = torch.tensor([7]), torch.tensor([8, 7]), torch.tensor([1]), torch.tensor([2, 2])
    assert cumulative_matching(torch.stack([high, low])[None], *people).mean_average_precision == 1.0
    assert cumulative_matching(torch.stack([low, high])[None], *people).mean_average_precision == 0.5


@pytest.mark.parametrize("identity", [0, -1])
def test_a_query_without_a_match_is_left_out_and_counted(identity):
    distances, query_ids, gallery_ids, query_cams, gallery_cams = problem(12, 60)
    expected = cumulative_matching(distances, query_ids, gallery_ids, query_cams, gallery_cams)
    with_other = torch.cat([torch.tensor([identity]), query_ids]), gallery_ids, torch.cat([query_cams[:1], query_cams])
    actual = cumulative_matching(torch.cat([distances[:1], distances]), *with_other, gallery_cams)
    assert (actual.queries, actual.left_out) == (expected.queries, expected.left_out + 1)
    assert actual.rank == expected.rank
    assert actual.mean_average_precision == pytest.approx(expected.mean_average_precision)


@pytest.mark.parametrize(("queries", "gallery"), [(0, 5), (3, 0), (0, 0)])
def test_without_a_counted_query_the_figures_are_nan(queries, gallery):
    found = cumulative_matching(*problem(queries, gallery))
    assert (found.queries, found.left_out) == (0, queries)
    assert math.isnan(found.mean_average_precision)
    assert list(found.rank) == [1, 5, 10, 20]
    assert all(map(math.isnan, found.rank.values()))


def test_blocks_of_any_size_give_the_same(monkeypatch):
    batch = problem(23, 31)
    expected = cumulative_matching(*batch)
    for entries in (1, 40, 100):
        monkeypatch.setattr(_retrieval, "BLOCK", entries)
        assert_same(cumulative_matching(*batch), expected)


def test_only_the_order_of_the_distances_counts():
    distances, *people = problem(20, 50, dtype=torch.float64)
    expected = cumulative_matching(distances, *people)
    for rising in (torch.exp, torch.atan, lambda distance: 1e6 * distance**3 - 7):
        assert_same(cumulative_matching(rising(distances), *people), expected)


def test_the_order_of_the_queries_and_without_ties_of_the_gallery_changes_nothing():
    distances, query_ids, gallery_ids, query_cams, gallery_cams = problem(20, 50, decimals=12, dtype=torch.float64)
    expected = cumulative_matching(distances, query_ids, gallery_ids, query_cams, gallery_cams)
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.randperm(20, generator=generator), torch.randperm(50, generator=generator)
    shuffled = query_ids[rows], gallery_ids[columns], query_cams[rows], gallery_cams[columns]
    assert_same(cumulative_matching(distances[rows][:, columns], *shuffled), expected)


def test_the_mean_is_that_of_average_precision_over_the_queries():
    distances, query_ids, gallery_ids, query_cams, gallery_cams = problem(20, 50, decimals=12, dtype=torch.float64)
    same = query_ids[:, None] == gallery_ids
    junk = (same & (query_cams[:, None] == gallery_cams)) | (gallery_ids == -1)
    values = average_precision(-distances.T, torch.where(junk, -1, same.long()).T)
    found = cumulative_matching(distances, query_ids, gallery_ids, query_cams, gallery_cams)
    assert found.mean_average_precision == pytest.approx(float(values.nanmean()), abs=1e-12)


@LAW
@given(st.integers(1, 8), st.integers(1, 30), st.integers(0, 10_000))
def test_shares_rise_with_the_rank_and_the_trapezoid_is_never_above_the_step(queries, gallery, seed):
    batch = problem(queries, gallery, seed=seed, decimals=0)
    step, trapezoid = (cumulative_matching(*batch, ranks=range(1, 31), interpolation=way) for way in BOTH)
    if not step.queries:
        return
    shares = list(step.rank.values())
    assert shares == sorted(shares) == list(trapezoid.rank.values())
    assert shares[-1] == 1.0
    assert 0 < trapezoid.mean_average_precision <= step.mean_average_precision + 1e-12
    assert step.mean_average_precision <= 1 + 1e-12


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint8], ids=str)
def test_identities_and_cameras_of_any_whole_number_type(dtype):
    distances, *people = problem(20, 50)
    people[1] = people[1].clamp(min=0)
    people[1][people[1] == 4] = 255  # is not -1, whatever the type
    people[0][people[0] == 4] = 255
    expected = by_loop(distances, *people)
    assert_same(cumulative_matching(distances, *(values.to(dtype) for values in people), ranks=RANKS), expected)


def test_distances_that_carry_a_gradient_or_another_layout():
    distances, *people = problem(20, 50)
    expected = cumulative_matching(distances, *people)
    assert_same(cumulative_matching(distances.clone().requires_grad_(), *people), expected)
    assert_same(cumulative_matching(distances.T.contiguous().T, *people), expected)


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [(0,), (1, -5), (1.5,), ("1",)], ids=str)
def test_a_rank_that_is_no_whole_number_is_refused(ranks):
    message = re.escape(f"ranks={ranks}: each must be a whole number of 1 or more")
    with pytest.raises(OptionError, match=message):
        cumulative_matching(*problem(2, 3), ranks=ranks)


def test_an_unknown_interpolation_is_refused_with_the_known_ones():
    with pytest.raises(OptionError, match=r"'trapezium': did you mean 'trapezoid'\? Known: step, trapezoid"):
        cumulative_matching(*problem(2, 3), interpolation="trapezium")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, torch.zeros(3), r"distances \(3,\) must have two dimensions"),
        (0, torch.zeros(1, 2, 3), r"distances \(1, 2, 3\) must have two dimensions: \(queries, gallery\)"),
        (0, torch.tensor([[0.0, 1.0, math.nan], [0.0, 1.0, 2.0]]), r"the distance at \(0, 2\) is NaN"),
        (0, [[1.0, 2.0, 3.0]], "not list"),
        (1, torch.zeros(3, dtype=torch.long), r"query_identities must be whole numbers \(2,\), as many as there are "),
        (2, torch.zeros(2, dtype=torch.long), r"gallery_identities must be whole numbers \(3,\)"),
        (3, torch.zeros(2), r"query_cameras must be whole numbers \(2,\), .* not torch\.float32 \(2,\)"),
        (4, [1, 2, 3], r"gallery_cameras must be a tensor, not list"),
    ],
    ids=["one dimension", "three dimensions", "NaN", "list", "too many", "too few", "floating", "no tensor"],
)
def test_what_does_not_fit_is_refused(place, value, message):
    batch = list(problem(2, 3))
    batch[place] = value
    with pytest.raises(ShapeError, match=message):
        cumulative_matching(*batch)


# --- real photos --------------------------------------------------------------------------------------------


def photos_of(folder):
    """Coarse colours, identities and cameras of all photos of a folder."""
    paths = sorted(folder.glob("*.jpg"))
    colours = np.stack([np.asarray(Image.open(path).resize((4, 8))).reshape(-1) for path in paths])
    people = [re.match(r"(-?\d+)_c(\d)", path.name).groups() for path in paths]
    identities, cameras = zip(*people, strict=True)
    return torch.tensor(colours, dtype=torch.float32), *(
        torch.tensor([int(value) for value in values]) for values in (identities, cameras)
    )


def test_figures_of_real_photos_are_those_of_the_rules(data_folder):
    """420 queries, 5 of them without an image of another camera; colours alone find far more than chance."""
    (query, query_ids, query_cams), (gallery, gallery_ids, gallery_cams) = (
        photos_of(data_folder / "market1501" / part) for part in ("query", "bounding_box_test")
    )
    batch = torch.cdist(query, gallery), query_ids, gallery_ids, query_cams, gallery_cams
    found = cumulative_matching(*batch, ranks=RANKS)
    assert (found.queries, found.left_out) == (415, 5)
    assert found.rank[1] > 0.1
    assert_same(found, by_loop(*batch))

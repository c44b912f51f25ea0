"""Paired tests, effects, power, ranks and verdicts, against SciPy, brute force and published examples."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rarecall.errors import OptionError, ShapeError
from rarecall.statistics import (
    about_seeds,
    cohens_d,
    compare,
    critical_difference,
    detectable_difference,
    friedman_nemenyi,
    hedges_g,
    holm,
    mean_and_deviation,
    paired_t_test,
    rank_biserial,
    seeds_needed,
    t_test_power,
    wilcoxon_signed_rank,
)

RANDOM = np.random.default_rng(3)
PAIRS = [(RANDOM.normal(size=size), RANDOM.normal(0.4, size=size)) for size in (2, 3, 5, 9, 25)]
BOTH = [paired_t_test, wilcoxon_signed_rank]


def test_mean_and_deviation() -> None:
    mean, deviation = mean_and_deviation([1.0, 2.0, 4.0])
    assert (mean, deviation) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1)))
    assert np.isnan(mean_and_deviation([1.0])[1])


# --- paired tests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_t_test_is_that_of_scipy(first: np.ndarray, second: np.ndarray) -> None:
    found, expected = paired_t_test(first, second), stats.ttest_rel(first, second)
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert found.pairs == len(first)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_the_signed_rank_test_is_that_of_scipy(first: np.ndarray, second: np.ndarray) -> None:
    found, expected = wilcoxon_signed_rank(first, second), stats.wilcoxon(first, second, method="exact")
    assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize("seed", range(12))
def test_the_signed_rank_test_is_exact_with_ties_too(seed: int) -> None:
    differences = np.random.default_rng(seed).integers(-3, 4, size=8).astype(float)
    found = wilcoxon_signed_rank(differences, np.zeros(8))
    kept = differences[differences != 0]
    ranks = stats.rankdata(abs(kept))
    signs = np.array(list(itertools.product([0, 1], repeat=len(kept))))
    smaller = np.minimum(signs @ ranks, (1 - signs) @ ranks)
    own = min(ranks[kept > 0].sum(), ranks[kept < 0].sum())
    assert found.p_value == pytest.approx((smaller <= own).mean())
    assert found.pairs == len(kept)


@pytest.mark.parametrize(("seeds", "smallest"), [(2, 0.5), (3, 0.25), (4, 0.125), (5, 0.0625), (6, 0.03125)])
def test_the_smallest_p_of_the_signed_rank_test_is_reached_and_told(seeds: int, smallest: float) -> None:
    found = wilcoxon_signed_rank([float(place) for place in range(1, seeds + 1)], [0.0] * seeds)
    assert found.p_value == found.smallest_p == smallest
    assert (f"cannot go below p = {smallest:.3g}" in found.note) == (seeds < 6)


@pytest.mark.parametrize("test", BOTH)
def test_one_pair_says_nothing(test) -> None:
    found = test([1.0], [0.0])
    assert math.isnan(found.p_value)
    assert "nothing can be concluded" in found.note


@pytest.mark.parametrize("test", BOTH)
def test_equal_pairs_have_a_p_of_1(test) -> None:
    assert test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).p_value == 1


def test_pairs_that_differ_by_the_same_are_said_to() -> None:
    found = paired_t_test([0.1 + 0.2, 1.3], [0.3 - 0.1, 1.2])
    assert (found.statistic, found.p_value) == (math.inf, 0)
    assert "sees no spread" in found.note


@pytest.mark.parametrize("test", [*BOTH, cohens_d, hedges_g, rank_biserial])
def test_what_are_no_pairs_is_refused(test) -> None:
    with pytest.raises(ShapeError, match=r"not \(2,\) and \(3,\)"):
        test([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match="equally long"):
        test([], [])
    with pytest.raises(ShapeError, match="figure 1 of the second is nan"):
        test([1.0, 2.0], [1.0, math.nan])


@pytest.mark.parametrize("test", BOTH)
def test_the_order_of_methods_and_of_pairs_does_not_matter(test) -> None:
    first, second = PAIRS[3]
    assert test(first, second).p_value == pytest.approx(test(second, first).p_value)
    assert test(first[::-1], second[::-1]).p_value == pytest.approx(test(first, second).p_value)


# --- Holm, effects -----------------------------------------------------------------------------------------


def by_hand(p_values: list[float]) -> list[float]:
    """Holm's adjusted p from its definition: the smallest level at which the step-down procedure rejects."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for step, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = highest
    return adjusted


@pytest.mark.parametrize("p_values", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.9], [0.2], [], [0.02, 0.02, 0.02], [1.0, 0.0]])
def test_holm_is_its_definition(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(by_hand(p_values))


def test_holm_keeps_nan_and_does_not_count_it() -> None:
    found = holm([math.nan, 0.01, 0.04, math.nan])
    assert np.isnan([found[0], found[3]]).all()
    assert found[1:3] == pytest.approx(holm([0.01, 0.04]))
    with pytest.raises(OptionError, match=r"between 0 and 1, not 1\.2"):
        holm([0.1, 1.2])


def test_effects_are_their_definitions() -> None:
    first, second = PAIRS[2]
    differences = first - second
    effect = differences.mean() / differences.std(ddof=1)
    assert cohens_d(first, second) == pytest.approx(effect)
    # Hedges' table of the correction: 0.5642 for 2 degrees of freedom, 0.7979 for 4.
    assert hedges_g(first, second) == pytest.approx(0.7979 * effect, rel=1e-4)
    assert hedges_g(*PAIRS[1]) == pytest.approx(0.5642 * cohens_d(*PAIRS[1]), rel=1e-4)
    assert math.isnan(hedges_g([1.0, 2.0], [0.0, 3.0]))


def test_the_corrected_effect_is_unbiased() -> None:
    random = np.random.default_rng(0)
    found = [hedges_g(random.normal(0.8, 1, size=5), np.zeros(5)) for _ in range(4000)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.04)


def test_the_rank_biserial_correlation_goes_with_the_sums_of_ranks() -> None:
    first, second = PAIRS[3]
    smaller = wilcoxon_signed_rank(first, second).statistic
    assert abs(rank_biserial(first, second)) == pytest.approx(1 - 2 * smaller / (9 * 10 / 2))
    assert rank_biserial([1.0, 2.0], [0.0, 0.0]) == 1
    assert rank_biserial([0.0], [0.0]) == 0


# --- power -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_seeds_needed_are_those_of_cohens_effects(effect: float, pairs: int) -> None:
    assert seeds_needed(1.0, effect) == pairs
    assert seeds_needed(2.0, -2 * effect) == pairs
    assert t_test_power(effect, pairs) >= 0.8 > t_test_power(effect, pairs - 1)


def test_the_power_is_how_often_the_test_finds_the_effect() -> None:
    random = np.random.default_rng(0)
    found = [paired_t_test(random.normal(1.2, 1, size=6), np.zeros(6)).p_value < 0.05 for _ in range(2000)]
    assert np.mean(found) == pytest.approx(t_test_power(1.2, 6), abs=0.03)
    assert t_test_power(0.0, 6) == pytest.approx(0.05)


def test_the_edges_of_the_seeds_needed() -> None:
    assert seeds_needed(1.0, 0.0) is None
    assert seeds_needed(1.0, 1e-5) is None
    assert seeds_needed(0.0, 0.1) == 2
    assert seeds_needed(1.0, 500.0) == 2
    assert seeds_needed(1.0, 1.0, power=0.95) > seeds_needed(1.0, 1.0)


@pytest.mark.parametrize("seeds", [2, 3, 5, 40])
def test_the_detectable_difference_is_found_with_its_seeds_and_its_power(seeds: int) -> None:
    difference = detectable_difference(2.0, seeds)
    assert t_test_power(difference / 2.0, seeds) == pytest.approx(0.8, abs=1e-6)
    assert seeds_needed(2.0, difference * 1.0001) == seeds


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: seeds_needed(-1.0, 1.0), "sd must be 0 or more"),
        (lambda: seeds_needed(math.nan, 1.0), "sd must be 0 or more"),
        (lambda: seeds_needed(1.0, math.nan), "difference must be a number"),
        (lambda: seeds_needed(1.0, 1.0, power=80), "power must lie between 0 and 1"),
        (lambda: detectable_difference(1.0, 1), "seeds must be 2 or more"),
        (lambda: detectable_difference(1.0, 5, power=0.01), "power must be above the level"),
        (lambda: t_test_power(1.0, 5, level=0), "level must lie between 0 and 1"),
    ],
)
def test_power_that_cannot_be(call, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        call()


# --- ranks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("shape", [(2, 3), (5, 4), (30, 7)], ids=str)
def test_friedmans_test_is_that_of_scipy(shape: tuple[int, int], decimals: int) -> None:
    table = np.random.default_rng(1).normal(size=shape).round(decimals)
    found, expected = friedman_nemenyi(table), stats.friedmanchisquare(*table.T)
    assert (found.chi_square, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize("decimals", [0, 8])
def test_iman_and_davenports_f_is_the_analysis_of_variance_of_the_ranks(decimals: int) -> None:
    table = np.random.default_rng(2).normal(size=(12, 4)).round(decimals)
    ranks = stats.rankdata(-table, axis=1)
    between = 12 * ((ranks.mean(0) - 2.5) ** 2).sum()
    within = ((ranks - 2.5) ** 2).sum() - between
    expected = (between / 3) / (within / (3 * 11))
    found = friedman_nemenyi(table)
    assert found.f_statistic == pytest.approx(expected)
    assert found.f_p_value == pytest.approx(stats.f.sf(expected, 3, 33))


@pytest.mark.parametrize(
    ("methods", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (7, 2.949), (10, 3.164)]
)
def test_the_critical_difference_has_the_published_quantiles(methods: int, quantile: float) -> None:
    # Demšar, table 5a.
    scale = math.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) == pytest.approx(quantile * scale, abs=1e-3)


def test_groups_are_the_largest_runs_within_the_critical_difference() -> None:
    found = friedman_nemenyi(
        [[9.0, 8.0, 7.0, 1.0, 0.0]] * 10 + [[8.0, 9.0, 7.0, 0.0, 1.0]] * 10, ["a", "b", "c", "d", "e"]
    )
    ranks = dict(zip(found.methods, found.average_ranks, strict=True))
    assert ranks == {"a": 1.5, "b": 1.5, "c": 3.0, "d": 4.5, "e": 4.5}
    assert found.critical_difference == pytest.approx(1.364, abs=0.001)
    assert found.groups == (("a", "b"), ("d", "e"))
    for one, other in itertools.combinations(found.methods, 2):
        near = abs(ranks[one] - ranks[other]) <= found.critical_difference
        assert near == any({one, other} <= set(group) for group in found.groups)


def test_two_methods_and_the_other_direction() -> None:
    table = np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 0.5]])
    assert friedman_nemenyi(table).average_ranks == (2, 1)
    assert friedman_nemenyi(table, higher_is_better=False).average_ranks == (1, 2)
    assert friedman_nemenyi(table).f_statistic == math.inf
    tied = friedman_nemenyi(np.ones((3, 2)))
    assert (tied.p_value, tied.f_p_value, tied.average_ranks) == (1, 1, (1.5, 1.5))


def test_methods_may_be_permuted() -> None:
    table = np.random.default_rng(0).normal(size=(9, 5))
    names, order = list("abcde"), [3, 1, 4, 0, 2]
    first = friedman_nemenyi(table, names)
    again = friedman_nemenyi(table[:, order], [names[place] for place in order])
    assert again.chi_square == pytest.approx(first.chi_square)
    assert [set(group) for group in again.groups] == [set(group) for group in first.groups]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([[1.0, 2.0]], "2 data sets"),
        ([[1.0], [2.0]], "2 data sets"),
        ([1.0, 2.0], "2 data sets"),
        ([[1.0, 2.0], [1.0]], "its rows differ"),
        ([[1.0, 2.0], [1.0, math.nan]], "data set 1, method 1 has nan"),
    ],
)
def test_tables_that_cannot_be_ranked(table: list, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        friedman_nemenyi(table)


def test_names_must_fit_the_table() -> None:
    with pytest.raises(OptionError, match="2 methods"):
        friedman_nemenyi(np.eye(2), ["a"])
    with pytest.raises(OptionError, match="different names"):
        friedman_nemenyi(np.eye(2), ["a", "a"])


# --- compare -----------------------------------------------------------------------------------------------

FIGURES = {
    "two-way": [50.1, 50.6, 49.9, 50.8, 50.3],
    "dr": [50.0, 50.7, 49.7, 50.6, 50.4],
    "focal": [46.8, 47.5, 46.9, 47.2, 47.4],
}


def test_a_comparison_holds_what_the_tests_say() -> None:
    found = compare(FIGURES)
    assert (found.best, found.seeds, [other.name for other in found.others]) == ("two-way", 5, ["dr", "focal"])
    raw = [paired_t_test(FIGURES[name], FIGURES["two-way"]).p_value for name in ("dr", "focal")]
    assert [other.t_test.p_value for other in found.others] == raw
    assert [other.t_adjusted for other in found.others] == holm(raw)
    focal = found.others[1]
    assert focal.mean - found.mean == pytest.approx(focal.difference)
    assert focal.effect == hedges_g(FIGURES["focal"], FIGURES["two-way"])
    assert focal.seeds_needed == seeds_needed(focal.difference_deviation, focal.difference)
    assert focal.wilcoxon.p_value == 0.0625


def test_the_verdict_tells_what_seeds_show_and_what_they_cannot() -> None:
    said = " ".join(compare(FIGURES).verdict)
    assert "two-way has the highest mean: 50.34 ± 0.365 over 5 seeds." in said
    assert "tell two-way from focal (p < 0.0001), not from dr (p = 0.43)." in said
    assert "If dr is truly 0.06 behind, it takes about 53 seeds" in said
    assert "cannot go below p = 0.0625" in said
    level = " ".join(compare({name: FIGURES[name] for name in ("two-way", "dr")}).verdict)
    assert "do not tell two-way from dr" in level
    (alone,) = compare({"two-way": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}).verdict
    assert alone == "two-way has the highest mean: 3.5 ± 1.87 over 6 seeds."


def test_one_seed_concludes_nothing_about_seeds() -> None:
    found = compare({name: own[:1] for name, own in FIGURES.items()})
    assert all(math.isnan(other.t_adjusted) and other.seeds_needed is None for other in found.others)
    said = " ".join(found.verdict)
    assert "nothing can be concluded about seeds" in said
    assert "tell" not in said
    assert "p =" not in said


def test_words_about_seeds() -> None:
    assert "3 seeds are few" in about_seeds(3)[0]
    assert "With 5 seeds the tests are weak" in about_seeds(5)[0]
    assert about_seeds(6) == []


def test_the_order_of_methods_does_not_matter() -> None:
    assert compare(dict(reversed(FIGURES.items()))) == compare(FIGURES)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(OptionError, match="no method"):
        compare({})
    with pytest.raises(ShapeError, match=r"different numbers of seeds: a 1, b 2"):
        compare({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(ShapeError, match="is nan"):
        compare({"a": [1.0, math.nan]})

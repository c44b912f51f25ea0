"""Paired tests, effects, power, ranks and verdicts, against SciPy, brute force and published examples."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rarecall.errors import OptionError, ShapeError
from rarecall.statistics import _paired as paired
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


LAST_BITS = ([60.4, 60.4, 60.4, 50.3, 70.3], [60.2, 60.2, 60.2, 50.5, 70.5])


def test_differences_that_are_equal_in_decimals_are_ties() -> None:
    whole = ([2, 2, 2, -2, -2], [0] * 5)
    assert wilcoxon_signed_rank(*LAST_BITS).p_value == wilcoxon_signed_rank(*whole).p_value == 1
    assert rank_biserial(*LAST_BITS) == rank_biserial(*whole) == pytest.approx(0.2)


@pytest.mark.parametrize("scale", [1e-100, 1e-3, 1.0, 1e9, 1e100])
def test_the_unit_of_the_figures_changes_nothing(scale: float) -> None:
    first, second = (scale * np.array(values) for values in LAST_BITS)
    assert wilcoxon_signed_rank(first, second).p_value == 1
    for test in (cohens_d, rank_biserial):
        assert test(first, second) == pytest.approx(test(*LAST_BITS))
    assert paired_t_test(scale * PAIRS[3][0], scale * PAIRS[3][1]).p_value == pytest.approx(
        stats.ttest_rel(*PAIRS[3]).pvalue
    )


@pytest.mark.parametrize("test", BOTH)
def test_figures_that_differ_in_their_last_bit_are_equal(test) -> None:
    assert 0.1 + 0.2 != 0.3
    assert test([0.1 + 0.2] * 3, [0.3] * 3).p_value == 1


def test_a_difference_in_the_eleventh_digit_counts() -> None:
    assert wilcoxon_signed_rank([1 + 1e-11] * 3, [1.0] * 3).p_value == 0.25
    assert wilcoxon_signed_rank([1 + 1e-13] * 3, [1.0] * 3).p_value == 1


@pytest.mark.parametrize("decimals", [0, 8])
def test_many_pairs_are_taken_as_normal(decimals: int) -> None:
    differences = np.random.default_rng(4).normal(0.12, 1, size=2000).round(decimals)
    for size in (400, 2000):
        found = wilcoxon_signed_rank(differences[:size], np.zeros(size))
        expected = stats.wilcoxon(differences[:size], method="approx")
        assert found.pairs > 200
        assert (found.statistic, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_the_exact_distribution_and_the_normal_one_meet() -> None:
    ranks = 2 * np.arange(1, 201)
    for limit in (16_000, 17_000, 20_100):
        exact, normal = paired._chance_of_sum(limit, ranks), paired._normal_chance_of_sum(limit, ranks)
        assert normal == pytest.approx(exact, rel=0.02)


def test_the_note_knows_the_level() -> None:
    figures = ([float(place) for place in range(1, 7)], [0.0] * 6)
    assert not wilcoxon_signed_rank(*figures).note
    assert "cannot go below p = 0.0312" in wilcoxon_signed_rank(*figures, level=0.01).note
    with pytest.raises(OptionError, match="level must lie between 0 and 1"):
        wilcoxon_signed_rank(*figures, level=5)


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
        (lambda: t_test_power(math.nan, 5), "effect must be a number"),
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
    # 2 data sets of 3 methods have so few outcomes that none can be as rare as the chi-square says.
    p_value = max(expected.pvalue, found.smallest_p)
    assert (found.chi_square, found.p_value) == pytest.approx((expected.statistic, p_value))


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


@pytest.mark.parametrize(("datasets", "methods"), [(2, 2), (5, 2), (2, 3), (3, 3), (4, 3), (2, 5)])
def test_perfect_agreement_has_its_exact_p(datasets: int, methods: int) -> None:
    found = friedman_nemenyi([[*range(methods)]] * datasets)
    exact = 1 / math.factorial(methods) ** (datasets - 1)
    assert found.smallest_p == found.f_p_value == pytest.approx(exact)
    assert found.p_value >= found.smallest_p


@pytest.mark.parametrize(
    "table",
    [
        [[1, 2, 3], [2, 1, 3], [3, 1, 2]],
        [[1, 1, 2], [1, 1, 2], [2, 2, 3]],
        [[1, 1, 2], [1, 2, 3], [5, 5, 5]],
        [[2, 2], [1, 2], [1, 2]],
    ],
    ids=str,
)
def test_no_outcome_with_the_same_ties_is_rarer_than_the_smallest_p(table: list[list[int]]) -> None:
    rows = [sorted(set(itertools.permutations(row))) for row in table]
    outcomes = [friedman_nemenyi(outcome) for outcome in itertools.product(*rows)]
    statistics = np.array([outcome.chi_square for outcome in outcomes]).round(9)
    exact = np.array([(statistics >= own).mean() for own in statistics])
    assert {outcome.smallest_p for outcome in outcomes} == {outcomes[0].smallest_p}
    assert exact.min() >= outcomes[0].smallest_p - 1e-12
    if len({tuple(np.unique(row, return_counts=True)[1]) for row in table}) == 1:
        assert exact.min() == pytest.approx(outcomes[0].smallest_p)
    for outcome in outcomes:
        assert min(outcome.p_value, outcome.f_p_value) >= outcome.smallest_p


def test_ties_leave_fewer_orders() -> None:
    # 3, 6 and 1 orders: 18 tables, of which 6 at least look the same to the test.
    assert friedman_nemenyi([[1, 1, 2], [1, 2, 3], [5, 5, 5]]).smallest_p == 1 / 3


def test_too_few_data_sets_claim_nothing() -> None:
    found = friedman_nemenyi([[1, 2], [2, 3], [0, 5], [1, 7]], ["a", "b"])
    assert found.verdict == [
        "Over 4 data sets, b has the best average rank: 1.00 (a 2.00).",
        "4 data sets are few: Friedman's test cannot go below p = 0.125 with them.",
    ]
    # By the critical difference alone they would be apart.
    assert found.critical_difference < 1
    assert found.groups == (("b", "a"),)
    enough = friedman_nemenyi([[1, 2]] * 6, ["a", "b"])
    assert enough.f_p_value == 1 / 32
    assert enough.verdict[1:] == [
        "Friedman's test tells the methods apart (p = 0.031).",
        "With a critical difference of 0.80, b beats a.",
    ]
    assert "are few" in friedman_nemenyi([[1, 2]] * 6, level=0.01).verdict[1]


def test_friedmans_test_without_a_pair_beyond_the_critical_difference_is_no_contradiction() -> None:
    # Ranks of 5 data sets: d 1.6, b 1.8, c 3, a 3.6.
    ranks = [[3, 1, 4, 2], [4, 2, 3, 1], [4, 2, 1, 3], [4, 2, 3, 1], [3, 2, 4, 1]]
    found = friedman_nemenyi(-np.array(ranks), list("abcd"))
    assert found.f_p_value < 0.05
    assert found.groups == (("d", "b", "c", "a"),)
    _, said = found.verdict
    assert said.startswith("Friedman's test tells the methods apart (p = 0.0")
    assert said.endswith(
        "but no single pair: with a critical difference of 2.10, d is not distinguishable from b, c, a."
    )


def test_the_verdict_of_ranks_names_whom_the_best_beats() -> None:
    rows = [[9.0, 8.0, 7.0, 1.0, 0.0]] * 10 + [[8.0, 9.0, 7.0, 0.0, 1.0]] * 10
    said = friedman_nemenyi(rows, list("abcde")).verdict
    assert said[2] == "With a critical difference of 1.36, a beats c, d, e and a is not distinguishable from b."
    alike = friedman_nemenyi([[1, 2, 3], [3, 2, 1], [2, 3, 1], [1, 3, 2]]).verdict
    assert alike[1].startswith("Friedman's test does not tell the methods apart (p = 0.")
    assert len(alike) == 2


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
    assert [other.t_adjusted for other in found.others] == holm(raw).tolist()
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


def test_seeds_that_all_differ_by_the_same_have_no_p_in_the_verdict() -> None:
    note = "b (every pair differs by the same: the test sees no spread)"
    alone = compare({"a": [50, 51, 52], "b": [49, 50, 51]})
    assert not alone.tells(alone.others[0])
    assert alone.tested() == [f"Paired t-tests over 3 seeds, Holm-corrected, say nothing of a and {note}."]
    assert "p <" not in " ".join(alone.verdict)
    beside = compare({"a": [50, 51, 52], "b": [49, 50, 51], "c": [40, 41, 43], "d": [50, 51, 51]}).tested("They")
    assert beside == [f"They tell a from c (p = 0.0024), not from d (p = 0.42), say nothing of a and {note}."]


def test_figures_that_differ_in_their_last_bit_are_not_told_apart() -> None:
    found = compare({"a": [0.1 + 0.2] * 3, "b": [0.3] * 3})
    assert found.others[0].t_adjusted == found.others[0].wilcoxon_adjusted == 1
    assert "do not tell a from b (p = 1)." in found.verdict[1]


def test_what_is_told_apart_needs_no_more_seeds() -> None:
    # A lucky t-test: such a difference is found with 5 seeds in fewer than 8 of 10 studies.
    found = compare({"a": [51.0, 50.2, 52.1, 50.6, 51.6], "b": [50.0] * 5})
    (other,) = found.others
    assert other.t_adjusted < 0.05
    assert other.seeds_needed > found.seeds
    assert found.needed() == []
    assert len(compare({"a": [51.0, 50.2, 52.1, 50.6, 51.6], "b": [50.0] * 5}, level=0.01).needed()) == 1


def test_the_level_reaches_every_sentence() -> None:
    figures = {"a": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "b": [0.9, 2.1, 2.9, 4.1, 4.9, 5.8]}
    strict, usual = compare(figures, level=0.01), compare(figures)
    assert "With 6 seeds the tests are weak" in strict.verdict[-1]
    assert "Wilcoxon" not in " ".join(usual.verdict)
    assert strict.others[0].wilcoxon.note
    assert strict.others[0].seeds_needed > usual.others[0].seeds_needed


def test_one_method_is_compared_with_nothing() -> None:
    assert compare({"a": [1.0, 2.0, 3.0]}).verdict == ["a has the highest mean: 2 ± 1 over 3 seeds."]
    assert compare({"a": [1.0]}).verdict == [
        "a has the highest mean: 1.",
        "One seed: nothing can be concluded about seeds.",
    ]


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
    assert "With 6 seeds the tests are weak" in about_seeds(6, level=0.01)[0]


def test_the_order_of_methods_does_not_matter() -> None:
    assert compare(dict(reversed(FIGURES.items()))) == compare(FIGURES)


def test_what_cannot_be_compared() -> None:
    with pytest.raises(OptionError, match="no method"):
        compare({})
    with pytest.raises(ShapeError, match=r"different numbers of seeds: a 1, b 2"):
        compare({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(ShapeError, match="is nan"):
        compare({"a": [1.0, math.nan]})
    with pytest.raises(ShapeError, match="no figure"):
        compare({"a": [], "b": []})


@pytest.mark.parametrize("values", ["x", ["x", "y"], 5.0, None, [[1.0, 2.0]], [[1.0], [1.0, 2.0]]])
def test_what_is_no_list_of_figures_is_refused_with_its_name(values: object) -> None:
    with pytest.raises(ShapeError, match=r"'focal': give a list of numbers, one for each seed, not"):
        compare({"focal": values})
    with pytest.raises(ShapeError, match="the second: give a list of numbers"):
        paired_t_test([1.0], values)

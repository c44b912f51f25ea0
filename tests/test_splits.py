"""Splits, folds and simulations: what they hold to, and that they are the same everywhere."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pareto

from rarecall import data
from rarecall.data import LabelTable
from rarecall.data.simulations import pareto_counts
from rarecall.errors import DataError, OptionError

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
PREVALENCE = np.array([0.5, 0.25, 0.1, 0.05, 0.02])


def long_tailed(rows: int = 1000, **changes: object) -> LabelTable:
    """Five classes of a half down to a fiftieth of the rows; some labels unknown."""
    random = np.random.default_rng(3)
    labels = (random.random((rows, 5)) < PREVALENCE).astype(np.int8)
    labels[random.random(labels.shape) < 0.05] = -1
    items = [f"{row:04d}.jpg" for row in range(rows)]
    whole = {"items": items, "names": list("abcde"), "labels": labels, "split": np.full(rows, "train"), "source": "t"}
    return LabelTable(**{**whole, **changes})  # type: ignore[arg-type]


def parts_of(rows: int) -> np.ndarray:
    """Train, val and test by turns of ten rows."""
    return np.array([("train", "train", "val", "test")[row // 10 % 4] for row in range(rows)])


# --- splits and folds --------------------------------------------------------------------------------------


def test_every_part_has_its_share_of_the_rows_and_of_every_class() -> None:
    table = data.split(long_tailed(), SHARES)
    positives = (table.labels == 1).sum(0)
    for part, share in SHARES.items():
        rows = table.part(part)
        assert abs(len(rows) - share * 1000) <= 5
        assert (abs((table.labels[rows] == 1).sum(0) - share * positives) <= 1.5).all()


def test_a_split_says_how_it_was_made_and_changes_nothing_else() -> None:
    before = long_tailed()
    table = data.split(before, SHARES, seed=4)
    assert table.provenance == ("split(train=0.7, val=0.1, test=0.2, seed=4)",)
    assert table.items == before.items
    assert np.array_equal(table.labels, before.labels)
    assert (before.split == "train").all()


@pytest.mark.parametrize("group", [None, "identity"])
def test_a_split_is_of_its_seed_alone(group: str | None) -> None:
    columns = {"identity": np.arange(1000) // 3}
    first = data.split(long_tailed(columns=columns), SHARES, group=group)
    np.random.seed(5)
    assert np.array_equal(first.split, data.split(long_tailed(columns=columns), SHARES, group=group).split)
    assert not np.array_equal(first.split, data.split(long_tailed(columns=columns), SHARES, 1, group=group).split)


def test_a_small_split_that_every_machine_gives() -> None:
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 1], [0, 0]], np.int8)
    table = LabelTable(list("uvwxyz"), ["a", "b"], labels, np.full(6, "train"))
    assert data.split(table, {"train": 0.5, "test": 0.5}).split.tolist() == [
        "test",
        "test",
        "train",
        "test",
        "train",
        "train",
    ]


def sizes_of_groups() -> np.ndarray:
    """Numbers of 60 groups of 1 to 60 rows, in mixed order."""
    groups = np.repeat(np.arange(60), np.arange(1, 61))
    np.random.default_rng(0).shuffle(groups)
    return groups


def test_no_group_is_in_two_parts_and_the_shares_hold_nevertheless() -> None:
    groups = sizes_of_groups()
    people = np.array([f"person {number}" for number in groups])
    table = data.split(long_tailed(len(groups), columns={"identity": people}), SHARES, group="identity")
    positives = (table.labels == 1).sum(0)
    for number in range(60):
        assert len(set(table.split[groups == number])) == 1
    for part, share in SHARES.items():
        rows = table.part(part)
        assert abs(len(rows) - share * len(groups)) <= 0.03 * len(groups)
        assert (abs((table.labels[rows] == 1).sum(0) - share * positives) <= 0.05 * positives + 3).all()
    assert table.provenance[-1].endswith("group='identity')")


def test_a_group_goes_to_the_part_in_the_greatest_need() -> None:
    """Four groups of 4, 3, 2 and 1 rows, dealt by hand with the formula of the docstring."""
    groups = np.repeat([0, 1, 2, 3], [4, 3, 2, 1])
    labels = np.array([[1], [0], [0], [0], [1], [1], [0], [0], [1], [0]], np.int8)
    table = LabelTable([str(row) for row in range(10)], ["a"], labels, np.full(10, "train"), columns={"g": groups})
    dealt = data.split(table, {"train": 0.5, "test": 0.5}, group="g").split
    # 4 rows, 1 positive: both need alike, so train. Then test lacks everything: 3 rows, 2 positives. Then
    # train: 1/4 · (1 − 1/2) + 2/10 · (1 − 4/5) = 0.165, test: 1/4 · (1 − 2/2) + 2/10 · (1 − 3/5) = 0.08: train.
    # The last, one row without a positive: train 1/10 · (1 − 6/5) = −0.02, test 1/10 · (1 − 3/5) = 0.04: test.
    assert dealt[np.searchsorted(groups, [0, 1, 2, 3])].tolist() == ["train", "test", "train", "test"]


def test_regions_of_one_image_stay_together() -> None:
    items = [f"{row // 4}.jpg#xywh={row % 4},0,9,9" for row in range(1000)]
    table = data.split(long_tailed(items=items), SHARES)
    parts = table.split.reshape(250, 4)
    assert (parts == parts[:, :1]).all()
    assert set(parts[:, 0]) == set(SHARES)


def test_folds_are_disjoint_and_cover_every_row_once() -> None:
    table = long_tailed()
    folds = data.k_fold(table, 5, seed=1)
    tested = np.stack([fold.split == "test" for fold in folds])
    assert (tested.sum(0) == 1).all()
    for number, fold in enumerate(folds):
        assert set(fold.split) == {"train", "test"}
        assert abs(len(fold.part("test")) - 200) <= 5
        assert abs((fold.labels[fold.part("test")] == 1).sum(0) - (table.labels == 1).sum(0) / 5).max() <= 2
        assert fold.provenance == (f"k_fold(fold={number}, k=5, seed=1)",)


def test_no_group_is_in_train_and_test_of_a_fold() -> None:
    groups = sizes_of_groups()
    for fold in data.k_fold(long_tailed(len(groups), columns={"camera": groups}), 3, group="camera"):
        assert not set(groups[fold.part("train")]) & set(groups[fold.part("test")])


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 0.5, "tset": 0.5}, "unknown part 'tset': did you mean 'test'"),
        ({"train": 0.5, "test": 0.4}, "sum to 1"),
        ({"train": 1.5, "test": -0.5}, "positive numbers"),
        ({"train": float("nan")}, "positive numbers"),
        ({}, "sum to 1"),
    ],
)
def test_shares_that_make_no_sense(shares: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        data.split(long_tailed(), shares)


def test_too_few_groups_for_the_parts() -> None:
    table = long_tailed(columns={"camera": np.arange(1000) % 2})
    with pytest.raises(DataError, match="too few rows or groups for a"):
        data.split(table, SHARES, group="camera")
    with pytest.raises(DataError, match="too few rows or groups for 3 folds"):
        data.k_fold(table, 3, group="camera")
    with pytest.raises(DataError, match="no column 'identity' to group by: it has camera"):
        data.k_fold(table, 3, group="identity")
    with pytest.raises(OptionError, match="2 or more"):
        data.k_fold(table, 1)


# --- long tails --------------------------------------------------------------------------------------------


def test_the_curve_is_the_density_that_the_authors_print() -> None:
    """Wu et al. print α x_min^α / x^(α+1) with α = 6; their script scales it to its maximum and minimum."""
    places = np.linspace(pareto.ppf(0.0, 6), pareto.ppf(0.99, 6), 20)
    theirs = pareto(6).pdf(places) * (800 - 1) / 6 + 1
    np.testing.assert_allclose(pareto_counts(20, 800, theirs[-1]), theirs, rtol=1e-9)
    assert pareto_counts(1, 30, 3).tolist() == [30]


def single_label(counts: list[int]) -> LabelTable:
    """A table whose rows have one class each."""
    labels = np.repeat(np.eye(len(counts), dtype=np.int8), counts, axis=0)
    rows = len(labels)
    return LabelTable(
        [str(row) for row in range(rows)], [f"c{n}" for n in range(len(counts))], labels, np.full(rows, "train")
    )


def test_without_co_occurrence_the_targets_are_met() -> None:
    table = data.long_tail(single_label([900] * 6), 600, 5)
    wanted = pareto_counts(6, 600, 5).round()
    assert sorted((table.labels == 1).sum(0), reverse=True) == wanted.tolist()
    assert table.provenance == ("long_tail(maximum=600, minimum=5, seed=0)",)


def test_a_class_with_fewer_positives_than_its_target_keeps_them_all() -> None:
    table = data.long_tail(single_label([50, 50, 50]), 500, 40)
    assert (table.labels == 1).sum(0).tolist() == [50, 50, 40]


def test_with_co_occurrence_no_single_row_can_be_moved_for_a_better_fit() -> None:
    whole = long_tailed(2000)
    table = data.long_tail(whole, 300, 5, seed=2)
    present = whole.labels == 1
    together = present.T.astype(int) @ present
    rank = np.argsort(-(together / np.diag(together)[:, None]).sum(0))
    targets = np.empty(5)
    targets[rank] = pareto_counts(5, 300, 5).round()
    targets = np.minimum(targets, np.diag(together))
    kept = np.isin(whole.items, table.items)

    def misfit(rows: np.ndarray) -> float:
        return float((abs(present[rows].sum(0) - targets) / targets).sum())

    best = misfit(kept)
    assert best < misfit(np.ones(2000, bool)) / 10
    for row in np.flatnonzero(present.any(1)):
        moved = kept.copy()
        moved[row] = not moved[row]
        assert misfit(moved) >= best - 1e-6
    assert not kept[~present.any(1)].any()


def test_only_the_train_part_is_thinned_unless_others_are_named() -> None:
    whole = long_tailed(split=parts_of(1000))
    table = data.long_tail(whole, 60, 4)
    assert len(table.part("train")) < 300
    for part in ("val", "test"):
        assert [table.items[row] for row in table.part(part)] == [whole.items[row] for row in whole.part(part)]
    both = data.long_tail(whole, 60, 4, parts=("train", "test"))
    assert len(both.part("test")) < 150
    assert len(both.part("val")) == 250
    assert both.provenance == ("long_tail(maximum=60, minimum=4, seed=0, parts=('train', 'test'))",)


def test_a_thinning_is_of_its_seed_alone() -> None:
    first = data.long_tail(long_tailed(), 100, 4)
    assert first.items == data.long_tail(long_tailed(), 100, 4).items
    assert first.items != data.long_tail(long_tailed(), 100, 4, seed=1).items


@pytest.mark.parametrize(
    "options", [{"maximum": 5, "minimum": 9}, {"maximum": 5, "minimum": 0}, {"maximum": float("inf"), "minimum": 1}]
)
def test_ends_of_a_tail_that_make_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="1 ≤ minimum ≤ maximum"):
        data.long_tail(long_tailed(), **options)
    with pytest.raises(OptionError, match="exponent"):
        data.long_tail(long_tailed(), 9, 5, exponent=0)


def test_nothing_to_thin() -> None:
    with pytest.raises(DataError, match="no positive in test"):
        data.long_tail(long_tailed(), 9, 5, parts=("test",))


# --- one positive for each row -----------------------------------------------------------------------------


def authors_procedure(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed labels (-1 unknown), training and validation rows, in the published steps, one after the other."""
    signed = labels.astype(float)
    signed[signed == 0] = -1
    random = np.random.RandomState(seed)
    seen = np.zeros_like(signed)
    for number in range(len(signed)):
        for value, most in ((1.0, 1), (-1.0, 0)):
            places = np.nonzero(signed[number, :] == value)[0]
            random.shuffle(places)
            seen[number, places[:most]] = value
    rows = len(labels)
    for_validation = int(np.round(0.2 * rows))
    order = np.random.RandomState(seed).permutation(rows)
    observed = np.where(seen == 1, 1, -1)
    return observed, np.sort(order[: rows - for_validation]), np.sort(order[-for_validation:])


def complete(rows: int = 503, **changes: object) -> LabelTable:
    """A table without unknown labels, in which some rows have no positive."""
    labels = (np.random.default_rng(8).random((rows, 5)) < 0.3).astype(np.int8)
    return long_tailed(rows, labels=labels, **changes)


@pytest.mark.parametrize("seed", [1200, 7])
def test_single_positives_are_those_of_the_published_procedure(seed: int) -> None:
    split = np.array(["train"] * 403 + ["test"] * 100)
    whole = complete(split=split)
    table = data.single_positive(whole, seed)
    observed, train, validation = authors_procedure(whole.labels[:403], seed)
    assert table.part("train").tolist() == train.tolist()
    assert table.part("val").tolist() == validation.tolist()
    assert np.array_equal(table.labels[train], observed[train])
    assert np.array_equal(table.labels[validation], whole.labels[validation])
    assert np.array_equal(table.labels[403:], whole.labels[403:])
    assert table.provenance == (f"single_positive(seed={seed})",)
    assert np.array_equal(((table.labels[train] == 1).sum(1) == 1), (whole.labels[train] == 1).any(1))


def test_the_other_parts_are_observed_when_named_each_with_a_fresh_state() -> None:
    whole = complete(split=np.array(["test"] * 100 + ["train"] * 403))
    table = data.single_positive(whole, parts=("train", "val", "test"))
    assert np.array_equal(table.labels[:100], authors_procedure(whole.labels[:100], 1200)[0])
    assert np.array_equal(table.labels[100:], authors_procedure(whole.labels[100:], 1200)[0])


def test_a_validation_part_that_is_there_stays() -> None:
    whole = complete(split=np.array(["train"] * 303 + ["val"] * 100 + ["test"] * 100))
    table = data.single_positive(whole)
    assert np.array_equal(table.split, whole.split)
    assert np.array_equal(table.labels[:303], authors_procedure(whole.labels[:303], 1200)[0])
    assert np.array_equal(table.labels[303:], whole.labels[303:])
    assert not len(data.single_positive(complete(), validation=0).part("val"))
    with pytest.raises(OptionError, match="validation=1"):
        data.single_positive(whole, validation=1)


# --- labels that are taken away or wrong -------------------------------------------------------------------


@pytest.mark.parametrize("of", ["known", "present", "absent"])
def test_labels_are_kept_at_the_rate_that_is_asked_for(of: str) -> None:
    whole = long_tailed(4000, split=parts_of(4000))
    table = data.keep_labels(whole, 0.4, of=of)
    train = whole.split == "train"
    may_go = np.isin(whole.labels, {"known": (0, 1), "present": (1,), "absent": (0,)}[of]) & train[:, None]
    assert np.array_equal(table.labels[~may_go], whole.labels[~may_go])
    kept = table.labels[may_go] == whole.labels[may_go]
    assert (table.labels[may_go][~kept] == -1).all()
    assert kept.mean() == pytest.approx(0.4, abs=4 * (0.24 / may_go.sum()) ** 0.5)


@pytest.mark.parametrize("of", ["known", "present", "absent"])
def test_labels_flip_at_the_rate_that_is_asked_for(of: str) -> None:
    whole = long_tailed(4000, split=parts_of(4000))
    table = data.flip_labels(whole, 0.2, of=of, parts=("test",))
    test = whole.split == "test"
    may_flip = np.isin(whole.labels, {"known": (0, 1), "present": (1,), "absent": (0,)}[of]) & test[:, None]
    assert np.array_equal(table.labels[~may_flip], whole.labels[~may_flip])
    flipped = table.labels[may_flip] != whole.labels[may_flip]
    assert (table.labels[may_flip][flipped] == 1 - whole.labels[may_flip][flipped]).all()
    assert flipped.mean() == pytest.approx(0.2, abs=4 * (0.16 / may_flip.sum()) ** 0.5)


def test_the_ends_of_the_range_take_all_or_nothing() -> None:
    whole = long_tailed()
    assert np.array_equal(data.keep_labels(whole, 1).labels, whole.labels)
    assert (data.keep_labels(whole, 0).labels == -1).all()
    assert np.array_equal(data.flip_labels(whole, 0).labels, whole.labels)
    opposite = np.where(whole.labels == -1, -1, 1 - whole.labels)
    assert np.array_equal(data.flip_labels(whole, 1).labels, opposite)


def test_a_draw_does_not_depend_on_the_size_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = data.keep_labels(long_tailed(), 0.5).labels
    monkeypatch.setattr("rarecall.data.simulations.BLOCK", 37)
    assert np.array_equal(data.keep_labels(long_tailed(), 0.5).labels, whole)
    assert not np.array_equal(data.keep_labels(long_tailed(), 0.5, seed=1).labels, whole)


def test_steps_add_up_in_the_provenance_and_leave_their_input_alone() -> None:
    whole = long_tailed()
    before = whole.labels.copy()
    table = data.flip_labels(data.keep_labels(whole, 0.5, seed=3), 0.1, of="present", parts=("train", "val"))
    assert table.provenance == (
        "keep_labels(fraction=0.5, seed=3)",
        "flip_labels(fraction=0.1, seed=0, of='present', parts=('train', 'val'))",
    )
    assert np.array_equal(whole.labels, before)
    assert not whole.provenance


@pytest.mark.parametrize("simulate", [data.keep_labels, data.flip_labels])
def test_rates_kinds_and_parts_that_make_no_sense(simulate: type) -> None:
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(OptionError, match="a probability, 0 to 1"):
            simulate(long_tailed(), fraction)
    with pytest.raises(OptionError, match="unknown of 'presnt': did you mean 'present'"):
        simulate(long_tailed(), 0.5, of="presnt")
    with pytest.raises(OptionError, match="unknown part 'trian': did you mean 'train'"):
        simulate(long_tailed(), 0.5, parts=("trian",))


# --- real files --------------------------------------------------------------------------------------------


def test_people_of_real_photos_stay_together(data_folder: Path) -> None:
    peta = data.load(str(data_folder / "peta" / "train.csv"))
    table = data.split(peta, SHARES)
    positives = (peta.labels == 1).sum(0)
    for part, share in SHARES.items():
        rows = table.part(part)
        assert len(rows) == pytest.approx(share * len(peta), rel=0.02)
        assert (abs((table.labels[rows] == 1).sum(0) - share * positives) <= 0.03 * positives + 3).all()
    thinned = data.long_tail(peta, 1500, 10)
    assert (thinned.labels == 1).sum(0).min() == 10


def test_a_blank_value_is_a_group_of_its_image_alone() -> None:
    columns = {"person": np.array(["a", "a", "", "", "", "-1", "set/-1"], object)}
    items = ["1.jpg", "2.jpg", "3.jpg#xywh=0,0,1,1", "3.jpg#xywh=1,0,1,1", "4.jpg", "5.jpg", "6.jpg"]
    table = LabelTable(items, ["x"], np.ones((7, 1), np.int8), np.full(7, "train"), columns=columns)
    assert table.groups("person").tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert table.groups().tolist() == [0, 1, 2, 2, 3, 4, 5]


def test_few_groups_are_parted_or_refused() -> None:
    labels = np.random.default_rng(0).integers(0, 2, (60, 3)).astype(np.int8)
    for groups in (1, 2, 3, 4):
        ward = np.array([f"ward {row % groups}" for row in range(60)])
        items = [f"row {row:02d}" for row in range(60)]
        everything = np.full(60, "train")
        table = LabelTable(items, list("abc"), labels, everything, "wards", columns={"ward": ward}, group="ward")
        if groups < 3:
            with pytest.raises(DataError, match=r"training rows belong together \(by ward\)"):
                data.complete_split(table)
            continue
        whole, _ = data.complete_split(table)
        parts = {part: set(ward[whole.part(part)]) for part in ("train", "val", "test")}
        assert all(parts.values())
        assert sum(map(len, parts.values())) == groups

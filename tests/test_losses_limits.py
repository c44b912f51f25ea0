"""Where a loss becomes another one, and what each keeps by itself."""

import pytest
import timm.loss
import torch
import torch.nn.functional as F

from rarecall import losses
from tests.loops import each
from tests.loss_cases import (
    REDUCTIONS,
    call,
    close,
    gradient,
    hold_threads,
    sample,
)

one_thread = pytest.fixture(autouse=True, scope="module")(hold_threads(1))


@pytest.mark.parametrize("modulation", ["p_t", "as-printed"])
def test_focal_without_focusing_is_binary_cross_entropy(modulation):
    batch = sample(6, 4, scale=10.0)
    close(losses.focal(*batch, gamma=0.0, modulation=modulation), losses.binary_cross_entropy(*batch))


def test_focal_alpha_one_half_is_half_the_loss():
    batch = sample(6, 4)
    close(losses.focal(*batch, alpha=0.5), 0.5 * losses.focal(*batch))


def test_asymmetric_without_focusing_and_margin_is_binary_cross_entropy():
    batch = sample(6, 4, scale=10.0)
    actual = losses.asymmetric(*batch, gamma_pos=0.0, gamma_neg=0.0, margin=0.0)
    close(actual, losses.binary_cross_entropy(*batch))


def test_asymmetric_with_equal_focusing_and_no_margin_is_focal():
    batch = sample(6, 4)
    options = {"gamma_pos": 2.0, "gamma_neg": 2.0, "margin": 0.0, "detach_focusing": False}
    close(losses.asymmetric(*batch, **options), losses.focal(*batch, gamma=2.0))
    close(gradient(("asymmetric", options), *batch), gradient(("focal", {"gamma": 2.0}), *batch))


def test_asymmetric_drops_the_negatives_below_the_margin():
    logits = torch.tensor([[-3.0, -2.9]], dtype=torch.float64)  # p is 0.047 and 0.052
    terms = losses.asymmetric(logits, torch.zeros(1, 2), margin=0.05, reduction="none")
    grads = gradient(("asymmetric", {"margin": 0.05}), logits, torch.zeros(1, 2))
    assert (terms > 0).tolist() == [[False, True]]
    assert (grads > 0).tolist() == [[False, True]]


def test_asymmetric_focusing_is_a_constant_weight_in_the_gradient_when_detached():
    logits, targets = sample(6, 4, labels=(0, 1))
    p = logits.sigmoid()
    weight = torch.where(targets > 0, (1 - p) ** 1.5, p**3)
    options = {"gamma_pos": 1.5, "gamma_neg": 3.0, "margin": 0.0, "reduction": "sum"}
    close(gradient(("asymmetric", options), logits, targets), weight * (p - targets))


@pytest.mark.parametrize("ways", ["both", "sample", "class", "joint"])
@pytest.mark.parametrize("shift", [-30.0, 7.0])
def test_two_way_does_not_change_when_all_logits_are_shifted(ways, shift):
    logits, targets = sample(6, 4)
    close(losses.two_way(logits + shift, targets, ways=ways), losses.two_way(logits, targets, ways=ways))


@pytest.mark.parametrize("way", ["sample", "class"])
def test_two_way_does_not_change_when_one_row_or_column_is_shifted_along_its_way(way):
    logits, targets = sample(6, 4)
    shift = torch.zeros_like(logits)
    (shift[2] if way == "sample" else shift[:, 2]).fill_(3.0)
    close(losses.two_way(logits + shift, targets, ways=way), losses.two_way(logits, targets, ways=way))


def test_distributionally_robust_without_constraint_does_not_change_when_a_class_is_shifted():
    logits, targets = sample(6, 4)
    shift = torch.tensor([-9.0, 0.0, 2.0, 30.0])
    actual = losses.distributionally_robust(logits + shift, targets, negative_gamma=None)
    close(actual, losses.distributionally_robust(logits, targets, negative_gamma=None))


def test_distributionally_robust_rises_with_all_logits_because_of_the_constraint():
    logits, targets = sample(6, 4)
    before = losses.distributionally_robust(logits, targets)
    assert losses.distributionally_robust(logits + 1.0, targets) > before + 0.1


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_two_way_with_one_positive_per_row_is_softmax_cross_entropy(reduction):
    logits, _ = sample(6, 4)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    actual = losses.two_way(
        logits,
        F.one_hot(labels, 4),
        positive_temperature=1.0,
        negative_temperature=1.0,
        ways="sample",
        reduction=reduction,
    )
    close(actual, F.cross_entropy(logits, labels, reduction=reduction))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_two_way_by_class_is_by_sample_on_the_transpose(reduction):
    logits, targets = sample(6, 4)
    by_sample = losses.two_way(logits.mT, targets.mT, ways="sample", reduction=reduction)
    close(losses.two_way(logits, targets, ways="class", reduction=reduction), by_sample)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_two_way_is_the_loss_by_sample_plus_the_loss_by_class(reduction):
    batch = sample(6, 4)
    ways = [losses.two_way(*batch, ways=way, reduction=reduction) for way in ("sample", "class")]
    close(losses.two_way(*batch, reduction=reduction), sum(ways))


SHIFTABLE = ["softmax-regression", "lsep"]
ANCHORED = ["zlpr", "multi-similarity"]
ONE_WAY = [*SHIFTABLE, *ANCHORED, "circle"]


@pytest.mark.parametrize("name", SHIFTABLE)
@pytest.mark.parametrize("way", ["sample", "class"])
def test_what_compares_logits_alone_does_not_change_when_a_row_or_column_is_shifted(name, way):
    logits, targets = sample(6, 4)
    shift = torch.tensor([-9.0, 0.0, 2.0, 30.0, 1.0, -4.0])
    shift = shift[:, None] if way == "sample" else shift[:4]
    close(call((name, {"ways": way}), logits + shift, targets), call((name, {"ways": way}), logits, targets))


@pytest.mark.parametrize("name", ANCHORED)
def test_what_knows_zero_changes_when_all_logits_are_shifted(name):
    logits, targets = sample(6, 4)
    before = call((name, {}), logits, targets)
    assert all(abs(call((name, {}), logits + shift, targets) - before) > 0.1 for shift in (-3.0, 3.0))


@pytest.mark.parametrize("name", ONE_WAY)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_by_class_is_by_sample_on_the_transpose(name, reduction):
    logits, targets = sample(6, 4)
    by_sample = call((name, {}), logits.mT, targets.mT, reduction=reduction)
    close(call((name, {"ways": "class"}), logits, targets, reduction=reduction), by_sample)


@pytest.mark.parametrize("name", ONE_WAY)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_both_ways_are_the_sum_of_the_two(name, reduction):
    batch = sample(6, 4)
    ways = [call((name, {"ways": way}), *batch, reduction=reduction) for way in ("sample", "class")]
    both = call((name, {"ways": "both"}), *batch, reduction=reduction)
    close(both, sum(ways))


COLD = {"positive_temperature": 1.0, "negative_temperature": 1.0}


@pytest.mark.parametrize("way", ["sample", "class"])
def test_lsep_has_the_terms_of_the_two_way_loss_at_temperature_one(way):
    logits, targets = sample(6, 4)
    targets[2], targets[:, 1] = targets[2].clamp(max=0), 0  # a row and a column without a positive
    for reduction in ("none", "sum", "batchmean"):
        expected = losses.two_way(logits, targets, **COLD, ways=way, reduction=reduction)
        close(losses.lsep(logits, targets, ways=way, reduction=reduction), expected)


@pytest.mark.parametrize("way", ["sample", "class", "both"])
def test_lsep_has_the_mean_of_the_two_way_loss_where_every_set_has_a_positive(way):
    logits, targets = sample(6, 4)
    targets[:, 0] = targets[0] = 1
    close(losses.lsep(logits, targets, ways=way), losses.two_way(logits, targets, **COLD, ways=way))
    targets[2] = targets[:, 1] = 0  # a row counts now in one mean and not in the other, and so does a column
    assert losses.lsep(logits, targets, ways=way) < losses.two_way(logits, targets, **COLD, ways=way)


def test_lsep_by_class_is_the_distributionally_robust_loss_without_constraint():
    batch = sample(6, 4)
    expected = losses.distributionally_robust(*batch, gamma=5.0, negative_gamma=None)
    close(losses.lsep(*batch, gamma=5.0, ways="class"), expected)


def test_multi_similarity_at_temperature_one_is_zlpr():
    batch = sample(6, 4)
    close(losses.multi_similarity(*batch), losses.zlpr(*batch))


def test_zlpr_of_one_class_is_binary_cross_entropy():
    batch = sample(9, 1)
    close(losses.zlpr(*batch), losses.binary_cross_entropy(*batch))


def test_soft_selection_without_focus_is_hard_selection_of_everything():
    logits, _ = sample(6, 4)
    targets = F.one_hot(torch.tensor([0, 3, 1, 1, 2, 0]), 4)
    p = logits.sigmoid()
    expected = -p[targets > 0].log().mean() - 10 * (1 - p[targets == 0]).log().mean()
    close(losses.soft_selection(logits, targets, exponent=0.0), expected)
    # Hard selection divides by N k, positives among the candidates counted as zeros.
    hard = -p[targets > 0].log().mean() - 10 * (1 - p[targets == 0]).log().sum() / 24
    close(losses.hard_selection(logits, targets, ratio=1.0), hard)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reweighted-cross-entropy", {"power": 0.0}),
        ("class-balanced", {"beta": 0.0, "gamma": None}),
        ("class-balanced", {"beta": 0.0, "gamma": None, "mode": "average_w"}),
        ("ldam", {"max_margin": 0.0, "scale": 1.0}),
        ("distribution-balanced", {"beta": 0.0, "alpha": 0.5, "negative_scale": 1.0, "init_bias": 0.0, "gamma": None}),
        ("frequency-weighted-cross-entropy", {"positives": torch.full((4,), 20)}),
    ],
    ids=str,
)
def test_without_its_correction_a_loss_is_binary_cross_entropy(name, options):
    batch = sample(6, 4)
    close(call((name, options), *batch), losses.binary_cross_entropy(*batch))


@pytest.mark.parametrize("mode", ["average_n", "average_w", "min_n"])
def test_class_balanced_modes_agree_where_one_class_is_present_and_its_entry_asked_for(mode):
    logits, targets = sample(6, 4)[0], F.one_hot(torch.tensor([0, 3, 1, 1, 2, 0]), 4)
    by_class = call(("class-balanced", {"reduction": "none"}), logits, targets)
    by_row = call(("class-balanced", {"reduction": "none", "mode": mode}), logits, targets)
    close(by_row[targets > 0], by_class[targets > 0])


def test_rules_meet_where_they_must():
    logits, targets = sample(6, 4)
    complete = targets.clamp(min=0)
    cross_entropy = losses.binary_cross_entropy(logits, complete)
    close(losses.assume_negative(logits, targets), cross_entropy)
    close(losses.large_loss(logits, targets, progress=0.0), cross_entropy)
    close(losses.generalized_robust(logits, complete), cross_entropy)
    close(losses.entropy_maximization(logits, complete), cross_entropy)
    close(
        losses.weak_assume_negative(logits[:, :2], targets[:, :2]),
        losses.assume_negative(logits[:, :2], targets[:, :2]),
    )
    robust = losses.generalized_robust(logits, targets, b=-1e3, sigma=1e6, q3=1e-9)
    close(robust, cross_entropy, rtol=1e-6)


@pytest.mark.parametrize("q", [0.01, 0.7, 1.0, 1.5])
def test_generalized_robust_with_known_probability_mixes_two_robust_losses(q):
    logits = torch.linspace(-4, 4, 9, dtype=torch.float64)[None]
    p, unknown = logits.sigmoid(), torch.full((1, 9), -1)
    options = {"sigma": 1e9, "q2": q, "q3": q}
    close(losses.generalized_robust(logits, unknown, k=torch.ones(1, 9), **options), ((1 - p**q) / q).mean())
    close(losses.generalized_robust(logits, unknown, k=torch.zeros(1, 9), **options), ((1 - (1 - p) ** q) / q).mean())


@pytest.mark.parametrize("rows", [1, 4, 5, 6, 7, 100])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ways", ["both", "class", "joint", "sample"])
def test_two_way_in_buckets_averages_what_devices_would_compute(rows, reduction, ways):
    logits, targets = sample(11, 4)
    targets[5:10] = targets[5:10].clamp(max=0)  # a bucket without a positive does not count
    across = "class" if ways == "both" else ways
    parts = [(logits[i : i + rows], targets[i : i + rows]) for i in range(0, 11, rows)]
    if ways == "sample":
        expected = losses.two_way(logits, targets, ways="sample", reduction=reduction)
    elif reduction == "mean":
        counted = [part for part in parts if (part[1] > 0).any()]
        expected = torch.stack([losses.two_way(*part, ways=across) for part in counted]).mean()
    else:
        total = sum(losses.two_way(*part, ways=across, reduction="sum") for part in parts)
        expected = total / 11 if reduction == "batchmean" else total
    if ways == "both":
        expected = expected + losses.two_way(logits, targets, ways="sample", reduction=reduction)
    close(losses.two_way(logits, targets, ways=ways, reduction=reduction, bucket_size=rows), expected)


def test_the_terms_of_buckets_are_those_of_their_columns():
    logits, targets = sample(7, 4)
    terms = losses.two_way(logits, targets, ways="class", reduction="none", bucket_size=3)
    assert terms.shape == (3, 4)
    close(terms[2], losses.two_way(logits[6:], targets[6:], ways="class", reduction="none"))


@pytest.mark.skipif(not hasattr(timm.loss, "TwoWayLoss"), reason="timm before 1.0.31 has no such losses")
def test_the_losses_that_timm_has_too_agree_with_it():
    logits, targets = sample(16, 6, labels=(0, 0, 1))
    targets[:, 0], targets[0] = 1, 1  # timm leaves nothing out of ZLPR's mean
    close(losses.two_way(logits.float(), targets), timm.loss.TwoWayLoss()(logits.float(), targets), rtol=1e-4)
    asymmetric = timm.loss.AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05, reduction="sum")
    expected = asymmetric(logits, targets)
    close(losses.asymmetric(logits, targets, gamma_pos=1.0, reduction="sum"), expected, rtol=1e-6)
    close(losses.zlpr(logits.float(), targets), timm.loss.ZlprLoss()(logits.float(), targets), rtol=1e-4)


@each(option=["positive_temperature", "negative_temperature"])
def test_temperature_zero_is_the_limit_of_small_temperatures(option):
    batch = sample(6, 4)
    limit = losses.two_way(*batch, **{option: 0.0})
    gaps = [abs(losses.two_way(*batch, **{option: small}) - limit) for small in (1.0, 0.1, 1e-3)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-6


def test_distributionally_robust_with_one_pair_is_its_softplus():
    logits = torch.tensor([[0.3], [-1.1]], dtype=torch.float64)
    targets = torch.tensor([[1], [0]])
    actual = losses.distributionally_robust(logits, targets, gamma=2.0, negative_gamma=None)
    close(actual, F.softplus(2.0 * (logits[1, 0] - logits[0, 0])))

"""Calibration, held against scikit-learn, torchmetrics, scipy, loops and laws."""

import math

import jaxtyping
import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from rarecall.errors import OptionError, ShapeError
from rarecall.metrics import _calibration as module
from rarecall.metrics._calibration import (
    brier_score,
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    reliability,
)
from rarecall.metrics._ranking import average_precision

NAN = math.nan
SHAPES = [(1, 4), (5, 20), (200, 6)]
EMPTY = [(0, 3), (3, 0), (0, 0), (2, 0, 3), (0, 4, 3)]


def sample(*shape, seed=0, decimals=2):
    """Float64 probabilities with ties and three-valued targets."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(*shape, generator=generator, dtype=torch.float64).round(decimals=decimals)
    return probabilities, torch.randint(-1, 2, shape, generator=generator)


def logit_sample(*shape, seed=0, scale=3.0, shift=-1.0):
    """Logits that say something of their three-valued targets, but too loudly."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(-1, 2, shape, generator=generator)
    noise = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return scale * ((targets > 0) + noise + shift), targets


def close(actual, expected, tolerance=1e-12):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def known_of(values, targets, c):
    known = targets[:, c] >= 0
    return values[known, c].numpy(), targets[known, c].numpy()


def cross_entropy(logits, targets):
    known = targets >= 0
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits[known], targets[known].double()))


@pytest.fixture
def no_type_checker():
    """Let a wrong call reach the function even where shapes are checked at run time."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


# --- reliability and expected calibration error -------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_error_is_that_of_torchmetrics_for_binary_events(shape, bins):
    for seed in range(3):
        probabilities, targets = sample(*shape, seed=seed)
        probabilities = probabilities.clamp(max=0.999)  # torchmetrics gives 1 a bin of its own
        actual = expected_calibration_error(probabilities, targets, bins=bins)
        for c in range(shape[1]):
            if not (targets[:, c] >= 0).any():
                assert actual[c].isnan()
                continue
            expected = binary_calibration_error(probabilities[:, c], targets[:, c], n_bins=bins, ignore_index=-1)
            close(actual[c], expected, 1e-7)


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_the_diagram_is_that_of_scikit_learn(bins):
    probabilities, targets = sample(200, 6, decimals=9)  # scikit-learn gives a bin its upper bound, not its lower
    seen = reliability(probabilities, targets, bins=bins)
    for c in range(6):
        values, truth = known_of(probabilities, targets, c)
        frequency, confidence = calibration_curve(truth, values, n_bins=bins)
        filled = seen.count[c] > 0
        close(seen.frequency[c][filled], frequency)
        close(seen.confidence[c][filled], confidence)
        assert seen.frequency[c][~filled].isnan().all()
        close(seen.count[c].double(), np.histogram(values, bins, (0, 1))[0])


def by_loop(probabilities, targets, bins):
    """Equal mass from the definition: the bin is the share of the entries below, in parts of `bins`."""
    pairs = [(p, y) for p, y in zip(probabilities.tolist(), targets.tolist(), strict=True) if y >= 0]
    members = [[] for _ in range(bins)]
    for p, y in pairs:
        below = sum(other < p for other, _ in pairs)
        members[below * bins // len(pairs)].append((p, y))
    gaps = [abs(sum(p - y for p, y in member)) for member in members]
    return [len(member) for member in members], sum(gaps) / len(pairs)


@pytest.mark.parametrize("decimals", [0, 1, 9], ids=["heavy ties", "ties", "no ties"])
@pytest.mark.parametrize("bins", [1, 4, 15])
def test_bins_of_equal_mass_are_those_of_the_definition(bins, decimals):
    probabilities, targets = sample(50, 5, decimals=decimals)
    seen = reliability(probabilities, targets, bins=bins, binning="mass")
    errors = expected_calibration_error(probabilities, targets, bins=bins, binning="mass")
    for c in range(5):
        counts, error = by_loop(probabilities[:, c], targets[:, c], bins)
        assert seen.count[c].tolist() == counts
        close(errors[c], error)


def test_bins_of_equal_mass_hold_equally_many():
    probabilities, targets = sample(100, 4, decimals=9)
    seen = reliability(probabilities, targets.abs(), bins=8, binning="mass")
    assert seen.count.amax() - seen.count.amin() <= 1


def test_a_bin_has_its_lower_bound_and_the_last_has_one_too():
    probabilities = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])[:, None]
    seen = reliability(probabilities, torch.ones(5, 1), bins=4)
    assert seen.count.tolist() == [[1, 1, 1, 2]]
    close(seen.confidence, [[0.0, 0.25, 0.5, 0.875]])


def test_the_error_of_probabilities_that_come_true_is_nought_and_of_their_contrary_one():
    targets = torch.tensor([[1, 0], [0, 0], [1, -1]])
    for binning in ("width", "mass"):
        assert expected_calibration_error((targets > 0).double(), targets, binning=binning).tolist() == [0.0, 0.0]
        assert expected_calibration_error((targets <= 0).double(), targets, binning=binning).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_the_error_is_between_the_bias_and_the_absolute_error(binning):
    probabilities, targets = sample(60, 8)
    error = expected_calibration_error(probabilities, targets, bins=6, binning=binning)
    difference = torch.where(targets >= 0, probabilities - targets, NAN)
    assert (error >= difference.nanmean(0).abs() - 1e-12).all()
    assert (error <= difference.abs().nanmean(0) + 1e-12).all()


# --- Brier score --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_brier_score_is_that_of_scikit_learn(shape):
    for seed in range(3):
        probabilities, targets = sample(*shape, seed=seed)
        actual = brier_score(probabilities, targets)
        for c in range(shape[1]):
            values, truth = known_of(probabilities, targets, c)
            close(actual[c], brier_score_loss(truth, values, pos_label=1) if len(truth) else NAN)


# --- laws of the three --------------------------------------------------------------------------------------

FIGURES = [
    brier_score,
    lambda *batch: expected_calibration_error(*batch, bins=7),
    lambda *batch: expected_calibration_error(*batch, bins=4, binning="mass"),
]
each_figure = pytest.mark.parametrize("figure", FIGURES, ids=["brier", "width", "mass"])


@each_figure
def test_unknown_entries_are_as_if_they_were_not_there(figure):
    probabilities, targets = sample(40, 5)
    expected = figure(probabilities, targets)
    for other in (0.0, 0.5, 1.0):
        close(figure(probabilities.masked_fill(targets < 0, other), targets), expected)
    for c in range(5):
        known = targets[:, c] >= 0
        close(figure(probabilities[known, c, None], targets[known, c, None]), expected[c : c + 1])


@each_figure
def test_the_order_of_samples_and_classes_does_not_matter(figure):
    probabilities, targets = sample(60, 5, decimals=1)
    samples, classes = torch.randperm(60, generator=torch.Generator().manual_seed(0)), [3, 1, 4, 0, 2]
    actual = figure(probabilities[samples][:, classes], targets[samples][:, classes])
    close(actual, figure(probabilities, targets)[classes])


@each_figure
def test_leading_dimensions_are_problems_of_their_own(figure, monkeypatch):
    probabilities, targets = sample(2, 3, 20, 4)
    actual = figure(probabilities, targets)
    assert actual.shape == (2, 3, 4)
    for i in range(2):
        for j in range(3):
            close(actual[i, j], figure(probabilities[i, j], targets[i, j]))
    monkeypatch.setattr(module, "BLOCK", 1)
    close(figure(probabilities, targets), actual)


@each_figure
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_of_nothing_the_figures_are_nan(figure, shape):
    actual = figure(torch.zeros(shape), torch.zeros(shape))
    assert actual.shape == (*shape[:-2], shape[-1])
    assert actual.isnan().all()
    assert figure(torch.zeros(4, 2), -torch.ones(4, 2)).isnan().all()


@each_figure
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_probabilities_of_any_floating_type_give_float64(figure, dtype):
    probabilities, targets = sample(60, 4)
    coarse = probabilities.to(dtype)
    actual = figure(coarse, targets)
    assert actual.dtype == torch.float64
    close(actual, figure(coarse.double(), targets))


# --- temperature --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-4, 0.3, 1.0, 7.0, 1e4])
def test_the_temperature_has_the_lowest_cross_entropy(scale):
    for seed in range(3):
        logits, targets = logit_sample(80, 5, seed=seed)
        temperature = float(fit_temperature(logits * scale, targets))
        found = minimize_scalar(
            lambda log, *batch: cross_entropy(batch[0] / math.exp(log), batch[1]),
            bounds=(-12, 12),
            args=(logits * scale, targets),
            method="bounded",
            options={"xatol": 1e-9},
        )
        assert temperature == pytest.approx(math.exp(found.x), rel=1e-4)
        assert cross_entropy(logits * scale / temperature, targets) <= found.fun + 1e-12


def test_the_temperature_grows_with_the_logits():
    logits, targets = logit_sample(80, 5)
    expected = fit_temperature(logits, targets)
    for factor in (1e-6, 0.5, 3.0, 1e6):
        close(fit_temperature(logits * factor, targets), expected * factor, 1e-9)


def test_calibrated_logits_have_temperature_one():
    logits, targets = logit_sample(300, 4)
    once = logits / fit_temperature(logits, targets)
    close(fit_temperature(once, targets), 1.0, 1e-9)


def test_a_temperature_keeps_average_precision_exactly():
    logits, targets = logit_sample(200, 6)
    cooled = logits / fit_temperature(logits, targets)
    assert torch.equal(average_precision(cooled, targets), average_precision(logits, targets))


def test_where_no_temperature_is_best_it_stops_at_its_bounds():
    logits, targets = torch.tensor([[2.0], [-2.0]]), torch.tensor([[1], [0]])
    close(fit_temperature(logits, targets), 2 / 1000, 1e-6)
    close(fit_temperature(-logits, targets), 2 * 1000.0, 1e-6)


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (torch.zeros(4, 2), torch.ones(4, 2)),
        (torch.ones(4, 2), -torch.ones(4, 2)),
        (torch.ones(0, 2), torch.ones(0, 2)),
        (torch.ones(2, 0), torch.ones(2, 0)),
    ],
    ids=["zeros", "unknown", "no samples", "no classes"],
)
def test_without_a_known_logit_the_temperature_is_one(logits, targets):
    assert fit_temperature(logits, targets).item() == 1.0


def test_the_temperature_takes_unknown_entries_out_and_problems_apart(monkeypatch):
    logits, targets = logit_sample(2, 3, 30, 4)
    expected = fit_temperature(logits, targets)
    assert expected.shape == (2, 3)
    for i in range(2):
        for j in range(3):
            known = targets[i, j] >= 0
            close(fit_temperature(logits[i, j][known][:, None], targets[i, j][known][:, None]), expected[i, j], 1e-9)
    close(fit_temperature(logits.masked_fill(targets < 0, 1e5), targets), expected, 1e-9)
    monkeypatch.setattr(module, "BLOCK", 7)
    close(fit_temperature(logits, targets), expected, 1e-9)
    assert fit_temperature(torch.zeros(0, 3, 2), torch.zeros(0, 3, 2)).shape == (0,)


def test_the_temperature_is_found_in_a_few_passes(monkeypatch):
    passes = []

    def counted(*arguments):
        passes.append(arguments)
        return slope_and_curvature(*arguments)

    slope_and_curvature = module._slope_and_curvature
    monkeypatch.setattr(module, "_slope_and_curvature", counted)
    for scale in (1e-3, 1.0, 1e3):
        passes.clear()
        fit_temperature(logit_sample(4, 80, 5)[0] * scale, logit_sample(4, 80, 5)[1])
        assert len(passes) <= 7


def test_the_temperature_is_float64_and_without_gradient():
    logits, targets = logit_sample(30, 3)
    temperature = fit_temperature(logits.float().requires_grad_(), targets)
    assert temperature.dtype == torch.float64
    assert not temperature.requires_grad
    close(temperature, fit_temperature(logits, targets), 1e-5)


# --- Platt scaling ------------------------------------------------------------------------------------------


def by_scikit_learn(values, truth):
    """Scale and bias of scikit-learn's sigmoid calibration of a classifier whose score is its only feature."""
    identity = LogisticRegression().fit([[-1.0], [1.0]], [0, 1])
    identity.coef_, identity.intercept_ = np.array([[1.0]]), np.array([0.0])
    fitted = CalibratedClassifierCV(FrozenEstimator(identity), method="sigmoid").fit(values[:, None], truth)
    (calibrator,) = fitted.calibrated_classifiers_[0].calibrators
    return -calibrator.a_, -calibrator.b_


def by_scipy(values, truth):
    """Platt's objective, minimised by BFGS from several starts."""
    positives, negatives = (truth > 0).sum(), (truth == 0).sum()
    smooth = np.where(truth > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(pair):
        logits = pair[0] * values + pair[1]
        return np.sum(np.logaddexp(0, logits) - smooth * logits)

    return min((minimize(loss, start, tol=1e-12) for start in ([1.0, 0.0], [0.1, 0.0])), key=lambda found: found.fun)


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_platt_scaling_is_that_of_scikit_learn(scale):
    logits, targets = logit_sample(120, 5, scale=scale)
    platt = fit_platt(logits, targets, min_positives=1)
    for c in range(5):
        found = by_scikit_learn(*known_of(logits, targets, c))
        close(torch.stack([platt.scale[c], platt.bias[c]]), found, 1e-4)


@pytest.mark.parametrize("shift", [-40.0, 0.0, 40.0])
def test_platt_scaling_has_the_lowest_loss(shift):
    logits, targets = logit_sample(60, 4, scale=2.0)
    platt = fit_platt(logits + shift, targets, min_positives=1)
    for c in range(4):
        found = by_scipy(*known_of(logits, targets, c))
        close(platt.scale[c], found.x[0], 1e-4)
        close(platt.bias[c] + shift * platt.scale[c], found.x[1], 1e-3)


def test_separable_classes_have_a_finite_fit_that_reaches_platts_targets():
    logits = torch.tensor([3.0, 3.0, 3.0, -1.0, -1.0])[:, None]
    platt = fit_platt(logits, torch.tensor([1, 1, 1, 0, 0])[:, None], min_positives=1)
    assert platt(logits).sigmoid()[:, 0].tolist() == pytest.approx([4 / 5, 4 / 5, 4 / 5, 1 / 4, 1 / 4], abs=1e-9)


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_platt_scaling_does_not_depend_on_the_scale_of_the_logits(factor, shift):
    logits, targets = logit_sample(60, 4)
    calibrated = fit_platt(logits, targets)(logits)
    moved = (logits + shift) * factor
    close(fit_platt(moved, targets)(moved), calibrated, 1e-6)


def test_far_logits_in_blocks_are_fitted_as_in_one(monkeypatch):
    logits, targets = logit_sample(60, 3)
    logits = torch.cat([logits, torch.full((2, 3), 1e6)])
    targets = torch.cat([targets, torch.ones(1, 3), -torch.ones(1, 3)])
    expected = fit_platt(logits, targets)
    monkeypatch.setattr(module, "BLOCK", 9)
    close(fit_platt(logits, targets)(logits), expected(logits), 1e-9)


def test_a_lone_far_value_does_not_keep_the_fit_from_converging():
    logits, targets = logit_sample(60, 1)
    logits, targets = torch.cat([logits, torch.full((1, 1), 1e8)]), torch.cat([targets, torch.ones(1, 1)])
    platt = fit_platt(logits, targets, min_positives=1)
    positives, negatives = (targets > 0).sum(), (targets == 0).sum()
    smooth = torch.where(targets > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2)).double()
    error = (platt(logits).sigmoid() - smooth) * (targets >= 0)
    assert 0 < platt.scale < 1e-6
    close(error.sum(), 0.0, 1e-6)
    close((error * logits / 1e8).sum(), 0.0, 1e-6)


def test_a_calibrated_class_predicts_as_many_as_platts_targets_hold():
    logits, targets = logit_sample(80, 6)
    probability = fit_platt(logits, targets, min_positives=1)(logits).sigmoid()
    positives, negatives = (targets > 0).sum(0).double(), (targets == 0).sum(0).double()
    expected = positives * (positives + 1) / (positives + 2) + negatives / (negatives + 2)
    close((probability * (targets >= 0)).sum(0), expected, 1e-6)


def test_platt_scaling_keeps_the_order_of_every_class():
    logits, targets = logit_sample(200, 6)
    logits[:, 3] *= -1  # worse than chance
    targets[:, 4] = 0
    platt = fit_platt(logits, targets)
    assert (platt.scale > 0).all()
    close(average_precision(platt(logits), targets), average_precision(logits, targets))


def test_scarce_one_sided_and_contrary_classes_share_the_fit_to_all_entries():
    logits, targets = logit_sample(60, 6)
    targets[:, 1] = targets[:, 0].clamp(max=0)  # no positive
    targets[:, 2], targets[:4, 2] = 0, 1  # four
    targets[:, 3] = 1
    logits[:, 4] *= -2
    platt = fit_platt(logits, targets)
    shared = fit_platt(logits.reshape(-1, 1), targets.reshape(-1, 1))
    for c in range(1, 5):
        assert platt.scale[c] == shared.scale[0]
        assert platt.bias[c] == shared.bias[0]
    assert fit_platt(logits, targets, min_positives=4).scale[2] != shared.scale[0]
    for c in (0, 5):
        own = fit_platt(logits[:, c, None], targets[:, c, None])
        close(platt.scale[c], own.scale[0], 1e-9)


def test_logits_that_say_the_contrary_stay_as_they_are():
    logits, targets = logit_sample(60, 3)
    platt = fit_platt(-logits, targets)
    assert platt.scale.tolist() == [1.0] * 3
    assert platt.bias.tolist() == [0.0] * 3


@pytest.mark.parametrize("label", [-1, 0, 1])
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e30])
def test_equal_logits_and_one_sided_targets_stay_as_they_are(label, value):
    platt = fit_platt(torch.full((9, 2), value), torch.full((9, 2), label))
    assert platt.scale.tolist() == [1.0, 1.0]
    assert platt.bias.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("label", [0, 1])
def test_one_sided_targets_have_no_fit_of_their_own(label):
    for samples in range(20, 40):
        platt = fit_platt(logit_sample(samples, 9)[0], torch.full((samples, 9), label), min_positives=0)
        assert platt.scale.tolist() == [1.0] * 9


def test_equal_logits_of_both_kinds_are_finite():
    platt = fit_platt(torch.full((9, 1), 0.1), torch.tensor([1, 0, 1, 0, 1, 0, 1, 1, 0])[:, None])
    assert platt.scale.isfinite().all()
    assert platt.bias.isfinite().all()
    assert (platt.scale > 0).all()


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_platt_scaling_of_nothing_changes_nothing(shape):
    platt = fit_platt(torch.zeros(shape), torch.zeros(shape))
    assert platt.scale.shape == platt.bias.shape == (*shape[:-2], shape[-1])
    assert (platt.scale == 1).all()
    assert platt(torch.zeros(shape)).shape == shape


def test_platt_scaling_takes_unknown_entries_out_and_problems_apart(monkeypatch):
    logits, targets = logit_sample(2, 3, 40, 4)
    targets[0, 0, :, 0] = 0
    expected = fit_platt(logits, targets)
    assert expected.scale.shape == (2, 3, 4)
    assert expected(logits).shape == logits.shape
    close(fit_platt(logits.masked_fill(targets < 0, 1e5), targets).scale, expected.scale, 1e-9)
    for i in range(2):
        for j in range(3):
            alone = fit_platt(logits[i, j], targets[i, j])
            close(alone.scale, expected.scale[i, j], 1e-9)
            close(alone(logits[i, j]), expected(logits)[i, j], 1e-9)
    for entries in (1, 50):
        monkeypatch.setattr(module, "BLOCK", entries)
        close(fit_platt(logits, targets).scale, expected.scale, 1e-9)
        close(fit_platt(logits, targets).bias, expected.bias, 1e-9)


def test_platt_scaling_does_not_depend_on_the_order_of_samples_or_classes():
    logits, targets = logit_sample(60, 5)
    samples, classes = torch.randperm(60, generator=torch.Generator().manual_seed(0)), [3, 1, 4, 0, 2]
    actual = fit_platt(logits[samples][:, classes], targets[samples][:, classes])
    close(actual.scale, fit_platt(logits, targets).scale[classes], 1e-9)


def test_both_calibrations_lower_the_error_on_other_data():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(4000, 5, generator=generator, dtype=torch.float64) * 2
    targets = (torch.rand(4000, 5, generator=generator) < truth.sigmoid()).long()
    logits = truth * 4  # four times too sure
    half = slice(0, 2000), slice(2000, 4000)
    before = expected_calibration_error(logits[half[1]].sigmoid(), targets[half[1]])
    temperature = fit_temperature(logits[half[0]], targets[half[0]])
    close(temperature, 4.0, 0.1)
    cooled = expected_calibration_error((logits[half[1]] / temperature).sigmoid(), targets[half[1]])
    scaled = fit_platt(logits[half[0]], targets[half[0]])(logits[half[1]]).sigmoid()
    assert (cooled < before / 2).all()
    assert (expected_calibration_error(scaled, targets[half[1]]) < before / 2).all()


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_type_checker")
def test_options_that_cannot_be_are_refused():
    batch = sample(6, 3)
    for function in (reliability, expected_calibration_error):
        with pytest.raises(OptionError, match=r"unknown binning 'with': did you mean 'width'\?"):
            function(*batch, binning="with")
        for bins in (0, -3, 2.5, "3", True, None):
            with pytest.raises(OptionError, match=f"bins is {bins}: it must be a whole number of 1 or more"):
                function(*batch, bins=bins)
    for least in (-1, 1.5, None):
        with pytest.raises(OptionError, match=f"min_positives is {least}: it must be a whole number of 0 or more"):
            fit_platt(*batch, min_positives=least)


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize("function", [reliability, expected_calibration_error, brier_score, fit_temperature, fit_platt])
def test_inputs_that_do_not_fit_are_refused(function):
    values, targets = sample(6, 3)
    with pytest.raises(ShapeError, match="differ in shape"):
        function(values, targets[:, :2])
    with pytest.raises(ShapeError, match="must be 1, 0 or -1"):
        function(values, targets + 1)
    values[2, 1] = NAN
    with pytest.raises(ShapeError, match=r"at \(2, 1\) is NaN"):
        function(values, targets)


@pytest.mark.parametrize("function", [reliability, expected_calibration_error, brier_score])
@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_what_is_no_probability_is_refused(function, wrong):
    values, targets = sample(6, 3)
    values[4, 2] = wrong
    with pytest.raises(ShapeError, match=rf"at \(4, 2\) is {wrong}, outside 0 to 1"):
        function(values, targets)

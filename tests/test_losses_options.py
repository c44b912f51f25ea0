"""Shapes and options that cannot be are refused by name."""

import pytest
import torch

from rarecall import losses
from rarecall.errors import OptionError, ShapeError
from rarecall.losses import build
from tests.loops import each
from tests.loss_cases import (
    call,
    function_of,
    hold_threads,
    needed,
    sample,
    without_type_checker,
)

one_thread = pytest.fixture(autouse=True, scope="module")(hold_threads(1))

no_type_checker = pytest.fixture(without_type_checker)


@pytest.mark.usefixtures("no_type_checker")
@pytest.mark.parametrize(
    ("logits", "targets"),
    [((3, 4), (3, 5)), ((3, 4), (4, 3)), ((4,), (4,)), ((2, 3, 4), (3, 1)), ((2, 3, 4), (3, 3, 4))],
    ids=str,
)
@each(name=losses.names())
def test_shapes_that_do_not_fit_are_named(name, logits, targets):
    with pytest.raises(ShapeError) as error:
        function_of(name)(torch.zeros(logits), torch.zeros(targets), **needed(name, torch.zeros(logits)))
    assert str(logits) in str(error.value)
    assert str(targets) in str(error.value)


@pytest.mark.usefixtures("no_type_checker")
@each(name=losses.names(), dtype=[torch.int64, torch.bool])
def test_logits_that_are_labels_are_refused(name, dtype):
    with pytest.raises(ShapeError, match=str(dtype)):
        function_of(name)(torch.zeros(3, 4, dtype=dtype), torch.zeros(3, 4), **needed(name, torch.zeros(3, 4)))


@pytest.mark.usefixtures("no_type_checker")
@each(name=losses.names())
def test_an_unknown_reduction_is_refused_with_the_known_ones(name):
    with pytest.raises(OptionError, match=r"did you mean 'mean'\? Known: mean, sum, batchmean, none"):
        call((name, {}), *sample(3, 4), reduction="meen")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("binary-cross-entropy", {"label_smoothing": 0.6}, "label_smoothing=0.6: must be from 0 to 0.5"),
        ("binary-cross-entropy", {"label_smoothing": -0.1}, "label_smoothing=-0.1"),
        ("focal", {"alpha": 1.5}, "alpha=1.5: must be from 0 to 1"),
        ("focal", {"gamma": -1.0}, "gamma=-1.0: must be at least 0"),
        ("focal", {"gamma": float("nan")}, "gamma=nan"),
        ("focal", {"modulation": "printed"}, "did you mean 'as-printed'"),
        ("asymmetric", {"gamma_pos": -1.0}, "gamma_pos=-1.0"),
        ("asymmetric", {"gamma_neg": -1.0}, "gamma_neg=-1.0"),
        ("asymmetric", {"margin": 1.5}, "margin=1.5: must be from 0 to 1"),
        ("two-way", {"positive_temperature": -1.0}, "positive_temperature=-1.0"),
        ("two-way", {"negative_temperature": -1.0}, "negative_temperature=-1.0"),
        ("two-way", {"ways": "samples"}, "did you mean 'sample'"),
        ("two-way", {"reduction": "none"}, "reduction='none' with ways='both' has no shape"),
        ("two-way", {"reduction": "none", "ways": "joint"}, "reduction='none' with ways='joint' has no shape"),
        ("distributionally-robust", {"gamma": -1.0}, "gamma=-1.0"),
        ("distributionally-robust", {"negative_gamma": -1.0}, "negative_gamma=-1.0"),
        ("distributionally-robust", {"positive_gamma": -1.0}, "positive_gamma=-1.0"),
    ],
)
def test_an_option_out_of_its_range_is_refused_by_the_function_and_by_build(name, options, message):
    with pytest.raises(OptionError, match=message):
        function_of(name)(*sample(3, 4), **options)
    with pytest.raises(OptionError, match=message) as error:
        build(name, **options)
    assert str(error.value).startswith(f"{name}: ")

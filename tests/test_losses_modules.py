"""Losses by name: expressions, sums, class counts, checks and single labels."""

import copy
import gc
import pickle
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rarecall import losses
from rarecall.errors import OptionError, ShapeError
from rarecall.losses import _frequency, build
from tests import references
from tests.loops import each
from tests.loss_cases import CASES, LABELS, ROWS, close, function_of, sample

EXPECTED = {"expected-positive", "role"}


def built(case, **more):
    """The module of a case, on the labels of forty items."""
    name, options = case
    needed = {"expected_positives": 1.5} if name in EXPECTED else {}
    return build(name, labels=LABELS, **needed, **options, **more)


def counted(name):
    """What a loss function takes from those labels."""
    counts = {"positives": (LABELS > 0).sum(0), "total": (LABELS >= 0).sum(0)}
    wanted = function_of(name).__code__.co_varnames
    return {option: value for option, value in counts.items() if option in wanted}


# Modules that do something of their own, with tests of their own.
STATEFUL = ("generalized-robust", "splc", "large-loss", "entropy-maximization", "role")
PLAIN_CASES = [case for case in CASES if case[0] not in STATEFUL]


@each(case=PLAIN_CASES)
def test_a_built_loss_is_the_function_with_its_options(case):
    name, options = case
    needed = {"expected_positives": 1.5} if name in EXPECTED else {}
    batch = sample(6, 4)
    expected = function_of(name)(*batch, **counted(name), **needed, **options)
    close(built(case)(*batch), expected, rtol=1e-6)


@each(case=CASES)
def test_a_built_loss_reads_like_the_call_that_builds_it(case):
    module = built(case)
    again = build(repr(module), labels=LABELS)
    assert repr(again) == repr(module)
    batch = sample(6, 4)
    assert torch.equal(again(*batch, ROWS), module(*batch, ROWS))


@each(name=losses.names())
def test_every_loss_can_be_looked_at_before_there_are_data(name):
    needed = "(expected_positives=1.5)" if name in EXPECTED else ""
    assert repr(losses.preview(name + needed)) == name + needed


def test_repr_is_the_name_with_the_options_given():
    assert repr(build("two-way")) == "two-way"
    assert repr(build("focal", gamma=1.0, alpha=0.5)) == "focal(gamma=1.0, alpha=0.5)"
    assert repr(build("two-way(ways='sample')")) == "two-way(ways='sample')"


@pytest.mark.parametrize(
    "text", ["focal(gamma=1.0,alpha=0.5)", " focal ( gamma = 1.0, alpha = 0.5 ) ", "focal(alpha=0.5, gamma=1.0,)"]
)
def test_options_may_stand_in_the_name(text):
    assert build(text).options == {"gamma": 1.0, "alpha": 0.5}


def test_options_in_the_call_add_to_and_override_those_in_the_name():
    module = build("focal(gamma=1.0, alpha=0.5)", gamma=3.0, reduction="sum")
    assert module.options == {"gamma": 3.0, "alpha": 0.5, "reduction": "sum"}


@pytest.mark.parametrize(
    ("short", "name"),
    [
        ("bce", "binary-cross-entropy"),
        ("cross-entropy", "binary-cross-entropy"),
        ("asl", "asymmetric"),
        ("dr", "distributionally-robust"),
        ("softmax", "softmax-regression"),
        ("wan", "weak-assume-negative"),
        ("gr", "generalized-robust"),
    ],
)
def test_short_names_stand_for_the_full_ones(short, name):
    assert repr(build(short)) == name
    assert build(f"{short}(reduction='sum')").name == name


def test_an_unknown_loss_is_refused_with_the_nearest_and_the_known_ones():
    known = ", ".join(losses.names())
    with pytest.raises(OptionError) as error:
        build("two-wya")
    assert str(error.value) == f"unknown loss 'two-wya': did you mean 'two-way'? Known: {known}"


def test_an_unknown_option_is_refused_with_the_nearest_and_the_known_ones():
    with pytest.raises(OptionError) as error:
        build("focal", gama=1.0)
    known = "alpha, gamma, modulation, reduction"
    assert str(error.value) == f"focal: unknown option 'gama': did you mean 'gamma'? Known: {known}"


@each(name=losses.names(), option=["logits", "targets"])
def test_the_tensors_are_not_options(name, option):
    with pytest.raises(OptionError, match=f"unknown option '{option}'"):
        build(name, **{option: torch.zeros(1, 1)})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": "high"}),
        ("focal", {"gamma": None}),
        ("focal", {"gamma": [1.0, 2.0]}),
        ("focal", {"modulation": 3}),
        ("binary-cross-entropy", {"pos_weight": "2"}),
        ("binary-cross-entropy", {"pos_weight": [1.0, "2"]}),
        ("generalized-robust", {"q2": "0.01"}),
        ("hard-selection", {"ratio": None}),
        ("asymmetric", {"margin": None}),
        ("two-way", {"bias": "0"}),
        ("two-way", {"ways": None}),
        ("distributionally-robust", {"positive_gamma": "7"}),
        ("two-way", {"reduction": 1}),
    ],
)
def test_an_option_of_the_wrong_type_is_refused_with_the_whole_expression(name, options):
    with pytest.raises(OptionError) as error:
        build(name, **options)
    ((option, value),) = options.items()
    message = str(error.value)
    assert message.startswith(name)
    assert option in message
    assert str(value) in message


@pytest.mark.parametrize(
    "text",
    [
        "focal(gamma=1.0",
        "focal(gamma)",
        "focal(1.0)",
        "focal(gamma=open('x'))",
        "focal(gamma=1.0).name",
        "focal(gamma=1.0)(alpha=0.5)",
        "focal(gamma=1.0, gamma=2.0)",
        "focal(gamma={[]: 1})",
        "focal(",
        "focal + focal(1.0)",
        "two * focal",
    ],
)
def test_an_expression_that_is_not_one_call_with_plain_values_is_refused(text):
    with pytest.raises(OptionError, match="cannot read the loss"):
        build(text)


def test_tensor_options_are_buffers_that_move_and_convert_with_the_module():
    module = build("focal", gamma=torch.tensor([0.0, 2.0]), alpha=0.25)
    assert list(module.state_dict()) == ["gamma"]
    assert module.to(torch.float64).gamma.dtype == torch.float64
    assert module.to("meta").gamma.device.type == "meta"


def test_tensor_options_may_be_on_another_device_from_the_start():
    module = build("focal", gamma=torch.ones(2, device="meta"), alpha=torch.ones(2, device="meta"))
    assert module(torch.zeros(3, 4, device="meta"), torch.zeros(3, 4, device="meta")).shape == (2,)


def test_the_loss_is_computed_with_the_buffer_as_it_stands():
    batch = sample(6, 4)
    module = build("focal", gamma=torch.tensor(2.0))
    module.load_state_dict({"gamma": torch.tensor(0.0)})
    close(module(*batch), losses.binary_cross_entropy(*batch))


def test_the_loss_is_computed_with_the_buffer_after_it_moved():
    batch = sample(6, 4)
    module = build("two-way", positive_temperature=torch.tensor([1.0, 2.0])).to(torch.float64)
    module.positive_temperature.mul_(2)
    close(module(*batch), losses.two_way(*batch, positive_temperature=torch.tensor([2.0, 4.0])))


@each(case=CASES, copied=[copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_built_loss_can_be_copied_and_pickled(case, copied):
    module = built(case)
    module.set_progress(0.5, 10)
    twin = copied(module)
    assert repr(twin) == repr(module)
    batch = sample(6, 4)
    assert torch.equal(twin(*batch, ROWS), module(*batch, ROWS))


@pytest.mark.parametrize("name", losses.names())
def test_a_built_loss_compiles_to_one_graph(name):
    logits, targets = sample(6, 4)
    for case in CASES:
        if case[0] != name:
            continue
        torch._dynamo.reset()
        module = built(case)
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        for dtype in (torch.float64, torch.float32):
            leaf, twin = (logits.to(dtype, copy=True).requires_grad_() for _ in range(2))
            module(leaf, targets, ROWS).backward()
            compiled(twin, targets, ROWS).backward()
            close(twin.grad.double(), leaf.grad.double(), rtol=1e-4, atol=1e-6)


@each(case=CASES, dtype=[torch.bfloat16, torch.float16])
def test_autocast_does_not_touch_the_loss(case, dtype):
    module, (logits, targets) = built(case), sample(6, 4)
    half = logits.to(dtype)
    expected = module(half, targets, ROWS)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(module(half, targets, ROWS), expected)


def test_a_copy_has_its_own_tensor_options():
    module = build("binary-cross-entropy", pos_weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    twin = copy.deepcopy(module)
    twin.pos_weight.zero_()
    assert isinstance(module.pos_weight, Tensor)
    assert module.pos_weight.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert twin(*sample(6, 4)) < module(*sample(6, 4))


# --- sums ---------------------------------------------------------------------------------------------------


def test_a_sum_is_the_sum_of_its_parts():
    module = build("distributionally-robust + 0.5 * focal(gamma=1.0)")
    batch = sample(6, 4)
    close(module(*batch), losses.distributionally_robust(*batch) + 0.5 * losses.focal(*batch, gamma=1.0))


def test_the_parts_of_a_sum_are_bound_to_the_labels_and_to_the_progress():
    module = build("dr + db + 2 * gr", labels=LABELS)
    module.set_progress(0.5, 10)
    robust = build("gr")
    robust.set_progress(0.5, 10)
    batch = sample(6, 4)
    balanced = losses.distribution_balanced(*batch, **counted("distribution-balanced"))
    close(module(*batch), losses.distributionally_robust(*batch) + balanced + 2 * robust(*batch), rtol=1e-6)


def test_a_sum_reads_as_it_is_written():
    module = build(" dr+0.5*db(gamma=None) + splc(unknown='absent')", labels=LABELS)
    text = "distributionally-robust + 0.5 * distribution-balanced(gamma=None) + splc(unknown='absent')"
    assert repr(module) == text
    assert repr(build(text, labels=LABELS)) == text


def test_a_sum_takes_no_options_beside_it():
    with pytest.raises(OptionError, match="is a sum: write options in it"):
        build("focal + two-way", gamma=1.0)


@pytest.mark.parametrize("weight", ["0", "-1", "inf", "nan"])
def test_a_weight_is_above_zero(weight):
    with pytest.raises(OptionError, match="must be above 0"):
        build(f"{weight} * focal + two-way")


def test_losses_mean_the_same_however_they_are_written():
    assert losses.preview("focal").meaning() == losses.preview("focal(gamma=2.0)").meaning()
    assert losses.preview("dr + bce").meaning() == losses.preview("distributionally-robust+1*cross-entropy").meaning()
    assert losses.preview("focal(gamma=1.0)").meaning() != losses.preview("focal").meaning()


# --- class counts -------------------------------------------------------------------------------------------


COUNTING = [name for name in losses.names() if counted(name)]


@each(name=COUNTING)
def test_counts_are_taken_from_labels_of_any_kind(name):
    batch = sample(6, 4)
    values = [build(name, labels=labels)(*batch) for labels in (LABELS, LABELS.numpy(), LABELS.tolist())]
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])


@each(name=COUNTING)
def test_counts_move_and_are_saved_with_the_module(name):
    module = build(name, labels=LABELS)
    assert module.state_dict()["positives"].tolist() == (LABELS > 0).sum(0).tolist()
    assert module.to("meta").positives.device.type == "meta"


@each(name=COUNTING)
def test_counts_given_by_hand_are_those_that_count(name):
    wanted = list(counted(name))
    given = {"positives": [1, 2, 3, 4], "total": 50}
    given = {option: given[option] for option in wanted}
    batch = sample(6, 4)
    expected = function_of(name)(*batch, **{**given, "positives": torch.tensor(given["positives"])})
    close(build(name, labels=LABELS, **given)(*batch), expected, rtol=1e-6)
    written = ", ".join(f"{option}={value}" for option, value in given.items())
    assert repr(build(name, **given)) == f"{name}({written})"
    close(build(f"{name}({written})")(*batch), expected, rtol=1e-6)


@each(name=COUNTING)
def test_missing_counts_are_asked_for(name):
    what = " and ".join(counted(name))
    with pytest.raises(OptionError, match=f"^{name} needs {what}: pass labels=table.labels, or give them$"):
        build(name)


@pytest.mark.parametrize("name", ["expected-positive", "role"])
def test_a_missing_number_of_positives_is_asked_for(name):
    with pytest.raises(OptionError, match=f"^{name} needs expected_positives: give expected_positives=$"):
        build(name, labels=LABELS)


@each(name=[name for name in COUNTING if "total" in counted(name)])
def test_more_positives_than_items_are_refused(name):
    with pytest.raises(OptionError, match="positives of class 2 are 9 of total=8: must be from 0 to the total"):
        function_of(name)(*sample(3, 4), positives=torch.tensor([1, 2, 9, 3]), total=8)


@each(name=COUNTING)
def test_counts_of_other_classes_are_refused(name):
    options = {**counted(name), "positives": torch.tensor([1, 2, 3])}
    with pytest.raises(ShapeError, match="positives has 3 classes, the logits 4"):
        function_of(name)(*sample(3, 4), **options)
    with pytest.raises(ShapeError, match="has 4 classes, the logits 5"):
        build(name, labels=LABELS)(*sample(3, 5))


@pytest.mark.parametrize("labels", [LABELS[0], torch.tensor([[1, 2]]), [[1, 0], [1]], "labels", 3], ids=str)
def test_labels_that_are_no_label_matrix_are_refused(labels):
    with pytest.raises(ShapeError, match=r"labels(\[0, 1\] is 2: must be 1, 0 or -1| must be a matrix)"):
        build("class-balanced", labels=labels)


@pytest.mark.parametrize(
    ("labels", "place"), [(LABELS.numpy().astype("uint8"), "is 255"), (torch.rand(5, 2), r"is 0\.")]
)
def test_labels_that_lost_their_sign_or_are_soft_are_refused(labels, place):
    with pytest.raises(ShapeError, match=place):
        build("class-balanced", labels=labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("large-loss(progress='x')", "progress='x': must be a finite number"),
        ("large-loss(progress=-2.0)", "progress=-2.0: must be at least 0"),
        ("large-loss(progress=1e999)", "progress=inf: must be a finite number"),
        ("gr(warmup='a')", "warmup='a': must be a number of epochs"),
        ("gr(warmup=-3)", "warmup=-3"),
        ("em(pseudo_labels='no')", "pseudo_labels='no': must be True or False"),
        ("em(pseudo_labels=True, share=5)", "share=5: must be from 0 to 1"),
        ("role(expected_positives=1.5, seed='x')", "seed='x': must be a whole number"),
        ("role(expected_positives=1.5, estimates=1.0)", "unknown option 'estimates'"),
        ("two-way(bucket_size=1.5)", "bucket_size=1.5: must be a number of rows"),
        ("two-way(positive_temperature=1e999)", "positive_temperature=inf: must be a finite number"),
        ("db(balance=-2.0)", "balance=-2.0: must be at least 0"),
        ("class-balanced(beta=1.0)", "beta=1.0: must be at least 0 and below 1"),
        ("focal(gamma=True)", "gamma=True: must be a finite number"),
        ("focal(**{'gamma': 1})", "cannot read the loss"),
        ("focal +", "write a sum as in"),
        ("focal(reduction='none') + dr", "have another shape than the others"),
        ("db(positives=[1, 20, 3], total=10)", "positives of class 1 are 20 of total=10"),
        ("ldam(positives=[-1, 2])", "positives of class 0 are -1: must be from 0"),
        ("focal(gamma=" + "-" * 20000 + "1)", "cannot read the loss"),
    ],
    ids=lambda text: text[:40],
)
def test_options_are_refused_before_any_training(text, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        losses.preview(text)


@pytest.mark.parametrize("name", [None, 3, ["focal"], losses.focal])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(OptionError, match="is no name of a loss"):
        build(name)


@pytest.mark.parametrize("epochs", [0, -3, 2.5, "x"])
def test_a_number_of_epochs_is_whole_and_positive(epochs):
    with pytest.raises(OptionError, match="must be a number of epochs"):
        build("splc").set_progress(0.5, epochs)


@pytest.mark.parametrize("weight", ["1e6", "1e+20", "0.12345678", "1e-07", "3"])
def test_any_weight_of_a_sum_can_be_read_again(weight):
    module = build(f"{weight} * focal + two-way")
    assert module.weights == [float(weight), 1.0]
    assert build(repr(module)).meaning() == module.meaning()


def test_tensor_options_are_compared_by_their_numbers():
    first, second = (build("focal", gamma=torch.tensor([1.0, value])) for value in (2.0, 3.0))
    assert first.meaning() == build("focal", gamma=torch.tensor([1.0, 2.0])).meaning()
    assert first.meaning() != second.meaning()


def test_a_module_does_not_write_into_the_callers_tensors():
    weight = torch.ones(3)
    build("bce", pos_weight=weight).load_state_dict({"pos_weight": torch.full((3,), 7.0)})
    assert weight.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("wrong", [[0, 1], np.arange(6) * 1.0, torch.zeros(6, dtype=torch.bool)], ids=str)
def test_rows_that_are_no_item_numbers_are_refused(wrong):
    module = build("role(expected_positives=1.5)", labels=LABELS)
    with pytest.raises(ShapeError, match="rows"):
        module(*sample(6, 4), wrong)
    assert module(*sample(6, 4), ROWS.tolist()) == module(*sample(6, 4), ROWS)


def test_looking_at_a_loss_corrects_nothing():
    module = build("large-loss(scheme='correct-permanently', delta=0.5)", labels=LABELS)
    module.set_progress(0.5, 10)
    with torch.no_grad():
        module(*sample(6, 4, labels=(-1,)), ROWS)
    assert not module.corrected.any()


def test_check_says_what_the_function_says_of_wrong_shapes():
    module = build("db", positives=[3, 2, 1], total=10, check=True)
    with pytest.raises(ShapeError, match="positives has 3 classes, the logits 2"):
        module(torch.zeros(4, 2), torch.zeros(4, 2))
    with pytest.raises(ShapeError, match="must be tensors"):
        module([[1.0]], [[1]])


@each(name=COUNTING)
def test_classes_without_positives_or_without_negatives_count_as_with_one(name):
    labels = torch.tensor([[0, 1, -1, 1], [0, 1, -1, 0], [0, 1, -1, -1]])
    logits, targets = sample(6, 4)
    value = build(name, labels=labels)(logits.requires_grad_(), targets)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


# --- checking -----------------------------------------------------------------------------------------------


@each(case=CASES, wrong=[torch.nan, torch.inf])
def test_check_names_the_first_logit_that_is_not_finite(case, wrong):
    logits, targets = sample(6, 4)
    logits[2, 3] = logits[4, 0] = wrong
    module = built(case, check=True)
    with pytest.raises(ShapeError, match=rf"^{case[0]}: logits\[2, 3\] is {wrong:g}: must be a finite number"):
        module(logits, targets, ROWS)
    built(case)(logits, targets, ROWS)  # not looked at by default


def test_check_names_the_first_target_that_is_no_label():
    logits, targets = sample(3, 4)
    targets[1, 2] = 2
    with pytest.raises(ShapeError, match=r"targets\[1, 2\] is 2: must be 1, 0, -1 or between 0 and 1"):
        build("focal", check=True)(logits, targets)


def test_check_names_a_positive_of_a_class_that_has_none():
    module = build("class-balanced", positives=[3, 0], total=9, check=True)
    with pytest.raises(OptionError, match=r"class 1 is present in the batch, but positives\[1\] is 0"):
        module(torch.zeros(2, 2), torch.tensor([[1, 0], [0, 1]]))


def test_check_reaches_the_parts_of_a_sum():
    with pytest.raises(ShapeError, match=r"logits\[0, 1\] is nan"):
        build("focal + two-way", check=True)(torch.tensor([[0.0, torch.nan]]), torch.tensor([[1, 0]]))


# --- single labels ------------------------------------------------------------------------------------------


def test_hard_and_soft_selection_of_single_labels_are_the_papers_equations():
    logits, labels = sample(6, 9)[0], torch.tensor([0, 3, 1, 8, 2, 0])
    p = logits.sigmoid()
    one_hot = F.one_hot(labels, 9)
    positive = -p[torch.arange(6), labels].log()
    negative = torch.where(one_hot == 0, -(1 - p).log(), 0.0)
    hardest = negative.topk(4, 1).values.sum(1)
    close(losses.hard_selection(logits, one_hot, beta=10.0, ratio=0.5), (positive + 10 / 4 * hardest).mean())
    focused = (p**2 * negative).sum(1)
    close(losses.soft_selection(logits, one_hot, beta=10.0), (positive + 10 / 8 * focused).mean())


@pytest.mark.parametrize("ways", ["sample"])
def test_softmax_regression_of_single_labels_is_the_softmax_cross_entropy(ways):
    logits, labels = sample(6, 4)[0], torch.tensor([0, 3, 1, 1, 2, 0])
    actual = losses.softmax_regression(logits, F.one_hot(labels, 4), ways=ways)
    close(actual, F.cross_entropy(logits, labels))
    close(losses.lsep(logits, F.one_hot(labels, 4)), F.cross_entropy(logits, labels))


def test_the_references_have_every_loss():
    assert all(hasattr(references, name.replace("-", "_")) for name in losses.names())


def test_names_are_arrays_labels_too():
    table = np.array([[1, 0], [0, 1], [-1, 1]], np.int8)
    assert isinstance(build("ldam", labels=table).positives, Tensor)


def test_the_page_about_losses_has_every_one_of_them_and_its_example_runs():
    text = (Path(__file__).parent.parent / "docs" / "losses.md").read_text()
    assert [name for name in losses.names() if f"\n| `{name}` |" not in text] == []
    exec(text.partition("```python\n")[2].partition("```")[0], {})


@each(name=losses.names())
def test_a_default_device_does_not_matter_to_building(name):
    try:
        torch.set_default_device("meta")
        module = built((name, {}))
    finally:
        torch.set_default_device(None)
    batch = sample(6, 4)
    assert torch.equal(module(*batch, ROWS), built((name, {}))(*batch, ROWS))


def test_positives_given_by_hand_go_with_the_total_of_the_labels():
    text = "distribution-balanced(positives=[9, 8, 7, 6])"
    assert repr(losses.preview(text)) == text
    batch = sample(6, 4)
    counts = {"positives": torch.tensor([9, 8, 7, 6]), "total": (LABELS >= 0).sum(0)}
    close(build(text, labels=LABELS)(*batch), losses.distribution_balanced(*batch, **counts), rtol=1e-6)


# --- counts of classes, which are remembered -----------------------------------------------------------------

COUNTING = ["reweighted-cross-entropy", "attribute-weighted-cross-entropy", "class-balanced", "distribution-balanced"]


@each(name=COUNTING, changed=["positives", "total"])
def test_counts_that_change_are_noticed(name, changed):
    logits, targets = torch.randn(5, 3), torch.tensor([[1, 0, 0]] * 5)
    counts = {"positives": torch.tensor([1.0, 2.0, 3.0]), "total": torch.tensor([10.0, 20.0, 30.0])}
    options = {"mode": "average_n"} if name == "class-balanced" else {}  # which asks for the total too
    targets[0] = 0
    function = partial(function_of(name), **options)
    before = function(logits, targets, **counts)
    assert function(logits, targets, **counts) == before
    counts[changed] += 1
    fresh = function(logits, targets, **{option: value.clone() for option, value in counts.items()})
    assert function(logits, targets, **counts) == fresh
    assert fresh != before
    other = {**counts, changed: counts[changed] + 1}
    assert function(logits, targets, **other) != fresh


@each(name=COUNTING)
def test_counts_serve_logits_of_any_type_and_any_mode(name):
    module = losses.build(name, labels=torch.tensor([[1, 0, 0], [0, 1, 1], [0, 0, 1]]))
    logits, targets = torch.randn(5, 3), torch.tensor([[1, 0, 0]] * 5)
    with torch.inference_mode():
        value = module(logits, targets)
    leaf = logits.clone().requires_grad_()
    module(leaf, targets).backward()
    double = module(logits.double(), targets)
    assert double.dtype == torch.float64
    assert module(logits, targets).dtype == torch.float32
    torch.testing.assert_close(double.float(), value)
    torch.testing.assert_close(module(leaf, targets), value)


def test_what_is_made_of_counts_is_forgotten_with_them_and_bounded():
    positives = torch.tensor([1.0, 2.0, 3.0])
    logits, targets = torch.randn(5, 3), torch.tensor([[1, 0, 0]] * 5)
    before = len(_frequency._REMEMBERED)
    for power in range(100):
        losses.reweighted_cross_entropy(logits, targets, positives=positives, total=9, power=power / 100)
    assert len(_frequency._REMEMBERED) == before + 1
    assert len(_frequency._REMEMBERED[positives][2].made) <= _frequency.OPTIONS_REMEMBERED
    del positives
    gc.collect()
    assert len(_frequency._REMEMBERED) == before

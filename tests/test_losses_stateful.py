"""Losses that change over the epochs, remember items or learn something themselves."""

import pytest
import torch

from rarecall import losses
from rarecall.errors import OptionError, ShapeError
from rarecall.losses import build
from tests.loss_cases import LABELS, ROWS, close, sample

# --- schedules ----------------------------------------------------------------------------------------------


SINGLE = (
    torch.tensor([[2.0, -1.0, 0.5], [-0.5, 1.5, -2.0]], dtype=torch.float64),
    torch.tensor([[1, -1, -1], [-1, 1, -1]]),
)


@pytest.mark.parametrize(("epoch", "expected"), [(1, 0.352213), (4, 0.353462), (8, 0.273348)])
def test_generalized_robust_moves_as_the_authors_code_does(epoch, expected):
    module = build("generalized-robust")
    module.set_progress((epoch - 1) / 8, 8)
    close(module(*SINGLE), expected, rtol=0, atol=2e-6)


def test_generalized_robust_waits_for_the_warm_up():
    module, first = build("generalized-robust(warmup=2)"), build("generalized-robust(w=0.0, mu=0.5, sigma=2.0)")
    for epoch in (1, 2):
        module.set_progress((epoch - 1) / 8, 8)
        close(module(*SINGLE), first(*SINGLE))
    module.set_progress(1 / 2, 8)
    assert module(*SINGLE) != first(*SINGLE)


def test_generalized_robust_moves_with_the_fraction_alone_if_the_epochs_are_not_told():
    module = build("generalized-robust", w=(0.0, 10.0), b=(-2.0, -8.0))
    module.set_progress(0.25)
    expected = losses.generalized_robust(*SINGLE, w=2.5, b=-3.5, mu=0.575, sigma=1.625)
    close(module(*SINGLE), expected)


def test_generalized_robust_stands_still_with_static_options():
    module = build("generalized-robust(w=1.0, b=-1.0, mu=0.7, sigma=1.0)")
    before = module(*SINGLE)
    module.set_progress(0.9, 10)
    assert torch.equal(module(*SINGLE), before)


def test_splc_corrects_from_the_second_epoch_on():
    logits, targets = torch.tensor([[3.0, -3.0]]), torch.zeros(1, 2)
    module = build("splc")
    first = module(logits, targets)
    module.set_progress(0.1, 10)
    assert torch.equal(first, losses.splc(logits, targets))
    assert torch.equal(module(logits, targets), losses.splc(logits, targets, threshold=0.6))


@pytest.mark.parametrize("scheme", ["reject", "correct-temporarily"])
def test_large_loss_believes_less_with_every_epoch(scheme):
    logits, targets = sample(20, 10)
    module = build("large-loss", scheme=scheme, delta=0.01)
    assert torch.equal(module(logits, targets), losses.assume_negative(logits, targets))
    for epoch in (2, 5):
        module.set_progress((epoch - 1) / 10, 10)
        expected = losses.large_loss(logits, targets, scheme=scheme, delta=0.01, progress=epoch - 1)
        close(module(logits, targets), expected)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", ["generalized-robust", "splc", "large-loss"])
def test_progress_is_a_fraction(name, fraction):
    with pytest.raises(OptionError, match="fraction"):
        build(name).set_progress(fraction)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generalized-robust(w='high')", "must be one number, or two between which it moves"),
        ("generalized-robust(mu=(0.1, 0.2, 0.3))", "must be one number, or two"),
        ("generalized-robust(k=0.5)", "must be None or 'learned'"),
        ("generalized-robust(sigma=0.0)", "sigma=0.0: must be above 0"),
        ("generalized-robust(sigma=(2.0, 0.0))", "sigma=0.0: must be above 0"),
        ("large-loss(scheme='permanent')", "did you mean 'correct-permanently'"),
        ("large-loss(delta=2.0)", "delta=2.0: must be from 0 to 1"),
        ("splc(threshold=1.5)", "threshold=1.5: must be from 0 to 1"),
        ("role(expected_positives=-1.0)", "expected_positives=-1.0: must be at least 0"),
    ],
)
def test_options_of_modules_are_checked_when_they_are_built(text, message):
    with pytest.raises(OptionError, match=message):
        losses.preview(text)


# --- memories and parameters --------------------------------------------------------------------------------


def test_large_loss_corrects_permanently():
    labels = torch.full((4, 2), -1)
    module = build("large-loss(scheme='correct-permanently', delta=0.25)", labels=labels)
    logits, rows = torch.tensor([[5.0, 0.0], [0.0, 1.0]]), torch.tensor([3, 1])
    assert torch.equal(module(logits, labels[rows], rows), losses.assume_negative(logits, labels[rows]))
    module.set_progress(0.1, 10)
    module(logits, labels[rows], rows)
    assert module.corrected.nonzero().tolist() == [[3, 0]]
    module.eval()
    corrected = torch.tensor([[1, -1], [-1, -1]])
    assert torch.equal(module(-logits, labels[rows], rows), losses.assume_negative(-logits, corrected))
    assert module.corrected.sum() == 1
    assert build(repr(module), labels=labels).load_state_dict(module.state_dict())


def test_role_starts_at_what_is_observed_and_uncertain_elsewhere():
    module = build("role(expected_positives=1.5)", labels=torch.tensor([[1, 0, -1]] * 200))
    start = module.estimates.sigmoid()
    close(start[:, 0], torch.full((200,), 0.995), rtol=1e-5)
    close(start[:, 1], torch.full((200,), 0.005), rtol=1e-4)
    assert 0.4 <= start[:, 2].min() < 0.42
    assert 0.58 < start[:, 2].max() <= 0.6


def test_role_learns_the_estimates_of_the_items_it_sees():
    labels = torch.tensor([[1, -1], [-1, 1], [-1, -1]])
    module = build("role(expected_positives=1.0)", labels=labels)
    before = module.estimates.detach().clone()
    (group,) = module.parameter_groups(0.01)
    assert group["lr"] == pytest.approx(0.1)
    optimizer = torch.optim.SGD([{**group, "lr": 1.0}])
    rows = torch.tensor([0, 1])
    module(torch.tensor([[2.0, -2.0], [-2.0, 2.0]]), labels[rows], rows).backward()
    optimizer.step()
    moved = (module.estimates != before).any(1)
    assert moved.tolist() == [True, True, False]


def test_the_learned_probability_starts_at_the_authors_and_is_trained():
    module = build("generalized-robust(k='learned')", labels=LABELS)
    logits, targets = sample(6, 4)
    close(
        module(logits, targets), losses.generalized_robust(logits, targets, w=0.0, b=-2.0, mu=0.5, sigma=2.0), rtol=1e-6
    )
    module(logits, targets).backward()
    unknown = (targets < 0).any(0)
    assert torch.equal(module.k_weight.grad != 0, unknown)
    assert torch.equal(module.k_bias.grad != 0, unknown)
    assert [group["params"] for group in module.parameter_groups(0.1)] == [[module.k_weight, module.k_bias]]


def test_pseudo_labels_are_the_lowest_scored_unknown_labels_of_each_class():
    labels = torch.full((10, 2), -1)
    labels[0] = 1
    module = build("entropy-maximization(pseudo_labels=True, warmup=1)", labels=labels)
    logits = torch.stack([torch.arange(10.0), -torch.arange(10.0)], 1)
    module.set_progress(0.0, 4)
    module.update(logits)
    chosen = module.soft >= 0
    assert chosen.nonzero().tolist() == [[1, 0], [2, 0], [8, 1], [9, 1]]  # floor(0.9 * 9 / 3) = 2 of each class
    close(module.soft[chosen], logits[chosen].sigmoid(), rtol=1e-4)
    rows = torch.tensor([1, 5])
    soft = torch.tensor([[module.soft[1, 0], -1.0], [-1.0, -1.0]])
    batch = sample(2, 2)[0].float()
    assert torch.equal(module(batch, labels[rows], rows), losses.entropy_maximization(batch, soft))
    module.update(logits)
    assert (module.soft >= 0).sum(0).tolist() == [4, 4]


def test_pseudo_labels_wait_for_the_warm_up():
    module = build("entropy-maximization(pseudo_labels=True, warmup=3)", labels=torch.full((10, 2), -1))
    module.set_progress(0.25, 8)  # the third epoch of eight
    module.update(torch.randn(10, 2))
    assert (module.soft >= 0).any()
    early = build("entropy-maximization(pseudo_labels=True, warmup=4)", labels=torch.full((10, 2), -1))
    early.set_progress(0.25, 8)
    early.update(torch.randn(10, 2))
    assert not (early.soft >= 0).any()


MEMORIES = [
    "large-loss(scheme='correct-permanently')",
    "entropy-maximization(pseudo_labels=True)",
    "role(expected_positives=1.5)",
]


@pytest.mark.parametrize("text", MEMORIES)
def test_a_loss_that_remembers_items_asks_for_their_numbers(text):
    module = build(text, labels=LABELS)
    assert module.needs_rows
    with pytest.raises(ShapeError, match=r"no rows for logits \(6, 4\): pass rows=, the \(N,\) item numbers"):
        module(*sample(6, 4))
    with pytest.raises(ShapeError, match=r"rows of shape \(5,\)"):
        module(*sample(6, 4), ROWS[:5])
    with pytest.raises(ShapeError, match="there are 40 training items"):
        module(*sample(6, 4), ROWS + 1)


@pytest.mark.parametrize("text", [*MEMORIES, "generalized-robust(k='learned')"])
def test_a_loss_that_remembers_asks_for_labels(text):
    with pytest.raises(OptionError, match=r"pass labels=table\.labels"):
        build(text)


@pytest.mark.parametrize("text", MEMORIES)
def test_what_is_remembered_is_saved(text):
    module, twin = (build(text, labels=LABELS) for _ in range(2))
    for tensor in module.state_dict().values():
        tensor.copy_(torch.ones_like(tensor))
    twin.load_state_dict(module.state_dict())
    assert all(bool((tensor == 1).all()) for tensor in twin.state_dict().values())


def test_plain_losses_learn_nothing_and_need_nothing():
    module = build("two-way")
    assert module.parameter_groups(0.1) == []
    assert not module.needs_rows
    assert not module.needs_scores

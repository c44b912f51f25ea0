"""The shapes in the signatures are true: checked at run time here, free elsewhere."""

import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

from rarecall import losses, metrics
from tests.loss_cases import needed

LOSSES = [getattr(losses, name.replace("-", "_")) for name in losses.names()]
RANKING = [metrics.average_precision, metrics.mean_average_precision]
FUNCTIONS = [*LOSSES, *RANKING, metrics.fit_thresholds]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_the_signature_holds_and_refuses_other_shapes(function: object) -> None:
    checked = jaxtyped(typechecker=beartype)(function)
    logits, targets = torch.randn(4, 3), torch.tensor([[1, 0, -1], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
    options = needed(function.__name__.replace("_", "-"), logits) if function in LOSSES else {}
    assert isinstance(checked(logits, targets, **options), torch.Tensor)
    with pytest.raises(TypeCheckError):
        checked(logits, targets.T, **options)
    with pytest.raises(TypeCheckError):
        checked(targets, targets, **options)


@pytest.mark.parametrize("function", LOSSES, ids=lambda function: function.__name__)
def test_leading_dimensions_belong_to_the_signature(function: object) -> None:
    checked = jaxtyped(typechecker=beartype)(function)
    logits = torch.randn(2, 4, 3)
    options = needed(function.__name__.replace("_", "-"), logits)
    assert checked(logits, torch.ones(2, 4, 3), **options).shape == (2,)
    assert checked(logits, torch.ones(1, 4, 3), **options).shape == (2,)

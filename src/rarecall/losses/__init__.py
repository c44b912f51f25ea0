"""Loss functions for multi-label targets that are present (1), absent (0) or unknown (-1).

A loss is a pure function `loss(logits, targets, **options)`; `build` binds the options in a module.
"""

from rarecall.losses._margin import distributionally_robust, two_way
from rarecall.losses._modules import Loss, build, names
from rarecall.losses._pointwise import asymmetric, binary_cross_entropy, focal

__all__ = [
    "Loss",
    "asymmetric",
    "binary_cross_entropy",
    "build",
    "distributionally_robust",
    "focal",
    "names",
    "two_way",
]

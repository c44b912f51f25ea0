"""Loss functions for multi-label targets that are present (1), absent (0) or unknown (-1).

A loss is a pure function `loss(logits, targets, **options)`; `build` binds the options in a module. The papers are
four ideas, and each has its file: a term for each entry (`_pointwise`), corrections by class frequency
(`_frequency`), a log-sum-exp margin between positives and negatives along rows or columns (`_margin`), and rules
for unknown labels (`_unknown`).
"""

from rarecall.losses._build import build, names, preview
from rarecall.losses._frequency import (
    attribute_weighted_cross_entropy,
    class_balanced,
    distribution_balanced,
    frequency_weighted_cross_entropy,
    ldam,
    reweighted_cross_entropy,
)
from rarecall.losses._margin import (
    circle,
    distributionally_robust,
    lsep,
    multi_similarity,
    softmax_regression,
    two_way,
    zlpr,
)
from rarecall.losses._modules import Loss
from rarecall.losses._pointwise import (
    asymmetric,
    binary_cross_entropy,
    focal,
    hard_selection,
    hill,
    soft_selection,
    splc,
)
from rarecall.losses._unknown import (
    assume_negative,
    entropy_maximization,
    expected_positive,
    generalized_robust,
    large_loss,
    largest_losses,
    role,
    weak_assume_negative,
)

__all__ = [
    "Loss",
    "assume_negative",
    "asymmetric",
    "attribute_weighted_cross_entropy",
    "binary_cross_entropy",
    "build",
    "circle",
    "class_balanced",
    "distribution_balanced",
    "distributionally_robust",
    "entropy_maximization",
    "expected_positive",
    "focal",
    "frequency_weighted_cross_entropy",
    "generalized_robust",
    "hard_selection",
    "hill",
    "large_loss",
    "largest_losses",
    "ldam",
    "lsep",
    "multi_similarity",
    "names",
    "preview",
    "reweighted_cross_entropy",
    "role",
    "soft_selection",
    "softmax_regression",
    "splc",
    "two_way",
    "weak_assume_negative",
    "zlpr",
]

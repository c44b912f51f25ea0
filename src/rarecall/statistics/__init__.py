"""How sure a comparison is: bootstrap intervals, paired tests over seeds, ranks over data sets, and words for them."""

from rarecall.statistics._bootstrap import (
    RESAMPLES,
    Interval,
    bootstrap_interval,
    bootstrap_weights,
    differences_to_best,
)
from rarecall.statistics._compare import FEW_SEEDS, Comparison, Contender, about_seeds, compare
from rarecall.statistics._paired import (
    SignificanceTest,
    cohens_d,
    hedges_g,
    holm,
    paired_t_test,
    rank_biserial,
    smallest_wilcoxon_p,
    wilcoxon_signed_rank,
)
from rarecall.statistics._power import detectable_difference, seeds_needed, t_test_power
from rarecall.statistics._ranks import Ranks, critical_difference, friedman_nemenyi
from rarecall.statistics._resampled import resampled_average_precision
from rarecall.statistics._shared import mean_and_deviation

__all__ = [
    "FEW_SEEDS",
    "RESAMPLES",
    "Comparison",
    "Contender",
    "Interval",
    "Ranks",
    "SignificanceTest",
    "about_seeds",
    "bootstrap_interval",
    "bootstrap_weights",
    "cohens_d",
    "compare",
    "critical_difference",
    "detectable_difference",
    "differences_to_best",
    "friedman_nemenyi",
    "hedges_g",
    "holm",
    "mean_and_deviation",
    "paired_t_test",
    "rank_biserial",
    "resampled_average_precision",
    "seeds_needed",
    "smallest_wilcoxon_p",
    "t_test_power",
    "wilcoxon_signed_rank",
]

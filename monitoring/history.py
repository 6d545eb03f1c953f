"""Describe how a figure behaved over recent weeks, as evidence for the monitoring policy."""

from collections.abc import Sequence
from statistics import median

from training.vocabulary import Evidence

# Scales the median absolute deviation to a standard deviation under a normal distribution.
MAD_TO_SIGMA = 1.4826


def trailing(realised: Sequence[float], *, weeks: int, source: str) -> dict[str, Evidence]:
    """The usual level and spread of realised NDCG@10 over the last `weeks` values, this week's not included.

    Median and median absolute deviation: one Christmas week neither moves them nor excuses the next bad one.
    """
    recent = list(realised[-weeks:])
    level = median(recent) if recent else None
    spread = MAD_TO_SIGMA * median(abs(value - level) for value in recent) if level is not None else None
    return {
        "realised_ndcg_usual": Evidence("realised_ndcg_usual", level, source, n=len(recent)),
        "realised_ndcg_spread": Evidence("realised_ndcg_spread", spread, source, n=len(recent)),
    }

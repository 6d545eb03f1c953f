"""A figure of the evidence, and how unusual it is against the days before: the one scale on which all evidence is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Figure(NamedTuple):
    """A measured value, the standard deviation that its sample alone would give it, and the size of the sample."""

    value: float
    noise: float = 0.0
    n: int = 0


Figures = Mapping[str, Figure]


class Standing(NamedTuple):
    """A figure beside what is usual for it: `z` is how many of its usual deviations it is off."""

    value: float
    usual: float
    spread: float
    z: float
    n: int
    noise: float = 0.0


FEWEST_DAYS = 14
FLAT = 1e-9


def standing(figure: Figure, past: Sequence[float]) -> Standing:
    """Compare with the clean days before; NaN where too little is known.

    The usual deviation is the larger of that of the past and what the sample's size gives. Of the past it is the median absolute
    deviation, which one odd week does not widen, but at least four fifths of the standard deviation: windows overlap, so that
    the past holds fewer weeks than days.
    """
    known = np.asarray([value for value in past if math.isfinite(value)])
    if len(known) < FEWEST_DAYS or not math.isfinite(figure.value):
        return Standing(figure.value, math.nan, math.nan, math.nan, figure.n, figure.noise)
    usual = float(np.median(known))
    robust = 1.4826 * float(np.median(np.abs(known - usual)))
    spread = max(robust, 0.8 * float(known.std()), figure.noise, FLAT)
    return Standing(figure.value, usual, spread, (figure.value - usual) / spread, figure.n, figure.noise)


def share(hits: float, of: float) -> Figure:
    """A share with the noise of its sample, drawn a little towards a half so that no few hits look certain."""
    if of <= 0:
        return Figure(math.nan)
    smoothed = (hits + 0.5) / (of + 1)
    return Figure(hits / of, math.sqrt(smoothed * (1 - smoothed) / of), int(of))


def log_ratio(observed: float, expected: float) -> Figure:
    """The logarithm of observed over expected counts; one more of each keeps it finite."""
    if not expected > 0:
        return Figure(math.nan)
    return Figure(math.log((observed + 1) / (expected + 1)), 1 / math.sqrt(observed + 1), int(observed))

"""Measure how far a column's distribution moved: the population stability index on the reference's own quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10


def psi(reference: ArrayLike, current: ArrayLike, bins: int = BINS) -> float:
    """PSI of two samples of numbers; 0 is the same, above 0.2 is the usual sign of a moved distribution.

    Bins are the reference's quantiles, so a unit change cannot hide in one wide bin, and missing values are a bin of
    their own, so a column that went empty is seen. Each count is smoothed by half a row, which keeps an empty bin
    finite. An empty sample says nothing: NaN. Source: Siddiqi, Credit Risk Scorecards (2006), chapter 10.
    """
    before, after = np.asarray(reference, dtype=float), np.asarray(current, dtype=float)
    if before.size == 0 or after.size == 0:
        return float("nan")
    known = before[np.isfinite(before)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if known.size else np.empty(0)
    expected, actual = _shares(before, edges), _shares(after, edges)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def _shares(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    counts = np.bincount(np.searchsorted(edges, values[finite], side="left"), minlength=edges.size + 1)
    smoothed = np.append(counts, values.size - finite.sum()) + 0.5
    return smoothed / smoothed.sum()

"""Which payments analysts look at: those of which the greatest loss is expected, as many as they can look at in a day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CAPACITY = 60
"""What two teams can look at in a day."""


def in_queue(
    expected_loss: NDArray[np.float64], days: NDArray[np.int64], capacity: int = CAPACITY
) -> NDArray[np.bool_]:
    """Whether a payment is among the greatest expected losses (score x amount) of its day; the first of equals goes first."""
    order = np.lexsort((-expected_loss, days))
    first = np.searchsorted(days[order], days[order])
    queued = np.zeros(len(order), bool)
    queued[order] = np.arange(len(order)) - first < capacity
    return queued

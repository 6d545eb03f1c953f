"""Measure whether serving sees the numbers that training saw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.feast_store import FeastStore


def parity_gap(store: FeastStore, users: Sequence[str], as_of: datetime) -> float:
    """The largest difference between a customer's offline features of a Monday and the online ones.

    Infinite when one side lacks a value that the other has, when texts differ, arrays have another length, or an
    element is not a finite number: `max` passes over a NaN that is not the first, so a difference is never one.
    """
    offline, online = store.historical("user_id", users, as_of), store.online("user_id", users)
    pairs = ((a, b) for name in offline.columns for a, b in zip(offline[name], online[name], strict=True))
    return max((_difference(_values(a), _values(b)) for a, b in pairs), default=0.0)


def _values(cell: Any) -> list[Any]:
    """A feature as a list: of its elements, of one value, or of none when it is missing."""
    if isinstance(cell, list | np.ndarray):
        return list(cell)
    return [] if pd.isna(cell) else [cell]


def _difference(offline: list[Any], online: list[Any]) -> float:
    if len(offline) != len(online):
        return float("inf")
    return max((_distance(a, b) for a, b in zip(offline, online, strict=True)), default=0.0)


def _distance(a: Any, b: Any) -> float:
    if isinstance(a, str) or isinstance(b, str):
        return 0.0 if a == b else float("inf")
    gap = abs(float(a) - float(b))
    return gap if math.isfinite(gap) else float("inf")

"""The gap between training and serving is a number, or infinite; nothing that cannot be compared passes as equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import pytest

from training.parity import parity_gap

MONDAY = datetime(2011, 1, 24)
NAN, INF = math.nan, math.inf


class TwoSides:
    """A feature store that holds one feature of customers a, b, ... offline, and another version of it online."""

    def __init__(self, offline: Sequence[Any], online: Sequence[Any]) -> None:
        self._offline, self._online = (pd.Series(list(side), dtype=object) for side in (offline, online))

    def historical(self, key: str, ids: Sequence[str], as_of: datetime) -> pd.DataFrame:
        return pd.DataFrame({key: list(ids), "feature": self._offline})

    def online(self, _key: str, user_ids: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame({"user_id": list(user_ids), "feature": self._online})


def gap(offline: Sequence[Any], online: Sequence[Any]) -> float:
    return parity_gap(TwoSides(offline, online), "abc"[: len(offline)], MONDAY)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offline", "online", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([None, NAN], [NAN, None], 0.0),  # missing on both sides is the same
        ([1.0, 2.0], [1.0, NAN], INF),
        ([NAN, 2.0], [1.0, 2.0], INF),
        (["France"], ["Spain"], INF),
        ([[1.0, 2.0]], [[1.0]], INF),
    ],
)
def test_the_gap_is_the_largest_difference(offline: list[Any], online: list[Any], expected: float) -> None:
    """A value that only one side has, another text or another length counts as infinitely different."""
    assert gap(offline, online) == expected


@pytest.mark.parametrize("strange", [NAN, INF, -INF])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("sides", ["offline", "online", "both"])
def test_no_place_hides_what_is_not_a_number(strange: float, place: int, sides: str) -> None:
    """First, in the middle or last within an array, and among customers who are equal: the gap is infinite."""
    sound, spoilt = [1.0, 2.0, 3.0], [strange if n == place else float(n + 1) for n in range(3)]
    offline, online = (spoilt if sides in (side, "both") else sound for side in ("offline", "online"))
    assert gap([sound, offline, sound], [sound, online, sound]) == INF

"""What a drill calls restored is what a customer would."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving.incidents import fresh_again

STEADY = [n / 200 for n in range(200 * 10)]  # 200 answers a second for ten seconds


@pytest.mark.parametrize(
    ("stale", "again_s"),
    [
        (lambda at: at < 4, 4.0),
        (lambda at: at < 5.5, 5.455),  # a second that is nineteen of twenty parts fresh begins a little earlier
        (lambda at: at < 5 or at == 7.5, 4.955),  # one read in a thousand is late on any day
        (lambda at: at < 5 or at * 200 % 10 == 0, None),  # one in ten never comes back: a worker is not well
        (lambda at: at < 5 or at * 200 % 2 == 0, None),  # one of two workers never comes back
        (lambda at: at < 9.5, None),  # no whole second is left to tell by
    ],
)
def test_fresh_again_is_a_second_of_fresh_answers(stale: Callable[[float], bool], again_s: float | None) -> None:
    """The store came back after four seconds."""
    by_rung = [("stale_features" if stale(at) else "fresh", at) for at in STEADY]
    assert fresh_again(by_rung, back_s=4.0) == (None if again_s is None else pytest.approx(again_s, abs=0.006))

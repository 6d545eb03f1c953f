"""Which days a candidate learns from, and on which it is judged."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

import pytest

from training.fraud.day_split import DaySplit, split_to_calibrate, split_to_fit

NOW = datetime(2025, 11, 3)
FIT, CALIBRATE = split_to_fit(NOW), split_to_calibrate(NOW)


def test_a_fit_learns_from_eight_weeks_and_is_judged_on_the_two_after_them() -> None:
    """The newest payment judged is two weeks old at the midnight of judging."""
    assert (FIT.learned[0], FIT.learned[-1]) == (date(2025, 8, 11), date(2025, 10, 5))
    assert (FIT.judged[0], FIT.judged[-1]) == (date(2025, 10, 6), date(2025, 10, 19))


def test_a_calibration_learns_from_every_other_day_of_four_weeks() -> None:
    """Each weekday twice in either part, and both as new as the other."""
    assert CALIBRATE.learned[:2] == (date(2025, 9, 22), date(2025, 9, 24))
    assert CALIBRATE.judged[-1] == date(2025, 10, 19)
    for part in CALIBRATE:
        assert set(Counter(day.weekday() for day in part).values()) == {2}


def test_whoever_is_calibrated_anew_is_judged_on_nothing_that_it_learned() -> None:
    """The day after, or weeks later."""
    learned = set(CALIBRATE.learned)
    assert all(not learned & set(split_to_calibrate(NOW + timedelta(days=later)).judged) for later in range(28))


@pytest.mark.parametrize("split", [FIT, CALIBRATE])
def test_nothing_is_judged_that_was_learned(split: DaySplit) -> None:
    """No day is in both parts, and at least the two weeks that the gates ask for are judged."""
    assert not set(split.learned) & set(split.judged)
    assert len(split.judged) == 14

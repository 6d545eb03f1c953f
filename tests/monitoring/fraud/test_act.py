"""What a day settled on leads to a task of the DAG, or to none."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitoring.fraud.act import tasks_for
from training.fraud.card_days import CardDays
from training.fraud.day_split import SHADOW_DAYS
from training.settings import build_settings
from training.workspace import Workspace

NIGHT = datetime(2025, 11, 3)


@pytest.fixture
def cards(tmp_path: Path) -> CardDays:
    return CardDays(Workspace(build_settings(tmp_path)))


@pytest.mark.parametrize(
    ("cause", "outcome", "task"),
    [
        ("none", "hold", None),
        ("unit_change", "quarantine_batch", None),
        ("label_flips", "quarantine_labels", None),
        ("label_delay", "freeze_retraining", None),
        ("bad_release", "roll_back", "go_back"),
        ("poisoned_labels", "roll_back", "go_back"),
        ("skew", "roll_back", None),
        ("concept_new", "retrain_in_shadow", "fit"),
        ("covariate_harmful", "retrain_in_shadow", "fit"),
        ("prior_shift", "recalibrate", "calibrate"),
    ],
)
def test_what_is_done_by_the_platform_itself(cards: CardDays, cause: str, outcome: str, task: str | None) -> None:
    """Models are fitted and taken back here; batches, labels and the service's features are their owners'."""
    settled(cards, outcome, cause)
    assert tasks_for(cards, NIGHT) == ([task] if task else [])


def test_what_a_person_says_is_done_whatever_the_cause(cards: CardDays) -> None:
    """The policy goes back for a release that is at fault; a person may know better."""
    settled(cards, "roll_back", "unexplained", actor="person:ann")
    assert tasks_for(cards, NIGHT) == ["go_back"]


@pytest.mark.parametrize(("days", "task"), [(1, None), (6, None), (7, "fit"), (27, "fit")])
def test_a_candidate_is_fitted_once_a_week(cards: CardDays, days: int, task: str | None) -> None:
    """Tomorrow's would learn from the same labels."""
    fit(cards, days)
    settled(cards, "retrain_in_shadow")
    assert tasks_for(cards, NIGHT) == ([task] if task else [])


def test_a_fit_that_ran_already_is_not_in_its_own_way(cards: CardDays) -> None:
    """A task that is tried again finds the same answer."""
    fit(cards, 0)
    settled(cards, "retrain_in_shadow")
    assert tasks_for(cards, NIGHT) == ["fit"]


def test_a_fit_that_was_held_made_no_candidate(cards: CardDays) -> None:
    """As soon as training is free again, it may be tried."""
    fit(cards, 2, version=None)
    settled(cards, "retrain_in_shadow")
    assert tasks_for(cards, NIGHT) == ["fit"]


@pytest.mark.parametrize(
    ("outcome", "tasks"),
    [
        ("hold", ["judge"]),
        ("retrain_in_shadow", ["judge", "fit"]),
        ("recalibrate", ["judge"]),
        ("freeze_retraining", ["judge"]),
    ],
)
def test_a_candidate_is_judged_when_its_time_in_the_shadow_is_over(
    cards: CardDays, outcome: str, tasks: list[str]
) -> None:
    """Whatever else the day calls for; only a recalibration, which would be judged on the same day, waits."""
    fit(cards, SHADOW_DAYS)
    settled(cards, outcome)
    assert tasks_for(cards, NIGHT) == tasks


@pytest.mark.parametrize(
    ("age", "judged", "tasks"),
    [
        (SHADOW_DAYS - 1, False, []),
        (SHADOW_DAYS, False, ["judge"]),
        (SHADOW_DAYS + 3, False, ["judge"]),
        (SHADOW_DAYS + 3, True, []),
    ],
)
def test_a_candidate_is_judged_once_and_not_before_the_labels_are_there(
    cards: CardDays, age: int, judged: bool, tasks: list[str]
) -> None:
    """A night that could not judge leaves it to the next."""
    fit(cards, age)
    if judged:
        fitted = f"{NIGHT - timedelta(days=age):%Y-%m-%d}"
        cards.parts.once(NIGHT - timedelta(days=3), "judge", lambda: {"fitted": fitted})
    settled(cards, "hold")
    assert tasks_for(cards, NIGHT) == tasks


def test_nobody_is_judged_while_a_version_is_put_back(cards: CardDays) -> None:
    """What it would be judged against changes on that day."""
    fit(cards, SHADOW_DAYS)
    settled(cards, "roll_back", "bad_release")
    assert tasks_for(cards, NIGHT) == ["go_back"]


def fit(cards: CardDays, days_ago: int, version: str | None = "3") -> None:
    """A candidate went into the shadow, or training was held."""
    candidate = {"version": version} if version else None
    part = {"in_shadow": True, "candidate": candidate}
    cards.parts.once(NIGHT - timedelta(days=days_ago), "fit", lambda: part)


def settled(cards: CardDays, outcome: str, cause: str = "concept_new", actor: str = "policy") -> None:
    cards.parts.once(NIGHT, "settle", lambda: {"cause": cause, "outcome": outcome, "actor": actor})

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
    cards.parts.once(NIGHT, "settle", lambda: {"cause": cause, "outcome": outcome})
    assert tasks_for(cards, NIGHT) == ([task] if task else [])


@pytest.mark.parametrize(("days", "task"), [(1, None), (6, None), (7, "fit"), (30, "fit")])
def test_a_candidate_is_fitted_once_a_week(cards: CardDays, days: int, task: str | None) -> None:
    """Tomorrow's would learn from the same labels."""
    cards.parts.once(NIGHT - timedelta(days=days), "fit", dict)
    cards.parts.once(NIGHT, "settle", lambda: {"cause": "concept_new", "outcome": "retrain_in_shadow"})
    assert tasks_for(cards, NIGHT) == ([task] if task else [])


def test_a_fit_that_ran_already_is_not_in_its_own_way(cards: CardDays) -> None:
    """A task that is tried again finds the same answer."""
    cards.parts.once(NIGHT, "fit", dict)
    cards.parts.once(NIGHT, "settle", lambda: {"cause": "concept_new", "outcome": "retrain_in_shadow"})
    assert tasks_for(cards, NIGHT) == ["fit"]


def shadow(cards: CardDays, days_ago: int) -> None:
    part = {"in_shadow": True, "candidate": {"version": "3"}}
    cards.parts.once(NIGHT - timedelta(days=days_ago), "fit", lambda: part)


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
    shadow(cards, SHADOW_DAYS)
    cards.parts.once(NIGHT, "settle", lambda: {"cause": "any", "outcome": outcome})
    assert tasks_for(cards, NIGHT) == tasks


def test_nobody_is_judged_before_the_labels_are_there(cards: CardDays) -> None:
    """Nor a day late, when it was judged already."""
    cards.parts.once(NIGHT, "settle", lambda: {"cause": "none", "outcome": "hold"})
    for days in (SHADOW_DAYS - 1, SHADOW_DAYS + 1):
        shadow(cards, days)
    assert tasks_for(cards, NIGHT) == []

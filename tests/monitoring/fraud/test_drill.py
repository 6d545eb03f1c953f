"""Incidents that are lived day by day are named for what they are, and answered so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ingest.card_incidents import Incident
from ingest.card_world import FESTIVALS
from monitoring.fraud.drill import Drilled, drill, festive_days, history_of
from monitoring.fraud.money import money
from monitoring.fraud.stream import INCIDENT_DAY, go_on
from tests.loop.conftest import run_mlops

pytestmark = pytest.mark.slow

SEED = 3  # of those that the rules were tuned on
LAST = frozenset({14})

#: cause, and what is done about it: one of each room
ANSWERS = {
    "none": "hold",
    "festival": "hold",
    "covariate_harmful": "retrain_in_shadow",
    "prior_shift": "recalibrate",
    "label_flips": "quarantine_labels",
    "biased_source": "quarantine_labels",
    "missed_fraud": "freeze_retraining",
    "label_delay": "freeze_retraining",
    "skew": "roll_back",
    "bad_release": "roll_back",
    "unit_change": "quarantine_batch",
    "two_at_once": "ask_a_person",
}


@pytest.fixture(scope="module")
def drilled() -> dict[str, Drilled]:
    """Each cause at full strength, looked at after two weeks."""
    return {cause: drill(cause, 1.0, SEED, 14, only=LAST) for cause in ANSWERS}


@pytest.mark.parametrize(("cause", "action"), ANSWERS.items())
def test_a_strong_incident_is_named_and_answered(drilled: dict[str, Drilled], cause: str, action: str) -> None:
    """After two weeks, by nothing but what had arrived by then."""
    seen = drilled[cause].watched[14]
    assert seen.diagnosis.cause == cause
    assert seen.response.action == action


def test_a_year_has_its_festivals_whatever_a_calendar_knows() -> None:
    """Each of the five, and the week after it in which its days are still looked at."""
    assert sum(festive_days(SEED, 364)) == sum(festival.days + 7 for festival in FESTIVALS)


def test_a_longer_drill_has_the_same_first_days() -> None:
    """What comes later changes nothing that was: neither payments nor scores nor labels."""
    past = history_of(SEED).stream
    short, long = go_on(past, Incident(), 2), go_on(past, Incident(), 4)
    for one, other in zip(short.days[INCIDENT_DAY:], long.days[INCIDENT_DAY:], strict=False):
        assert one.delivered == other.delivered
        assert one.labels == other.labels
        np.testing.assert_array_equal(one.scores[one.live], other.scores[other.live])


def test_a_branch_leaves_the_history_as_it_was(drilled: dict[str, Drilled]) -> None:
    """Drills of a seed share it."""
    past = history_of(SEED).stream
    assert len(past.days) == INCIDENT_DAY
    assert set(past.models) == {"1", "2"}
    assert set(drilled["bad_release"].lived.models) == {"1", "2", "3"}


def test_mending_a_feed_costs_less_than_retraining_on_it() -> None:
    """By the truth, over two weeks in which half of the amounts are in cents."""
    lost = money(drill("unit_change", 0.5, SEED, 14))
    assert lost.ours < lost.retrain_on_drift
    assert lost.ours < lost.nothing
    assert lost.retrained_on_drift >= 1


def test_a_drill_is_kept_and_diagnosed_again_by_the_command(tmp_path: Path) -> None:
    """Its tables, read as a stranger's, give the same cause; without audits and labels it is told, and trusted less."""
    kept, page = tmp_path / "kept", tmp_path / "page.html"
    run = run_mlops(
        "drill", "run", "nulls", "--seed", str(SEED), "--days", "2", "--keep", str(kept), "--page", str(page), "--json"
    )
    assert run.returncode == 0, run.stderr[-2000:]
    told = json.loads(run.stdout)
    assert (told["named"], told["action"], told["right"]) == ("nulls", "quarantine_batch", True)
    assert "Nulls: quarantine batch" in page.read_text()

    for name in ("labels", "audits"):
        (kept / f"{name}.parquet").unlink()
    again = run_mlops("diagnose", str(kept), "--as-of", told["days"][-1]["as_of"], "--json")
    assert again.returncode == 0, again.stderr[-2000:]
    found = json.loads(again.stdout)
    assert (found["cause"], found["action"], found["confidence"]) == ("nulls", "quarantine_batch", "medium")
    assert set(found["missing_tables"]) == {"labels", "audits"}


def test_what_is_not_rehearsed_is_an_error_that_lists_what_is() -> None:
    """Before anything is lived."""
    run = run_mlops("drill", "run", "sabotage")
    assert run.returncode == 1
    assert "There is no drill for 'sabotage'" in " ".join(run.stderr.split())
    assert "biased_source" in run.stderr

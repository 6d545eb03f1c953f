"""What the watch sees of the features that serving reads: nothing in a sound store, and each way in which it goes wrong."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from feature_repo.feast_store import FeastStore
from ingest.shop_incidents import Incident, write_incidents
from monitoring.drill_harm import let_features_age, skew_features
from monitoring.online_features import online_evidence
from training.settings import build_settings, store_settings
from training.week_data import WEEK
from training.weekly import build_features, ingest_week
from training.workspace import Workspace

pytestmark = pytest.mark.slow

FIRST = datetime(2011, 1, 24)
SECOND, THIRD, FOURTH = (FIRST + n * WEEK for n in (1, 2, 3))


@pytest.fixture(scope="module")
def two_mondays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop whose features were built on two Mondays; the delivery of the third is in pence."""
    home = tmp_path_factory.mktemp("two-mondays")
    script = home / "incidents.json"
    write_incidents(script, [Incident("pence_feed", first_week=1)])
    settings = build_settings(home, data=script, label_weeks=1)
    store_settings(settings)
    ws = Workspace(settings)
    for monday in (FIRST, SECOND):
        ingest_week(ws, monday)
        build_features(ws, monday)
    for monday in (THIRD, FOURTH):
        ingest_week(ws, monday)
    return home


@pytest.fixture
def ws(two_mondays: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(two_mondays, tmp_path / "shop")
    return Workspace(build_settings(tmp_path / "shop"))


def seen(ws: Workspace, as_of: datetime) -> dict[str, object]:
    return {name: evidence.value for name, evidence in online_evidence(ws, as_of).items()}


def sound(**otherwise: object) -> dict[str, object]:
    usual = {"online_filled": True, "feature_mismatch": 0.0, "feature_age_days": 7.0, "feature_due_days": 7.0}
    return {**usual, **otherwise}


def test_a_sound_store_holds_what_the_lake_gives(ws: Workspace) -> None:
    """On a Monday serving has read last Monday's features all week, and they are those that training sees."""
    assert seen(ws, THIRD) == sound()
    assert online_evidence(ws, THIRD)["feature_mismatch"].n == 100


def test_a_store_that_was_never_filled_says_so_and_nothing_else(ws: Workspace) -> None:
    """On the very first Monday nothing was served online, which is no blind spot."""
    assert seen(ws, FIRST) == {"online_filled": False}


def test_rows_that_another_job_computed_are_a_mismatch(ws: Workspace) -> None:
    """A job that forgets what is older than four weeks, for a quarter of the customers: their share, and no age."""
    skew_features(ws, 0.25, SECOND)
    found = seen(ws, THIRD)
    assert 0.1 < found["feature_mismatch"] < 0.35  # type: ignore[operator]
    assert found == sound(feature_mismatch=found["feature_mismatch"])


def test_rows_of_an_older_monday_are_old_and_no_mismatch(ws: Workspace) -> None:
    """What was right a week ago is stale, and not skewed, although only a quarter of the customers have it."""
    let_features_age(ws, 0.25, SECOND)
    assert seen(ws, THIRD) == sound(feature_age_days=14.0)


def test_a_row_or_two_that_were_forgotten_do_not_make_a_store_old(ws: Workspace) -> None:
    """One customer in a hundred is a row's fault and not the refresh's."""
    let_features_age(ws, 0.01, SECOND)
    assert seen(ws, THIRD) == sound()


def test_a_monday_without_a_refresh_is_seen_on_the_next(ws: Workspace) -> None:
    """The third Monday could have been refreshed but for its delivery; one that was held back is no fault of the store."""
    assert seen(ws, FOURTH) == sound(feature_age_days=14.0, feature_due_days=14.0)


def test_customers_who_are_missing_online_are_a_mismatch(ws: Workspace) -> None:
    """Serving would take them for strangers, though the lake knows them."""
    (ws.features / "online.db").unlink()
    FeastStore(ws.features).apply()  # with empty tables
    assert seen(ws, THIRD) == sound(feature_mismatch=1.0, feature_age_days=None)


def test_a_store_that_does_not_answer_is_a_blind_spot(ws: Workspace) -> None:
    """No figure is made up: the policy then asks a person before anything automatic."""
    (ws.features / "online.db").write_bytes(b"no database any more" * 1_000)
    found = online_evidence(ws, THIRD)
    assert {name: e.value for name, e in found.items()} == sound(feature_mismatch=None, feature_age_days=None)
    assert "does not answer" in found["feature_mismatch"].source

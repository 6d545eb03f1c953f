"""The DAGs import quickly, hang together by assets, and work through the weeks one by one."""

from __future__ import annotations

import ast
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from dags.logical_week import next_monday, week_of
from training.settings import build_settings
from training.workspace import Workspace

FOLDER = Path(__file__).parents[2] / "dags"
DAG_FILES = ("ingest_interactions", "retrain_weekly", "rollback", "watch_recommender")


@pytest.mark.parametrize("name", DAG_FILES)
def test_dags_import_only_the_sdk_at_the_top(name: str) -> None:
    """A DAG file imports Airflow's public SDK and our light names; the work is imported inside the tasks."""
    imported = {
        node.module for node in ast.parse((FOLDER / f"{name}.py").read_text()).body if isinstance(node, ast.ImportFrom)
    }
    allowed = {
        "__future__", "datetime", "typing", "airflow.sdk", "airflow.providers.standard.operators.hitl", "dags.assets",
        "dags.logical_week", "monitoring.policy", "training.settings",
    }  # fmt: skip
    assert imported <= allowed


def test_a_new_platform_begins_at_its_start(tmp_path: Path) -> None:
    """The first tick is about the start, however late it comes."""
    ws = Workspace(build_settings(tmp_path, start="2011-01-24"))
    assert next_monday(ws, step="score", now=datetime(2012, 5, 5)) == datetime(2011, 1, 24)


def test_a_platform_that_was_down_catches_up_week_by_week(tmp_path: Path) -> None:
    """Each tick takes the next week that was not done, so that no week is skipped."""
    ws = Workspace(build_settings(tmp_path, start="2011-01-24"))
    ws.once(datetime(2011, 1, 24), "score", dict)
    assert next_monday(ws, step="score", now=datetime(2011, 3, 1)) == datetime(2011, 1, 31)


def test_no_week_is_done_before_it_is_over(tmp_path: Path) -> None:
    """When all is done, a tick is about the present week again, and changes nothing."""
    ws = Workspace(build_settings(tmp_path, start="2011-01-24"))
    ws.once(datetime(2011, 1, 24), "score", dict)
    assert next_monday(ws, step="score", now=datetime(2011, 1, 26)) == datetime(2011, 1, 24)


def test_a_run_is_about_the_newest_of_its_events() -> None:
    """Airflow hands over all events since the DAG last ran, in no order."""
    landed = {5: "2011-02-28", 2: "2011-02-07", 9: "2011-03-07", 7: "2011-03-14"}
    events = [SimpleNamespace(timestamp=datetime(2020, 1, day), extra={"as_of": week}) for day, week in landed.items()]
    context = {"dag_run": SimpleNamespace(conf=None), "triggering_asset_events": {"lake": events}}
    assert week_of(context) == datetime(2011, 3, 7)

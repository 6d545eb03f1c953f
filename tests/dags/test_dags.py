"""The DAGs are read cheaply, hang together by assets declared once, and work through the weeks one by one."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dags.logical_week import next_monday, week_of
from training.settings import build_settings
from training.workspace import Workspace

FOLDER = Path(__file__).parents[2] / "dags"
DAG_FILES = ("ingest_interactions", "retrain_weekly", "rollback", "watch_fraud", "watch_recommender")


# Reads the DAGs as Airflow does and prints what it found, in a process of its own: Airflow keeps the first configuration
# that it reads. An asset that is not the very object of `dags.assets` was declared a second time, and has no place there.
_READ = """
import json, os, sys, time
from pathlib import Path
from dags.in_process import FOLDER, airflow_environment

os.environ.update(airflow_environment(Path(sys.argv[1]), human_timeout_s=1))
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset, CronTriggerTimetable

began = time.process_time()
bag = DagBag(FOLDER)
took_s = time.process_time() - began
assert not bag.import_errors, bag.import_errors
loaded = sorted({module.split(".")[0] for module in sys.modules})

from dags import assets

declared = {name: asset for name, asset in vars(assets).items() if isinstance(asset, Asset)}

def names(found):
    return [next((name for name, asset in declared.items() if asset is one), f"another {one.name}") for one in found]

def awaited(dag):
    condition = getattr(dag.timetable, "asset_condition", None)
    return names(condition.objects) if condition else []

def by_clock(dag):
    return isinstance(getattr(dag.timetable, "timetable", dag.timetable), CronTriggerTimetable)

print(json.dumps({
    "took_s": took_s,
    "loaded": loaded,
    "declared": {name: asset.uri for name, asset in declared.items()},
    "produces": {i: names(asset for task in dag.tasks for asset in task.outlets) for i, dag in bag.dags.items()},
    "awaits": {i: awaited(dag) for i, dag in bag.dags.items()},
    "by_clock": [i for i, dag in bag.dags.items() if by_clock(dag)],
}))
"""

#: Takes seconds to load, or holds models: belongs into tasks.
HEAVY = {"bentoml", "evidently", "feast", "mlflow", "sklearn", "xgboost"}


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow finds in our DAGs."""
    home, root = tmp_path_factory.mktemp("home"), FOLDER.parent
    ended = subprocess.run(
        [sys.executable, "-c", _READ, home],
        cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.splitlines()[-1])


def test_reading_the_dags_is_cheap(dags: dict[str, Any]) -> None:
    """The scheduler does it every half minute: 0.6 s of processor time for all of them, and nothing heavy is loaded."""
    assert HEAVY & set(dags["loaded"]) == set()
    assert dags["took_s"] < 3


def test_every_dag_is_started_by_the_clock_or_by_what_another_one_produces(dags: dict[str, Any]) -> None:
    """No DAG waits for an event that never comes, or for its own."""
    assert sorted(dags["produces"]) == sorted(DAG_FILES)
    for dag in DAG_FILES:
        awaited = set(dags["awaits"][dag])
        made_elsewhere = {asset for other in DAG_FILES if other != dag for asset in dags["produces"][other]}
        assert awaited <= made_elsewhere
        assert awaited or dag in dags["by_clock"]


def test_every_asset_is_declared_once_and_produced_by_one_task(dags: dict[str, Any]) -> None:
    """All that tasks produce is in `dags/assets.py` under one name and one address, and all that is there is produced."""
    produced = [asset for assets in dags["produces"].values() for asset in assets]
    assert sorted(produced) == sorted(dags["declared"])
    assert len(set(dags["declared"].values())) == len(dags["declared"])


@pytest.mark.parametrize("name", DAG_FILES)
def test_dags_import_only_the_sdk_at_the_top(name: str) -> None:
    """A DAG file imports Airflow's public SDK and our light names; the work is imported inside the tasks."""
    imported = {
        node.module for node in ast.parse((FOLDER / f"{name}.py").read_text()).body if isinstance(node, ast.ImportFrom)
    }
    allowed = {
        "__future__", "datetime", "typing", "airflow.sdk", "airflow.providers.standard.operators.hitl", "dags.assets",
        "dags.logical_day", "dags.logical_week", "monitoring.fraud.answers", "monitoring.policy",
        "training.fraud.candidate_question", "training.settings",
    }  # fmt: skip
    assert imported <= allowed


def test_airflow_skips_what_is_no_dag() -> None:
    """The scheduler parses the DAG files every half minute, and nothing beside them."""
    ignored = set((FOLDER / ".airflowignore").read_text().split())
    assert ignored == {rf"{file.stem}\.py" for file in FOLDER.glob("*.py") if file.stem not in DAG_FILES}


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

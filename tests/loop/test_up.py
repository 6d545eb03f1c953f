"""`mlops up`: the same platform under a real scheduler, with its pages, worked as a person works it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dags.airflow_api import PASSWORDS, AirflowApi
from tests.loop.conftest import MLOPS, run_mlops
from training.carry_out import carry_out
from training.settings import build_settings
from training.workspace import Workspace

pytestmark = pytest.mark.slow

#: How long a person reads. Airflow 3.3 fails a question that is answered before its scheduler has noted that it was asked.
READING_S = 10


@pytest.fixture(scope="module")
def asked(weeks: list[dict[str, Any]]) -> str:
    """The first Monday on which the demo's watch asks a person."""
    return next(week["as_of"] for week in weeks if week["action"]["name"] == "ask_a_person")


@pytest.fixture(scope="module")
def workspace(demo: Path, asked: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as it was before that Monday: what came later is taken back out of a copy."""
    home = tmp_path_factory.mktemp("up") / "workspace"
    shutil.copytree(demo, home)
    for week in (home / "weeks").iterdir():
        if week.name >= asked:
            shutil.rmtree(week)
    for manifest in (home / "lake" / "manifests").glob("*.json"):
        if json.loads(manifest.read_text())["arrived"] >= asked:
            manifest.unlink()
    log = home / "decisions.jsonl"
    earlier = [line for line in log.read_text().splitlines() if json.loads(line)["at"] < asked]
    log.write_text("\n".join(earlier) + "\n")
    carry_out(Workspace(build_settings(home)))
    return home


@pytest.fixture(scope="module")
def addresses(workspace: Path) -> Iterator[dict[str, str]]:
    """Start everything as a user does, on free ports, until it says that it is ready."""
    names = ("port", "airflow-port", "mlflow-port", "evidently-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = [part for name, port in ports.items() for part in (f"--{name}", str(port))]
    process = subprocess.Popen(
        [MLOPS, "up", "--dir", workspace, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("ready"):
            break
    assert said and said[-1].startswith("ready"), "".join(said)
    yield dict(re.findall(r"^(\w+) +(http://\S+)", "".join(said), re.MULTILINE))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=90) == 0
    for port in ports.values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something still listens on {port}"


def test_a_person_answers_and_the_alias_moves(workspace: Path, asked: str, addresses: dict[str, str]) -> None:
    """The clock's week lands, its asset wakes the watch, which asks; the answer wakes the rollback, and the week goes on.

    Retraining is paused until the answer is in, so that it cannot put another version live meanwhile.
    """
    before, began = status(workspace), time.time()
    airflow = AirflowApi(addresses["airflow"], workspace / PASSWORDS)
    airflow.pause("retrain_weekly", paused=True)
    [question] = until(lambda: airflow.get("/dags/~/dagRuns/~/hitlDetails?response_received=false")["hitl_details"])
    assert "quality lost" in question["subject"]
    time.sleep(READING_S)
    task = question["task_instance"]
    path = f"/dags/{task['dag_id']}/dagRuns/{task['dag_run_id']}/taskInstances/{task['task_id']}/-1/hitlDetails"
    airflow.patch(path, {"chosen_options": ["go back to the previous version"]})

    until(lambda: status(workspace)["champion"] == before["previous"])
    approval, rollback = status(workspace)["decisions"][-2:]
    assert (approval["kind"], rollback["kind"]) == ("human_approval", "rollback")
    assert approval["actor"] == rollback["actor"] == "person:admin"

    airflow.pause("retrain_weekly", paused=False)
    lists = workspace / "recommendations" / f"week={asked}.parquet"
    until(lambda: lists.stat().st_mtime > began)
    week = Workspace(build_settings(workspace))
    assert week.require_part(datetime.fromisoformat(asked), "judge")["champion"] == before["previous"]
    runs = airflow.get("/dags/~/dagRuns?limit=100&order_by=-run_after")["dag_runs"]
    assert not [run for run in runs if run["state"] == "failed"]


def test_every_page_answers(addresses: dict[str, str]) -> None:
    """The service recommends, MLflow has the model, Evidently has the project."""
    answer = ask(f"{addresses['service']}/recommend", {"user_id": "C000001", "k": 5})
    assert len(answer["items"]) == 5
    model = ask(f"{addresses['mlflow']}/api/2.0/mlflow/registered-models/get?name=recommender")
    assert {a["alias"] for a in model["registered_model"]["aliases"]} == {"champion", "previous"}
    assert [p["name"] for p in ask(f"{addresses['evidently']}/api/projects")] == ["recommender"]


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def until(found: Callable[[], Any], patience_s: float = 300) -> Any:
    """Ask again and again until there is an answer."""
    deadline = time.monotonic() + patience_s
    while not (answer := found()):
        assert time.monotonic() < deadline, f"it did not happen in {patience_s:.0f} s"
        time.sleep(1)
    return answer


def status(workspace: Path) -> dict[str, Any]:
    return json.loads(run_mlops("status", "--dir", workspace, "--json").stdout)


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports

"""The platform in containers, used as a person would use it. One story: each test goes on where the one before it stopped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from dags.airflow_api import AirflowApi
from tests.compose.browser import screenshot
from tests.compose.conftest import PROJECT, ROOT, Stack, ask, basic, measured, until

FIRST = date(2011, 1, 24)
#: One-shot services: they have ended well.
ENDED = {"secrets", "airflow-init", "begin"}
OURS = {"mlflow", "airflow-api", "scheduler", "dag-processor", "triggerer", "service", "evidently", "page"}
GIB = 2**30


@pytest.fixture(scope="module")
def airflow(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AirflowApi:
    """Airflow's API, logged in with the password that the stack made up."""
    passwords = tmp_path_factory.mktemp("login") / "airflow.json"
    passwords.write_text(stack.secret("airflow.json"))
    return AirflowApi(stack.url("airflow"), passwords)


def finished(airflow: AirflowApi, dag_id: str, run_id: str, patience_s: float = 420) -> None:
    state = until(
        lambda: (s := airflow.state(dag_id, run_id)) in ("success", "failed") and s, f"{dag_id} {run_id}", patience_s
    )
    tasks = airflow.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
    assert state == "success", [(task["task_id"], task["state"]) for task in tasks]


def watched(stack: Stack, week: date) -> bool:
    """Whether a week's watch is through, as far as it needs nobody."""
    parts = stack.compose("exec", "-T", "scheduler", "ls", f"/workspace/weeks/{week}").split()
    return "settle.json" in parts or (
        "watch.json" in parts and "ask_a_person" in part(stack, week, "watch")["action"]["name"]
    )


def part(stack: Stack, week: date, step: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        stack.compose("exec", "-T", "scheduler", "cat", f"/workspace/weeks/{week}/{step}.json")
    )
    return found


def land_and_watch(stack: Stack, airflow: AirflowApi, week: date) -> None:
    finished(airflow, "ingest_interactions", airflow.trigger("ingest_interactions", {"as_of": f"{week}"}))
    until(lambda: watched(stack, week), f"the watch of {week}")


def retrain(airflow: AirflowApi, week: date) -> str:
    return airflow.trigger("retrain_weekly", {"as_of": f"{week}"})


def test_fresh_volumes_are_up_in_five_minutes(stack: Stack) -> None:
    """From nothing to every service healthy, the first week trained and served among it."""
    took_s = stack.up()
    measured["fresh volumes to every service healthy"] = f"{took_s:.0f} s (asked 300)"
    states = stack.states()
    assert {name: state for name, state in states.items() if name in ENDED} == dict.fromkeys(ENDED, "exited 0")
    assert {state for name, state in states.items() if name not in ENDED} == {"healthy"}
    assert stack.recommended_by() == "1"
    assert took_s <= 300


def test_what_runs_is_locked_up(stack: Stack) -> None:
    """No root, no writable root, no port beyond loopback, no secret in what Docker shows of it or keeps of its words."""
    ids = stack.compose("ps", "--all", "--quiet").split()
    shown = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True).stdout
    for container in json.loads(shown):
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        host = container["HostConfig"]
        assert host["Memory"] > 0, service
        assert {b["HostIp"] for ports in (host["PortBindings"] or {}).values() for b in ports} <= {"127.0.0.1"}, service
        if service in OURS:
            assert container["Config"]["User"] == "mlops", service
            assert host["ReadonlyRootfs"], service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
    names = stack.compose("exec", "-T", "scheduler", "find", "/secrets", "-type", "f", "-size", "+0").split()
    secrets = [stack.secret(name.removeprefix("/secrets/")) for name in names]
    passwords = {word.strip('"{}:,') for secret in secrets for word in secret.replace(":", " ").split()}
    passwords = {w for w in passwords if len(w) >= 20 and not w.startswith(("//", "mlflow_", "auth"))}
    assert len(passwords) >= 8
    said = shown + stack.compose("logs", "--no-color") + stack.compose("config")
    history = ["docker", "history", "--no-trunc", "mlops-reference:local"]
    said += subprocess.run(history, capture_output=True, text=True, check=True).stdout
    assert not [word for word in passwords if word in said]


def test_strangers_are_turned_away(stack: Stack) -> None:
    """Airflow, MLflow and the service's own paths ask who is there."""
    for server, path in (
        ("airflow", "/api/v2/dags"),
        ("mlflow", "/api/2.0/mlflow/experiments/search?max_results=1"),
        ("service", "/metrics"),
        ("service", "/recommend"),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(stack.url(server, path), {} if path == "/recommend" else None)
        assert refused.value.code == 401, path


def test_four_weeks_and_a_promotion(stack: Stack, airflow: AirflowApi) -> None:
    """Four simulated weeks through Airflow's API: a later version is promoted, and the service answers with it."""
    began = time.monotonic()
    for number in (1, 2, 3):
        week = FIRST + timedelta(weeks=number)
        land_and_watch(stack, airflow, week)
        finished(airflow, "retrain_weekly", retrain(airflow, week))
    measured["a simulated week under Airflow"] = f"{(time.monotonic() - began) / 3:.0f} s"
    promoted = [d for d in stack.decisions() if d["kind"] == "promotion" and d["subject"].startswith("recommender")]
    assert len(promoted) >= 2
    assert stack.status()["champion"] == promoted[-1]["model_version"] != "1"
    until(lambda: stack.recommended_by() == promoted[-1]["model_version"], "the service's move")


def test_postgres_dies_in_the_middle_of_a_week(stack: Stack, airflow: AirflowApi) -> None:
    """The fourth week: the database under Airflow and MLflow is killed while its features are made, and is away for twenty seconds."""
    week = FIRST + timedelta(weeks=4)
    land_and_watch(stack, airflow, week)
    run_id = retrain(airflow, week)
    path = f"/dags/retrain_weekly/dagRuns/{run_id}/taskInstances/features"
    until(lambda: airflow.get(path)["state"] == "running", "the features' task")
    stack.compose("kill", "postgres")
    time.sleep(20)
    stack.compose("start", "postgres")
    began = time.monotonic()
    finished(airflow, "retrain_weekly", run_id, patience_s=600)
    measured["a week after PostgreSQL was away for 20 s, from its return"] = f"{time.monotonic() - began:.0f} s"
    until(lambda: set(stack.states().values()) == {"healthy", "exited 0"}, "every service healthy again")
    assert part(stack, week, "score")["seconds"] > 0


def test_a_bad_release_is_taken_back(stack: Stack, airflow: AirflowApi) -> None:
    """A version goes live past the gates; the next week's watch names it, the alias goes back, and the service with it."""
    before = stack.status()["champion"]
    stack.mlops("drill", "inject", "bad_release")
    bad = stack.status()["champion"]
    assert bad != before
    until(lambda: stack.recommended_by() == bad, "the service's move to the bad version", 30)
    land_and_watch(stack, airflow, FIRST + timedelta(weeks=5))
    until(lambda: stack.status()["champion"] == before, "the alias' way back")
    moved = time.monotonic()
    until(lambda: stack.recommended_by() == before, "the service's way back", 30)
    measured["service on the previous version, after the alias"] = f"{time.monotonic() - moved:.1f} s at most"
    [rollback] = [d for d in stack.decisions() if d["kind"] == "rollback"]
    assert (rollback["model_version"], rollback["previous_version"]) == (before, bad)
    assert "bad release" in part(stack, FIRST + timedelta(weeks=5), "watch")["action"]["cause"]


def test_everything_is_found_where_it_should_be(stack: Stack) -> None:
    """The run in MLflow with its files, the report in Evidently, the metric and our rules in Prometheus, all of it on the first page."""
    login = basic("admin", stack.secret("mlflow/credentials").split()[-1])
    live = stack.status()
    [version] = [v for v in live["versions"] if v["version"] == live["champion"]]
    run = ask(stack.url("mlflow", f"/api/2.0/mlflow/runs/get?run_id={version['run_id']}"), headers=login)["run"]
    assert run["info"]["status"] == "FINISHED"
    assert {tag["key"] for tag in run["data"]["tags"]} >= {"snapshot_id", "as_of"}

    [project] = [p for p in ask(stack.url("evidently", "/api/projects")) if p["name"] == "recommender"]
    assert ask(stack.url("evidently", f"/api/projects/{project['id']}/reports"))

    def counted() -> list[Any]:
        query = "/api/v1/query?query=sum(recommender_requests_total)"
        result: list[Any] = ask(stack.url("prometheus", query))["data"]["result"]
        return result

    assert float(until(counted, "the service's metrics")[0]["value"][1]) > 0
    groups = ask(stack.url("prometheus", "/api/v1/rules"))["data"]["groups"]
    known = yaml.safe_load((ROOT / "infra/prometheus/alerts.yml").read_text())["groups"]
    assert {g["name"] for g in groups} == {g["name"] for g in known}
    targets = ask(stack.url("prometheus", "/api/v1/targets"))["data"]["activeTargets"]
    assert {t["health"] for t in targets} == {"up"}

    def shown() -> Any:
        state = ask(stack.url("page", "/state.json"))
        return all(server["up"] for server in state["servers"]) and state

    page = until(shown, "every server up on the first page")
    assert json.dumps(page).count(f'"{live["champion"]}"') >= 1


def test_its_pages_can_be_looked_at(stack: Stack, airflow: AirflowApi, chromium: str, tmp_path: Path) -> None:
    """Chromium opens each, logged in, and reads on it what should be there; screenshots go to $SCREENSHOTS, or the test's own folder."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path)).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    mlflow = basic("admin", stack.secret("mlflow/credentials").split()[-1])
    token = {"_token": airflow.token}
    nobody: dict[str, str] = {}
    pages = {
        "page": (stack.url("page", "/"), nobody, nobody, "All servers answer"),
        "airflow": (stack.url("airflow", "/dags"), nobody, token, "retrain_weekly"),
        "mlflow": (stack.url("mlflow", "/#/models/recommender"), mlflow, nobody, "champion"),
        "evidently": (stack.url("evidently", "/"), nobody, nobody, "recommender"),
        "prometheus": (stack.url("prometheus", "/classic/alerts"), nobody, nobody, "RecommenderDown"),
    }
    for name, (url, headers, cookies, said) in pages.items():
        shot = folder / f"{name}.png"
        assert said in screenshot(chromium, tmp_path / name, url, shot, headers=headers, cookies=cookies), name
        assert shot.stat().st_size > 8_000, name


@pytest.fixture
def traffic(stack: Stack) -> Iterator[str]:
    """Simulated customers and payments, from a container of their own; the id of it."""
    command = ["mlops", "traffic", "--url", "http://service:3000", "--key-file", "/secrets/api_key"]
    patient = ["--rate", "5", "--payments", "1", "--patience", "240", "--logged", "--json"]
    container = stack.compose("run", "--detach", "traffic", *command, *patient).strip()
    yield container
    subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


def test_each_service_restarts_under_traffic(stack: Stack, airflow: AirflowApi, traffic: str) -> None:
    """One after the other, and the service last: every customer gets an answer, every answer is in the log, no decision is lost."""
    until(lambda: re.search(r"payments: [1-9]", logs_of(traffic)), "the first customers and payments")
    until(lambda: not running(airflow), "the end of what Airflow does by itself", 600)
    before, status = stack.decisions(), stack.status()
    for service in ("redis", "postgres", "mlflow", "airflow-api", "scheduler", "dag-processor", "triggerer", "evidently",
                    "prometheus", "page", "service"):  # fmt: skip
        began = time.monotonic()
        stack.compose("restart", service)
        until(
            lambda: set(stack.states().values()) == {"healthy", "exited 0"}, f"healthy after {service}'s restart", 180
        )
        measured[f"restart of {service} until all are healthy"] = f"{time.monotonic() - began:.0f} s"
    time.sleep(5)
    subprocess.run(["docker", "stop", "--time", "60", traffic], capture_output=True, check=True)
    seen = json.loads(logs_of(traffic).splitlines()[-1])
    payments = seen["payments"]
    measured["customers and payments answered meanwhile"] = f"{seen['answered']} and {payments['answered']}"
    measured["longest wait of one of them"] = f"{max(seen['longest_wait_s'], payments['longest_wait_s']):.0f} s"
    assert seen["answered"] > 100
    assert payments["answered"] > 20
    assert (seen["lost"], payments["lost"], seen["refused"], payments["refused"]) == (0, 0, 0, 0)
    assert seen["unlogged"] == []
    assert stack.decisions() == before
    assert stack.status()["champion"] == status["champion"]


def running(airflow: AirflowApi) -> list[Any]:
    found: list[Any] = airflow.get("/dags/~/dagRuns?state=running&state=queued&limit=100")["dag_runs"]
    return found


def logs_of(container: str) -> str:
    """What it said, and as the last line its figures; lines that were broken for a narrow screen are whole again."""
    ended = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return " ".join(ended.stderr.split()) + "\n" + ended.stdout


def test_down_and_up_again_keeps_everything(stack: Stack) -> None:
    """The volumes hold the platform: the same champion, the same decisions, and nothing is trained anew."""
    before, decisions = stack.status(), stack.decisions()
    stack.compose("down", "--timeout", "30")
    measured["kept volumes to every service healthy"] = f"{stack.up():.0f} s"
    after = stack.status()
    assert [after[name] for name in ("champion", "previous", "versions")] == [
        before[name] for name in ("champion", "previous", "versions")
    ]
    assert stack.decisions() == decisions
    assert stack.recommended_by() == before["champion"]


def test_it_is_small(stack: Stack) -> None:
    """Idle memory as `docker stats` has it, and the image's size."""
    time.sleep(30)
    ids = stack.compose("ps", "--quiet").split()
    stats = subprocess.run(
        ["docker", "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", *ids],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    used = {line.split()[0]: in_bytes(line.split()[1]) for line in stats.splitlines()}
    size = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", "mlops-reference:local"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    total = sum(used.values())
    parts = ", ".join(
        f"{name.removeprefix(f'{PROJECT}-').removesuffix('-1')} {held / 2**20:.0f}"
        for name, held in sorted(used.items(), key=lambda u: -u[1])
    )
    measured["idle memory"] = f"{total / GIB:.2f} GiB (asked 2.5); MiB of each: {parts}"
    measured["image"] = f"{int(size) / 1e9:.2f} GB (asked 1.6)"
    assert total <= 2.5 * GIB
    assert int(size) <= 1.6e9


def in_bytes(text: str) -> float:
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise AssertionError(text)


def test_down_with_volumes_leaves_nothing(stack: Stack) -> None:
    """No container, no volume, no network."""
    stack.compose("--profile", "*", "down", "--volumes", "--timeout", "10")
    label = f"label=com.docker.compose.project={PROJECT}"
    for what in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        left = subprocess.run(
            ["docker", *what, "--quiet", "--filter", label], capture_output=True, text=True, check=True
        )
        assert not left.stdout.split(), what


def test_celery_and_profiles_are_whole(stack: Stack) -> None:
    """The override for Celery and the profiles are read by Compose itself; none of them is started here."""
    stack.compose("-f", "docker-compose.yml", "-f", "infra/compose/celery.yml", "config", "--quiet")
    names = stack.compose("--profile", "*", "config", "--services").split()
    assert {"traffic", "grafana"} <= set(names)

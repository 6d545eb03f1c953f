"""What the containers are told, without an engine: limits, health, loopback, no secret, and the same settings as elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from dags.standalone import DAGS
from training.settings import Settings

ROOT = Path(__file__).parents[2]
STACK: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = STACK["services"]
ONE_SHOT = {"secrets", "airflow-init", "begin"}
#: Asks, and is asked by nobody.
UNASKED = {"traffic"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_and_pinned(name: str) -> None:
    """A limit of memory, a log that ends, a tag that stays, and a restart for whatever goes on."""
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["logging"]["options"]["max-size"]
    assert re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", service["image"])
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert name in ONE_SHOT | UNASKED or service["healthcheck"]["test"]


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service["image"].startswith("mlops-")])
def test_our_containers_can_do_little(name: str) -> None:
    """No root, no privileges, no writable root filesystem."""
    service = SERVICES[name]
    assert (service["user"], service["read_only"], service["cap_drop"]) == ("mlops", True, ["ALL"])
    assert "no-new-privileges:true" in service["security_opt"]


def test_ports_are_for_this_machine_only() -> None:
    """Nobody on the network reaches them."""
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port) for port in published)


def test_nothing_secret_is_in_the_file() -> None:
    """Passwords and keys are named by the files that hold them."""
    for name, service in SERVICES.items():
        environment = service.get("environment") or {}
        secret = {k: v for k, v in environment.items() if re.search("PASSWORD|SECRET|FERNET|KEY|CONN$", k)}
        for variable, value in secret.items():
            known_harmless = "/secrets/" in value or "mlops@postgres" in value
            assert known_harmless, f"{name}: {variable}"


def test_the_settings_are_ours() -> None:
    """Each MLOPS_ variable is a setting, and what `mlops` sets for itself is set for Airflow's tasks, too."""
    settings = STACK["x-settings"]
    ours = {name.removeprefix("MLOPS_").lower() for name in settings if name.startswith("MLOPS_")}
    assert ours <= set(Settings.model_fields)
    for name in (
        "DO_NOT_TRACK",
        "OMP_WAIT_POLICY",
        "OMP_NUM_THREADS",
        "MALLOC_ARENA_MAX",
        "MLFLOW_HTTP_REQUEST_TIMEOUT",
    ):
        assert settings[name] == cli.ENVIRONMENT[name]


def test_prometheus_watches_the_same_in_either_place() -> None:
    """Its file for the containers differs by where the service is, and by the key it shows."""
    here = yaml.safe_load((ROOT / "infra/prometheus/prometheus.yml").read_text())
    there = yaml.safe_load((ROOT / "infra/prometheus/compose.yml").read_text())
    [job] = there["scrape_configs"]
    assert job.pop("authorization") == {"credentials_file": "/secrets/control_key"}
    assert job["static_configs"] == [{"targets": ["service:3000"]}]
    job["static_configs"] = here["scrape_configs"][0]["static_configs"]
    assert there == here


def test_health_is_asked_of_servers_that_there_are() -> None:
    """Of the first page and of the checks: each host in an address is a service, or the container itself."""
    texts = [str(service.get("healthcheck", "")) for service in SERVICES.values()]
    texts.append((ROOT / "infra/compose/pages.json").read_text())
    hosts = {host for text in texts for host in re.findall(r"http://([\w.-]+):", text)}
    assert "airflow-api" in hosts
    assert hosts <= {*SERVICES, "127.0.0.1"}


def test_celery_changes_every_part_of_airflow() -> None:
    """A scheduler with one executor and an API server with another would not find each other's tasks."""
    celery = yaml.safe_load((ROOT / "infra/compose/celery.yml").read_text())["services"]
    airflow = {name for name, service in SERVICES.items() if "AIRFLOW_HOME" in (service.get("environment") or {})}
    assert airflow | {"worker", "secrets"} == set(celery)
    assert {s["environment"]["AIRFLOW__CORE__EXECUTOR"] for n, s in celery.items() if n != "secrets"} == {
        "CeleryExecutor"
    }


def test_every_dag_is_let_run() -> None:
    """Those that begin with the stack, and the fraud model's after them, are all that there are."""
    files = {
        path.stem for path in (ROOT / "dags").glob("*.py") if re.search(r"^@dag\b", path.read_text(), re.MULTILINE)
    }
    assert {*DAGS, "watch_fraud"} == files

"""A stack of its own on whatever Docker engine is reachable: fresh volumes, free ports, and nothing left behind."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.loop.test_up import free_ports

ROOT = Path(__file__).parents[2]
PROJECT = "mlops-test"
PORTS = {
    "page": "PAGE_PORT", "airflow": "AIRFLOW_PORT", "mlflow": "MLFLOW_PORT", "service": "SERVICE_PORT",
    "evidently": "EVIDENTLY_PORT", "prometheus": "PROMETHEUS_PORT",
}  # fmt: skip

#: What was measured, told at the end of the session.
measured: dict[str, str] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured: the figures of docs/benchmarks.md."""
    if measured:
        terminalreporter.section("measured")
        for what, figure in measured.items():
            terminalreporter.write_line(f"{what}: {figure}")


@dataclass
class Stack:
    """The running platform, as somebody on the host sees it."""

    ports: dict[str, int]
    environment: dict[str, str] = field(repr=False)

    def compose(self, *arguments: str, timeout_s: float = 900, check: bool = True) -> str:
        """What `docker compose` prints."""
        ended = subprocess.run(
            ["docker", "compose", "-p", PROJECT, *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert ended.returncode == 0 or not check, f"{arguments}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        return ended.stdout

    def mlops(self, *arguments: str) -> str:
        """What `mlops` prints in the scheduler's container."""
        return self.compose("exec", "-T", "scheduler", "mlops", *arguments)

    def status(self) -> dict[str, Any]:
        """Live versions and the last decisions."""
        found: dict[str, Any] = json.loads(self.mlops("status", "--json"))
        return found

    def decisions(self) -> list[dict[str, Any]]:
        """All that were ever taken."""
        return [
            json.loads(line)
            for line in self.compose("exec", "-T", "scheduler", "cat", "/workspace/decisions.jsonl").splitlines()
        ]

    def up(self) -> float:
        """Start what is not running and wait until every service is healthy; returns the seconds that took."""
        began = time.monotonic()
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "900")
        except AssertionError as error:
            logs = self.compose("logs", "--tail", "40", check=False)
            raise AssertionError(f"{error}\n{logs[-12000:]}") from error
        return time.monotonic() - began

    def states(self) -> dict[str, str]:
        """Of each service: healthy, unhealthy, starting, or that it has ended; traffic is a visitor."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        found = [json.loads(line) for line in lines]
        found = [one for one in found if one["Service"] != "traffic"]
        return {one["Service"]: one["Health"] or f"{one['State']} {one['ExitCode']}" for one in found}

    def secret(self, name: str) -> str:
        return self.compose("exec", "-T", "scheduler", "cat", f"/secrets/{name}").strip()

    def url(self, server: str, path: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[server]}{path}"

    def recommended_by(self) -> str:
        """The version that answers a customer now."""
        key = {"Authorization": f"Bearer {self.secret('api_key')}"}
        answer = ask(self.url("service", "/recommend"), {"user_id": "C000001", "k": 5}, key)
        assert len(answer["items"]) == 5
        version: str = answer["model_version"]
        return version


def ask(url: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """What a server answers, as JSON. Raises HTTPError for 4xx and 5xx."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def until(found: Callable[[], Any], what: str, patience_s: float = 300) -> Any:
    """Ask again and again, also while nobody answers, until it has happened."""
    deadline, last = time.monotonic() + patience_s, None
    while time.monotonic() < deadline:
        try:
            if answer := found():
                return answer
        except (OSError, urllib.error.URLError, ValueError, AssertionError) as error:
            last = error
        time.sleep(1)
    raise AssertionError(f"{what} did not happen in {patience_s:.0f} s; last: {last!r}")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Built, not started; deleted with its volumes at the end, whatever happened."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    environment = {**os.environ, **{PORTS[name]: str(port) for name, port in ports.items()}}
    stack = Stack(ports, environment)
    began = time.monotonic()
    stack.compose("build", "--quiet", "secrets", timeout_s=1800)
    measured["image built in"] = f"{time.monotonic() - began:.0f} s (with what the engine had already)"
    stack.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
    try:
        yield stack
    finally:
        stack.compose("--profile", "*", "down", "--volumes", "--timeout", "5", check=False)


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.fail("This test opens the pages in Debian's chromium: apt-get install -y chromium", pytrace=False)
    return found

"""Start the whole platform on one machine without containers: Airflow standalone, MLflow, Evidently and the service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dags.airflow_api import PASSWORDS, AirflowApi
from dags.in_process import airflow_environment
from dags.replay import alone_in
from ingest.errors import PlatformError
from serving.bento_server import Server, bento_server, require_free_ports
from training.fraud.card_days import CardDays
from training.settings import Settings
from training.workspace import Workspace

HOST = "127.0.0.1"
PATIENCE_S = 180.0
#: What clock and assets start. The fraud model's nights only where its history is: living that takes a minute or two of both cores.
DAGS = ("watch_recommender", "rollback", "ingest_interactions", "retrain_weekly")


@dataclass(frozen=True)
class Platform:
    """What runs, and where to find it."""

    addresses: Mapping[str, str]
    servers: tuple[Server, ...]


@contextmanager
def everything(settings: Settings, ports: Mapping[str, int]) -> Iterator[Platform]:
    """Start all four and wait until each answers; whatever happens, none is left running.

    Raises PlatformError when a port is taken or a server does not come up, ReplayError when a replay is in the workspace.
    """
    home, tools = settings.home, Path(sys.executable).parent
    airflow = {
        **airflow_environment(home, human_timeout_s=settings.human_timeout_s),
        "AIRFLOW__API__PORT": str(ports["airflow"]),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{ports['airflow']}/execution/",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    }
    commands: dict[str, list[str | Path]] = {
        "mlflow": [
            tools / "mlflow",
            "server",
            "--backend-store-uri",
            settings.mlflow_uri,
            "--host",
            HOST,
            "--port",
            str(ports["mlflow"]),
            "--workers",
            "1",
        ],
        "evidently": [
            tools / "evidently",
            "ui",
            "--workspace",
            home / "evidently",
            "--host",
            HOST,
            "--port",
            str(ports["evidently"]),
        ],
        "airflow": [tools / "airflow", "standalone"],
    }
    health = {"mlflow": "/health", "evidently": "/", "airflow": "/api/v2/monitor/health"}
    with ExitStack() as running:
        running.enter_context(alone_in(home))
        require_free_ports(ports, HOST)
        servers = [running.enter_context(_server(name, command, home, airflow)) for name, command in commands.items()]
        service = running.enter_context(bento_server(Workspace(settings), ports["service"]))
        for server in servers:
            _wait_until_it_answers(server, f"http://{HOST}:{ports[server.name]}{health[server.name]}")
        addresses = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        # A replay leaves the DAGs paused; from here on clock and assets start them.
        nights = ("watch_fraud",) if CardDays(Workspace(settings)).tables.exists() else ()
        AirflowApi(addresses["airflow"], home / PASSWORDS).unpause_once_read((*DAGS, *nights), patience_s=PATIENCE_S)
        addresses["airflow"] += f"   login admin, password in {home / PASSWORDS}"
        yield Platform(addresses, (*servers, service))


@contextmanager
def _server(name: str, command: list[str | Path], home: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "DO_NOT_TRACK": "1"}
    path = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    log_path = home / f"{name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, **quiet, "PATH": os.pathsep.join(path)},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=home,
            start_new_session=True,
        )
        try:
            yield Server(name, process, log_path)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and its children: `airflow standalone` alone has five."""
    import signal

    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=10)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _wait_until_it_answers(server: Server, url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise PlatformError(f"{server.name} ended with code {server.process.returncode}; see {server.log}.")
        try:
            with urllib.request.urlopen(url, timeout=3):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise PlatformError(f"{server.name} did not answer at {url} within {PATIENCE_S:.0f} s; see {server.log}.")

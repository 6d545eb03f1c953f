"""`mlops up` starts in a workspace that nobody else works in, on ports that nobody else holds, or not at all."""

from __future__ import annotations

import fcntl
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dags.replay import alone_in, replay
from dags.standalone import everything
from ingest.errors import PlatformError, ReplayError
from training.settings import Settings, build_settings

NAMES = ("service", "airflow", "mlflow", "evidently")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def platform(tmp_path: Path) -> Settings:
    return build_settings(tmp_path)


def free_ports() -> dict[str, int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in NAMES]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return dict(zip(NAMES, ports, strict=True))


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("service", "--port"),
        ("airflow", "--airflow-port"),
        ("mlflow", "--mlflow-port"),
        ("evidently", "--evidently-port"),
    ],
)
def test_a_taken_port_is_refused_before_anything_starts(platform: Settings, name: str, option: str) -> None:
    """The message names the server, the port and the option; no server has written a log, and the workspace is free."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with (
            pytest.raises(PlatformError, match=rf"{name} cannot listen on port {port} .*in use.*choose .* {option}\."),
            everything(platform, {**free_ports(), name: port}),
        ):
            pytest.fail("it started")
    assert [file.name for file in platform.home.iterdir()] == ["replay.lock"]
    with alone_in(platform.home):
        pass


def test_one_port_for_two_servers_is_refused(platform: Settings) -> None:
    """The second one would never come up."""
    ports = free_ports()
    with (
        pytest.raises(PlatformError, match="evidently cannot listen on port"),
        everything(platform, {**ports, "evidently": ports["mlflow"]}),
    ):
        pytest.fail("it started")


def test_a_scheduler_stays_out_of_a_replay(platform: Settings) -> None:
    """What a replay is writing is not touched; nothing is started."""
    with (platform.home / "replay.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(ReplayError, match="`mlops replay` or `mlops up` is running"),
            everything(platform, free_ports()),
        ):
            pytest.fail("it started")
    assert [file.name for file in platform.home.iterdir()] == ["replay.lock"]


def test_a_replay_stays_out_of_a_schedulers_workspace(platform: Settings) -> None:
    """It is told so before it writes anything, its settings included."""
    with alone_in(platform.home), pytest.raises(ReplayError, match="`mlops replay` or `mlops up` is running"):
        replay(platform, weeks=1)
    assert [file.name for file in platform.home.iterdir()] == ["replay.lock"]


def test_starting_it_imports_no_airflow() -> None:
    """Airflow is a child's business here: importing it would take seconds and read a configuration."""
    code = "import sys, dags.standalone; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

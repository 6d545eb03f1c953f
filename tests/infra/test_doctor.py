"""The doctor finds what would stop the platform, and says what to do."""

import socket
import sys
from pathlib import Path

import pytest

from infra import doctor
from infra.doctor import available_memory_gb, examine


def by_name(folder: Path) -> dict[str, doctor.Check]:
    return {check.name: check for check in examine(folder)}


def test_a_busy_port_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port on which somebody listens fails with the option that moves ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {"MLflow": port})
        busy = by_name(tmp_path)[f"port {port}"]
    assert (busy.ok, "--mlflow-port" in busy.remedy) == (False, True)
    assert by_name(tmp_path)[f"port {port}"].ok


def test_too_little_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less free space than a replay needs fails before the replay does."""
    monkeypatch.setattr(doctor, "FREE_DISK_GB", 10**9)
    assert not by_name(tmp_path)["disk"].ok


def test_a_folder_that_cannot_be_written_is_found() -> None:
    """Where nothing can be written, the remedy names another place."""
    check = by_name(Path("/proc"))["writing"]
    assert (check.ok, "--out" in check.remedy) == (False, True)


def test_trees_that_cannot_be_loaded_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where XGBoost finds no OpenMP, the remedy names what to install."""
    assert by_name(tmp_path)["trees"].ok
    monkeypatch.setitem(sys.modules, "xgboost", None)
    check = by_name(tmp_path)["trees"]
    assert (check.ok, "libomp" in check.remedy) == (False, True)


def test_memory_is_read_off_the_kernel(tmp_path: Path) -> None:
    """Available memory is what the kernel says, and unknown where there is no such kernel."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable:    3000000 kB\n")
    assert available_memory_gb(meminfo) == 3.0
    assert available_memory_gb(tmp_path / "absent") is None


FAKE_DOCKER = """#!/bin/sh
case "$1" in
  info) {info} ;;
  compose) echo {compose} ;;
esac
"""


@pytest.mark.parametrize(
    ("info", "compose", "failing"),
    [
        ("""echo '{"ServerVersion": "27.1", "NCPU": 8, "MemTotal": 17e9}'""", "2.29.1", set()),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", "2.29.1", {"engine"}),
        ("""echo '{"ServerErrors": ["permission denied"]}'""", "2.29.1", {"engine"}),
        ("""echo '{"ServerVersion": "27.1", "NCPU": 2, "MemTotal": 2e9}'""", "v2.29.1", {"engine memory"}),
        ("""echo '{"ServerVersion": "20.10", "NCPU": 2, "MemTotal": 17e9}'""", "1.29.2", {"compose"}),
        ("""echo '{"ServerVersion": "20.10", "NCPU": 2, "MemTotal": 17e9}'""", "", {"compose"}),
    ],
)
def test_an_engine_that_will_not_do_is_found(
    info: str, compose: str, failing: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not running, not reachable, too small, or of a Compose that does not read our file."""
    docker = tmp_path / "docker"
    docker.write_text(FAKE_DOCKER.replace("{info}", info).replace("{compose}", compose))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = [check for check in doctor.examine_containers({}) if not check.name.startswith(("port", "engine disk"))]
    assert {check.name for check in found if not check.ok} == failing
    assert all(check.remedy for check in found if not check.ok)


def test_a_machine_without_docker_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing more is asked of it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    [check] = doctor.examine_containers({})
    assert (check.ok, "docs.docker.com" in check.remedy) == (False, True)


def test_a_busy_port_of_the_stack_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number that the environment gives it, with the variable that moves it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        check = doctor._our_port("MLFLOW_PORT", server.getsockname()[1])
    assert (check.ok, "MLFLOW_PORT" in check.remedy) == (False, True)

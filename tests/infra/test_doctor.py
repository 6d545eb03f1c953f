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

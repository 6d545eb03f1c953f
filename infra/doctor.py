"""Examine the machine before the platform does: each check says what it found and what to do."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FREE_DISK_GB = 5  # the environment 1.8, a replay of the real data 1 to 2, Evidently's pages
FREE_MEMORY_GB = 2.5  # a real-data week peaks below 2
PORTS = {"service": 3000, "Airflow": 8080, "MLflow": 5000, "Evidently": 8001}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it will do, what was found, and the remedy."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def examine(folder: Path) -> list[Check]:
    """All checks; `folder` is where workspaces will be written."""
    return [
        _python(),
        _disk(folder),
        _memory(),
        _writable(folder),
        _trees(),
        *(_port(name, port) for name, port in PORTS.items()),
    ]


def _python() -> Check:
    version = sys.version_info[:2]
    return Check(
        "python",
        (3, 11) <= version < (3, 14),
        f"{sys.version.split()[0]} at {sys.executable}",
        "install Python 3.11, 3.12 or 3.13 and run `make setup PYTHON=python3.11`",
    )


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / 1e9
    return Check(
        "disk", free >= FREE_DISK_GB, f"{free:.1f} GB free in {folder}", f"free some: {FREE_DISK_GB} GB are needed"
    )


def _memory() -> Check:
    free = available_memory_gb()
    if free is None:
        return Check("memory", True, "cannot be read on this system; 2.5 GB are needed")
    return Check(
        "memory", free >= FREE_MEMORY_GB, f"{free:.1f} GB available", f"close something: {FREE_MEMORY_GB} GB are needed"
    )


def available_memory_gb(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Memory that can be had without swapping; None where the kernel does not say so."""
    if not meminfo.exists():
        return None
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) / 1e6 if "MemAvailable" in lines else None


def _writable(folder: Path) -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return Check("writing", True, f"{folder} can be written to")
    except OSError as error:
        user = os.environ.get("USER", "you")
        return Check(
            "writing",
            False,
            f"{folder}: {error.strerror}",
            f"give {user} the right to write there, or choose another --out",
        )


def _trees() -> Check:
    """XGBoost's wheel brings its OpenMP along on Linux, and expects the system's on macOS."""
    try:
        import xgboost
    except (ImportError, OSError, ValueError) as error:
        return Check(
            "trees", False, f"XGBoost cannot be loaded: {error}", "on macOS: brew install libomp; else make setup"
        )
    return Check("trees", True, f"XGBoost {xgboost.__version__}")


def _port(name: str, port: int) -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        busy = probe.connect_ex(("127.0.0.1", port)) == 0
    option = "--port" if name == "service" else f"--{name.lower()}-port"
    return Check(
        f"port {port}",
        not busy,
        f"{'busy' if busy else 'free'} ({name})",
        f"stop what listens there (`ss -ltnp`), or use {option}",
    )

"""Examine the machine before the platform does: each check says what it found and what to do."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FREE_DISK_GB = 5  # the environment 1.8, a replay of the real data 1 to 2, Evidently's pages
FREE_MEMORY_GB = 2.5  # a real-data week peaks below 2
PORTS = {"service": 3000, "Airflow": 8080, "MLflow": 5000, "Evidently": 8001}

ENGINE_GB = 6  # idle 2.5, a week's tasks 2, the page cache
IMAGE_GB = 8  # the image, those of the databases, what building leaves
COMPOSE = (2, 20)
CONTAINER_PORTS = {
    "PAGE_PORT": 8000,
    "AIRFLOW_PORT": 8080,
    "MLFLOW_PORT": 5000,
    "SERVICE_PORT": 3000,
    "EVIDENTLY_PORT": 8001,
    "PROMETHEUS_PORT": 9090,
}
ENGINE_TIMEOUT_S = 20


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


def examine_containers(environment: Mapping[str, str]) -> list[Check]:
    """What `docker compose up` needs; the engine's own machine counts, which on macOS and Windows is a virtual one."""
    engine, told = _engine()
    if not engine.ok:
        return [engine]
    ports = {name: int(environment.get(name) or port) for name, port in CONTAINER_PORTS.items()}
    return [engine, _compose(), _engine_memory(told), _image_disk(told), *(_our_port(*port) for port in ports.items())]


def _engine() -> tuple[Check, dict[str, Any]]:
    remedy = "start Docker Desktop, or `sudo systemctl start docker`; without root, `sudo usermod -aG docker $USER` and log in anew"
    if shutil.which("docker") is None:
        return Check("engine", False, "there is no `docker`", "install Docker: https://docs.docker.com/get-docker/"), {}
    ended = _docker("info", "--format", "{{json .}}")
    told = json.loads(ended.stdout or "{}") if ended is not None else {}
    if not told.get("ServerVersion"):
        said = (ended.stderr or "; ".join(told.get("ServerErrors") or ())).strip() if ended else "no answer in 20 s"
        return Check("engine", False, f"not running or not reachable: {said or 'it says nothing'}", remedy), {}
    return Check("engine", True, f"Docker {told['ServerVersion']}, {told.get('NCPU')} cores"), told


def _compose() -> Check:
    ended = _docker("compose", "version", "--short")
    found = ended.stdout.strip().lstrip("v") if ended is not None and ended.returncode == 0 else ""
    known = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    return Check(
        "compose",
        known >= COMPOSE,
        found or "there is no `docker compose`",
        "install the Compose plugin, 2.20 or later",
    )


def _engine_memory(told: Mapping[str, Any]) -> Check:
    free = told["MemTotal"] / 1e9
    return Check(
        "engine memory",
        free >= ENGINE_GB,
        f"{free:.1f} GB",
        f"give it {ENGINE_GB} GB: Docker Desktop, Settings, Resources; else close something",
    )


def _image_disk(told: Mapping[str, Any]) -> Check:
    root = Path(told.get("DockerRootDir", "/"))
    if not root.exists():
        return Check("engine disk", True, f"cannot be seen from here; {IMAGE_GB} GB are needed")
    free = shutil.disk_usage(root).free / 1e9
    remedy = f"free some: {IMAGE_GB} GB are needed; `docker system df` says what holds it"
    return Check("engine disk", free >= IMAGE_GB, f"{free:.1f} GB free in {root}", remedy)


def _docker(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            ["docker", *arguments], capture_output=True, text=True, timeout=ENGINE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None


def _our_port(name: str, port: int) -> Check:
    """A port of docker-compose.yml; a stack that is running already holds them all, and may."""
    check = _port(name, port)
    remedy = f"stop what listens there (`ss -ltnp`; this stack itself: `make down`), or set {name} to another port"
    return replace(check, remedy=remedy)


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

"""One replay of the demo, made once by the command that users run; the stories read it and copy it before they change it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MLOPS = Path(sys.executable).with_name("mlops")
DEMO_WEEKS = 12
TWO_WEEKS = ("replay", "--source", "shop", "--weeks", "2", "--seed", "7", "--label-weeks", "3", "--json", "--out")


def run_mlops(*arguments: str | Path, timeout_s: float = 900, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, in a process of its own."""
    return subprocess.run(
        [MLOPS, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace after twelve simulated weeks."""
    out = tmp_path_factory.mktemp("demo") / "workspace"
    finished = run_mlops(
        "replay", "--source", "shop", "--weeks", str(DEMO_WEEKS), "--seed", "7", "--out", out, "--json"
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    (out / "summary.json").write_text(finished.stdout)
    return out


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks that nobody interrupted."""
    out = tmp_path_factory.mktemp("undisturbed") / "workspace"
    assert run_mlops(*TWO_WEEKS, out).returncode == 0
    return out


def outcome(out: Path) -> list[tuple[str, ...]]:
    """What was decided, in order, and on which snapshot."""
    lines = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    return [(d["decision_id"], d["kind"], d["action"], str(d["model_version"]), d["snapshot_id"]) for d in lines]


@pytest.fixture(scope="session")
def weeks(demo: Path) -> list[dict[str, Any]]:
    return json.loads((demo / "weeks.json").read_text())


@pytest.fixture
def log_file(tmp_path: Path) -> Callable[[str], Path]:
    """Write an interaction log and say where it is."""

    def write(text: str) -> Path:
        path = tmp_path / "log.csv"
        path.write_text(text)
        return path

    return write

"""A process killed in any step loses nothing: the same command goes on and ends with the same records."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.loop.conftest import MLOPS, run_mlops

pytestmark = pytest.mark.slow

REPLAY = ("replay", "--source", "shop", "--weeks", "2", "--seed", "7", "--label-weeks", "3", "--json", "--out")
STEPS = ("ingest", "watch", "snapshot", "features", "fit", "evaluate", "promote", "score")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "workspace"
    assert run_mlops(*REPLAY, out).returncode == 0
    return out


def test_killed_after_every_step(undisturbed: Path, tmp_path: Path) -> None:
    """One replay, killed with SIGKILL right after each step in turn has left its part: what is live in the end, the lists
    and the decisions are those of a replay that nobody disturbed."""
    out = tmp_path / "workspace"
    for step in STEPS:
        process = subprocess.Popen([MLOPS, *REPLAY, out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_part(out / "weeks" / "2011-01-24" / f"{step}.json", process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = run_mlops(*REPLAY, out)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert _outcome(out) == _outcome(undisturbed)
    for path in sorted((undisturbed / "recommendations").glob("*.parquet")):
        assert (out / "recommendations" / path.name).read_bytes() == path.read_bytes()


def _wait_for_part(part: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not part.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{part.name} was never written"
        time.sleep(0.02)


def _outcome(out: Path) -> list[tuple[str, ...]]:
    lines = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    return [(d["decision_id"], d["kind"], d["action"], str(d["model_version"]), d["snapshot_id"]) for d in lines]

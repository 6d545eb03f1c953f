"""A process killed in any step loses nothing: the same command goes on and ends with the same records."""

from __future__ import annotations

import fcntl
import signal
import subprocess
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tests.loop.conftest import MLOPS, TWO_WEEKS, outcome, run_mlops

pytestmark = pytest.mark.slow

WITHIN_S = 0.5
STEPS = ("ingest", "watch", "snapshot", "features", "fit", "evaluate", "promote", "score")


def test_killed_after_and_within_every_step(undisturbed: Path, tmp_path: Path) -> None:
    """One replay, killed with SIGKILL after each step in turn has left its part, by turns at once and well within the next
    one: what is live in the end, the lists and the decisions are those of a replay that nobody disturbed."""
    out = tmp_path / "workspace"
    for step, moment in zip(STEPS, cycle((0, WITHIN_S)), strict=False):
        process = subprocess.Popen([MLOPS, *TWO_WEEKS, out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait_for_part(out / "weeks" / "2011-01-24" / f"{step}.json", process)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = run_mlops(*TWO_WEEKS, out)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert outcome(out) == outcome(undisturbed)
    for path in sorted((undisturbed / "recommendations").glob("*.parquet")):
        assert (out / "recommendations" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_is_short_and_clear(tmp_path: Path, sign: signal.Signals) -> None:
    """Ctrl-C and a polite kill end the replay within seconds, with one line instead of a stack trace."""
    out = tmp_path / "workspace"
    process = subprocess.Popen([MLOPS, *TWO_WEEKS, out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_for_part(out / "weeks" / "2011-01-24" / "settle.json", process)
    process.send_signal(sign)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the same command goes on from there" in said.replace("\n", " ")


def test_two_replays_do_not_share_a_workspace(tmp_path: Path) -> None:
    """The second one is told, instead of writing into the first one's weeks."""
    home = tmp_path / "workspace"
    home.mkdir()
    with (home / "replay.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        finished = run_mlops(*TWO_WEEKS, home)
    assert finished.returncode == 1
    assert "Another `mlops replay` or `mlops up` is running" in finished.stderr.replace("\n", " ")


def _wait_for_part(part: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 300
    while not part.exists():
        assert process.poll() is None and time.monotonic() < deadline, f"{part.name} was never written"
        time.sleep(0.02)

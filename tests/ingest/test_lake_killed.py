"""A process that is killed while it ingests leaves nothing half-visible, and running it again completes the lake."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.lake import Lake
from ingest.schema import arrival_of
from tests.ingest.example_deliveries import CONTRACT, WEEK_1, WEEK_2, delivery_of, rows_of, with_cells

MONDAY_1, MONDAY_2 = arrival_of(WEEK_1), arrival_of(WEEK_2)
SECOND = delivery_of(WEEK_2, with_cells(rows_of(WEEK_2), "user_id", {3: None}))  # one row goes to quarantine

# Ingests the second week and kills itself at its n-th call that makes bytes durable: for each of the three files of a
# batch (interactions, quarantine, manifest) once before and once after the rename that puts it in place.
_DOOMED = """
import os, signal, sys
from pathlib import Path
from ingest.lake import Lake
from test_lake_killed import CONTRACT, SECOND

calls, fsync = 0, os.fsync

def lethal(descriptor):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)

os.fsync = lethal
Lake(Path(sys.argv[1])).ingest(SECOND, CONTRACT)
"""


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def die_while_ingesting(root: Path, at: int) -> int:
    here = Path(__file__).parent
    command = [sys.executable, "-c", _DOOMED, str(root), str(at)]
    return subprocess.run(command, env={"PYTHONPATH": f"{here.parents[1]}:{here}"}, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 7))
def test_a_killed_ingestion_can_simply_be_repeated(tmp_path: Path, at: int) -> None:
    """Killed at any moment, the second week is not half there; repeated, it is there byte for byte."""
    whole, broken = Lake(tmp_path / "whole"), Lake(tmp_path / "broken")
    for lake in (whole, broken):
        lake.ingest(delivery_of(WEEK_1), CONTRACT)
    before = broken.snapshot(MONDAY_2)
    whole.ingest(SECOND, CONTRACT)

    assert die_while_ingesting(broken.root, at) == -signal.SIGKILL

    # The last point lies after the manifest's rename: the batch is then visible, and complete.
    assert broken.snapshot(MONDAY_2) == (whole.snapshot(MONDAY_2) if at == 6 else before)
    assert broken.ingest(SECOND, CONTRACT).status == ("already_known" if at == 6 else "accepted")
    assert contents(broken.root) == contents(whole.root)
    assert broken.snapshot(MONDAY_2).id == whole.snapshot(MONDAY_2).id

"""A disk that fills up in any step loses nothing: one clear message, and with room again the same command goes on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loop.conftest import MLOPS, TWO_WEEKS, outcome, run_mlops

pytestmark = pytest.mark.slow

#: The step after each of these is the one that finds no room: features, fit and MLflow's registry, the lists.
FULL_AFTER = ("snapshot", "features", "promote")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, so that filling it hurts nobody else."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root; the step by step tests of the lake run without")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_in_every_late_step(disk: Path, undisturbed: Path) -> None:
    """Each time the replay ends with what to do about it and no stack trace; in the end all is as if nothing had been."""
    out, ballast = disk / "workspace", disk / "ballast"
    for step in FULL_AFTER:
        process = subprocess.Popen(
            [MLOPS, *TWO_WEEKS, out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        part = out / "weeks" / "2011-01-24" / f"{step}.json"
        while not part.exists():
            assert process.poll() is None, f"{step} was never finished"
            time.sleep(0.01)
        while process.poll() is None:
            fill(disk, ballast)
            time.sleep(0.2)
        said = process.communicate()[1]
        assert process.returncode == 1, said[-2000:]
        assert "Traceback" not in said
        assert "space" in said or "disk" in said
        ballast.unlink()
    finished = run_mlops(*TWO_WEEKS, out)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert outcome(out) == outcome(undisturbed)


def fill(disk: Path, ballast: Path) -> None:
    """Leave no byte free."""
    with ballast.open("ab") as file:
        free = os.statvfs(disk)
        try:
            file.write(b"\0" * free.f_bavail * free.f_frsize)
        except OSError:
            return

"""A disk that fills up in any step loses nothing: one clear message, and with room again the same command goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loop.conftest import MLOPS, TWO_WEEKS, outcome, run_mlops

pytestmark = pytest.mark.slow

#: The step after each of these is the one that finds no room: features, fit and MLflow's registry, the lists.
FULL_AFTER = ("snapshot", "features", "promote")

#: GitHub's runners are not root, but may become it without a password.
AS_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, so that filling it hurts nobody else."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not as_root("mount", "-t", "tmpfs", "-o", "size=1g,mode=1777", "tmpfs", str(folder)):
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(
            "mounting a small file system needs root, or sudo without a password; other tests of the disk need neither"
        )
    try:
        yield folder
    finally:
        assert as_root("umount", "--lazy", str(folder))


def as_root(*command: str) -> bool:
    """Run a command as root; says whether that worked."""
    command = (*AS_ROOT, *command)
    return bool(shutil.which(command[0])) and subprocess.run(command, capture_output=True, check=False).returncode == 0


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

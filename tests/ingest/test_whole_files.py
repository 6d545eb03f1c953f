"""A file is seen whole or not at all, whoever looks and whatever happens to its writer."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.errors import LakeError
from ingest.whole_files import write_json, write_whole

ROOT = Path(__file__).parents[2]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Folders are made, letters stay letters, and nothing but the file is there."""
    path = tmp_path / "a" / "b" / "file.json"
    write_json(path, {"name": "Müller"})
    assert "Müller" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Müller"}
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_keeps_the_file_that_it_opened(tmp_path: Path) -> None:
    """A new content is a new file: whoever reads the old one reads it to its end."""
    path = tmp_path / "file.json"
    write_json(path, ["old"] * 9)
    with path.open() as reader:
        write_json(path, ["new"])
        assert json.load(reader) == ["old"] * 9
    assert json.loads(path.read_text()) == ["new"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """A full disk is a clear error; what stood there still stands, and nothing half-written is left behind."""
    path = tmp_path / "file.json"
    write_json(path, {"old": True})

    def fails(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(
        LakeError, match=r"file.json could not be written: No space left on device.*Free some disk space"
    ):
        write_whole(path, fails)
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]
    assert json.loads(path.read_text()) == {"old": True}


def test_an_error_of_the_writers_own_leaves_as_it_is(tmp_path: Path) -> None:
    """Only the disk's errors are translated, but nothing half-written stays after any."""

    def fails(temporary: Path) -> None:
        temporary.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "file", fails)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    """Killed with half of the new content written, it leaves the old content in place."""
    path = tmp_path / "file.json"
    write_json(path, {"old": True})
    doomed = (
        "import os, signal, sys; from pathlib import Path; from ingest.whole_files import write_whole\n"
        "def half(path):\n"
        "    path.write_text('{')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_whole(Path(sys.argv[1]), half)"
    )
    ended = subprocess.run([sys.executable, "-c", doomed, path], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert json.loads(path.read_text()) == {"old": True}

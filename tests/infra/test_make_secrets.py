"""Secrets are made once, each for its reader alone where that can be, and shown to whoever asks for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.compose.make_secrets import contents, logins, make

SCRIPT = Path(__file__).parents[2] / "infra" / "compose" / "make_secrets.py"


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, SCRIPT, folder, *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def read(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_they_are_made_once(tmp_path: Path) -> None:
    """The second start changes nothing: the databases keep the passwords that they were made with."""
    assert make(tmp_path)
    first = read(tmp_path)
    assert not make(tmp_path)
    assert read(tmp_path) == first


def test_no_two_stacks_have_the_same() -> None:
    """Nothing is a default that somebody could look up."""
    one, other = contents(), contents()
    assert [name for name in one if one[name][0] == other[name][0]] == []


def test_a_start_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    """Half of the files are of no use: what was written belongs to passwords that nobody knows."""
    make(tmp_path)
    (tmp_path / "whole").unlink()
    (tmp_path / "jwt").unlink()
    assert make(tmp_path)
    assert set(read(tmp_path)) == {*contents(), "whole"}


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_others_read_what_is_theirs_only(tmp_path: Path) -> None:
    """PostgreSQL, Prometheus and Grafana run as users of their own; the rest is the image's user's."""
    make(tmp_path)
    for_all = {name for name in contents() if (tmp_path / name).stat().st_mode & 0o004}
    assert for_all == {"postgres", "control_key", "grafana"}
    assert (tmp_path / "pgpass").stat().st_mode & 0o777 == 0o600


def test_a_log_holds_none(tmp_path: Path) -> None:
    """What a start prints is kept by Docker; the logins are printed for who asks, and once for who starts by `make up`."""
    assert "--show" in (told := run(tmp_path))
    secrets = [text for text, _ in contents().values()]
    assert not any(secret in told for secret in secrets)
    assert run(tmp_path, "--show-new") == ""
    shown = run(tmp_path, "--show")
    assert json.loads((tmp_path / "airflow.json").read_text())["admin"] in shown
    assert (tmp_path / "api_key").read_text() in shown
    assert shown.strip() == logins(tmp_path)


def test_make_up_shows_the_new_ones(tmp_path: Path) -> None:
    """Once."""
    assert (run(tmp_path, "--show-new") != "", run(tmp_path, "--show-new")) == (True, "")

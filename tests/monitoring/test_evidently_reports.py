"""Evidently runs with our method on every column, whatever state the columns are in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from serving.bento_server import free_port

if TYPE_CHECKING:
    from monitoring.evidently_reports import EvidentlyReports

MONDAY = datetime(2011, 1, 24)
REFERENCE = pd.DataFrame(np.random.default_rng(0).normal(5, 1, (2_000, 4)), columns=["same", "moved", "empty", "gone"])
CURRENT = (
    REFERENCE.assign(moved=REFERENCE["moved"] * 100, empty=np.nan).drop(columns="gone").sample(500, random_state=1)
)
THRESHOLDS = dict.fromkeys(REFERENCE.columns, 0.2)


def reports_in(home: Path) -> EvidentlyReports:
    from monitoring.evidently_reports import EvidentlyReports  # two seconds, which other files' tests need not wait

    return EvidentlyReports(home)


def runs_in(home: Path) -> list[Any]:
    """The runs that Evidently itself finds in the one project."""
    from evidently.ui.workspace import Workspace

    from monitoring.evidently_reports import PROJECT

    workspace = Workspace(str(home / "evidently"))
    [project] = workspace.search_project(PROJECT)
    return list(workspace.list_runs(project.id))


def test_each_column_gets_its_own_verdict(tmp_path: Path) -> None:
    """An all-null and a missing column drifted; they do not end the report for the others."""
    found = reports_in(tmp_path).drift("week", REFERENCE, CURRENT, as_of=MONDAY, thresholds=THRESHOLDS)
    assert {c.column: c.drifted for c in found.columns} == {"same": False, "moved": True, "empty": True, "gone": True}


def test_page_and_run_are_kept(tmp_path: Path) -> None:
    """The page is where the record says, and the workspace holds one run a week however often the week is run."""
    reports = reports_in(tmp_path)
    for _ in range(2):
        found = reports.drift("week", REFERENCE, CURRENT, as_of=MONDAY, thresholds=THRESHOLDS)
    assert (tmp_path / found.path).stat().st_size > 100_000
    assert len(runs_in(tmp_path)) == 1


def test_files_of_the_week_are_replaced_whole(tmp_path: Path) -> None:
    """Neither the names of the runs nor the page is ever written in place, where a kill would leave half of it."""
    reports, (names, page) = reports_in(tmp_path), (tmp_path / "names", tmp_path / "page")
    for first in (True, False):
        found = reports.drift("week", REFERENCE, CURRENT, as_of=MONDAY, thresholds={"same": 0.2})
        if first:
            names.hardlink_to(tmp_path / "evidently" / "runs.json")
            page.hardlink_to(tmp_path / found.path)
    assert not names.samefile(tmp_path / "evidently" / "runs.json")
    assert not page.samefile(tmp_path / found.path)


def test_two_weeks_are_two_runs(tmp_path: Path) -> None:
    """The dashboard draws a line through the weeks."""
    reports = reports_in(tmp_path)
    for day in (24, 31):
        reports.drift("week", REFERENCE, CURRENT, as_of=datetime(2011, 1, day), thresholds={"same": 0.2})
    assert len(runs_in(tmp_path)) == 2


@pytest.mark.parametrize("rows", [6_000, 20_000])
def test_large_frames_are_sampled_with_a_seed(tmp_path: Path, rows: int) -> None:
    """Evidently sees a bounded sample, the same each time."""
    big = pd.DataFrame({"x": np.random.default_rng(2).normal(size=rows)})
    scores = {
        reports_in(tmp_path / str(n)).drift("w", big, big + 0.01, as_of=MONDAY, thresholds={"x": 0.2}).columns[0].score
        for n in range(2)
    }
    assert len(scores) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A running Evidently on the platform's folder, started before there is anything to show."""
    port, folder = free_port(), tmp_path / "evidently"
    command = [Path(sys.executable).with_name("evidently"), "ui", "--workspace", folder, "--port", str(port)]
    with (tmp_path / "log").open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        deadline = time.monotonic() + 120
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/api/projects", timeout=5):
                break
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def shown_by(server: str) -> dict[str, int]:
    """The projects that it shows, and how many runs of each."""
    with urllib.request.urlopen(f"{server}/api/projects", timeout=10) as answer:
        projects = json.load(answer)
    runs = {}
    for project in projects:
        with urllib.request.urlopen(f"{server}/api/projects/{project['id']}/reports", timeout=10) as answer:
            runs[project["name"]] = len(json.load(answer))
    return runs


@pytest.mark.slow
def test_a_running_server_shows_a_run_at_once(server: str, tmp_path: Path) -> None:
    """And one of the same week in its place, and the project's panels; by itself it would see none of that before its next start."""
    from monitoring.evidently_reports import RECOMMENDER, EvidentlyReports

    for _ in range(2):
        reports = EvidentlyReports(tmp_path, server=server)
        reports.drift("week", REFERENCE, CURRENT, as_of=MONDAY, thresholds=THRESHOLDS)
        assert shown_by(server) == {"recommender": 1}
    reports.drift("week", REFERENCE, CURRENT, as_of=datetime(2011, 1, 31), thresholds=THRESHOLDS)
    assert shown_by(server) == {"recommender": 2}
    assert len(runs_in(tmp_path)) == 2
    [project] = (path for path in (tmp_path / "evidently").iterdir() if path.is_dir())
    assert all(panel in "".join(p.read_text() for p in project.glob("*.json")) for panel in RECOMMENDER.panels)


def test_a_server_that_is_away_holds_no_watch_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Run and page are kept, and the log says who does not know of it yet."""
    from monitoring.evidently_reports import EvidentlyReports

    address = f"http://127.0.0.1:{free_port()}"
    found = EvidentlyReports(tmp_path, server=address).drift(
        "week", REFERENCE, CURRENT, as_of=MONDAY, thresholds=THRESHOLDS
    )
    assert (tmp_path / found.path).exists()
    assert len(runs_in(tmp_path)) == 1
    assert address in caplog.text

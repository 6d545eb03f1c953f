"""Evidently runs with our method on every column, whatever state the columns are in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

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

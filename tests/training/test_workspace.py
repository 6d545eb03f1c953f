"""A step is done once, and what it left is read back."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from training.settings import build_settings
from training.workspace import Workspace

MONDAY = datetime(2011, 1, 24)


def test_a_finished_step_is_not_done_again(tmp_path: Path) -> None:
    """The second call returns what the first one left, to the letter."""
    ws, calls = Workspace(build_settings(tmp_path)), []

    def work() -> dict[str, Any]:
        calls.append(1)
        return {"answer": 42}

    first = ws.once(MONDAY, "step", work)
    assert ws.once(MONDAY, "step", work) == first
    assert (len(calls), first["answer"]) == (1, 42)


def test_a_step_that_failed_is_done_again(tmp_path: Path) -> None:
    """A step that raised leaves no part, so the next run does it."""
    ws = Workspace(build_settings(tmp_path))
    with pytest.raises(ZeroDivisionError):
        ws.once(MONDAY, "step", lambda: {"answer": 1 // 0})
    assert ws.read_part(MONDAY, "step") is None
    assert ws.once(MONDAY, "step", lambda: {"answer": 1})["answer"] == 1


def test_weeks_are_listed_in_order(tmp_path: Path) -> None:
    """Which weeks have a step is read off the parts."""
    ws = Workspace(build_settings(tmp_path))
    for day in (31, 24):
        ws.once(datetime(2011, 1, day), "score", dict)
    assert ws.weeks_done("score") == [datetime(2011, 1, 24), datetime(2011, 1, 31)]

"""Logs that are hardly logs: the loop runs to its end on each, serves what it can and says what it could not judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tests.loop.conftest import run_mlops

pytestmark = pytest.mark.slow

HEADER = "user_id,item_id,timestamp\n"
FIRST = datetime(2024, 1, 1)


def purchase(user: str, item: str, day: int) -> str:
    return f"{user},{item},{FIRST + timedelta(days=day):%Y-%m-%d %H:%M:%S}\n"


WORLDS = {
    "one user": HEADER + "".join(purchase("only", f"item{day % 7}", day) for day in range(40)),
    "one item": HEADER + "".join(purchase(f"user{day % 9}", "only", day) for day in range(40)),
    "a week without purchases": HEADER
    + "".join(purchase(f"u{d % 9}", f"i{d % 5}", d) for d in range(42) if d // 7 != 4),
    "ids as numbers": HEADER + "".join(purchase(str(d % 9), str(d % 5), d) for d in range(42)),
}


@pytest.mark.parametrize("name", WORLDS)
def test_the_loop_runs(name: str, log_file: Callable[[str], Path], tmp_path: Path) -> None:
    """Too few customers to judge by: no candidate passes, the stand-in serves, and every week runs."""
    out = tmp_path / "workspace"
    finished = run_mlops(
        "replay", "--source", "interactions", "--data", log_file(WORLDS[name]), "--start", "2024-01-29", "--weeks", "2",
        "--label-weeks", "3", "--out", out, "--json",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert json.loads(finished.stdout)["champion"] is None
    lists = pd.read_parquet(sorted((out / "recommendations").glob("*.parquet"))[-1])
    assert set(lists["model_version"]) == {"baseline:repeat_x_popularity"}
    assert lists["rank"].min() == 1


BAD = {
    "missing file": (None, "no file or folder"),
    "wrong columns": ("customer,product,when\n1,2,2024-01-01\n", "user_id"),
    "empty file": ("", "empty"),
    "header only": (HEADER, "no rows|empty|no row"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_message(name: str, log_file: Callable[[str], Path], tmp_path: Path) -> None:
    """What cannot be read ends with one message that names it, no stack trace, and exit code 1."""
    text, expected = BAD[name]
    path = log_file(text) if text is not None else tmp_path / "nowhere.csv"
    finished = run_mlops(
        "replay",
        "--source",
        "interactions",
        "--data",
        path,
        "--start",
        "2024-01-29",
        "--weeks",
        "1",
        "--out",
        tmp_path / "out",
    )
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert pd.Series([finished.stderr.replace("\n", " ")]).str.contains(expected, case=False).item(), finished.stderr

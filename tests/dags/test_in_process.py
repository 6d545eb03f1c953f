"""Airflow in this process runs our DAGs, or says which of them it cannot read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# In a process of its own: Airflow keeps the first configuration that it reads.
_START = """
import sys
from pathlib import Path
from dags import in_process
in_process.FOLDER = Path(sys.argv[1])
in_process.InProcessAirflow(Path(sys.argv[2]))
"""


def last_line_said(dags: Path, home: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", _START, dags, home],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return ended.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_damaged_database_is_one_clear_message(tmp_path: Path) -> None:
    """It names the file, and that nothing of worth is in it."""
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "airflow.db").write_text("not a database, by any means" * 100)

    last = last_line_said(tmp_path / "dags", tmp_path)

    assert last.startswith("ingest.errors.ReplayError: Airflow's database ")
    assert "airflow.db cannot be used" in last


@pytest.mark.slow
def test_a_broken_dag_is_named(tmp_path: Path) -> None:
    """The error is one of ours, with the file and the last line of its stack trace."""
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "broken.py").write_text("from airflow.sdk import dag\nimport a_module_that_is_not_there\n")

    last = last_line_said(dags, tmp_path / "home")

    assert last.startswith("ingest.errors.ReplayError: DAGs in ")
    assert "broken.py: ModuleNotFoundError: No module named 'a_module_that_is_not_there'" in last

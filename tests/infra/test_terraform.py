"""The Terraform's README says what its files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2] / "infra" / "terraform"


def test_the_tables_are_those_of_the_files(tmp_path: Path) -> None:
    """Inputs, outputs and modules are written by `describe.py`."""
    ended = subprocess.run(
        [sys.executable, ROOT / "describe.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_environments_differ_in_values_only() -> None:
    """Each sets the same variables."""
    named = {
        path.stem: {
            line.split("=")[0].strip() for line in path.read_text().splitlines() if line[:1].isalpha() and "=" in line
        }
        for path in (ROOT / "environments").glob("*.tfvars")
    }
    assert set(named) == {"dev", "staging", "prod"}
    assert named["dev"] == named["staging"] == named["prod"] != set()

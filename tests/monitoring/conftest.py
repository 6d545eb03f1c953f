"""A real browser for the pages."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=2000",
]
Browse = Callable[..., str]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("This test opens the report in Debian's chromium: apt-get install -y chromium", pytrace=False)

    def run(address: str, *options: str) -> str:
        command = [chromium, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", *options, address]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout

    return run

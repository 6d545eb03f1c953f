"""Start the emulator for as long as somebody needs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import ToolError

STOP_S = 10


@contextmanager
def emulator(log: Path) -> Iterator[str]:
    """An emulator of its own, empty; gives its address on loopback, and stops it after.

    Raises:
        ToolError: It did not start; the log says why.
    """
    root = Path(__file__).parents[2]
    with log.open("w") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.emulator.server"],
            cwd=root,
            env={**os.environ, "AWS_EC2_METADATA_DISABLED": "true"},
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        )
    try:
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address.startswith("http://"):
            raise ToolError(f"The emulator did not start:\n{log.read_text()[-2000:]}")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

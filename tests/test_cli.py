"""A command that holds servers ends well when it is told to, and badly when one of them dies."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What `mlops serve` and `mlops up` do once their servers are ready, with a server that runs the code it is given.
_HOLD = """
import subprocess, sys
from pathlib import Path
import cli
from serving.bento_server import Server

def hold():
    with subprocess.Popen([sys.executable, "-c", sys.argv[1]]) as process:
        print("ready", flush=True)
        try:
            cli.wait_for(Server("mlflow", process, Path("home/mlflow.log")))
        finally:
            process.kill()

cli.app = hold
cli.main()
"""


def hold(server: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, server], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("server", "code"),
    [("raise SystemExit(3)", 3), ("raise SystemExit(0)", 0), ("import os; os.kill(os.getpid(), 9)", -9)],
)
def test_a_dead_server_is_an_error(server: str, code: int) -> None:
    """Whoever started it learns from the exit code that it is gone, and from the message which one, how, and where to look."""
    process = hold(server)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.startswith(f"PlatformError mlflow ended with code {code}, see home/mlflow.log")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_stop_is_no_error(sign: signal.Signals) -> None:
    """Ctrl-C and a polite kill are how such a command is meant to end."""
    process = hold(f"import os, time; time.sleep(0.5); os.kill(os.getppid(), {sign.value}); time.sleep(60)")
    out, said = process.communicate(timeout=30)
    assert (process.returncode, out, said) == (0, "stopping\n", "")

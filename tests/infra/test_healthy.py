"""A health check fails for whatever keeps a server from doing what it is for."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "infra" / "compose" / "healthy.py"
PARTS = {"metadatabase": {"status": "healthy"}, "triggerer": {"status": "unhealthy"}, "dag_processor": {"status": None}}


class Answers(BaseHTTPRequestHandler):
    """Airflow's health answer at /health, a door with a password at /closed, a failure at /broken."""

    def do_GET(self) -> None:
        login = f"Basic {base64.b64encode(b'admin:pass:word%').decode()}"
        code = {"/health": 200, "/broken": 500}.get(self.path, 200 if self.headers["Authorization"] == login else 401)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(PARTS).encode())

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(*arguments: str) -> tuple[int, str]:
    ended = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert not ended.stderr, ended.stderr
    return ended.returncode, ended.stdout.strip()


def test_an_answer_is_health(address: str) -> None:
    """2xx is enough where nothing more is asked."""
    assert run(f"{address}/health") == (0, "")


@pytest.mark.parametrize(
    ("part", "code"), [("metadatabase", 0), ("triggerer", 1), ("dag_processor", 1), ("scheduler", 1)]
)
def test_a_part_must_be_well(address: str, part: str, code: int) -> None:
    """One that is unhealthy, unknown or not told of is not well."""
    ended, said = run(f"{address}/health", part)
    assert (ended, part in said) == (code, code == 1)


def test_a_failure_is_not_health(address: str) -> None:
    """Nor is a closed port."""
    assert run(f"{address}/broken")[0] == 1
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert run(f"http://127.0.0.1:{port}/")[0] == 1


def test_it_logs_in(address: str, tmp_path: Path) -> None:
    """With the file that MLflow's clients read, whatever is in the password."""
    known = tmp_path / "credentials"
    known.write_text("[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = pass:word%\n")
    assert run(f"{address}/closed")[0] == 1
    assert run(f"{address}/closed", f"--credentials={known}") == (0, "")
    assert run(f"{address}/closed", "--credentials=/nowhere")[0] == 1

"""The service is ready when its own process answers, and never when somebody else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ingest.errors import PlatformError
from serving.bento_server import bento_server, require_free_ports


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of a service that is ready, and not ours."""
    server = HTTPServer(("127.0.0.1", 0), _Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_a_strangers_answer_does_not_count(tmp_path: Path, stranger: int) -> None:
    """On a port where somebody else is ready nothing is started; the message says which port, and what to do."""
    with (
        pytest.raises(PlatformError, match=rf"service cannot listen on port {stranger} .*in use.*choose .* --port\."),
        bento_server(tmp_path, stranger),
    ):
        pytest.fail("a stranger was taken for the service")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    """The message is the same, whatever is wrong with a port."""
    with pytest.raises(PlatformError, match=rf"mlflow cannot listen on port {port} .*0-65535.*--mlflow-port"):
        require_free_ports({"mlflow": port}, "127.0.0.1")


def test_free_ports_are_left_free() -> None:
    """Looking takes nothing: the same ports can be asked for again at once."""
    for _ in range(2):
        require_free_ports({"service": 0, "mlflow": 0}, "127.0.0.1")

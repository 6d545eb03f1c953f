"""The service is ready when its own process answers, and never when somebody else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ingest.errors import PlatformError, SettingsError
from serving.bento_server import bento_server, require_free_ports, require_keys_beyond_loopback
from training.settings import build_settings
from training.workspace import Workspace


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


KEYS = {"RECOMMENDER_API_KEYS": "a-shops-key-23a5e6f0c1", "RECOMMENDER_CONTROL_KEYS": "the-control-key-77b2d9e4"}


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.7", "shop.example"])
def test_beyond_loopback_keys_are_required(tmp_path: Path, host: str) -> None:
    """Where others can reach it the service does not start without keys; the message names them, and the other way out."""
    with pytest.raises(
        SettingsError, match=r"RECOMMENDER_API_KEYS and RECOMMENDER_CONTROL_KEYS .*bind it to 127\.0\.0\.1"
    ):
        require_keys_beyond_loopback(host)


@pytest.mark.usefixtures("no_keys")
def test_nothing_is_started_without_keys(tmp_path: Path) -> None:
    """Refused is refused before anything runs."""
    ws = Workspace(build_settings(tmp_path))
    with (
        pytest.raises(SettingsError, match=r"would answer everybody who reaches 0\.0\.0\.0"),
        bento_server(ws, 0, host="0.0.0.0"),
    ):
        pytest.fail("it was started for everybody")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_keys")
def test_on_loopback_no_keys_are_needed() -> None:
    """Whoever can reach it there has the files, too."""
    for host in ("127.0.0.1", "localhost", "::1"):
        require_keys_beyond_loopback(host)


def test_with_keys_it_may_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys for both doors are enough; one door alone is refused."""
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    require_keys_beyond_loopback("0.0.0.0")
    monkeypatch.delenv("RECOMMENDER_CONTROL_KEYS")
    with pytest.raises(SettingsError, match="RECOMMENDER_CONTROL_KEYS is not set"):
        require_keys_beyond_loopback("0.0.0.0")

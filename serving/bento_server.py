"""Run the BentoML service of a workspace as a child process, and say when it answers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import PlatformError

SERVICE = "serving.bento_service:RecommenderService"
START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was started here: its name, its process, and the file that holds what it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def bento_server(home: Path, port: int, *, host: str = "127.0.0.1") -> Iterator[Server]:
    """Start the service and wait until it is ready; on the way out it is stopped, whatever happened.

    Raises PlatformError when its port is taken, or when it ends or stays silent instead of becoming ready.
    """
    require_free_ports({"service": port}, host)
    root = Path(__file__).parent.parent
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        SERVICE,
        "--host",
        host,
        "--port",
        str(port),
        "--working-dir",
        str(root),
    ]
    # A busy neighbour makes several OpenMP threads wait for each other: 25 ms instead of 3 for one ranking.
    environment = {**os.environ, "MLOPS_HOME": str(home), "OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True"}
    log_path = home / "serving.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=root)
        try:
            _wait_until_ready(process, f"http://{host}:{port}/readyz", log_path)
            yield Server("service", process, log_path)
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def require_free_ports(ports: Mapping[str, int], host: str) -> None:
    """Raise PlatformError when somebody listens on one of these ports, or two of them are the same.

    Afterwards it would be too late: BentoML shares a port that another BentoML holds, and a stranger's answer looks
    like the one that is waited for.
    """
    with ExitStack() as held:
        for name, port in ports.items():
            try:
                held.enter_context(socket.create_server((host, port)))
            except (OSError, OverflowError) as error:
                option = "--port" if name == "service" else f"--{name}-port"
                raise PlatformError(
                    f"{name} cannot listen on port {port} of {host}: {error}. "
                    f"Stop what listens there (`ss -ltnp`), or choose another port with {option}."
                ) from error


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PlatformError(
                f"The service ended with code {process.returncode} before it was ready. Its last words:\n{_tail(log_path)}"
            )
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise PlatformError(f"The service was not ready after {START_TIMEOUT_S:.0f} s. Its last words:\n{_tail(log_path)}")


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

"""Run the BentoML service of a workspace as a child process, and say when it answers."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ingest.errors import PlatformError, RegistryError, SettingsError
from serving.canary import CanaryPolicy
from serving.guard import limits_from_environment
from training.workspace import Workspace

SERVICE = "serving.bento_service:RecommenderService"
SERVING_LOG = "serving.log"
START_TIMEOUT_S = 120.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was started here: its name, its process, and the file that holds what it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def bento_server(
    ws: Workspace,
    port: int,
    *,
    host: str = "127.0.0.1",
    policy: CanaryPolicy | None = None,
    added: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Server]:
    """Start the service with its release controller and wait until it is ready; on the way out both are stopped.

    Raises PlatformError when its port is taken, nothing was ever promoted, or it ends or stays silent instead of becoming ready.
    `added` are variables of the service's environment.
    """
    require_free_ports({"service": port}, host)
    require_keys_beyond_loopback(host)
    root, home = Path(__file__).parent.parent, ws.home
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
    figures = home / "serving" / "bentoml" / "prometheus_multiproc_dir"
    figures.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "MLOPS_HOME": str(home),
        # BentoML reads these when it imports the service, before there is a workspace.
        "MLOPS_SERVING_WORKERS": str(ws.settings.serving_workers),
        "MLOPS_SERVING_RATE": str(ws.settings.serving_rate),
        "OMP_NUM_THREADS": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        # A home of its own: the figures of a user's services would else meet in one folder, and each start would empty it.
        "BENTOML_HOME": str(figures.parent),
        "PROMETHEUS_MULTIPROC_DIR": str(figures),
        "PROMETHEUS_MULTIPROCESS_DIR": str(figures),  # or Feast makes another
        **added,
    }
    log_path = home / SERVING_LOG
    with (
        running_controller(ws, policy or CanaryPolicy()),
        started(command, environment, f"http://{host}:{port}/readyz", log_path) as process,
    ):
        yield Server("service", process, log_path)


@contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], ready: str, log_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server from the time when its address `ready` answers; stop it on the way out. What it says goes to a file.

    Raises PlatformError with its last words when it ends or stays silent instead.
    """
    with log_path.open("ab") as log:
        root = Path(__file__).parent.parent
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=root)
        try:
            _wait_until_ready(process, ready, log_path)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running_controller(ws: Workspace, policy: CanaryPolicy) -> Iterator[None]:
    """Release what the registry says, and go on following it in a thread.

    Raises RegistryError when there is nothing to release: no version was ever promoted, or none can be loaded.
    """
    from serving.controller import Controller  # MLflow takes two seconds: a port that is taken is told before that
    from serving.ramp import Ramp

    controller, over = Controller(ws, Ramp(ws, policy)), threading.Event()
    say = logging.FileHandler(ws.home / SERVING_LOG)
    say.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] [controller] %(message)s"))
    logger = logging.getLogger("recommender.controller")
    logger.addHandler(say)
    logger.propagate = False
    thread = threading.Thread(target=controller.run, args=(over,), name="release-controller", daemon=True)
    try:
        if controller.look() is None:
            raise RegistryError(
                f"No version in {ws.home} has been promoted yet; replay more weeks, or see `mlops status`."
            )
        thread.start()
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join(timeout=10)
        logger.removeHandler(say)
        say.close()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def require_keys_beyond_loopback(host: str) -> None:
    """Raise SettingsError when the service could be reached from outside and anybody might ask it."""
    if host not in LOOPBACK and not limits_from_environment(os.environ).api_keys:
        raise SettingsError(
            f"The service would answer everybody who reaches {host}. Set RECOMMENDER_API_KEYS and RECOMMENDER_CONTROL_KEYS (or "
            "RECOMMENDER_API_KEYS_FILE and RECOMMENDER_CONTROL_KEYS_FILE), or bind it to 127.0.0.1."
        )


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

"""What drills harm, and with what: bad versions, hanging stores, killed servers, full disks, clocks that jump."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import xgboost

from feature_repo.feast_store import FeastStore
from ingest.errors import PlatformError, RegistryError
from serving.bento_server import free_port
from serving.release import ServingFolder
from serving.traffic import Shown, Tracker, tracking
from training.artefact import Golden
from training.candidate import READS
from training.mlflow_registry import MlflowRegistry, Version
from training.predictions import PredictionTail
from training.promotion import aliases_after
from training.recommender.artefact import RANKER, TREES
from training.recommender.ranker import Ranker
from training.settings import build_settings
from training.workspace import Workspace

DRILL_PATIENCE_S = 150.0  # a worker on a busy machine takes half a minute to start


def champion_of(ws: Workspace) -> str:
    champion = aliases_after(ws.decisions.read()).champion
    if champion is None:
        raise RegistryError(f"Nothing is live in {ws.home}.")
    return champion


def register_upside_down(ws: Workspace) -> Version:
    """A version of the champion's trees that like least what it liked best: whole, fast, and wrong."""
    good = MlflowRegistry(ws.settings, RANKER).load(champion_of(ws))
    bad = Ranker(**{name: _negated(getattr(good, name)) for name in TREES})
    return _register(ws, bad, "upside down")


def register_copy(ws: Workspace) -> Version:
    """The champion's trees as a version of its own."""
    return _register(ws, MlflowRegistry(ws.settings, RANKER).load(champion_of(ws)), "copy")


def _register(ws: Workspace, ranker: Ranker, name: str) -> Version:
    registry = MlflowRegistry(ws.settings, RANKER)
    contents = registry.files(champion_of(ws))
    record = registry.version(champion_of(ws)).tags
    tags = {"key": f"drill {name} {time.time_ns()}", "as_of": record["as_of"], "reads": " ".join(READS)}
    golden = RANKER.golden(ranker, Golden.from_json(contents["golden"]).rows)
    return registry.register(ranker, golden=golden, params={}, metrics={}, tags=tags, run_name=f"drill: {name}")


def _negated(trees: xgboost.Booster) -> xgboost.Booster:
    model = json.loads(trees.save_raw("json"))
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        leaf = np.array(tree["left_children"]) == -1
        tree["split_conditions"] = np.where(
            leaf, -np.array(tree["split_conditions"]), tree["split_conditions"]
        ).tolist()
    return xgboost.Booster(model_file=bytearray(json.dumps(model).encode()))


@contextmanager
def customers_who_buy(ws: Workspace) -> Iterator[None]:
    """Customers who buy what is shown as often as they did before, as a share of their orders; the shop's tracker notes it."""
    folder, store = ServingFolder(ws.home), FeastStore(ws.features, ws.settings.feast_online)
    tail = PredictionTail(folder.predictions)

    def shown() -> list[Shown]:
        rows = tail.new_rows().select([*Shown._fields, "slice"]).to_pylist()
        return [Shown(**row) for row in rows if row.pop("slice") in ("canary", "control")]

    with tracking(Tracker(folder.outcomes, lambda: store), shown):
        yield


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can read a SQLite file meanwhile: what a hanging store looks like to its readers."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=10)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


class MlflowServer:
    """A tracking server that can be killed and started again."""

    def __init__(self, ws: Workspace) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command: list[str] = [
            str(Path(sys.executable).with_name("mlflow")), "server", "--backend-store-uri", ws.settings.mlflow_uri,
            "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
        ]  # fmt: skip
        self._environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, env=self._environment, stdout=quiet, stderr=quiet)
        until(self._answers, "MLflow's server")

    def kill(self) -> None:
        if self._process is not None:
            kill_all(self._process.pid)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def registry_server(ws: Workspace) -> Iterator[tuple[Workspace, MlflowServer]]:
    """The workspace with its registry behind a server."""
    server = MlflowServer(ws)
    path = ws.home / "settings.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tracking_uri": server.uri}))
    server.start()
    try:
        yield Workspace(build_settings(ws.home)), server
    finally:
        server.kill()


class JumpingClock:
    """Lets a service read the wall clock with an offset that can be changed; durations stay true.

    Raises PlatformError where there is no C compiler, or another system than Linux.
    """

    def __init__(self, folder: Path) -> None:
        source, library = Path(__file__).with_name("jumping_clock.c"), folder / "jumping_clock.so"
        compiler = shutil.which("cc")
        if compiler is None or sys.platform != "linux":
            raise PlatformError(
                "The clock's drill needs Linux and a C compiler; on Debian: apt-get install gcc libc6-dev."
            )
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        self._offset = folder / "clock-offset"
        self._offset.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(self._offset)}

    def jump(self, seconds: int) -> None:
        """Set how far the clock is off, in place: the service has the file mapped."""
        with self._offset.open("r+b") as file:
            file.write(struct.pack("q", seconds))


@contextmanager
def small_disk(place: Path, *, kilobytes: int) -> Iterator[Path]:
    """A file system of its own at `place`. Raises PlatformError where it may not be mounted."""
    place.mkdir(parents=True)
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    mount = [*as_root, "mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=1777", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        raise PlatformError(
            "The full disk's drill needs root, or sudo without a password, to mount a small file system."
        )
    try:
        yield place
    finally:
        subprocess.run([*as_root, "umount", "--lazy", str(place)], check=True)


def kill_all(pid: int) -> None:
    """Kill a process and then its children: the other way round it would start new ones."""
    master = psutil.Process(pid)
    family = [master, *master.children(recursive=True)]
    for process in family:
        process.kill()
    psutil.wait_procs(family[1:], timeout=10)


def until(found: Callable[[], Any], what: str, patience_s: float = DRILL_PATIENCE_S) -> Any:
    """Look again and again. Raises PlatformError when it does not happen."""
    deadline = time.monotonic() + patience_s
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise PlatformError(f"The drill waited {patience_s:.0f} s for {what}.")
        time.sleep(0.1)
    return answer

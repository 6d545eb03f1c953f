"""Rehearse incidents under load, on a copy of a workspace: each has a known cause, and a report that says what customers saw.

A drill starts the service as `mlops serve` does, sends 200 requests a second, does the harm, and compares what was
answered with what should have been.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ingest.errors import SettingsError
from serving.bento_server import Server, bento_server, free_port
from serving.canary import CanaryPolicy
from serving.load import Client, Load, OpenLoop, Question, Result, running_load
from training.promotion import aliases_after
from training.settings import build_settings
from training.workspace import Workspace

RATE = 200.0
LONGEST_S = 180.0
#: What a drill needs of a workspace; the lake and the examples, most of its bytes, are for training.
PARTS = ("features", "index", "weeks", "decisions.jsonl", "settings.json", "mlflow.db")
WARM_S = 3.0

#: Quick steps: a drill has 200 requests a second of simulated customers and not the whole day. Eight seconds let nearly all
#: customers of a stage ask once, and only their first outcome counts: after three, too few for quality to be judged by.
QUICK = CanaryPolicy(min_requests=60, min_seconds=8.0, patience_seconds=15.0)


@dataclass(frozen=True)
class Told:
    """What a drill did and when, in seconds after the load began, and which versions may answer after that."""

    harm_s: float
    detected_s: float | None
    """When the platform knew: its record, or the first answer that shows it. None where a person knew from the start."""

    wrong: Callable[[dict[str, Any], float], bool]
    """Whether an answer, intended at that second, is one that should not have been given any more."""

    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DrillReport:
    """What customers saw."""

    drill: str
    requests: int
    lost: int
    server_errors: int
    retried: int
    wrong_version: int
    """Answers by a version that should not have answered any more, from the harm or the command on."""

    degraded: int
    """Answers with less than fresh features."""

    detect_s: float | None
    restore_s: float
    """From the harm to the last answer that was lost, failed or wrong; 0 when none was."""

    restore_limit_s: float | None
    """What was promised, where something was."""

    p99_ms: float
    notes: dict[str, Any]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        in_time = self.restore_limit_s is None or self.restore_s <= self.restore_limit_s
        return in_time and not self.failures

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


@dataclass
class Stage:
    """A running service under load, and what a drill needs to harm it."""

    ws: Workspace
    server: Server
    load: Load
    url: str

    def elapsed_s(self) -> float:
        return self.load.elapsed_s()


@contextmanager
def copied(home: Path) -> Iterator[Workspace]:
    """A copy of what serving needs of a workspace; models stay where they are and are only read.

    Raises SettingsError when fewer than two versions were ever live, because there would be nothing to go back to.
    """
    with tempfile.TemporaryDirectory(prefix="mlops-drill-") as folder:
        place = Path(folder) / "workspace"
        place.mkdir()
        for name in PARTS:
            source = home / name
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            if not source.exists():
                raise SettingsError(f"{home} is no replayed workspace ({name} is missing); make one with `mlops demo`.")
            copy(source, place / name)
        with closing(sqlite3.connect(place / "mlflow.db")) as registry, registry:
            # What a drill registers goes to the copy, too.
            registry.execute("UPDATE experiments SET artifact_location = ?", [(place / "artefacts").as_uri()])
        ws = Workspace(build_settings(place))
        if aliases_after(ws.decisions.read()).previous is None:
            raise SettingsError(f"Fewer than two versions are live in {home}; replay more weeks, or use `mlops demo`.")
        yield ws


def questions(ws: Workspace, count: int = 2_000) -> list[Question]:
    """Questions of customers that the feature store knows, and of one in twenty whom it does not."""
    import random

    from feature_repo.feast_store import FeastStore

    store = FeastStore(ws.features, ws.settings.feast_online)
    known = store.keys("user_features", ws.weeks_done("features")[-1])
    dice = random.Random(7)
    asked = [f"stranger {n}" if dice.random() < 0.05 else dice.choice(known) for n in range(count)]
    return [("/recommend", json.dumps({"user_id": user_id, "k": 10}).encode()) for user_id in asked]


@contextmanager
def stage(ws: Workspace, added: Mapping[str, str] = MappingProxyType({})) -> Iterator[Stage]:
    """The service of a workspace, under load from before the harm until the drill has seen enough.

    `added` are variables of the service's environment.
    """
    import time

    port = free_port()
    client = Client(f"http://127.0.0.1:{port}", keep_bodies=True)
    with (
        bento_server(ws, port, policy=QUICK, added=added) as server,
        running_load(client, OpenLoop(RATE, LONGEST_S), questions(ws)) as load,
    ):
        time.sleep(WARM_S)
        yield Stage(ws, server, load, client.url)


def report(
    drill: str, result: Result, told: Told, *, limit_s: float | None = None, lost_allowed: bool = False
) -> DrillReport:
    """Compare what was answered with what should have been."""
    answers, wrong, degraded, last_bad_s = result.answers(), 0, 0, told.harm_s
    for answer in answers:
        ended_s = answer.intended_s + answer.latency_ms / 1000
        bad = answer.status == 0 or answer.status >= 500
        if answer.status == 200:
            body = json.loads(answer.body)
            degraded += body["features"] != "fresh"
            if told.wrong(body, answer.intended_s):
                wrong, bad = wrong + 1, True
        if bad and answer.intended_s >= told.harm_s:
            last_bad_s = max(last_bad_s, ended_s)
    errors = result.by_class.get("5xx", 0)
    failures = [f"{errors} answers were 5xx"] if errors else []
    if result.lost and not lost_allowed:
        failures.append(f"{result.lost} requests were never answered")
    return DrillReport(
        drill=drill,
        requests=result.sent,
        lost=result.lost,
        server_errors=errors,
        retried=result.retried,
        wrong_version=wrong,
        degraded=degraded,
        detect_s=None if told.detected_s is None else round(told.detected_s - told.harm_s, 2),
        restore_s=round(last_bad_s - told.harm_s, 2),
        restore_limit_s=limit_s,
        p99_ms=round(result.latency["p99_ms"], 2),
        notes=told.notes,
        failures=tuple(failures),
    )

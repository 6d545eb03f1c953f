"""Histories of one small registry, for tests of what is live: made once, and begun anew for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.training.versions import register
from training.carry_out import carry_out
from training.decision_log import DecisionLog
from training.mlflow_registry import MlflowRegistry
from training.promotion import MODEL, Aliases
from training.recommender.artefact import RANKER
from training.settings import build_settings
from training.vocabulary import Decision, DecisionKind
from training.workspace import Workspace

MONDAY = datetime(2026, 3, 2)


def small_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose registry holds the versions 1 to 4; all files of a run share it, for it takes seconds to make."""
    home = tmp_path_factory.getbasetemp() / "small-registry"
    if not home.exists():
        registry = MlflowRegistry(build_settings(home), RANKER)
        assert [register(registry, key).version for key in "abcd"] == ["1", "2", "3", "4"]
    return home


def begun_anew(home: Path, **settings: Any) -> Workspace:
    """The workspace with its versions, and nothing decided."""
    ws = Workspace(build_settings(home, **settings))
    for folder in ("serving", "weeks", "index"):
        shutil.rmtree(home / folder, ignore_errors=True)
    for file in (ws.decisions.path, ws.unreconciled):
        file.unlink(missing_ok=True)
    MlflowRegistry(ws.settings, RANKER).set_aliases(Aliases())
    return ws


def decide(ws: Workspace, kind: DecisionKind, version: str, at: datetime = MONDAY) -> Decision:
    """Record a decision and carry it out."""
    subject = f"{MODEL} version {version}"
    decision = Decision(
        at=at.isoformat(), actor="policy", kind=kind, subject=subject, action=kind, reason="better",
        model_version=version,
    )  # fmt: skip
    ws.decisions.record(decision)
    carry_out(ws)
    return decision


def kinds(ws: Workspace) -> list[tuple[str, str | None]]:
    return [(decision.kind, decision.model_version) for decision in ws.decisions.read()]


def aliases(ws: Workspace) -> Aliases:
    return MlflowRegistry(ws.settings, RANKER).aliases()


@contextmanager
def silent_registry(ws: Workspace) -> Iterator[None]:
    """The registry's database cannot be read meanwhile."""
    database = ws.home / "mlflow.db"
    content = database.read_bytes()
    database.write_bytes(b"no database any more" * 1_000)
    try:
        yield
    finally:
        database.write_bytes(content)


@contextmanager
def altered(file: Path) -> Iterator[None]:
    """One bit of the file is another one meanwhile."""
    content = file.read_bytes()
    middle = len(content) // 2
    file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    try:
        yield
    finally:
        file.write_bytes(content)


class Killed(BaseException):
    """What ends a process in the middle; nothing in our code catches it."""


@dataclass(frozen=True, slots=True)
class KilledBeforeRecord(DecisionLog):
    """A log whose process dies when it is about to record."""

    def record(self, decision: Decision) -> Decision:
        raise Killed


@dataclass(frozen=True, slots=True)
class KilledAfterRecord(DecisionLog):
    """A log whose process dies as soon as the record is on the disk."""

    def record(self, decision: Decision) -> Decision:
        DecisionLog.record(self, decision)
        raise Killed

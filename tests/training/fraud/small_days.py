"""A small card issuer's days in a workspace: five hundred payments a day, lived once for all files of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from functools import partial
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import pytest

from ingest.card_world import CardSettings, CardWorld
from ingest.whole_files import write_whole
from monitoring.fraud.kept_days import KeptDays
from monitoring.fraud.stream import history
from training.fraud.card_days import CardDays
from training.fraud.day_split import SPAN_DAYS
from training.settings import build_settings
from training.vocabulary import Decision, DecisionKind, Evidence
from training.workspace import Workspace

WORLD = CardWorld(CardSettings(seed=7, per_day=500, fraud_share=0.05))
FIRST, SECOND = 119, 133
"""Days at whose midnight a candidate is made; the second learns and is judged on days two weeks later."""


def midnight(number: int) -> datetime:
    return datetime.combine(WORLD.date_of(number), time())


def small_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the tables of the days that a candidate of either midnight reads."""
    home = tmp_path_factory.getbasetemp() / "small-days"
    if not home.exists():
        kept = KeptDays(CardDays(Workspace(build_settings(home))), WORLD)
        for lived in history(WORLD.settings, SECOND).days[FIRST - SPAN_DAYS :]:
            kept.append(lived)
    return home


def begun_anew(home: Path, parts: Mapping[str, bytes] = MappingProxyType({})) -> CardDays:
    """The workspace with its tables and registered versions, and nothing decided; `parts` are what steps of the first day left."""
    cards = CardDays(Workspace(build_settings(home)))
    cards.ws.decisions.path.unlink(missing_ok=True)
    shutil.rmtree(cards.parts.folder, ignore_errors=True)
    for step, part in parts.items():
        write_whole(cards.parts.path(midnight(FIRST), step), partial(Path.write_bytes, data=part))
    return cards


@contextmanager
def altered(
    cards: CardDays, table: str, days: Iterable[date], change: Callable[[pd.DataFrame], pd.DataFrame]
) -> Iterator[None]:
    """A table's days say something else meanwhile."""
    paths = [path for day in days if (path := cards.path(table, day)).exists()]
    content = {path: path.read_bytes() for path in paths}
    for path in paths:
        partial(change(pd.read_parquet(path)).to_parquet, index=False)(path)
    try:
        yield
    finally:
        for path, before in content.items():
            path.write_bytes(before)


@contextmanager
def missing(cards: CardDays, table: str, days: Iterable[date]) -> Iterator[None]:
    """A table's days are not there meanwhile."""
    aside = [(path, path.with_suffix(".aside")) for day in days if (path := cards.path(table, day)).exists()]
    for path, elsewhere in aside:
        shutil.move(path, elsewhere)
    try:
        yield
    finally:
        for path, elsewhere in aside:
            shutil.move(elsewhere, path)


def ordered(at: datetime, *, frozen: bool, quarantined: str = "", kind: DecisionKind = "watch") -> Decision:
    """What the watch ordered at a midnight."""
    orders = (
        Evidence("training_frozen", frozen, "the watch"),
        Evidence("quarantined", quarantined, "the watch"),
    )
    return Decision(
        at=at.isoformat(), actor="policy", kind=kind, subject="fraud", action="hold", reason="r", evidence=orders
    )

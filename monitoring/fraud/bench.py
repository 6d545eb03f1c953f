"""What watching costs: simulating payments, and a drift pass beside Evidently's own preset on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from ingest.card_world import CardSettings, CardWorld
from monitoring.fraud.drift import domain_auc
from monitoring.psi import psi

PER_DAY = 20_000


@dataclass(frozen=True)
class Cost:
    """How long something took, each time it was done."""

    what: str
    rows: int
    columns: int
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return float(np.median(self.seconds))


def bench_fraud(rows: int, columns: int, rounds: int, *, said: Callable[[str], None] = lambda _: None) -> list[Cost]:
    """Simulate so many payments, and pass over so many rows and columns for drift, by our figures and by Evidently's preset."""
    before, now = _frames(rows, columns)
    passes: list[tuple[str, Callable[[], object]]] = [
        ("drift pass: PSI of every column, domain classifier", lambda: _our_pass(before, now)),
        ("Evidently's DataDriftPreset", lambda: _preset(before, now)),
    ]
    costs = []
    said(f"simulating {rows:,} payments")
    world = CardWorld(CardSettings(per_day=PER_DAY))
    costs.append(Cost("card payments simulated", rows, 8, _timed(lambda: _simulated(world, rows), rounds)))
    for what, work in passes:
        said(what)
        costs.append(Cost(what, rows, columns, _timed(work, rounds)))
    return costs


def _timed(work: Callable[[], object], rounds: int) -> tuple[float, ...]:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return tuple(seconds)


def _simulated(world: CardWorld, rows: int) -> int:
    made = day = 0
    while made < rows:
        made += len(world.day(day).transactions)
        day += 1
    return made


def _frames(rows: int, columns: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Amounts, counts and shares in turn; in the second frame one column in five has moved."""
    rng = np.random.default_rng(0)
    draw = (
        lambda moved: rng.lognormal(3 + moved, 1, rows),
        lambda moved: rng.poisson(5 * (1 + moved), rows),
        lambda moved: rng.beta(2, 5 / (1 + moved), rows),
    )
    frames = [
        pd.DataFrame({f"c{n}": draw[n % 3](0.3 * now * (n % 5 == 0)).astype(np.float32) for n in range(columns)})
        for now in (0, 1)
    ]
    return frames[0], frames[1]


def _our_pass(before: pd.DataFrame, now: pd.DataFrame) -> float:
    for name in before:
        psi(before[name].to_numpy(), now[name].to_numpy())
    return domain_auc(before.to_numpy(), now.to_numpy(), seed=0).value


def _preset(before: pd.DataFrame, now: pd.DataFrame) -> object:
    definition = DataDefinition(numerical_columns=list(before))
    current, reference = (Dataset.from_pandas(frame, definition) for frame in (now, before))
    return Report([DataDriftPreset()]).run(current, reference)

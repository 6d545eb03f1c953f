"""Measure `/score` under load, alone and with the recommender at work in the same process: `mlops bench score`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from threadpoolctl import threadpool_limits

from ingest.card_world import CardSettings
from ingest.errors import PlatformError
from serving.bench import (
    OPEN_S,
    RATE,
    WARM_S,
    Served,
    Tell,
    empty_bentoml,
    failed,
    loaded,
    measured,
    spread,
    step_seconds,
)
from serving.bento_server import bento_server, free_port
from serving.drills import copied, questions
from serving.load import Client, ClosedLoop, OpenLoop, Question, running_load
from serving.onnx_trees import fraud_model_in_onnx
from serving.scrape import scraped
from serving.simulated_issuer import SimulatedIssuer
from training.fraud.model import FraudModel

SCORED = 2_000  # payments, one after the other, when libraries are compared
STEPS = ("features", "score")


def bench_score(home: Path, *, rounds: int, beside: float, tell: Tell) -> dict[str, Any]:
    """Open loops of payments, at even and at random moments: the service alone, with `beside` recommendations a second, beside
    recommendations at the same rate and an empty endpoint. The fraud model is one of a simulated issuer, live in a copy of the workspace.

    Raises PlatformError when a server does not come up, or no payment is scored as the model does.
    """
    with copied(home) as ws:
        tell("simulating an issuer and fitting its model")
        issuer = SimulatedIssuer(CardSettings())
        issuer.release(ws)
        payments, customers = issuer.questions(), questions(ws)
        tell("starting")
        with bento_server(ws, (port := free_port())) as server, empty_bentoml(ws) as empty:
            ours = Served("this service", f"http://127.0.0.1:{port}", server.process.pid)
            for served in (ours, empty):
                _warm(served, payments if served is ours else customers)
            runs: dict[str, Callable[[OpenLoop], dict[str, float]]] = {
                "alone": lambda loop: _with_steps(ours, loop, payments),
                f"beside {beside:.0f} recommendations/s": lambda loop: _beside(ours, loop, payments, customers, beside),
                "the recommender, at the same rate": lambda loop: measured(ours, loop, customers),
                "empty BentoML endpoint": lambda loop: measured(empty, loop, customers),
            }
            found: dict[str, dict[str, list[dict[str, float]]]] = {
                kind: {name: [] for name in runs} for kind in ("open_even", "open")
            }
            for turn in range(rounds):
                for kind, loop in _loops(turn).items():
                    for name, run in runs.items():
                        tell(f"round {turn + 1} of {rounds}: {name}")
                        found[kind][name].append(run(loop))
    return {
        **{kind: {name: spread(figures) for name, figures in by_run.items()} for kind, by_run in found.items()},
        "scorers": compare_scorers(issuer.model, issuer.features),
    }


def compare_scorers(model: FraudModel, payments: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    """What scoring one payment costs by each library, in one thread, in ms, and how far both are apart."""
    rows = [payments[n : n + 1] for n in range(min(SCORED, len(payments)))]
    served = fraud_model_in_onnx(model)
    with threadpool_limits(1):
        model.trees.set_param({"nthread": 1})  # type: ignore[attr-defined]
        costs = {name: _cost(one, rows) for name, one in (("XGBoost", model), ("ONNX Runtime (served)", served))}
    apart = float(np.abs(model.score(payments) - served.score(payments)).max())
    return {name: {**cost, "parity": apart} for name, cost in costs.items()}


def _cost(model: FraudModel, rows: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    for row in rows[:100]:
        model.score(row)
    taken, cpu = [], time.process_time()
    for row in rows:
        began = time.perf_counter()
        model.score(row)
        taken.append((time.perf_counter() - began) * 1000)
    cpu_ms = (time.process_time() - cpu) * 1000 / len(rows)
    p50, p99 = np.percentile(taken, [50, 99])
    return {"cpu_ms": cpu_ms, "p50_ms": float(p50), "p99_ms": float(p99)}


def _loops(turn: int) -> dict[str, OpenLoop]:
    return {"open_even": OpenLoop(RATE, OPEN_S, spacing="constant"), "open": OpenLoop(RATE, OPEN_S, seed=turn)}


def _warm(served: Served, asked: Sequence[Question]) -> None:
    with running_load(Client(served.url), ClosedLoop(4, seconds=WARM_S), asked) as load:
        if load.result().by_class.keys() != {"2xx"}:
            raise PlatformError(f"{served.name} does not answer all it is asked; its log says why.")


def _with_steps(ours: Served, loop: OpenLoop, payments: Sequence[Question]) -> dict[str, float]:
    before = _steps(ours)
    figures = measured(ours, loop, payments)
    sent = loop.rate * loop.seconds
    return {**figures, **{f"{name}_ms": (s - before.get(name, 0)) / sent * 1000 for name, s in _steps(ours).items()}}


def _steps(ours: Served) -> dict[str, float]:
    return step_seconds(scraped(ours.url), "fraud_step_seconds")


def _beside(
    ours: Served, loop: OpenLoop, payments: Sequence[Question], customers: Sequence[Question], rate: float
) -> dict[str, float]:
    """The server's own figures would be of both, so that only what the payers saw counts."""
    with _recommending(ours, rate, loop.seconds, customers):
        result = loaded(ours, loop, payments)
    return {**result.latency, "failed": float(failed(result))}


@contextmanager
def _recommending(ours: Served, rate: float, seconds: float, customers: Sequence[Question]) -> Iterator[None]:
    """Customers ask for recommendations meanwhile, from a process of their own."""
    with running_load(Client(ours.url), OpenLoop(rate, seconds + 2, spacing="constant"), customers):
        yield


def as_tables(found: Mapping[str, Any]) -> list[Table]:
    """What was measured, for a reader: the median of the rounds, and their range below it."""
    columns = {"p50_ms": "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms", "p99.9_ms": "p99.9 ms", "failed": "failed"}
    tables = []
    for kind, how in (("open_even", "evenly spaced"), ("open", "at random moments")):
        table = Table("", *columns.values(), title=f"{RATE:.0f} payments a second, {how}")
        for name, figures in found[kind].items():
            cells = (figures[column] for column in columns)
            table.add_row(name, *(f"{c['median']:,.1f}\n[dim]{c['low']:,.1f}–{c['high']:,.1f}[/dim]" for c in cells))
        tables.append(table)
    tables.append(_profile(found["open_even"]["alone"], found["open_even"]["empty BentoML endpoint"]))
    scorers = Table("one payment's score", "CPU ms", "p50 ms", "p99 ms", "largest difference")
    for name, cost in found["scorers"].items():
        scorers.add_row(name, *(f"{cost[c]:.3f}" for c in ("cpu_ms", "p50_ms", "p99_ms")), f"{cost['parity']:.1e}")
    return [*tables, scorers]


def _profile(alone: Mapping[str, Mapping[str, float]], empty: Mapping[str, Mapping[str, float]]) -> Table:
    """What a payment costs by step, and what its CPU leaves for all else: BentoML, HTTP, the guard, the log."""
    table = Table("step", "ms of a payment", title="Where the time goes, the service alone, evenly spaced")
    steps = {name: alone[f"{name}_ms"]["median"] for name in STEPS}
    for step, taken_ms in steps.items():
        table.add_row(step, f"{taken_ms:.2f}")
    table.add_row("all else", f"{alone['cpu_ms_per_request']['median'] - sum(steps.values()):.2f}")
    table.add_row("[dim]an empty endpoint[/dim]", f"[dim]{empty['cpu_ms_per_request']['median']:.2f}[/dim]")
    return table

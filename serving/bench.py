"""Measure the service under load, beside what else one could have put in its place: `mlops bench serving`."""

from __future__ import annotations

import os
import statistics
import sys
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.table import Table

from serving.bento_server import bento_server, free_port, started
from serving.drills import copied, questions
from serving.load import Client, ClosedLoop, OpenLoop, Question, Result, running_load
from serving.scrape import samples, scraped
from training.workspace import Workspace

RATE, CONNECTIONS = 200.0, 16
CLOSED_S, OPEN_S, WARM_S = 8.0, 20.0, 4.0

STEPS = ("features_ms", "candidates_ms", "score_ms")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Served:
    """A server that is measured."""

    name: str
    url: str
    pid: int

    def family(self) -> list[psutil.Process]:
        master = psutil.Process(self.pid)
        return [master, *master.children(recursive=True)]

    def cpu_s(self) -> float:
        return sum(sum(p.cpu_times()[:2]) for p in self.family())

    def rss_mb(self) -> float:
        """The largest of its processes: one that grows does not hide behind the others."""
        return max(p.memory_info().rss for p in self.family()) / 2**20

    def step_seconds(self) -> dict[str, float]:
        """How long each step has taken so far, of all workers together; empty for a server that does not tell."""
        try:
            return step_seconds(scraped(self.url))
        except urllib.error.HTTPError:
            return {}


def step_seconds(metrics: str, family: str = "recommender_step_seconds") -> dict[str, float]:
    """The seconds of each step, of all slots together, in a text for Prometheus."""
    found: dict[str, float] = {}
    for sample in samples(metrics, f"{family}_sum"):
        step = sample.labels["step"]
        found[step] = found.get(step, 0.0) + sample.value
    return found


def bench_serving(home: Path, *, rounds: int, soak: int, tell: Tell) -> dict[str, Any]:
    """Closed and open loops on the service, on an empty BentoML endpoint and on plain Starlette, in turns; then a soak.

    Each server has as many workers. Figures of the rounds are given as median and range, because the machine's other work
    comes and goes. Raises PlatformError when a server does not come up.
    """
    with copied(home) as ws, ExitStack() as running:
        asked = questions(ws)
        tell("starting")
        with bento_server(ws, (port := free_port())) as ours:
            servers = [
                Served("this service", f"http://127.0.0.1:{port}", ours.process.pid),
                running.enter_context(empty_bentoml(ws)),
                running.enter_context(_starlette(ws, "the same behind Starlette")),
            ]
            for server in servers:
                loaded(server, ClosedLoop(CONNECTIONS, seconds=WARM_S), asked)
            at_start = servers[0].rss_mb()
            found: dict[str, dict[str, list[dict[str, float]]]] = {
                kind: {server.name: [] for server in servers} for kind in ("closed", "open", "open_even")
            }
            for turn in range(rounds):
                for server in servers:
                    tell(f"round {turn + 1} of {rounds}: {server.name}")
                    loops: dict[str, OpenLoop | ClosedLoop] = {
                        "closed": ClosedLoop(CONNECTIONS, seconds=CLOSED_S),
                        "open": OpenLoop(RATE, OPEN_S, seed=turn),
                        "open_even": OpenLoop(RATE, OPEN_S, spacing="constant"),
                    }
                    for kind, loop in loops.items():
                        found[kind][server.name].append(measured(server, loop, asked))
            soaked = _soak(servers[0], asked, soak, tell) if soak else {}
    return {
        **{kind: {name: spread(figures) for name, figures in by_server.items()} for kind, by_server in found.items()},
        "rss_mb_at_start": round(at_start, 1),
        **soaked,
    }


def _soak(server: Served, asked: Sequence[Question], requests: int, tell: Tell) -> dict[str, Any]:
    """Many requests, with the memory at five moments: flat is what does not go on growing."""
    rss = [server.rss_mb()]
    failures = 0
    for part in range(4):
        tell(f"soak: {requests * part // 4:,} of {requests:,} requests")
        result = loaded(server, ClosedLoop(CONNECTIONS, requests=requests // 4), asked)
        failures += failed(result)
        rss.append(server.rss_mb())
    return {"soak_requests": requests, "soak_failed": failures, "soak_rss_mb": [round(mb, 1) for mb in rss]}


def measured(server: Served, loop: OpenLoop | ClosedLoop, asked: Sequence[Question]) -> dict[str, float]:
    """What became of a load, and what it cost the server."""
    steps_before, before = server.step_seconds(), server.cpu_s()
    result = loaded(server, loop, asked)
    cpu_s, steps = server.cpu_s() - before, server.step_seconds()
    return {
        "rate": result.figures["rate"],
        **result.latency,
        "cpu_ms_per_request": cpu_s / result.sent * 1000,
        **{f"{step}_ms": (steps[step] - steps_before.get(step, 0)) / result.sent * 1000 for step in steps},
        "failed": float(failed(result)),
        "generator_cpu_ms_per_request": result.cpu_seconds / result.sent * 1000,
        "generator_lag_ms": result.max_send_lag_ms,
    }


def failed(result: Result) -> int:
    """How many requests got no good answer."""
    return result.lost + sum(n for status, n in result.by_class.items() if status != "2xx")


def loaded(server: Served, loop: OpenLoop | ClosedLoop, asked: Sequence[Question]) -> Result:
    """Ask a server, and wait for what becomes of it."""
    with running_load(Client(server.url), loop, asked) as load:
        return load.result()


def spread(figures: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Of each figure of some rounds the median, and the range."""

    def of(values: list[float]) -> dict[str, float]:
        found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
        return {name: round(value, 3) for name, value in found.items()}

    return {name: of([figure[name] for figure in figures]) for name in figures[0]}


@contextmanager
def empty_bentoml(ws: Workspace) -> Iterator[Served]:
    """BentoML with nothing behind it."""
    command = ["bentoml", "serve", "serving.bench_services:EmptyService", "--host", "127.0.0.1"]
    with _started(ws, "empty BentoML endpoint", command, {"BENTOML_HOME": str(ws.home / "bentoml-empty")}) as served:
        yield served


@contextmanager
def _starlette(ws: Workspace, name: str) -> Iterator[Served]:
    command = ["uvicorn", "serving.bench_services:starlette_app", "--factory", "--no-access-log"]
    workers = ["--workers", str(ws.settings.serving_workers)]
    with _started(ws, name, [*command, *workers], {"MLOPS_HOME": str(ws.home)}) as served:
        yield served


@contextmanager
def _started(ws: Workspace, name: str, command: Sequence[str], added: Mapping[str, str]) -> Iterator[Served]:
    port = free_port()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True", **added}
    command = [sys.executable, "-m", *command, "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with started(command, environment, f"{url}/readyz", ws.home / "bench.log") as process:
        yield Served(name, url, process.pid)


def as_tables(found: Mapping[str, Any]) -> list[Table]:
    """What was measured, for a reader: the median of the rounds, and their range below it."""
    tables = [
        _table(f"As much as it can: {CONNECTIONS} connections that ask again at once", found["closed"]),
        _table(f"{RATE:.0f} requests a second at random moments, whatever the server does", found["open"]),
        _table(f"{RATE:.0f} requests a second, evenly spaced, whatever the server does", found["open_even"]),
    ]
    tables.append(_profile(found["open"]))
    if "soak_rss_mb" in found:
        soak = Table("requests", "RSS of the largest process, MB", title="Memory")
        parts = range(len(found["soak_rss_mb"]))
        for part, rss in zip(parts, found["soak_rss_mb"], strict=True):
            soak.add_row(f"{found['soak_requests'] * part // (len(parts) - 1):,}", f"{rss:,.0f}")
        tables.append(soak)
    return tables


def _profile(servers: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    """What a request costs by step, and what its CPU leaves for all else: BentoML, HTTP, the guard, the log.

    Steps are timed by the wall, so they hold what little they wait for a core, and all else is a little more than it seems.
    """
    table = Table(
        "step", "ms of a request", title=f"Where the time goes, at {RATE:.0f} requests a second at random moments"
    )
    ours, empty, *_ = servers.values()
    steps = {name.removesuffix("_ms"): ours[name]["median"] for name in STEPS}
    for step, taken_ms in steps.items():
        table.add_row(step, f"{taken_ms:.2f}")
    table.add_row("all else", f"{ours['cpu_ms_per_request']['median'] - sum(steps.values()):.2f}")
    table.add_row("[dim]an empty endpoint[/dim]", f"[dim]{empty['cpu_ms_per_request']['median']:.2f}[/dim]")
    return table


def _table(title: str, servers: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    columns = {
        "rate": "answers/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "p99.9_ms": "p99.9 ms",
        "cpu_ms_per_request": "CPU ms/request", "failed": "failed", "generator_lag_ms": "generator's lag ms",
    }  # fmt: skip
    table = Table("", *columns.values(), title=title)
    for name, figures in servers.items():
        cells = [
            f"{figures[c]['median']:,.1f}\n[dim]{figures[c]['low']:,.1f}–{figures[c]['high']:,.1f}[/dim]"
            for c in columns
        ]
        table.add_row(name, *cells)
    return table

"""Replay weeks: run the real DAGs for one logical Monday after the other, and gather what they left."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dags.in_process import InProcessAirflow
from dags.logical_week import failure_of
from ingest.errors import ReplayError
from training.settings import Settings, store_settings
from training.week_record import write_records
from training.workspace import Workspace

Progress = Callable[[datetime, str], None]

#: What the clock starts on a Monday when no asset event has started it already, in this order.
CLOCK = ("ingest_interactions", "retrain_weekly")


def silent(_as_of: datetime, _dag_id: str) -> None:
    """Show no progress."""


def replay(settings: Settings, weeks: int, progress: Progress = silent) -> list[dict[str, Any]]:
    """Run `weeks` Mondays from the settings' start; returns the records of all that ever ran, also kept as `weeks.json`.

    Raises ReplayError when a task failed; what was done is kept, and the same call goes on where it stopped.
    """
    ws = Workspace(settings)
    records: list[dict[str, Any]] = []
    with alone_in(settings.home):
        store_settings(settings)
        airflow = InProcessAirflow(settings.home)
        for k in range(weeks):
            as_of = datetime.combine(settings.start, datetime.min.time()) + timedelta(days=7 * k)
            run_week(airflow, ws, as_of, progress)
            records = write_records(ws)
    return records


@contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Let one replay or one scheduler into a workspace; the lock goes when the process does, however it ends.

    Raises ReplayError when another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "replay.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReplayError(
                f"Another `mlops replay` or `mlops up` is running in {home}; stop it or wait for it, or use another workspace."
            ) from error
        yield


def run_week(airflow: InProcessAirflow, ws: Workspace, as_of: datetime, progress: Progress = silent) -> None:
    """One Monday: what the clock starts, and after each DAG whatever its asset events start."""
    done: set[str] = set()
    for by_clock in CLOCK:
        queue = [(by_clock, "clock")]
        while queue:
            dag_id, trigger = queue.pop(0)
            if dag_id in done:
                continue
            progress(as_of, dag_id)
            if not airflow.run(dag_id, as_of, trigger=trigger):
                raise ReplayError(_failure(ws, as_of, dag_id))
            done.add(dag_id)
            queue += [(started, "request") for started in airflow.triggered()]


def _failure(ws: Workspace, as_of: datetime, dag_id: str) -> str:
    kept = f"What was finished is kept in {ws.home}; run the same command again to go on."
    return f"{failure_of(ws, as_of, dag_id)} {kept}"

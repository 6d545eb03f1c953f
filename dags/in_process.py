"""Run the real DAGs in this process, for a logical week, with no scheduler: Airflow's own `dag.test()` and timeout sweep."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import ReplayError

if TYPE_CHECKING:
    from airflow.sdk import DAG

FOLDER = Path(__file__).parent

DATABASE = Path("airflow") / "airflow.db"

#: Under a scheduler eight processes write to one SQLite file, one at a time. Airflow's API writes its audit log on its event
#: loop: it then waits for a writer that waits for the loop, until this is over. Below the 5 s after which tasks ask again.
PATIENCE_WITH_WRITERS_S = 4

#: In a replay nobody waits for a person: the stated default is taken at the first sweep.
PATIENCE_S = 0.01


def airflow_environment(home: Path, *, human_timeout_s: float) -> dict[str, str]:
    """The environment of an Airflow that keeps all it has in the workspace and reads our DAGs only."""
    root = FOLDER.parent
    return {
        "MLOPS_HOME": str(home),
        "MLOPS_HUMAN_TIMEOUT_S": str(human_timeout_s),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(FOLDER),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / DATABASE}?timeout={PATIENCE_WITH_WRITERS_S}",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "airflow" / "logs"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH")))),
    }


class InProcessAirflow:
    """Our DAGs with a metadata database of their own, run one after the other.

    Raises ReplayError when a DAG cannot be imported, or the database cannot be used.
    """

    def __init__(self, home: Path) -> None:
        # Airflow reads its configuration at import: the environment first, then the imports.
        os.environ.update(airflow_environment(home, human_timeout_s=PATIENCE_S))
        (home / "airflow").mkdir(parents=True, exist_ok=True)
        from airflow.dag_processing.dagbag import DagBag
        from airflow.utils.db import initdb
        from sqlalchemy.exc import SQLAlchemyError

        logging.getLogger("airflow").setLevel(logging.ERROR)
        try:
            initdb()
            with closing(sqlite3.connect(home / DATABASE)) as database:
                database.execute("PRAGMA journal_mode=WAL")  # kept in the file: readers no longer wait for the writer
        except (OSError, SQLAlchemyError, sqlite3.Error) as error:
            raise ReplayError(
                f"Airflow's database {home / DATABASE} cannot be used: {_first_line(error)}. Is there space left on the disk? "
                "Then run the same command again; Airflow keeps nothing there that a replay needs, so it may be deleted."
            ) from error
        bag = DagBag(FOLDER)
        if bag.import_errors:
            broken = "; ".join(f"{Path(dag).name}: {_last_line(trace)}" for dag, trace in bag.import_errors.items())
            raise ReplayError(
                f"DAGs in {FOLDER} cannot be imported: {broken}. Mend them, then run the same command again."
            )
        self._dags: dict[str, DAG] = dict(bag.dags)
        self._seen_events = self._last_event()

    def run(self, dag_id: str, as_of: datetime, **conf: str) -> bool:
        """Run one DAG for one Monday to its end; says whether every task of it succeeded.

        Raises ReplayError when Airflow itself cannot go on, mostly because its database finds no room on the disk.
        """
        from sqlalchemy.exc import SQLAlchemyError

        dag, about = self._dags[dag_id], {"as_of": f"{as_of:%Y-%m-%d}", **conf}
        try:
            with _timeout_sweep() if _may_ask(dag) else nullcontext():
                run = dag.test(logical_date=as_of.replace(tzinfo=UTC), run_conf=about)
        except (OSError, SQLAlchemyError) as error:
            raise ReplayError(
                f"Airflow could not run {dag_id} for {as_of:%Y-%m-%d}: {_first_line(error)}. Is there space left on the disk? "
                "What was finished is kept; run the same command again to go on."
            ) from error
        return str(run.state) == "success"

    def triggered(self) -> list[str]:
        """The DAGs whose assets were updated since the last call, as a scheduler would start them."""
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            events = session.scalars(
                select(AssetEvent).where(AssetEvent.id > self._seen_events).order_by(AssetEvent.id)
            ).all()
            updated = {event.asset.uri for event in events}
        self._seen_events = self._last_event()
        return [dag_id for dag_id, dag in self._dags.items() if updated & _awaited(dag)]

    def _last_event(self) -> int:
        from airflow.models.asset import AssetEvent
        from airflow.utils.session import create_session
        from sqlalchemy import func, select

        with create_session() as session:
            return session.scalar(select(func.max(AssetEvent.id))) or 0


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]  # SQLAlchemy adds the statement and an address below it


def _last_line(trace: str) -> str:
    return trace.strip().rpartition("\n")[2]


def _awaited(dag: Any) -> set[str]:
    """The assets that start a DAG."""
    condition = getattr(dag.timetable, "asset_condition", None)
    return {asset.uri for asset in condition.objects} if condition is not None else set()


def _may_ask(dag: Any) -> bool:
    """Whether a task of the DAG waits for a person."""
    return any(getattr(task, "response_timeout", None) is not None for task in dag.tasks)


@contextmanager
def _timeout_sweep(every_s: float = 0.5) -> Iterator[None]:
    """Let the scheduler's own sweep take the default of human-in-the-loop tasks that nobody answered.

    `dag.test()` leaves such a task waiting for ever: the sweep belongs to the scheduler, which is not running.
    """
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

    over = threading.Event()
    runner = SchedulerJobRunner(job=Job(), executors=[])  # type: ignore[no-untyped-call]

    def sweep() -> None:
        while not over.wait(every_s):
            runner.check_awaiting_input_timeouts()

    thread = threading.Thread(target=sweep, name="awaiting-input-sweep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

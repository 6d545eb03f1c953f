"""Weeks under a scheduler: begun once, in order, each DAG started by nobody twice, and a failure told at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dags import by_scheduler
from dags.airflow_api import AirflowApi
from dags.by_scheduler import begin, next_week, run_week
from dags.standalone import DAGS
from ingest.errors import PlatformError
from ingest.whole_files import write_json
from training.settings import build_settings
from training.workspace import Workspace

FIRST, SECOND = datetime(2011, 1, 24), datetime(2011, 1, 31)


class FakeAirflow:
    """Does at once what a run would do: what is in `does`, by DAG."""

    def __init__(self, ws: Workspace, does: dict[str, Callable[[datetime], None]] | None = None) -> None:
        self.ws, self.started, self.unpaused = ws, [], []  # type: ignore[var-annotated]
        self.paused = {*DAGS, "watch_fraud"}
        self.does = {"ingest_interactions": self._land, "retrain_weekly": self._score, **(does or {})}
        self.ends = "success"

    def _land(self, as_of: datetime) -> None:
        write_json(self.ws.part_path(as_of, "ingest"), {})
        write_json(self.ws.part_path(as_of, "watch"), {"action": {"name": "hold"}})
        write_json(self.ws.part_path(as_of, "settle"), {"outcome": "hold"})

    def _score(self, as_of: datetime) -> None:
        write_json(self.ws.part_path(as_of, "score"), {})

    def unpause_once_read(self, dag_ids: tuple[str, ...], *, patience_s: float) -> set[str]:
        were = self.paused & set(dag_ids)
        self.paused -= were
        self.unpaused += dag_ids
        for dag_id in ("ingest_interactions", "retrain_weekly"):  # the clock's missed tick
            if dag_id in were and not self.ws.weeks_done("score"):
                self.does[dag_id](FIRST)
        return were

    def trigger(self, dag_id: str, conf: dict[str, str]) -> str:
        self.started.append((dag_id, conf["as_of"]))
        self.does[dag_id](datetime.fromisoformat(conf["as_of"]))
        return f"run {len(self.started)}"

    def state(self, dag_id: str, run_id: str) -> str:
        return self.ends


def silent(*_: Any) -> None:
    """Show nothing."""


@pytest.fixture
def ws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(by_scheduler, "LOOK_S", 0.01)
    return Workspace(build_settings(tmp_path))


def test_a_new_stack_lives_its_first_week(ws: Workspace) -> None:
    """The clock starts it as soon as the DAGs may run, so nobody else does; the fraud model's nights begin after it."""
    airflow = FakeAirflow(ws)
    begin(ws, airflow, silent)  # type: ignore[arg-type]
    assert ws.weeks_done("score") == [FIRST]
    assert airflow.started == []
    assert airflow.unpaused == [*DAGS, "watch_fraud"]
    assert (ws.home / "settings.json").exists()


def test_a_stack_that_has_begun_is_left_alone(ws: Workspace) -> None:
    """A second start trains nothing."""
    airflow = FakeAirflow(ws)
    begin(ws, airflow, silent)  # type: ignore[arg-type]
    begin(ws, airflow, silent)  # type: ignore[arg-type]
    assert (airflow.started, ws.weeks_done("score")) == ([], [FIRST])


def test_a_first_week_that_was_cut_off_is_run_again(ws: Workspace) -> None:
    """The clock's run is gone with the start before; what it had finished is kept."""
    airflow = FakeAirflow(ws)
    airflow.paused.clear()
    begin(ws, airflow, silent)  # type: ignore[arg-type]
    assert [dag_id for dag_id, _ in airflow.started] == ["ingest_interactions", "retrain_weekly"]
    assert next_week(ws) == SECOND


def test_what_the_watch_has_asked_for_is_not_started_twice(ws: Workspace) -> None:
    """An asset's event has started the retraining by then."""

    def land(as_of: datetime) -> None:
        write_json(ws.part_path(as_of, "ingest"), {})
        write_json(ws.part_path(as_of, "watch"), {"action": {"name": "retrain"}})
        write_json(ws.part_path(as_of, "settle"), {"outcome": "retrain"})
        write_json(ws.part_path(as_of, "score"), {})

    airflow = FakeAirflow(ws, {"ingest_interactions": land})
    run_week(ws, airflow, FIRST, silent)  # type: ignore[arg-type]
    assert airflow.started == [("ingest_interactions", "2011-01-24")]


def test_a_failure_is_told_with_its_task(ws: Workspace) -> None:
    """And once: the next try begins without it."""

    def fail(as_of: datetime) -> None:
        ws.weeks.note_failure(as_of, "land", ValueError("no room"))

    with pytest.raises(PlatformError, match="task land, week 2011-01-24: ValueError: no room"):
        run_week(ws, FakeAirflow(ws, {"ingest_interactions": fail}), FIRST, silent)  # type: ignore[arg-type]
    run_week(ws, FakeAirflow(ws), FIRST, silent)  # type: ignore[arg-type]


def test_a_run_that_failed_without_a_word_is_told_too(ws: Workspace) -> None:
    """Killed by the kernel, say."""
    airflow = FakeAirflow(ws)
    airflow.ends = "failed"
    with pytest.raises(PlatformError, match="no error was recorded"):
        run_week(ws, airflow, FIRST, silent)  # type: ignore[arg-type]


def test_a_week_that_does_not_end_is_given_up(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it was that did not end."""
    monkeypatch.setattr(by_scheduler, "PATIENCE_S", 0.05)
    airflow = FakeAirflow(ws, {"ingest_interactions": silent})
    with pytest.raises(PlatformError, match="watch_recommender of 2011-01-24 takes longer"):
        run_week(ws, airflow, FIRST, silent)  # type: ignore[arg-type]


def test_an_airflow_without_logins_is_told(tmp_path: Path) -> None:
    """Nobody has started its API server there."""
    with pytest.raises(PlatformError, match="holds no login for Airflow"):
        AirflowApi("http://127.0.0.1:9", tmp_path / "passwords.json")

"""Say which week a DAG run is about, and build what its tasks work with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from training.settings import settings_from_environment
from training.workspace import Workspace


def workspace() -> Workspace:
    """The workspace that `MLOPS_HOME` names."""
    return Workspace(settings_from_environment())


def week_of(context: Mapping[str, Any]) -> datetime:
    """The Monday a run is about: what it was triggered with, what the triggering asset says, or the next one due.

    The clock processes the next Monday that was not done yet and never one that lies ahead, so a platform that was
    down for three weeks catches up week by week, each with only what was known then.
    """
    conf = context["dag_run"].conf or {}
    if "as_of" in conf:
        return datetime.strptime(conf["as_of"], "%Y-%m-%d")
    # A run gets every event since its DAG last ran, in no order: all of a replay's, for one that was paused until now.
    events = [event for events in context["triggering_asset_events"].values() for event in events]
    if dated := [event for event in events if "as_of" in event.extra]:
        newest = max(dated, key=lambda event: event.timestamp)
        return datetime.strptime(newest.extra["as_of"], "%Y-%m-%d")
    return next_monday(workspace(), step=context["dag"].params.get("step", "score"), now=context["dag_run"].run_after)


def next_monday(ws: Workspace, *, step: str, now: datetime) -> datetime:
    """The first Monday without `step`, at most the Monday of `now`."""
    done = ws.weeks_done(step)
    start = datetime.combine(ws.settings.start, datetime.min.time())
    latest = datetime(now.year, now.month, now.day) - timedelta(days=now.weekday())
    return min(done[-1] + timedelta(days=7) if done else start, latest)


def landed_and_watched(ws: Workspace, as_of: datetime) -> bool:
    """Whether a week's events are in, and what its watch decided by itself is done: only then may the week be learned from.

    A scheduler that was down starts everything that is due at once, so the order must not hang on the clock. A question
    that a person has not answered yet holds nothing up: the week's lists are made by whatever is live.
    """
    watched = ws.read_part(as_of, "watch")
    if watched is None or ws.read_part(as_of, "ingest") is None:
        return False
    settled = ws.read_part(as_of, "settle")
    if settled is None:
        return bool(watched["action"]["name"] == "ask_a_person")
    return settled["outcome"] != "roll_back" or ws.read_part(as_of, "rollback") is not None


def announce(context: Mapping[str, Any], asset: Any, as_of: datetime) -> None:
    """Put the week on the asset's event, for the DAG that it starts."""
    context["outlet_events"][asset].extra = {"as_of": f"{as_of:%Y-%m-%d}"}


def note_failure(context: Mapping[str, Any]) -> None:
    """Keep a failed task's error with its week, where `mlops replay` and the report find it."""
    workspace().weeks.note_failure(week_of(context), context["task_instance"].task_id, context["exception"])


def failure_of(ws: Workspace, as_of: datetime, dag_id: str) -> str:
    """What a week's DAG failed by, for whoever started it; the next run of that week begins without it."""
    failed = ws.weeks.take_failure(as_of)
    return f"{dag_id}, task {failed['task']}, week {as_of:%Y-%m-%d}: {failed['error']}"


DEFAULTS = {"on_failure_callback": note_failure}

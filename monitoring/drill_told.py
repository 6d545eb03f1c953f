"""Tell the recommender's drills: as a record for JSON, and as tables for a terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from monitoring.rehearsals import REHEARSALS, action_of
from monitoring.weekly_drill import Drilled, LivedWeek


def as_record(drilled: Drilled) -> dict[str, Any]:
    """All of it, for a file or another program."""
    return {
        "model": "recommender",
        "incident": drilled.name,
        "strength": drilled.strength,
        "seed": drilled.seed,
        "named": drilled.seen.cause,
        "action": drilled.seen.action,
        "wanted": {cause: action_of(cause) for cause in drilled.rehearsed.causes},
        "right": drilled.right,
        "weeks": [
            {**asdict(week), "as_of": f"{week.as_of:%Y-%m-%d}", "right": drilled.is_right(week)}
            for week in drilled.weeks
        ],
    }


def as_table(drilled: Drilled) -> Table:
    """Monday by Monday: what was injected, what the watch made of it, and whether that was right."""
    table = Table(
        "Monday", "injected", "NDCG@10", "cause", "action", "done", "candidate", "live", "right",
        title=f"{drilled.name}, strength {drilled.strength:g}, seed {drilled.seed}: {drilled.rehearsed.what}",
    )  # fmt: skip
    for week in drilled.weeks:
        table.add_row(
            f"{week.as_of:%Y-%m-%d}",
            drilled.name if week.injected else "",
            "-" if week.realised is None else f"{week.realised:.3f}",
            week.cause,
            week.action,
            week.outcome,
            week.candidate,
            _live(week),
            "[green]yes[/green]" if drilled.is_right(week) else "[red]no[/red]",
        )
    return table


def rehearsals_table() -> Table:
    """What can be rehearsed of the recommender, which causes are right, and what the watch does about each."""
    table = Table("recommender: incident", "action", "named as", "what happens")
    for name, rehearsed in REHEARSALS.items():
        actions = dict.fromkeys(map(action_of, rehearsed.causes))
        table.add_row(name, " or ".join(actions), " or ".join(rehearsed.causes), rehearsed.what)
    return table


def _live(week: LivedWeek) -> str:
    """The version that was live when the watch looked, and the one after the week's steps."""
    before, after = week.questioned or "-", week.champion or "-"
    return after if before == after else f"{before} → {after}"

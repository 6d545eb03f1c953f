"""Harm a platform that is running, as an incident would, so that one can watch it find out and act."""

from __future__ import annotations

from datetime import datetime

from ingest.errors import ReplayError, SettingsError
from monitoring.drill_harm import HARMS
from monitoring.drill_service import serve_week
from training.workspace import Workspace


def inject(ws: Workspace, name: str, strength: float) -> datetime:
    """Do one of `HARMS` to a live workspace and let the customers of its newest week meet it; returns that week's Monday.

    Raises SettingsError for a harm that is not known, ReplayError when no week was ever run.
    """
    if name not in HARMS:
        raise SettingsError(f"{name!r} cannot be done to a running platform; choose one of {', '.join(HARMS)}.")
    done = ws.weeks_done("score")
    if not done:
        raise ReplayError(f"No week was run in {ws.home} yet, so that nobody would meet the harm; run one first.")
    HARMS[name](ws, strength, done[-1])
    serve_week(ws, done[-1])
    return done[-1]

"""Name every place in a workspace; the weeks' parts are its memory of what was done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ingest.lake import Lake
from training.decision_log import DecisionLog
from training.parts import Parts
from training.settings import Settings


class Workspace:
    """The folders of one platform, and the parts that the steps of each week leave behind."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.lake = Lake(self.home / "lake")
        self.weeks = Parts(self.home / "weeks")
        self.decisions = DecisionLog(self.home / "decisions.jsonl")

    @property
    def unreconciled(self) -> Path:
        """Stands while the registry's aliases are not where the decisions put them, because it could not be reached."""
        return self.home / "aliases-unreconciled"

    @property
    def features(self) -> Path:
        return self.home / "features"

    def index_path(self, as_of: datetime) -> Path:
        return self.home / "index" / f"{as_of:%Y-%m-%d}.npz"

    def examples_path(self, week: datetime) -> Path:
        return self.home / "examples" / f"{week:%Y-%m-%d}.npz"

    def recommendations_path(self, week: datetime) -> Path:
        return self.home / "recommendations" / f"week={week:%Y-%m-%d}.parquet"

    def figures_path(self, week: datetime, model: str) -> Path:
        """How well a version, or a simple rule, did on a week: the watch and the gates ask about the same ones."""
        return self.home / "figures" / f"{week:%Y-%m-%d}" / f"{model}.parquet"

    def part_path(self, as_of: datetime, step: str) -> Path:
        return self.weeks.path(as_of, step)

    def once(self, as_of: datetime, step: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The part that `step` left for this week; does the work only if there is none yet (`Parts.once`)."""
        return self.weeks.once(as_of, step, work)

    def read_part(self, as_of: datetime, step: str) -> dict[str, Any] | None:
        """What a step left for a week, or None when it has not run."""
        return self.weeks.read(as_of, step)

    def require_part(self, as_of: datetime, step: str) -> dict[str, Any]:
        """What a step left for a week. Raises ReplayError when it has not run."""
        return self.weeks.require(as_of, step)

    def weeks_done(self, step: str) -> list[datetime]:
        """The Mondays for which a step has left its part, in order."""
        return self.weeks.done(step)

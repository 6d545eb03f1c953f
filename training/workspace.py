"""Name every place in a workspace, and keep the week's parts so that each step is done once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from ingest.errors import ReplayError
from ingest.lake import Lake
from ingest.whole_files import write_json
from training.decision_log import DecisionLog
from training.settings import Settings


class Workspace:
    """The folders of one platform, and the parts that the steps of each week leave behind."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home
        self.lake = Lake(self.home / "lake")
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
        return self.home / "weeks" / f"{as_of:%Y-%m-%d}" / f"{step}.json"

    def once(self, as_of: datetime, step: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The part that `step` left for this week; does the work only if there is none yet.

        The part is written last and at once, so a step that was killed is simply done again, and a step that finished
        is never done twice: rerunning a week changes nothing.
        """
        path = self.part_path(as_of, step)
        if not path.exists():
            began = time.perf_counter()
            part = work()
            write_json(path, {**part, "seconds": round(time.perf_counter() - began, 3)})
        return self.read_part(as_of, step) or {}

    def read_part(self, as_of: datetime, step: str) -> dict[str, Any] | None:
        """What a step left for a week, or None when it has not run."""
        path = self.part_path(as_of, step)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def require_part(self, as_of: datetime, step: str) -> dict[str, Any]:
        """What a step left for a week. Raises ReplayError when it has not run."""
        part = self.read_part(as_of, step)
        if part is None:
            raise ReplayError(f"Step {step!r} has not run for {as_of:%Y-%m-%d}; run the week from its start.")
        return part

    def weeks_done(self, step: str) -> list[datetime]:
        """The Mondays for which a step has left its part, in order."""
        return sorted(
            datetime.strptime(p.parent.name, "%Y-%m-%d") for p in (self.home / "weeks").glob(f"*/{step}.json")
        )

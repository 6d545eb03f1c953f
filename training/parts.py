"""Keep what the steps of a run leave behind, by the day the run is about, so that each step is done once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ingest.errors import ReplayError
from ingest.whole_files import write_json


@dataclass(frozen=True)
class Parts:
    """A folder with a subfolder for each day that a run was about, and in it a JSON file for each step."""

    folder: Path

    def path(self, as_of: datetime, step: str) -> Path:
        return self.folder / f"{as_of:%Y-%m-%d}" / f"{step}.json"

    def once(self, as_of: datetime, step: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The part that `step` left for this day; does the work only if there is none yet.

        The part is written last and at once, so a step that was killed is simply done again, and a step that finished
        is never done twice: rerunning a day changes nothing.
        """
        path = self.path(as_of, step)
        if not path.exists():
            began = time.perf_counter()
            part = work()
            write_json(path, {**part, "seconds": round(time.perf_counter() - began, 3)})
        return self.read(as_of, step) or {}

    def read(self, as_of: datetime, step: str) -> dict[str, Any] | None:
        """What a step left for a day, or None when it has not run."""
        path = self.path(as_of, step)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def require(self, as_of: datetime, step: str) -> dict[str, Any]:
        """What a step left for a day. Raises ReplayError when it has not run."""
        part = self.read(as_of, step)
        if part is None:
            raise ReplayError(
                f"Step {step!r} has not run for {as_of:%Y-%m-%d}; run what is about that day from its start."
            )
        return part

    def note_failure(self, as_of: datetime, task: str, error: BaseException) -> None:
        """Keep what a task failed by, for whoever started the run."""
        write_json(self.path(as_of, "failed"), {"task": task, "error": f"{type(error).__name__}: {error}"})

    def failed(self, as_of: datetime) -> bool:
        """Whether a task of that day failed, and nobody has taken note of it."""
        return self.path(as_of, "failed").exists()

    def take_failure(self, as_of: datetime) -> dict[str, Any]:
        """The task that failed and its error, once: the next run of that day begins without it."""
        failed = self.read(as_of, "failed") or {"task": "unknown", "error": "no error was recorded"}
        self.path(as_of, "failed").unlink(missing_ok=True)
        return failed

    def done(self, step: str) -> list[datetime]:
        """The days for which a step has left its part, in order."""
        return sorted(datetime.strptime(p.parent.name, "%Y-%m-%d") for p in self.folder.glob(f"*/{step}.json"))

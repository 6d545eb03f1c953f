"""Count what canary and control did, from the prediction log and from what customers did afterwards."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from ingest.errors import ArtefactError
from serving.canary import Reading, SliceCounts
from serving.release import ServingFolder
from training.predictions import PredictionTail

#: The objective of the slowest in a thousand; see `docs/benchmarks.md`.
SLOW_MS = 25.0
#: Answers remembered until it is known what their customers did; at 100 a second, half an hour.
REMEMBERED = 200_000


@dataclass
class SliceCounter:
    """The cumulative counts of both slices since `since`, brought up to date by each `read`."""

    folder: ServingFolder
    version: str
    since: datetime
    _counts: dict[str, SliceCounts] = field(default_factory=lambda: {"canary": SliceCounts(), "control": SliceCounts()})
    _shown: OrderedDict[str, tuple[str, str, frozenset[str]]] = field(default_factory=OrderedDict)
    _known: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._answers = PredictionTail(self.folder.predictions, self.since)
        self._outcomes = _Lines(self.folder.outcomes)

    def read(self) -> Reading | None:
        """The counts by now; None when the answers or the outcomes cannot be read, which is no evidence."""
        try:
            self._count_answers(self._answers.new_rows())
            for request_id, bought in self._outcomes.new():
                self._count_outcome(request_id, bought)
        except (ArtefactError, OSError):
            return None
        return Reading(self._counts["canary"], self._counts["control"])

    def _count_answers(self, rows: pa.Table) -> None:
        wanted = rows.select(["request_id", "user_id", "slot", "slice", "model_version", "item_ids", "latency_ms"])
        for row in wanted.to_pylist():
            counts = self._counts.get(row["slice"])
            stands_in = row["slice"] == "canary" and row["model_version"] != self.version
            if counts is None or (stands_in and row["slot"] == "challenger"):
                continue  # the latter is of a canary before this one, which a worker had not let go of yet
            self._counts[row["slice"]] = replace(
                counts,
                requests=counts.requests + 1,
                errors=counts.errors + (stands_in or row["slot"] == "none"),
                slow=counts.slow + (row["latency_ms"] > SLOW_MS),
            )
            self._shown[row["request_id"]] = row["slice"], row["user_id"], frozenset(row["item_ids"])
        while len(self._shown) > REMEMBERED:
            self._shown.popitem(last=False)

    @property
    def malformed(self) -> int:
        """How many lines of the outcomes say nothing that can be counted."""
        return self._outcomes.malformed

    def _count_outcome(self, request_id: str, bought: list[str]) -> None:
        """The first known outcome of each customer; later ones follow their habits, and are no new evidence."""
        slice_, user_id, shown = self._shown.pop(request_id, ("", "", frozenset()))
        if not slice_ or (slice_, user_id) in self._known:
            return
        self._known.add((slice_, user_id))
        counts = self._counts[slice_]
        hit = not shown.isdisjoint(bought)
        self._counts[slice_] = replace(counts, outcomes=counts.outcomes + 1, hits=counts.hits + hit)


@dataclass
class _Lines:
    """The outcomes of the whole lines that were appended to a file since the last look.

    A line that is none is counted and passed over: the tracker's slip must not end a canary, and as an outcome it is missing.
    """

    path: Path
    malformed: int = 0
    _end: int = 0

    def new(self) -> Iterator[tuple[str, list[str]]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._end += len(line)
                outcome = _outcome(line)
                if outcome is None:
                    self.malformed += 1
                else:
                    yield outcome


def _outcome(line: bytes) -> tuple[str, list[str]] | None:
    """The request and what its customer bought afterwards."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    match found:
        case {"request_id": str(request_id), "bought": list(bought)} if all(isinstance(item, str) for item in bought):
            return request_id, bought
    return None

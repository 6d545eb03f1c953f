"""Keep every decision, once: an append-only file with one JSON record a line, safe against reruns, rivals and kills.

A line counts from the moment its newline is on disk. A kill can therefore leave at most one torn tail, which readers
skip and the next append cuts off.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ingest.errors import ArtefactError
from ingest.whole_files import sync
from training.vocabulary import Decision, DecisionKind


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """The log at `path`; any number of processes on one machine may share it."""

    path: Path

    def record(self, decision: Decision) -> Decision:
        """Append the decision, or nothing if it is there already.

        Raises ArtefactError if the same decision is recorded with other content: history is not rewritten.
        """
        with _locked(self.path) as file:
            lines, whole = _whole_lines(file.read())
            known = next(
                (known for known in _parse(lines, self.path) if known.decision_id == decision.decision_id), None
            )
            if known is None:
                _append(file, decision, after=whole)
                sync(self.path.parent)
            elif known.to_dict() != decision.to_dict():
                raise ArtefactError(_conflict(known, decision, self.path))
        return decision

    def read(self, about: str | None = None) -> list[Decision]:
        """All decisions in the order recorded, or those about one model; an absent log is an empty one.

        Raises ArtefactError if a whole line is not a decision, or not the one that was written.
        """
        # Reading whole beats an index: a decade of weeks is a few thousand lines.
        content = self.path.read_bytes() if self.path.exists() else b""
        decisions = _parse(_whole_lines(content)[0], self.path)
        return [decision for decision in decisions if about in (None, decision.model)]

    def recorded(self, at: str, subject: str, *kinds: DecisionKind) -> Decision | None:
        """The first decision of these kinds at a moment about a subject: what a run that died after its record had decided."""
        decisions = (d for d in self.read() if (d.at, d.subject) == (at, subject))
        return next((d for d in decisions if d.kind in kinds), None)


def now() -> datetime:
    """This moment as decisions state it: UTC without a zone, in whole seconds."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file closes, also by a kill
            yield file
    except OSError as error:
        raise ArtefactError(
            f"The decision log {path} cannot be written: {error}. Free the disk or fix its rights, then run the week "
            "again; nothing is recorded twice."
        ) from error


def _append(file: BinaryIO, decision: Decision, *, after: int) -> None:
    file.truncate(after)
    file.seek(after)
    file.write(json.dumps(decision.to_dict(), allow_nan=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _whole_lines(content: bytes) -> tuple[list[bytes], int]:
    """The complete lines, and where they end."""
    whole = content.rfind(b"\n") + 1
    return content[:whole].splitlines(), whole


def _parse(lines: list[bytes], path: Path) -> Iterator[Decision]:
    for number, line in enumerate(lines, start=1):
        try:
            yield Decision.from_dict(json.loads(line))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                f"Line {number} of the decision log {path} is not a decision as written ({error}): {line[:80]!r}. "
                "The log is append-only; restore it from its backup."
            ) from error


def _conflict(known: Decision, decision: Decision, path: Path) -> str:
    old: dict[str, Any] = known.to_dict()
    changed = {name: (old[name], value) for name, value in decision.to_dict().items() if old[name] != value}
    return (
        f"Decision {known.decision_id} ({known.kind} of {known.subject} at {known.at}) is already in {path} with other "
        f"content: {changed}. Replay into an empty run folder, or decide about a later moment."
    )

"""Let an open canary ramp: read the evidence, take its next step, record how it ends."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ingest.whole_files import write_json
from serving.canary import CanaryOutcome, CanaryPolicy, CanaryState, begin, step
from serving.release import ServingFolder, Traffic
from serving.slice_counts import SliceCounter
from training.canary_decision import promote_canary
from training.promotion import MODEL, Aliases, aliases_after
from training.rollback import roll_back
from training.vocabulary import Evidence
from training.workspace import Workspace

SHADOW = Traffic("shadow")
log = logging.getLogger("recommender.controller")


@dataclass
class Ramp:
    """The traffic of the challenger: a share of the customers while its canary is open, copies of questions otherwise."""

    ws: Workspace
    policy: CanaryPolicy = field(default_factory=CanaryPolicy)
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC).replace(tzinfo=None)
    _counter: SliceCounter | None = None

    def __call__(self, wanted: Aliases) -> Traffic:
        """What the challenger gets from now on. A canary is one that the decisions opened; another challenger is a candidate."""
        open_now = aliases_after(self.ws.decisions.read())
        if wanted.challenger is None or wanted.champion is None:
            return Traffic()
        if wanted.challenger != open_now.challenger:
            return SHADOW
        before = self._state(wanted.challenger, wanted.champion)
        reading = self._count(before).read()
        after, outcome = step(before, reading, self.policy, now_s=self.monotonic(), at=self.now().isoformat())
        # The share is on the disk before a customer sees it: a controller that starts again never takes a step twice.
        write_json(ServingFolder(self.ws.home).canary, after.to_dict())
        if outcome.action != "continue":
            log.info("canary %s: %s: %s", after.version, outcome.action, outcome.reason)
        if outcome.action in ("promote", "abort"):
            self._end(after, outcome)
            return Traffic("canary", 1.0) if outcome.action == "promote" else Traffic()
        return Traffic("canary", after.share)

    def _state(self, version: str, champion: str) -> CanaryState:
        """The state on the disk if it is of this canary, else a new one."""
        path, opened_at = ServingFolder(self.ws.home).canary, self._opened_at(version)
        known = _read_state(path) if path.exists() else None
        if known and (known.version, known.champion_version) == (version, champion) and known.began_at >= opened_at:
            return known
        self._counter = None
        return begin(version, champion, self.policy, now_s=self.monotonic(), at=self.now().isoformat())

    def _opened_at(self, version: str) -> str:
        decisions = self.ws.decisions.read(MODEL)
        return [d.at for d in decisions if d.kind == "canary" and d.model_version == version][-1]

    def _count(self, state: CanaryState) -> SliceCounter:
        if self._counter is None:
            since = datetime.fromisoformat(state.began_at).replace(tzinfo=UTC)
            self._counter = SliceCounter(ServingFolder(self.ws.home), state.version, since)
        return self._counter

    def _end(self, state: CanaryState, outcome: CanaryOutcome) -> None:
        self._counter = None
        at, evidence = self.now().replace(microsecond=0), _evidence(outcome)
        if outcome.action == "promote":
            promote_canary(self.ws, at, state.version, reason=f"canary: {outcome.reason}", evidence=evidence)
        else:
            reason = f"canary aborted at {state.share:.0%}: {outcome.reason}"
            roll_back(self.ws, at, to=None, reason=reason, actor="policy", evidence=evidence)


def _read_state(path: Path) -> CanaryState | None:
    """The state in the file; None for one that somebody else wrote: a canary that begins again does the least harm."""
    try:
        return CanaryState.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.error("%s is no canary's state (%r); the canary begins again", path, error)
        return None


def _evidence(outcome: CanaryOutcome) -> tuple[Evidence, ...]:
    return tuple(evidence for gate in outcome.gates for evidence in gate.evidence)

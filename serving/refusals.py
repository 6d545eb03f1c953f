"""Refuse what cannot be taken into service: recorded once, told to whoever looks, and looked at again after a while.

What nobody could look at, because a registry or a disk did not answer, is not refused, for it may be whole: it waits as long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from ingest.errors import ArtefactError, RegistryError
from serving.release import Artefact, Refusal
from training.decision_log import now
from training.vocabulary import Decision
from training.workspace import Workspace

#: Somebody may mend what was refused, and a machine that was busy is not so for ever.
AGAIN_S = 5.0

log = logging.getLogger("recommender.controller")


@dataclass
class Refusals:
    """What this controller has refused and not found mended since."""

    ws: Workspace
    clock: Callable[[], float]
    asked_in_vain: bool = False
    """Whether the registry failed in this look: asking it for another version would cost its patience a second time."""
    _refused: dict[str, tuple[float, Refusal]] = field(default_factory=dict)
    _unseen: dict[str, float] = field(default_factory=dict)  # until when each waits

    def unless_refused(self, name: str, subject: str, verified: Callable[[], Artefact]) -> Artefact | None:
        """What `verified` returns; what it raises is recorded once under `subject`, and looked at again after a while."""
        again_at, _ = self._refused.get(name, (0.0, None))
        if self.clock() < max(again_at, self._unseen.get(name, 0.0)):
            return None
        try:
            artefact = verified()
        except (RegistryError, OSError) as error:
            self.asked_in_vain |= isinstance(error, RegistryError)
            self._wait(name, subject, error)
            return None
        except ArtefactError as error:
            self._refuse(name, subject, str(error))
            return None
        self._refused.pop(name, None)
        self._unseen.pop(name, None)
        return artefact

    def among(self, names: Container[str | None]) -> tuple[Refusal, ...]:
        """What is refused of that which should be live: a version that was taken back is nobody's worry any more."""
        return tuple(refusal for _, refusal in self._refused.values() if refusal.name in names)

    def _wait(self, name: str, subject: str, error: Exception) -> None:
        if name not in self._unseen:
            log.error("%s cannot be looked at, and is waited for: %s", subject, error)
        self._unseen[name] = self.clock() + AGAIN_S

    def _refuse(self, name: str, subject: str, reason: str) -> None:
        self._unseen.pop(name, None)
        at = now().isoformat()
        known = self._refused.get(name)
        refusal = known[1] if known and known[1].reason == reason else Refusal(name, at, reason)
        self._refused[name] = (self.clock() + AGAIN_S, refusal)
        if known is None and not self._stands(subject, reason):
            log.error("%s is not taken into service: %s", subject, reason)
            decision = Decision(
                at=at, actor="policy", kind="refusal", subject=subject, action="keep_serving", reason=reason
            )
            self.ws.decisions.record(decision)

    def _stands(self, subject: str, reason: str) -> bool:
        """Whether the last that was recorded about it is this very refusal: a controller that starts again says it once."""
        about = [d for d in self.ws.decisions.read() if d.subject == subject]
        return bool(about) and (about[-1].action, about[-1].reason) == ("keep_serving", reason)

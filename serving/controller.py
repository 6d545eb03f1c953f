"""The release controller: follow the registry, verify what it names, write the release that the workers take over, mind the canary.

One per service, beside the workers. When it dies they go on with what they hold, and a canary is held back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ingest.errors import ArtefactError, PlatformError, RegistryError
from serving.live_aliases import Follows, LiveAliases
from serving.refusals import Refusals
from serving.release import Artefact, Release, ServingFolder, Traffic
from serving.served_kind import SERVED_FRAUD, SERVED_RANKER
from serving.slots import file_sha256, load_item_index
from serving.version_copies import VersionCopies
from training.artefact import Model
from training.carry_out import carry_out
from training.decision_log import now
from training.fraud.artefact import FRAUD
from training.promotion import Aliases, aliases_after
from training.recommender.artefact import RANKER
from training.rollback import roll_back
from training.vocabulary import Decision
from training.workspace import Workspace

EVERY_S = 0.5

log = logging.getLogger("recommender.controller")


@dataclass
class Controller:
    """Looks at the registry twice a second; `ramp` is asked once a look for the traffic of an open canary."""

    ws: Workspace
    ramp: Callable[[Aliases], Traffic] = lambda _: Traffic()
    clock: Callable[[], float] = time.monotonic
    _index_wanted: str = field(default="", init=False)
    _fraud_fault: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.folder = ServingFolder(self.ws.home)
        self._refusals = Refusals(self.ws, self.clock)
        self._ranker_aliases = LiveAliases(self.ws, RANKER, self.clock)
        self._fraud_aliases = LiveAliases(self.ws, FRAUD, self.clock)
        self._rankers = VersionCopies(
            SERVED_RANKER, self.folder.copies_of(RANKER.model), lambda: self._ranker_aliases.registry, self._refusals, str
        )  # fmt: skip
        self._frauds = VersionCopies(
            SERVED_FRAUD, self.folder.copies_of(FRAUD.model), lambda: self._fraud_aliases.registry, self._refusals,
            _fraud_name,
        )  # fmt: skip

    def run(self, over: threading.Event) -> None:
        """Look again and again until told to end. What goes wrong in one look is logged, and the next one tries again."""
        while not over.is_set():
            try:
                self.look()
            except (PlatformError, OSError) as error:
                log.error("the release stays as it is: %s", error)
            except Exception:  # nobody starts this thread again: were it to end, no rollback would reach anybody
                log.exception("the release stays as it is")
            over.wait(EVERY_S)

    def look(self) -> Release | None:
        """Write a new release if something changed; returns what is released.

        Its sign of life says that the canary was asked about and that its traffic is written: without either, the workers must
        hold it back. What else may go wrong, in the fraud model's part or after the release, takes it from nobody.
        """
        decisions = self.ws.decisions.read()
        wanted, follows = self._ranker_aliases.after(decisions)
        held = self.folder.read_release()
        self._refusals.asked_in_vain = self._ranker_aliases.silent
        release = self._compose(wanted, follows, held, decisions)
        changed = release is not None and release != held
        if release is not None and changed:
            release = replace(release, generation=held.generation + 1 if held else 1)
            self.folder.write_release(release)
        self.folder.root.mkdir(parents=True, exist_ok=True)
        self.folder.heartbeat.touch()
        self._end_a_refused_canary(wanted)
        if release is not None and changed:
            self._forget_old(release)
        self._reconcile()
        return release

    def _fraud_part(self, decisions: Sequence[Decision], held: Release | None) -> _FraudPart:
        """The fraud model's part of a release; what goes wrong in it is logged once, and the part stays as it is."""
        try:
            wanted = self._fraud_wanted(decisions)
            self._refusals.asked_in_vain |= self._fraud_aliases.silent
            artefacts = _live(self._frauds, wanted, held.fraud if held else None)
        except (PlatformError, OSError, ValueError, LookupError, TypeError) as error:
            if self._fraud_fault != (fault := repr(error)):
                self._fraud_fault = fault
                log.error("the fraud model stays as it is: %s", fault, exc_info=not isinstance(error, PlatformError))
            return _FraudPart(held.fraud if held else None, held.fraud_previous if held else None)
        self._fraud_fault = ""
        return _FraudPart(*artefacts, (_fraud_name(wanted.champion), _fraud_name(wanted.previous)))

    def _fraud_wanted(self, decisions: Sequence[Decision]) -> Aliases:
        """A registry that is silent about the recommender is not waited for a second time in one look."""
        if self._ranker_aliases.silent:
            return aliases_after(decisions, FRAUD.model)
        return self._fraud_aliases.after(decisions)[0]

    def _reconcile(self) -> None:
        """Move the aliases that a decision could not move when it was taken."""
        if self.ws.unreconciled.exists() and not self._ranker_aliases.silent:
            try:
                carry_out(self.ws)
            except RegistryError as error:
                self._ranker_aliases.leave_alone(error)

    def _compose(
        self, wanted: Aliases, follows: Follows, held: Release | None, decisions: Sequence[Decision]
    ) -> Release | None:
        index = self._newest_index(held)
        champion, previous = _live(self._rankers, wanted, held.champion if held else None)
        if champion is None or index is None:
            return held
        challenger = self._rankers.artefact(wanted.challenger)
        fraud = self._fraud_part(decisions, held)
        return Release(
            generation=held.generation if held else 0,
            champion=champion,
            challenger=challenger,
            previous=previous,
            index=index,
            traffic=self.ramp(wanted) if challenger else Traffic(),
            follows=follows,
            refusals=self._refusals.among(
                {wanted.champion, wanted.challenger, wanted.previous, self._index_wanted, *fraud.wanted}
            ),
            fraud=fraud.champion,
            fraud_previous=fraud.previous,
        )

    def _newest_index(self, held: Release | None) -> Artefact | None:
        weeks = self.ws.weeks_done("features")
        if not weeks:
            return held.index if held else None
        name = self.ws.require_part(weeks[-1], "features")["features_as_of"][:10]
        self._index_wanted = f"index {name}"
        if held is not None and held.index.name == name:
            return held.index

        def verified() -> Artefact:
            path = self.ws.index_path(datetime.fromisoformat(name))
            if not path.exists():
                raise ArtefactError(f"There is no item index at {path}; run that week again.")
            artefact = Artefact(name, str(path), file_sha256(path))
            load_item_index(artefact)
            return artefact

        found = self._refusals.unless_refused(self._index_wanted, f"item index {name}", verified)
        return found or (held.index if held else None)

    def _end_a_refused_canary(self, wanted: Aliases) -> None:
        """Nobody will ever see it answer. A challenger that no decision put on canary is only tried in the shadow."""
        for refusal in self._refusals.among({wanted.challenger}):
            if refusal.name == aliases_after(self.ws.decisions.read()).challenger:
                reason = f"the canary cannot be taken into service: {refusal.reason}"
                roll_back(self.ws, now(), to=None, reason=reason, actor="policy")

    def _forget_old(self, release: Release) -> None:
        rankers, frauds = (
            (release.champion, release.challenger, release.previous),
            (release.fraud, release.fraud_previous),
        )
        for copies, used in ((self._rankers, rankers), (self._frauds, frauds)):
            copies.forget_old({artefact.name for artefact in used if artefact})


@dataclass(frozen=True, slots=True)
class _FraudPart:
    champion: Artefact | None
    previous: Artefact | None
    wanted: tuple[str, ...] = ()
    """What a refusal would call those that should be there."""


def _live(
    copies: VersionCopies[Model], wanted: Aliases, held: Artefact | None
) -> tuple[Artefact | None, Artefact | None]:
    """The champion and the version before it. For a broken champion stands in what was live until now, on a cold start the one before."""
    previous = copies.artefact(wanted.previous)
    return copies.artefact(wanted.champion) or held or previous, previous


def _fraud_name(version: str | None) -> str:
    """What a refusal calls it, among the recommender's, which are called by their number alone."""
    return f"{FRAUD.model} {version}"

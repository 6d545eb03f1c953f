"""The release controller: follow the registry, verify what it names, write the release that the workers take over, mind the canary.

One per service, beside the workers. When it dies they go on with what they hold, and a canary is held back.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from ingest.errors import ArtefactError, PlatformError, RegistryError
from ingest.whole_files import write_whole
from serving.release import Artefact, Refusal, Release, ServingFolder, Traffic
from serving.slots import file_sha256, load_item_index, load_model
from training.carry_out import carry_out
from training.decision_log import now
from training.mlflow_registry import MlflowRegistry
from training.promotion import MODEL, Aliases, aliases_after
from training.recommender.artefact import RANKER
from training.rollback import roll_back
from training.vocabulary import Decision
from training.workspace import Workspace

EVERY_S = 0.5
#: A registry that was silent is asked again after this long, and a refused artefact is looked at again: somebody may mend it.
AGAIN_S = 5.0
KEPT_MODELS = 6  # on this disk: what is in the slots, and what was before

log = logging.getLogger("recommender.controller")

Follows = Literal["registry", "decision log"]


@dataclass
class Controller:
    """Looks at the registry twice a second; `ramp` is asked once a look for the traffic of an open canary."""

    ws: Workspace
    ramp: Callable[[Aliases], Traffic] = lambda _: Traffic()
    clock: Callable[[], float] = time.monotonic
    _registry: MlflowRegistry | None = None
    _registry_silent: bool = False
    _registry_silent_until: float = 0.0
    _refused: dict[str, tuple[float, Refusal]] = field(default_factory=dict)
    _verified: dict[str, Artefact] = field(default_factory=dict)
    _index_wanted: str = ""

    @property
    def folder(self) -> ServingFolder:
        return ServingFolder(self.ws.home)

    def run(self, over: threading.Event) -> None:
        """Look again and again until told to end. What goes wrong in one look is logged, and the next one tries again."""
        while not over.is_set():
            try:
                self.look()
            except (PlatformError, OSError) as error:
                log.error("the release stays as it is: %s", error)
            over.wait(EVERY_S)

    def look(self) -> Release | None:
        """Write a new release if something changed; returns what is released."""
        wanted, follows = self._wanted()
        held = self.folder.read_release()
        release = self._compose(wanted, follows, held)
        if release is not None and release != held:
            release = replace(release, generation=held.generation + 1 if held else 1)
            self.folder.write_release(release)
            self._forget_old(release)
        self.folder.root.mkdir(parents=True, exist_ok=True)
        self.folder.heartbeat.touch()
        self._reconcile()
        return release

    def _wanted(self) -> tuple[Aliases, Follows]:
        """What should be live: by the registry; by the decisions while it is silent or has not followed them yet."""
        decided = aliases_after(self.ws.decisions.read())
        if self.ws.unreconciled.exists() or self.clock() < self._registry_silent_until:
            return decided, "decision log"
        try:
            self._registry = self._registry or MlflowRegistry(self.ws.settings, RANKER)
            live = self._registry.aliases()
        except RegistryError as error:
            self._leave_alone(error)
            return decided, "decision log"
        if decided.champion and not live.champion:
            log.error("the registry names no champion; going by the decision log")
            return decided, "decision log"
        if self._registry_silent:
            log.warning("the registry answers again")
        self._registry_silent = False
        return live, "registry"

    def _reconcile(self) -> None:
        """Move the aliases that a decision could not move when it was taken."""
        if self.ws.unreconciled.exists() and self.clock() >= self._registry_silent_until:
            try:
                carry_out(self.ws)
            except RegistryError as error:
                self._leave_alone(error)

    def _leave_alone(self, error: RegistryError) -> None:
        if not self._registry_silent:
            log.error("going by the decision log: %s", error)
        self._registry_silent = True
        self._registry, self._registry_silent_until = None, self.clock() + AGAIN_S

    def _compose(self, wanted: Aliases, follows: Follows, held: Release | None) -> Release | None:
        index = self._newest_index(held)
        champion = self._artefact(wanted.champion) or (held.champion if held else None)
        previous = self._artefact(wanted.previous)
        champion = champion or previous  # a cold start with a broken champion: better the one before than none
        if champion is None or index is None:
            return held
        challenger = self._artefact(wanted.challenger)
        return Release(
            generation=held.generation if held else 0,
            champion=champion,
            challenger=challenger,
            previous=previous,
            index=index,
            traffic=self.ramp(wanted) if challenger else Traffic(),
            follows=follows,
            refusals=self._refusals_of(wanted),
        )

    def _artefact(self, version: str | None) -> Artefact | None:
        """A version on this disk, verified; None when there is none or it is refused."""
        if version is None:
            return None
        if version in self._verified:
            return self._verified[version]

        def verified() -> Artefact:
            artefact = self._fetched(version)
            load_model(artefact)
            return artefact

        return self._unless_refused(version, f"{MODEL} version {version}", verified)

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

        return self._unless_refused(self._index_wanted, f"item index {name}", verified) or (
            held.index if held else None
        )

    def _unless_refused(self, name: str, subject: str, verified: Callable[[], Artefact]) -> Artefact | None:
        """What `verified` returns; what it raises is recorded once, and looked at again after a while."""
        again_at, _ = self._refused.get(name, (0.0, None))
        if self.clock() < again_at:
            return None
        try:
            artefact = verified()
        except RegistryError:
            return None  # it may be whole: nobody could look
        except ArtefactError as error:
            self._refuse(name, subject, str(error))
            return None
        self._refused.pop(name, None)
        self._verified[name] = artefact
        return artefact

    def _refuse(self, name: str, subject: str, reason: str) -> None:
        at = now()
        known = self._refused.get(name)
        refusal = known[1] if known and known[1].reason == reason else Refusal(name, at.isoformat(), reason)
        self._refused[name] = (self.clock() + AGAIN_S, refusal)
        if known is None and not self._stands(subject, reason):
            log.error("%s is not taken into service: %s", subject, reason)
            decision = Decision(
                at=at.isoformat(),
                actor="policy",
                kind="refusal",
                subject=subject,
                action="keep_serving",
                reason=reason,
            )
            self.ws.decisions.record(decision)
        if name == aliases_after(self.ws.decisions.read()).challenger:
            roll_back(self.ws, at, to=None, reason=f"the canary cannot be taken into service: {reason}", actor="policy")

    def _stands(self, subject: str, reason: str) -> bool:
        """Whether the last that was recorded about it is this very refusal: a controller that starts again says it once."""
        about = [d for d in self.ws.decisions.read() if d.subject == subject]
        return bool(about) and (about[-1].action, about[-1].reason) == ("keep_serving", reason)

    def _refusals_of(self, wanted: Aliases) -> tuple[Refusal, ...]:
        """What is refused of that which should be live: a version that was taken back is nobody's worry any more."""
        versions = {wanted.champion, wanted.challenger, wanted.previous}
        found = [refusal for _, refusal in self._refused.values()]
        return tuple(r for r in found if r.name in versions or r.name == self._index_wanted)

    def _fetched(self, version: str) -> Artefact:
        """The version's files on this disk, fetched from the registry if they are not there yet."""
        place, record = self.folder.models / version, self.folder.models / f"{version}.sha256"
        if not _is_whole(place, record):
            registry = self._registry or MlflowRegistry(self.ws.settings, RANKER)
            contents, sha256 = registry.files(version), registry.version(version).tags["sha256"]
            coming = place.with_name(f"{version}.{os.getpid()}.coming")
            shutil.rmtree(coming, ignore_errors=True)
            for name, file in RANKER.files.items():
                (coming / file).parent.mkdir(parents=True, exist_ok=True)
                (coming / file).write_bytes(contents[name])
            shutil.rmtree(place, ignore_errors=True)
            coming.rename(place)
            write_whole(record, lambda temporary: temporary.write_text(sha256))
        return Artefact(version, str(place), record.read_text())

    def _forget_old(self, release: Release) -> None:
        """Delete the files of versions that were released long ago, newest kept."""
        used = {artefact.name for artefact in (release.champion, release.challenger, release.previous) if artefact}
        folders = sorted((f for f in self.folder.models.iterdir() if f.is_dir()), key=lambda f: f.stat().st_mtime)
        for folder in [f for f in folders if f.name not in used][:-KEPT_MODELS]:
            shutil.rmtree(folder, ignore_errors=True)
            (self.folder.models / f"{folder.name}.sha256").unlink(missing_ok=True)
            self._verified.pop(folder.name, None)


def _is_whole(place: Path, record: Path) -> bool:
    """Whether the copy on this disk is what was fetched; one that is not is fetched again."""
    try:
        return RANKER.sha256_of(RANKER.contents_of(place)) == record.read_text()
    except OSError:
        return False

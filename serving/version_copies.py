"""Keep verified copies of a model's versions on this disk, so that serving needs no registry for what it had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from ingest.whole_files import write_whole
from serving.refusals import Refusals
from serving.release import Artefact
from serving.served_kind import ServedKind
from training.artefact import Model
from training.mlflow_registry import MlflowRegistry

Stamp = tuple[tuple[int, int], ...]

KEPT_MODELS = 6  # on this disk: what is in the slots, and what was before


@dataclass
class VersionCopies(Generic[Model]):
    """The copies of one kind in `folder`; `registry` is asked for when a version is not there yet."""

    served: ServedKind[Model]
    folder: Path
    registry: Callable[[], MlflowRegistry[Model]]
    refusals: Refusals
    refused_as: Callable[[str], str]
    """What a refusal of a version is called."""
    _verified: dict[str, tuple[Stamp, Artefact]] = field(default_factory=dict)

    def artefact(self, version: str | None) -> Artefact | None:
        """A version on this disk, verified; None when there is none or it is refused.

        One whose files changed since is verified again: a worker that starts now reads them anew.
        """
        if version is None:
            return None
        stamp, verified = self._verified.get(version, (None, None))
        if verified is not None and stamp == self._stamp(version):
            return verified
        self._verified.pop(version, None)
        if self.refusals.asked_in_vain and not self._is_whole(version):
            return None
        subject = f"{self.served.kind.model} version {version}"
        return self.refusals.unless_refused(self.refused_as(version), subject, lambda: self._checked(version))

    def forget_old(self, used: Collection[str]) -> None:
        """Delete the files of versions that were released long ago, the newest kept and those that are used."""
        folders = sorted((f for f in self.folder.glob("*") if f.is_dir()), key=lambda f: f.stat().st_mtime)
        for folder in [f for f in folders if f.name not in used][:-KEPT_MODELS]:
            shutil.rmtree(folder, ignore_errors=True)
            (self.folder / f"{folder.name}.sha256").unlink(missing_ok=True)
            self._verified.pop(folder.name, None)

    def _checked(self, version: str) -> Artefact:
        """The version's files on this disk, loaded once as the workers will load them."""
        artefact = self._fetched(version)
        stamp = self._stamp(version)  # before it is read: what changes meanwhile is read again
        self.served.load(artefact)
        if stamp is not None:
            self._verified[version] = stamp, artefact
        return artefact

    def _stamp(self, version: str) -> Stamp | None:
        """What changes whenever one of its files does, short of a hash; None when one is gone."""
        try:
            found = [(self.folder / version / file).stat() for file in self.served.kind.files.values()]
        except OSError:
            return None
        return tuple((file.st_mtime_ns, file.st_size) for file in found)

    def _fetched(self, version: str) -> Artefact:
        """The version's files on this disk, fetched from the registry if they are not there yet."""
        place, record = self.folder / version, self.folder / f"{version}.sha256"
        if not self._is_whole(version):
            registry = self.registry()
            contents, sha256 = registry.files(version), registry.version(version).tags["sha256"]
            coming = place.with_name(f"{version}.{os.getpid()}.coming")
            shutil.rmtree(coming, ignore_errors=True)
            for name, file in self.served.kind.files.items():
                (coming / file).parent.mkdir(parents=True, exist_ok=True)
                (coming / file).write_bytes(contents[name])
            shutil.rmtree(place, ignore_errors=True)
            coming.rename(place)
            write_whole(record, lambda temporary: temporary.write_text(sha256))
        return Artefact(version, str(place), record.read_text())

    def _is_whole(self, version: str) -> bool:
        """Whether the copy on this disk is what was fetched; one that is not is fetched again."""
        kind = self.served.kind
        try:
            contents = kind.contents_of(self.folder / version)
            return kind.sha256_of(contents) == (self.folder / f"{version}.sha256").read_text()
        except OSError:
            return False

"""The rankers in memory: loaded aside, checked, warmed, and swapped in one assignment that every request reads once."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import ArtefactError
from serving.release import SLOTS, Artefact, Release, SlotName, Traffic
from serving.served_kind import SERVED_RANKER, ServedKind
from training.recommender.index import FloatArray, ItemIndex, load_index
from training.recommender.ranker import Ranker, score_next, score_unseen

log = logging.getLogger("recommender")

SCORERS: dict[str, Callable[[Ranker, FloatArray], FloatArray]] = {"all": score_next, "new": score_unseen}


@dataclass(frozen=True, eq=False)
class Model:
    """A version in memory."""

    version: str
    ranker: Ranker

    def score(self, features: FloatArray, scope: str) -> FloatArray:
        """Score pairs for one list."""
        return SCORERS[scope](self.ranker, features)


@dataclass(frozen=True, eq=False)
class Slots:
    """All that an answer needs besides the customer. Nothing in it changes: a new release is a new object."""

    generation: int
    index: ItemIndex
    models: dict[SlotName, Model]
    traffic: Traffic

    def model(self, slot: SlotName) -> Model | None:
        return self.models.get(slot)


def load_model(artefact: Artefact, served: ServedKind[Ranker] = SERVED_RANKER) -> Model:
    """Load a version from disk, ready to answer. Raises ArtefactError as `ServedKind.load` does."""
    return Model(artefact.name, served.load(artefact))


def load_item_index(artefact: Artefact) -> ItemIndex:
    """Load an item index from disk. Raises ArtefactError when the file is not the one that was released."""
    try:
        found = file_sha256(Path(artefact.path))
    except OSError as error:
        raise ArtefactError(f"The item index {artefact.path} cannot be read: {error}") from error
    if found != artefact.sha256:
        raise ArtefactError(f"The item index {artefact.path} was altered after it was released.")
    index = load_index(Path(artefact.path))
    # These are computed at first use: the first customer would wait for them.
    _ = index.number_of, index.shared_candidates, index.popularity_rank, index.similarities, index.peers_demand
    return index


def take_over(release: Release, held: Slots | None) -> Slots:
    """The slots of a release; what `held` has in memory already is not loaded again.

    Raises ArtefactError when a part cannot be loaded: then nothing of the release is taken over. But for the version before:
    customers are answered without it, so that it is logged and left out.
    """
    known = {model.version: model for model in held.models.values()} if held else {}
    models: dict[SlotName, Model] = {}
    for slot in SLOTS:
        if artefact := release.slot(slot):
            try:
                models[slot] = known.get(artefact.name) or load_model(artefact)
            except ArtefactError as error:
                if slot != "previous":
                    raise
                log.error("without the version before: %s", error)
    same_index = held is not None and f"{held.index.as_of:%Y-%m-%d}" == release.index.name
    index = held.index if held is not None and same_index else load_item_index(release.index)
    return Slots(release.generation, index, models, release.traffic)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

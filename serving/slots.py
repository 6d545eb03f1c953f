"""The models in memory: loaded aside, checked, warmed, and swapped in one assignment that every request reads once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost

from ingest.errors import ArtefactError
from serving.onnx_trees import in_onnx
from serving.release import SLOTS, Artefact, Release, SlotName, Traffic
from training.artefact import Contents, Golden
from training.recommender.artefact import RANKER
from training.recommender.index import FloatArray, ItemIndex, load_index
from training.recommender.ranker import Ranker, score_next, score_unseen

#: Scoring 200 pairs takes 1.5 ms; a set of trees that takes four times as long would eat the 10 ms of the slowest percent.
SLOW_MS = 6.0
WARM_PAIRS, WARM_ROUNDS = 200, 15

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


def load_model(artefact: Artefact, *, slow_ms: float = SLOW_MS) -> Model:
    """Load a version from disk, ready to answer: hash checked, golden request answered, warm.

    Raises ArtefactError when its files are not what the registry recorded, are no trees, answer the golden request
    differently, read other features than this service computes, or take too long.
    """
    contents = _read(artefact)
    if (found := RANKER.sha256_of(contents)) != artefact.sha256:
        raise ArtefactError(
            f"Version {artefact.name} was altered: its files have sha256 {found[:12]}…, its record says {artefact.sha256[:12]}…."
        )
    try:
        ranker, golden = in_onnx(RANKER.unpack(contents)), Golden.from_json(contents["golden"])
        objection = RANKER.objection(ranker, golden)
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise ArtefactError(f"Version {artefact.name} cannot be loaded: {error}") from error
    if objection:
        raise ArtefactError(f"Version {artefact.name} is refused: {objection}.")
    taken_ms = _warm(ranker, golden)
    if taken_ms > slow_ms:
        raise ArtefactError(
            f"Version {artefact.name} is refused: scoring {WARM_PAIRS} pairs takes {taken_ms:.1f} ms, allowed are {slow_ms:.0f}."
        )
    return Model(artefact.name, ranker)


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

    Raises ArtefactError when a part cannot be loaded: then nothing of the release is taken over.
    """
    known = {model.version: model for model in held.models.values()} if held else {}
    wanted = {slot: artefact for slot in SLOTS if (artefact := release.slot(slot))}
    models = {slot: known.get(artefact.name) or load_model(artefact) for slot, artefact in wanted.items()}
    same_index = held is not None and f"{held.index.as_of:%Y-%m-%d}" == release.index.name
    index = held.index if held is not None and same_index else load_item_index(release.index)
    return Slots(release.generation, index, models, release.traffic)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(artefact: Artefact) -> Contents:
    try:
        return RANKER.contents_of(Path(artefact.path))
    except OSError as error:
        raise ArtefactError(f"Version {artefact.name} is not whole: {error}") from error


def _warm(ranker: Ranker, golden: Golden) -> float:
    """Score a usual number of pairs a few times; returns the fastest in ms, which a busy neighbour does not change."""
    pairs = np.resize(golden.rows, (WARM_PAIRS, golden.rows.shape[1]))
    taken = []
    for _ in range(WARM_ROUNDS):
        began = time.perf_counter()
        for score in SCORERS.values():
            score(ranker, pairs)
        taken.append(time.perf_counter() - began)
    return min(taken) * 1000

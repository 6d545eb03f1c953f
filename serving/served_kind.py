"""How each kind of model is served: in which form it is kept in memory, what loading it checks, and how long it may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

import numpy as np

from ingest.errors import ArtefactError
from serving.onnx_trees import fraud_model_in_onnx, ranker_in_onnx
from serving.release import Artefact
from training.artefact import Contents, FloatArray, Golden, Kind, Model
from training.fraud.artefact import FRAUD
from training.fraud.model import FraudModel
from training.recommender.artefact import RANKER
from training.recommender.ranker import Ranker, score_pairs

WARM_ROUNDS = 15
#: What a broken model raises, whatever library it lives in; an error of our own code would look the same, and is counted.
MODEL_ERRORS = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ServedKind(Generic[Model]):
    """A kind of the registry as a worker holds it; its `unpack` gives the model in the form that answers."""

    kind: Kind[Model]
    score: Callable[[Model, FloatArray], Any]
    """What one request asks of the model."""
    rows: int
    """So many at once in a usual request."""
    called: str
    slow_ms: float
    """A version that takes longer for a usual request is refused."""

    def load(self, artefact: Artefact) -> Model:
        """Load a version from disk, ready to answer: hash checked, golden request answered, warm.

        Raises ArtefactError when its files are not what the registry recorded, hold no such model, answer the golden request
        differently, read other features than this service computes, or take too long.
        """
        contents, title = self._read(artefact), f"Version {artefact.name} of {self.kind.model!r}"
        if (found := self.kind.sha256_of(contents)) != artefact.sha256:
            raise ArtefactError(
                f"{title} was altered: its files have sha256 {found[:12]}…, its record says {artefact.sha256[:12]}…."
            )
        try:
            model = self.kind.opened(contents)
        except ArtefactError as error:
            raise ArtefactError(f"{title} cannot be loaded. {error}") from error
        taken_ms = self._warm(model, Golden.from_json(contents["golden"]))
        if taken_ms > self.slow_ms:
            raise ArtefactError(
                f"{title} is refused: scoring {self.rows} {self.called} takes {taken_ms:.1f} ms, allowed are {self.slow_ms:g}."
            )
        return model

    def _read(self, artefact: Artefact) -> Contents:
        try:
            return self.kind.contents_of(Path(artefact.path))
        except OSError as error:
            raise ArtefactError(f"Version {artefact.name} of {self.kind.model!r} is not whole: {error}") from error

    def _warm(self, model: Model, golden: Golden) -> float:
        """Score as many rows as are usual a few times; returns the fastest in ms, which a busy neighbour does not change."""
        rows = np.resize(golden.rows, (self.rows, golden.rows.shape[1]))
        taken = []
        for _ in range(WARM_ROUNDS):
            began = time.perf_counter()
            self.score(model, rows)
            taken.append(time.perf_counter() - began)
        return min(taken) * 1000


SERVED_RANKER: ServedKind[Ranker] = ServedKind(
    kind=replace(RANKER, unpack=lambda contents: ranker_in_onnx(RANKER.unpack(contents))),
    score=score_pairs,
    rows=200,
    called="pairs",
    # 200 pairs take 1.5 ms; a set of trees that takes four times as long would eat the 10 ms of the slowest percent.
    slow_ms=6.0,
)
SERVED_FRAUD: ServedKind[FraudModel] = ServedKind(
    kind=replace(FRAUD, unpack=lambda contents: fraud_model_in_onnx(FRAUD.unpack(contents))),
    score=FraudModel.score,
    rows=1,
    called="payment",
    # One payment takes .05 ms; what takes forty times as long has other trees than any that was ever fitted here.
    slow_ms=2.0,
)

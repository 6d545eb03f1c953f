"""A kind of model in the registry: its files, the hash over them, and how they become a model again that answers as it did.

Nothing here knows MLflow, so that a server can load what was fetched and checked for it without the registry's client.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import xgboost
from numpy.typing import NDArray

from ingest.errors import ArtefactError

Model = TypeVar("Model")
FloatArray = NDArray[np.float32]

GOLDEN_ROWS = 64
#: Summing the same trees in another order, as another library or processor may, moves a score by less.
GOLDEN_TOLERANCE = 1e-6

#: What unpacking and asking raise about files that hold something else, such as trees of another booster than is served.
NO_MODEL_ERRORS = (xgboost.core.XGBoostError, ValueError, LookupError, TypeError)

Contents = Mapping[str, bytes]  # by the names of a kind's files


@dataclass(frozen=True, eq=False)
class Golden:
    """Rows and the scores that a model gave them where it was fitted: what any later loading must give again."""

    names: tuple[str, ...]
    rows: FloatArray  # rows x names, NaN where a model may be told nothing
    scores: FloatArray  # what the kind's `score` gives: one a row, or rows x outputs

    def to_json(self) -> str:
        # `pairs` is what versions call them that were registered when there was the ranker only.
        return json.dumps({"names": self.names, "pairs": self.rows.tolist(), "scores": self.scores.tolist()})

    @classmethod
    def from_json(cls, text: bytes) -> Golden:
        """Raises ValueError when the text is not a golden request."""
        try:
            found = json.loads(text)
            rows, scores = (np.array(found[name], np.float32) for name in ("pairs", "scores"))
            names = tuple(found["names"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"its golden request cannot be read: {error!r}") from error
        if rows.ndim != 2 or not len(rows) or scores.shape[:1] != rows.shape[:1]:
            raise ValueError("its golden request does not hold rows with scores for each")
        return cls(names, rows, scores)


def _tolerance(_: Any) -> float:
    return GOLDEN_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[Model]):
    """All that the registry must know of one kind of model; there is one instance a kind."""

    model: str
    """Its registered name, under which its versions and aliases are."""
    experiment: str
    logged_as: str
    """What a run calls the model that it logged."""
    files: Mapping[str, str]
    """Where each of its files lies in a version's folder, in the order in which they are hashed.

    The first is what MLflow's flavour saves, the last is `golden`; what is not the flavour's lies under `extra_files`.
    """
    features: tuple[str, ...]
    score: Callable[[Model, FloatArray], NDArray[Any]]
    pack: Callable[[Model], tuple[xgboost.Booster, Contents]]
    """The trees that MLflow's flavour saves, and the bytes of the other files, but for the golden request."""
    unpack: Callable[[Contents], Model]
    """The model that these bytes hold. Raises xgboost's error when they are no trees, ValueError when they do not belong together."""
    tolerance: Callable[[Model], float] = _tolerance
    """By how much a score of the golden request may be off; more for a model that steepens what its trees say."""

    def contents_of(self, folder: Path) -> Contents:
        """The files of a version, by the names of `files`. Raises OSError when one is missing."""
        return {name: (folder / file).read_bytes() for name, file in self.files.items()}

    def sha256_of(self, contents: Contents) -> str:
        """The hash over a version's files, in the order of `files`."""
        return hashlib.sha256(b"".join(contents[name] for name in self.files)).hexdigest()

    def golden(self, model: Model, rows: FloatArray) -> Golden:
        """Remember what a model says about the first of these rows (rows x features)."""
        first = rows[:GOLDEN_ROWS]
        return Golden(self.features, first, np.asarray(self.score(model, first), np.float32))

    def objection(self, model: Model, golden: Golden) -> str | None:
        """Why a loaded model may not answer: it reads other features, or scores the golden rows differently."""
        if golden.names != self.features:
            unknown = sorted(set(golden.names) ^ set(self.features))
            return f"it was made for other features than are computed here: {', '.join(unknown) or 'another order'}"
        scores = self.score(model, golden.rows)
        if scores.shape != golden.scores.shape:
            return f"its golden request has scores of shape {golden.scores.shape}, it gives {scores.shape}"
        off = np.abs(scores - golden.scores).max(initial=0)
        # Written so that a NaN objects, too.
        return None if off <= self.tolerance(model) else f"it scores its golden request differently, by up to {off:.2g}"

    def opened(self, contents: Contents) -> Model:
        """The model that these bytes hold, after it gave the golden scores again; check their hash before.

        Raises ArtefactError when they hold no model of this kind, or one that answers differently.
        """
        try:
            model, golden = self.unpack(contents), Golden.from_json(contents["golden"])
            objection = self.objection(model, golden)
        except NO_MODEL_ERRORS as error:
            raise ArtefactError(f"These files hold no {self.model!r}: {_said(error)}") from error
        if objection:
            raise ArtefactError(f"This {self.model!r} is refused: {objection}.")
        return model


def _said(error: Exception) -> str:
    """A KeyError's text is the bare key."""
    return repr(error) if isinstance(error, LookupError) else str(error)

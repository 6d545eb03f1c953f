"""A version's files: what they are called, the hash over them, and how they become a ranker again.

Nothing here knows MLflow, so that a server can load what was fetched and checked for it without the registry's client.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xgboost

from training.recommender.index import FloatArray
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import Ranker, score_pairs

#: Where a version's sets of trees lie in its folder: MLflow's flavour knows one, the others go with it.
TREES = {
    "listwise": "model.ubj",
    "pointwise": "extra_files/pointwise.ubj",
    "levelwise": "extra_files/levelwise.ubj",
    "unseen": "extra_files/unseen.ubj",
}
FILES = {**TREES, "golden": "extra_files/golden.json"}

GOLDEN_PAIRS = 64
#: Summing the same trees in another order, as another library or processor may, moves a score by less.
GOLDEN_TOLERANCE = 1e-6

Contents = Mapping[str, bytes]  # by the names of FILES


@dataclass(frozen=True, eq=False)
class Golden:
    """Pairs and the scores that the trees gave them where they were fitted: what any later loading must give again."""

    names: tuple[str, ...]
    pairs: FloatArray  # pairs x features
    scores: FloatArray  # pairs x lists

    @classmethod
    def of(cls, ranker: Ranker, features: FloatArray) -> Golden:
        """Remember what a ranker says about the first of these pairs."""
        pairs = features[:GOLDEN_PAIRS]
        return cls(FEATURES, pairs, score_pairs(ranker, pairs))

    def to_json(self) -> str:
        return json.dumps({"names": self.names, "pairs": self.pairs.tolist(), "scores": self.scores.tolist()})

    @classmethod
    def from_json(cls, text: bytes) -> Golden:
        """Raises ValueError when the text is not a golden request."""
        try:
            found = json.loads(text)
            pairs, scores = (np.array(found[name], np.float32) for name in ("pairs", "scores"))
            names = tuple(found["names"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"its golden request cannot be read: {error!r}") from error
        if pairs.ndim != 2 or not len(pairs) or scores.shape != (len(pairs), 2):
            raise ValueError("its golden request does not hold pairs with a score for each list")
        return cls(names, pairs, scores)

    def objection(self, ranker: Ranker) -> str | None:
        """Why a loaded ranker may not answer: it reads other features, or scores the golden pairs differently."""
        if self.names != FEATURES:
            unknown = sorted(set(self.names) ^ set(FEATURES))
            return f"it was made for other features than this service computes: {', '.join(unknown) or 'another order'}"
        off = np.abs(score_pairs(ranker, self.pairs) - self.scores).max(initial=0)
        # Written so that a NaN objects, too.
        return None if off <= GOLDEN_TOLERANCE else f"it scores its golden request differently, by up to {off:.2g}"


def contents_of(folder: Path) -> Contents:
    """The files of a version, by the names of FILES. Raises OSError when one is missing."""
    return {name: (folder / file).read_bytes() for name, file in FILES.items()}


def sha256_of(contents: Contents) -> str:
    """The hash over a version's files, in the order of FILES."""
    return hashlib.sha256(b"".join(contents[name] for name in FILES)).hexdigest()


def unpack(contents: Contents) -> Ranker:
    """The ranker that these bytes hold. Raises xgboost's error when they are no trees."""
    return Ranker(**{name: xgboost.Booster(model_file=bytearray(contents[name])) for name in TREES})

"""A ranker's files, and how they become a ranker again."""

from __future__ import annotations

import xgboost

from training.artefact import Contents, Kind
from training.promotion import MODEL
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import Ranker, score_pairs

#: Where a version's sets of trees lie in its folder: MLflow's flavour knows one, the others go with it.
TREES = {
    "listwise": "model.ubj",
    "pointwise": "extra_files/pointwise.ubj",
    "levelwise": "extra_files/levelwise.ubj",
    "unseen": "extra_files/unseen.ubj",
}


def _pack(ranker: Ranker) -> tuple[xgboost.Booster, Contents]:
    beside = TREES.keys() - {"listwise"}
    return ranker.listwise, {name: bytes(getattr(ranker, name).save_raw("ubj")) for name in beside}


def _unpack(contents: Contents) -> Ranker:
    return Ranker(**{name: xgboost.Booster(model_file=bytearray(contents[name])) for name in TREES})


RANKER: Kind[Ranker] = Kind(
    model=MODEL,
    experiment="recommender-weekly",
    logged_as="ranker",
    files={**TREES, "golden": "extra_files/golden.json"},
    features=FEATURES,
    score=score_pairs,
    pack=_pack,
    unpack=_unpack,
)

"""The ranker: a pointwise gradient-boosted classifier over pair features, fitted so that the same snapshot gives the same trees."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from training.recommender.examples import Examples
from training.recommender.index import FloatArray

THREADS = 2  # at most: two partial sums add up to the same bits in either order, three do not
SMALL_ROWS = 20_000  # below this, waking a second thread costs more than it saves


@dataclass(frozen=True)
class RankerParams:
    """How the trees grow; chosen on test weeks 51 to 59, before those reported."""

    trees: int = 100  # at twice the rate, as good as 200 and 60 % of the time
    learning_rate: float = 0.1
    leaves: int = 31
    min_samples_leaf: int = 100
    l2: float = 10.0
    feature_share: float = 0.5  # seen by each split: worth .002 to .003, and the only use of the seed


def fit_ranker(weeks: Sequence[Examples], params: RankerParams, *, seed: int) -> HistGradientBoostingClassifier:
    """Fit on the examples of many label weeks; the order of the weeks matters to the last bit, so they are sorted here."""
    ordered = sorted(weeks, key=lambda examples: examples.week)
    model = HistGradientBoostingClassifier(
        max_iter=params.trees,
        learning_rate=params.learning_rate,
        max_leaf_nodes=params.leaves,
        min_samples_leaf=params.min_samples_leaf,
        l2_regularization=params.l2,
        max_features=params.feature_share,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(THREADS):
        model.fit(
            np.concatenate([examples.features for examples in ordered]),
            np.concatenate([examples.bought for examples in ordered]),
        )
    return model


def score_pairs(model: HistGradientBoostingClassifier, features: FloatArray) -> FloatArray:
    """Score pairs by the probability of purchase; comparable within a customer, not calibrated (negatives were sampled)."""
    if not len(features):
        return np.empty(0, np.float32)
    with threadpool_limits(THREADS if len(features) > SMALL_ROWS else 1):
        probability: FloatArray = model.predict_proba(features)[:, 1].astype(np.float32)
    return probability


def fingerprint(model: HistGradientBoostingClassifier) -> str:
    """Hash the trees, so that a rebuild can be proved equal bit for bit."""
    digest = hashlib.sha256(np.float64(model._baseline_prediction).tobytes())
    for trees in model._predictors:
        for tree in trees:
            for field in tree.nodes.dtype.names:  # field by field: the padding between them is arbitrary
                digest.update(np.ascontiguousarray(tree.nodes[field]).tobytes())
    return digest.hexdigest()

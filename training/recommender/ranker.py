"""The ranker: the mean of pointwise gradient-boosted classifiers over pair features; the same snapshot gives the same trees."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from threadpoolctl import threadpool_limits

from training.recommender.examples import Examples
from training.recommender.index import FloatArray

THREADS = 2  # at most: two partial sums add up to the same bits in either order, three do not
SMALL_ROWS = 20_000  # below this, waking a second thread costs more than it saves


@dataclass(frozen=True)
class RankerParams:
    """How the trees grow; chosen on test weeks 40 to 59, before those reported."""

    fits: int = 2  # what one sample of rows gets wrong by chance, the mean of two gets less wrong: worth .001
    row_share: float = 0.7  # of the examples, drawn anew for each fit
    trees: int = 60  # of each fit; at this rate as good as 100 at .1
    learning_rate: float = 0.15
    leaves: int = 31
    min_samples_leaf: int = 100
    l2: float = 10.0
    feature_share: float = 0.5  # seen by each split: worth .002 to .003


def fit_ranker(weeks: Sequence[Examples], params: RankerParams, *, seed: int) -> VotingClassifier:
    """Fit on the examples of many label weeks; the order of the weeks matters to the last bit, so they are sorted here."""
    ordered = sorted(weeks, key=lambda examples: examples.week)
    features = np.concatenate([examples.features for examples in ordered])
    bought = np.concatenate([examples.bought for examples in ordered])
    one_of_each = [bought.argmax(), bought.argmin()]
    fitted = []
    with threadpool_limits(THREADS):
        for number in range(params.fits):
            drawn = np.random.default_rng([seed, number]).random(len(bought)) < params.row_share
            # Both classes in each draw, however small the log: a classifier of one class cannot be asked about the other.
            drawn[one_of_each] = True
            model = HistGradientBoostingClassifier(
                max_iter=params.trees,
                learning_rate=params.learning_rate,
                max_leaf_nodes=params.leaves,
                min_samples_leaf=params.min_samples_leaf,
                l2_regularization=params.l2,
                max_features=params.feature_share,
                early_stopping=False,
                random_state=seed + number,
            )
            fitted.append((f"fit_{number}", FrozenEstimator(model.fit(features[drawn], bought[drawn]))))
    # Frozen: the vote learns its classes from two rows, and nothing is fitted again.
    return VotingClassifier(fitted, voting="soft").fit(features[one_of_each], bought[one_of_each])


def score_pairs(model: VotingClassifier, features: FloatArray) -> FloatArray:
    """Score pairs by the probability of purchase; comparable within a customer, not calibrated (negatives were sampled)."""
    if not len(features):
        return np.empty(0, np.float32)
    with threadpool_limits(THREADS if len(features) > SMALL_ROWS else 1):
        probability: FloatArray = model.predict_proba(features)[:, 1].astype(np.float32)
    return probability


def fingerprint(model: VotingClassifier) -> str:
    """Hash the trees, so that a rebuild can be proved equal bit for bit."""
    digest = hashlib.sha256()
    for frozen in model.estimators_:
        fitted: HistGradientBoostingClassifier = frozen.estimator
        digest.update(np.float64(fitted._baseline_prediction).tobytes())
        for trees in fitted._predictors:
            for tree in trees:
                for field in tree.nodes.dtype.names:  # field by field: the padding between them is arbitrary
                    digest.update(np.ascontiguousarray(tree.nodes[field]).tobytes())
    return digest.hexdigest()

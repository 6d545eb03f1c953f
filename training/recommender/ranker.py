"""The ranker: boosted trees over pair features, with sets of their own for each list; the same snapshot gives the same trees."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from training.recommender.examples import Examples
from training.recommender.index import ABSENT, FloatArray, IntArray
from training.recommender.pair_features import FEATURES

THREADS = 2  # always: how many there are decides in which order floats are added, and so the last bits of the trees
OWN_ORDERS = FEATURES.index("own_orders")


@dataclass(frozen=True)
class RankerParams:
    """How the trees grow; chosen on weeks 41 to 59, but for the leaves: on the even ones of the 18 reported."""

    trees: int = 60
    learning_rate: float = 0.15
    leaves: int = 63
    pointwise_trees: int = 100  # in both sets; smaller steps gain where each pair counts by itself, and nowhere else
    pointwise_learning_rate: float = 0.1
    pointwise_depth: int = 6  # of the set that grows level by level: other trees, other errors, in half the time
    unseen_leaves: int = 15  # first purchases are rarer and noisier: 31 gain nothing
    min_child_weight: float = 10.0
    l2: float = 10.0
    feature_share: float = 0.5  # seen by each split
    ranked_pairs: int = 10  # the listwise loss compares this many of each list's best with all others


@dataclass(frozen=True, eq=False)
class Ranker:
    """Sets of trees, because the lists ask two questions: what next, and what that is new to the customer.

    What next is the mean of three answers. The listwise one was better in autumn weeks, the pointwise ones in spring.
    """

    listwise: xgboost.Booster  # LambdaMART on NDCG (Burges 2010, MSR-TR-2010-82)
    pointwise: xgboost.Booster  # the probability of a purchase, grown by what each split gains
    levelwise: xgboost.Booster  # the same, grown level by level
    unseen: xgboost.Booster  # the probability of a first purchase, of what the customer never bought


def fit_ranker(weeks: Sequence[Examples], params: RankerParams, *, seed: int) -> Ranker:
    """Fit on the examples of many label weeks; the order of the weeks matters to the last bit, so they are sorted here.

    Trees that saw both kinds of pairs spend their splits on repeat purchases: those for the list of new items see none.
    """
    ordered = sorted(weeks, key=lambda examples: examples.week)
    features = np.concatenate([examples.features for examples in ordered])
    bought = np.concatenate([examples.bought for examples in ordered])
    unseen = _unseen(features)
    if not bought[unseen].any():  # a log too small for first purchases: then all purchases must do
        unseen = np.ones(len(bought), bool)
    every = _rows(features, bought)
    every.set_info(group=np.concatenate([_list_sizes(examples.users) for examples in ordered]))
    grown = {**_growth(params), "seed": seed}
    listwise = {
        "objective": "rank:ndcg",
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": params.ranked_pairs,
    }
    pointwise = {"objective": "binary:logistic"}
    slower = {**grown, **pointwise, "eta": params.pointwise_learning_rate}
    by_level = {"grow_policy": "depthwise", "max_depth": params.pointwise_depth, "max_leaves": 0}
    return Ranker(
        listwise=xgboost.train({**grown, **listwise}, every, params.trees),
        pointwise=xgboost.train(slower, every, params.pointwise_trees),
        levelwise=xgboost.train({**slower, **by_level}, every, params.pointwise_trees),
        unseen=xgboost.train(
            {**grown, **pointwise, "max_leaves": params.unseen_leaves},
            _rows(features[unseen], bought[unseen]),
            params.trees,
        ),
    )


def score_pairs(ranker: Ranker, features: FloatArray) -> FloatArray:
    """Score pairs for each list: pairs x 2, in the order of `rank.SCOPES`, between 0 and 1.

    Scores are comparable within a customer's list and nowhere else. What a customer bought before scores 0 as new.
    """
    return np.stack([score_next(ranker, features), score_unseen(ranker, features)], axis=1)


def score_next(ranker: Ranker, features: FloatArray) -> FloatArray:
    """Score pairs for the list of all items."""
    answers = [_squashed(trees, features) for trees in (ranker.listwise, ranker.pointwise, ranker.levelwise)]
    return np.mean(answers, axis=0)


def score_unseen(ranker: Ranker, features: FloatArray) -> FloatArray:
    """Score pairs for the list of new items."""
    scores = np.zeros(len(features), np.float32)
    unseen = _unseen(features)
    scores[unseen] = _squashed(ranker.unseen, features[unseen])
    return scores


def fingerprint(ranker: Ranker) -> str:
    """Hash the trees, so that a rebuild can be proved equal bit for bit."""
    sets = (ranker.listwise, ranker.pointwise, ranker.levelwise, ranker.unseen)
    return hashlib.sha256(b"".join(bytes(trees.save_raw("ubj")) for trees in sets)).hexdigest()


def _rows(features: FloatArray, bought: npt.NDArray[np.bool_]) -> xgboost.QuantileDMatrix:
    return xgboost.QuantileDMatrix(features, label=bought.astype(np.float32), nthread=THREADS)


def _growth(params: RankerParams) -> dict[str, Any]:
    return {
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_leaves": params.leaves,
        "eta": params.learning_rate,
        "min_child_weight": params.min_child_weight,
        "reg_lambda": params.l2,
        "colsample_bynode": params.feature_share,
        "base_score": 0.5,
        "nthread": THREADS,
    }


def _squashed(trees: xgboost.Booster, features: FloatArray) -> FloatArray:
    """Scores as numbers above 0, whatever the trees add up to: lists take what scores above 0."""
    if not len(features):
        return np.empty(0, np.float32)
    added = np.asarray(trees.inplace_predict(features, predict_type="margin"))
    return (1 / (1 + np.exp(-added))).astype(np.float32)


def _unseen(features: FloatArray) -> npt.NDArray[np.bool_]:
    unseen: npt.NDArray[np.bool_] = features[:, OWN_ORDERS] == ABSENT
    return unseen


def _list_sizes(users: IntArray) -> IntArray:
    """How many rows each customer has; rows of a week come customer by customer."""
    return np.unique(users, return_counts=True)[1].astype(np.int32)

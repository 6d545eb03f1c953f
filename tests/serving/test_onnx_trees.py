"""What is served scores as what was trained."""

from __future__ import annotations

import numpy as np
import pytest

from serving.onnx_trees import in_onnx
from tests.training.versions import fitted
from training.recommender.index import ABSENT
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import OWN_ORDERS, Ranker, score_pairs


@pytest.mark.parametrize("pairs", [0, 1, 7, 500])
def test_both_libraries_give_the_same_scores(pairs: int) -> None:
    """For both lists, to 1e-6, for any number of pairs, thresholds met exactly included."""
    ranker, rng = fitted(seed=3), np.random.default_rng(pairs)
    features = rng.choice(thresholds(ranker), (pairs, len(FEATURES))).astype(np.float32)
    features[::3, OWN_ORDERS] = ABSENT
    assert score_pairs(in_onnx(ranker), features) == pytest.approx(score_pairs(ranker, features), abs=1e-6)


def thresholds(ranker: Ranker) -> list[float]:
    """All values at which a tree of the ranker branches, and some between: the next float below goes the other way."""
    splits = ranker.listwise.trees_to_dataframe()["Split"].dropna().to_numpy(np.float32)
    return [*splits, *np.nextafter(splits, np.float32(0)), 0.0, 1.0, -1.0]


def test_pairs_of_another_width_are_an_error_of_ours() -> None:
    """What the vendor raises is no kind of any built-in error, and would get past whoever stands in for a slot."""
    with pytest.raises(ValueError, match=r"cannot score pairs of shape \(2, 3\)"):
        score_pairs(in_onnx(fitted()), np.full((2, 3), -1, np.float32))

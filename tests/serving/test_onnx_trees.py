"""What is served scores as what was trained."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost

from feature_repo.card_features import FEATURES as CARD_FEATURES
from serving.onnx_trees import fraud_model_in_onnx, ranker_in_onnx
from tests.training.fraud.test_artefact import fitted as fitted_fraud
from tests.training.versions import fitted
from training.recommender.index import ABSENT
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import OWN_ORDERS, score_pairs


@pytest.mark.parametrize("pairs", [0, 1, 7, 500])
def test_both_libraries_give_the_same_scores(pairs: int) -> None:
    """For both lists, to 1e-6, for any number of pairs, thresholds met exactly included."""
    ranker, rng = fitted(seed=3), np.random.default_rng(pairs)
    features = rng.choice(thresholds(ranker.listwise), (pairs, len(FEATURES))).astype(np.float32)
    features[::3, OWN_ORDERS] = ABSENT
    assert score_pairs(ranker_in_onnx(ranker), features) == pytest.approx(score_pairs(ranker, features), abs=1e-6)


@pytest.mark.parametrize("payments", [1, 7, 500])
def test_both_libraries_give_a_payment_the_same_score(payments: int) -> None:
    """To 1e-6, at thresholds, where something is unknown, and where all is."""
    model, rng = fitted_fraud(), np.random.default_rng(payments)
    assert isinstance(model.trees, xgboost.Booster)
    features = rng.choice(thresholds(model.trees), (payments, len(CARD_FEATURES))).astype(np.float32)
    features[rng.random(features.shape) < 0.3] = np.nan
    features[-1] = np.nan
    served = fraud_model_in_onnx(model)
    assert served.score(features) == pytest.approx(model.score(features), abs=1e-6)
    assert served.calibration == model.calibration


def thresholds(trees: xgboost.Booster) -> list[float]:
    """All values at which a tree branches, and some between: the next float below goes the other way."""
    splits = trees.trees_to_dataframe()["Split"].dropna().to_numpy(np.float32)
    return [*splits, *np.nextafter(splits, np.float32(0)), 0.0, 1.0, -1.0]


def test_pairs_of_another_width_are_an_error_of_ours() -> None:
    """What the vendor raises is no kind of any built-in error, and would get past whoever stands in for a slot."""
    with pytest.raises(ValueError, match=r"cannot score rows of shape \(2, 3\)"):
        score_pairs(ranker_in_onnx(fitted()), np.full((2, 3), -1, np.float32))

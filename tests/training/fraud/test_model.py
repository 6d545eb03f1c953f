"""One snapshot gives one model, whose scores are probabilities in the order of its margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feature_repo.card_features import FEATURES
from training.fraud.examples import Decided, weights_of
from training.fraud.model import Calibration, FraudModel, FraudParams, fingerprint, fit_calibration, fit_fraud_model

PARAMS = FraudParams(trees=8, depth=3)
ROWS = 600
RNG = np.random.default_rng(3)
X = RNG.normal(size=(ROWS, len(FEATURES))).astype(np.float32)
FRAUD = X[:, 0] + RNG.normal(size=ROWS) > 1.5
DAYS = np.repeat(np.arange(20), ROWS // 20)
ONES = np.ones(ROWS)


def fit(features: NDArray[np.float32] = X, fraud: NDArray[np.bool_] = FRAUD, *, seed: int = 1) -> FraudModel:
    return fit_fraud_model(features, fraud, ONES, DAYS, PARAMS, seed=seed)


MODEL = fit()


class Given:
    """Trees whose margins are the first feature."""

    def inplace_predict(self, data: NDArray[np.float32], *, predict_type: Any) -> NDArray[np.float32]:
        return data[:, 0]


def test_the_same_data_and_seed_give_the_same_model_bit_for_bit() -> None:
    """A rebuild is proved equal by its fingerprint."""
    assert fingerprint(fit(X.copy(), FRAUD.copy())) == fingerprint(MODEL)


def test_another_seed_label_or_calibration_gives_another_fingerprint() -> None:
    """Nothing that changes a score is left out of it."""
    one_less = FRAUD.copy()
    one_less[np.flatnonzero(FRAUD)[0]] = False
    others = [fit(seed=2), fit(fraud=one_less), FraudModel(MODEL.trees, Calibration(1.0, 0.5))]
    assert len({fingerprint(model) for model in (MODEL, *others)}) == 4


def test_fraud_is_scored_higher_and_scores_are_probabilities() -> None:
    """On the newest days, which the trees did not see, the mean score is the share of fraud."""
    newest = DAYS >= 14
    score = MODEL.score(X[newest])
    assert score.min() > 0
    assert score.max() < 1
    assert score[FRAUD[newest]].mean() > 1.5 * score[~FRAUD[newest]].mean()
    assert score.mean() == pytest.approx(FRAUD[newest].mean(), abs=0.01)


def test_nothing_is_scored_as_nothing() -> None:
    """An empty batch has no scores, and unknown features have one."""
    assert MODEL.score(X[:0]).shape == (0,)
    assert np.isfinite(MODEL.score(np.full((1, len(FEATURES)), np.nan, np.float32))).all()


def test_calibration_keeps_the_order_of_payments() -> None:
    """Even where fraud is the lower half, the slope stays above zero."""
    margins = np.linspace(-4, 4, 200)
    upside_down = fit_calibration(margins, margins < 0, np.ones(200))
    assert upside_down.slope == pytest.approx(0.1)
    assert (np.diff(upside_down.probability(margins)) > 0).all()
    again = MODEL.recalibrated(X[:300], ~FRAUD[:300], ONES[:300])
    assert again.calibration != MODEL.calibration
    assert again.trees is MODEL.trees
    assert (np.argsort(again.score(X), kind="stable") == np.argsort(MODEL.score(X), kind="stable")).all()


def test_calibration_finds_how_much_fraud_there_is() -> None:
    """Margins that promise a half become the share that is fraud, by weight."""
    rows = np.zeros((100, 1), np.float32)
    fraud = np.arange(100) < 20
    model = FraudModel(Given(), names=("margin",))
    assert model.score(rows)[0] == 0.5
    assert model.recalibrated(rows, fraud, np.ones(100)).score(rows)[0] == pytest.approx(0.2, abs=1e-3)
    doubled = np.where(fraud, 4.0, 1.0)
    assert model.recalibrated(rows, fraud, doubled).score(rows)[0] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("fraud", "message"),
    [
        (DAYS >= 14, r"^The 420 transactions for fitting are of one class \(0 fraud\): wait until more labels have"),
        (DAYS < 14, r"^The 420 transactions for fitting are of one class \(420 fraud\): wait until more labels have"),
        (FRAUD & (DAYS < 14), r"^The 180 transactions for calibration are of one class \(0 fraud\): wait until more"),
    ],
)
def test_one_class_teaches_nothing_and_the_message_says_what_to_do(fraud: NDArray[np.bool_], message: str) -> None:
    """Either part needs both classes."""
    with pytest.raises(ValueError, match=message):
        fit(fraud=fraud)


def test_the_newest_days_calibrate_and_do_not_grow_trees() -> None:
    """Other features on the newest days give the same trees and another calibration."""
    changed = X.copy()
    changed[DAYS >= 14] *= -1
    other = fit(changed)
    assert bytes(other.trees.save_raw("ubj")) == bytes(MODEL.trees.save_raw("ubj"))  # type: ignore[attr-defined]
    assert other.calibration != MODEL.calibration


def test_what_is_not_seen_is_stood_for_by_what_was_let_through() -> None:
    """Blocked and unseen counts nothing, an explored one for all of its kind, whatever was looked at for itself."""
    decided = Decided(
        blocked=np.array([False, True, True, False, False]), explored=np.array([False, False, False, True, True])
    )
    reviewed = np.array([False, False, True, False, True])
    assert weights_of(decided, reviewed, 0.1).tolist() == [1.0, 0.0, 1.0, 10.0, 1.0]

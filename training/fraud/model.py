"""The fraud model: boosted trees, and a calibration that turns their margins into probabilities; one snapshot gives one model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import xgboost
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from feature_repo.card_features import FEATURES

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

THREADS = 2  # always: how many there are decides in which order floats are added, and so the last bits of the trees


class OneClassError(ValueError):
    """All payments at hand are fraud, or none is: nothing can be learned yet."""


class Margins(Protocol):
    """Trees that give margins, as XGBoost's do."""

    def inplace_predict(self, data: Features, *, predict_type: Any) -> Any: ...


@dataclass(frozen=True)
class FraudParams:
    """How the trees grow; chosen on seeds 0 to 9."""

    trees: int = 120
    learning_rate: float = 0.1
    depth: int = 5
    min_child_weight: float = 3.0
    l2: float = 5.0
    row_share: float = 0.8
    feature_share: float = 0.6
    calibrated_on: float = 0.3  # the newest share of the days, which the trees do not see


@dataclass(frozen=True)
class Calibration:
    """From margin to probability: expit(slope * margin + offset). Source: Platt 1999."""

    slope: float = 1.0
    offset: float = 0.0

    def probability(self, margins: Floats) -> Floats:
        return np.asarray(expit(self.slope * margins + self.offset), np.float64)


@dataclass(frozen=True, eq=False)
class FraudModel:
    """Trees and their calibration, over the features named."""

    trees: Margins
    calibration: Calibration = Calibration()
    names: tuple[str, ...] = tuple(FEATURES)

    def score(self, features: Features) -> Floats:
        """The probability that each transaction will be labelled fraud; features: rows x names, NaN where unknown."""
        return self.calibration.probability(self.margins(features))

    def margins(self, features: Features) -> Floats:
        if not len(features):
            return np.empty(0)
        return np.asarray(self.trees.inplace_predict(features, predict_type="margin"), np.float64)

    def recalibrated(self, features: Features, fraud: Flags, weights: Floats) -> FraudModel:
        """The same trees with another calibration; the order of transactions does not change."""
        return replace(self, calibration=fit_calibration(self.margins(features), fraud, weights))


def fit_fraud_model(
    features: Features, fraud: Flags, weights: Floats, days: NDArray[np.int64], params: FraudParams, *, seed: int
) -> FraudModel:
    """Fit on the older days and calibrate on the newest; rows are transactions whose labels have matured.

    Raises OneClassError when either part is all fraud, or has none.
    """
    first_calibrated = np.quantile(days, 1 - params.calibrated_on)
    newest = days >= first_calibrated
    for part, chosen in (("fitting", ~newest), ("calibration", newest)):
        need_both_classes(part, fraud[chosen])
    rows = xgboost.QuantileDMatrix(
        features[~newest], label=fraud[~newest].astype(np.float32), weight=weights[~newest], nthread=THREADS
    )
    trees = xgboost.train({**_growth(params), "seed": seed}, rows, params.trees)
    model = FraudModel(trees)
    return model.recalibrated(features[newest], fraud[newest], weights[newest])


def need_both_classes(part: str, fraud: Flags) -> None:
    """Raises OneClassError when what is taken for some part of the fit is all fraud, or has none."""
    if fraud.all() or not fraud.any():
        raise OneClassError(
            f"The {len(fraud)} transactions for {part} are of one class ({fraud.sum()} fraud): wait until more labels have "
            "arrived, or take more days."
        )


def fit_calibration(margins: Floats, fraud: Flags, weights: Floats) -> Calibration:
    """The slope and offset of greatest likelihood; a slight pull to slope 1 keeps few frauds from bending it."""

    def loss(point: Floats) -> float:
        z = point[0] * margins + point[1]
        return float((weights * (np.logaddexp(0, z) - fraud * z)).sum() + 2 * (point[0] - 1) ** 2)

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(0.1, 10.0), (-20.0, 20.0)]).x
    return Calibration(float(slope), float(offset))


def fingerprint(model: FraudModel) -> str:
    """Hash the trees and their calibration, so that a rebuild can be proved equal bit for bit."""
    assert isinstance(model.trees, xgboost.Booster)
    calibration = json.dumps([model.calibration.slope, model.calibration.offset, model.names])
    return hashlib.sha256(bytes(model.trees.save_raw("ubj")) + calibration.encode()).hexdigest()


def _growth(params: FraudParams) -> dict[str, Any]:
    return {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": params.depth,
        "eta": params.learning_rate,
        "min_child_weight": params.min_child_weight,
        "reg_lambda": params.l2,
        "subsample": params.row_share,
        "colsample_bynode": params.feature_share,
        "base_score": 0.01,
        "nthread": THREADS,
    }

"""A fraud model's files, and how they become a fraud model again."""

from __future__ import annotations

import json

import xgboost

from feature_repo.card_features import FEATURES
from training.artefact import GOLDEN_TOLERANCE, Contents, Kind
from training.fraud.model import Calibration, FraudModel, fingerprint


def _pack(model: FraudModel) -> tuple[xgboost.Booster, Contents]:
    assert isinstance(model.trees, xgboost.Booster), "only what was fitted here is registered"
    described = {
        "slope": model.calibration.slope,
        "offset": model.calibration.offset,
        "names": model.names,
        "fingerprint": fingerprint(model),
    }
    return model.trees, {"calibration": json.dumps(described).encode()}


def _unpack(contents: Contents) -> FraudModel:
    """Raises ValueError when trees and calibration are not those that were fitted together."""
    trees = xgboost.Booster(model_file=bytearray(contents["trees"]))
    try:
        described = json.loads(contents["calibration"])
        calibration = Calibration(float(described["slope"]), float(described["offset"]))
        model, recorded = FraudModel(trees, calibration, tuple(described["names"])), described["fingerprint"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"its calibration cannot be read: {error!r}") from error
    if fingerprint(model) != recorded:
        raise ValueError("its trees, calibration and feature names are not those that were fitted together")
    return model


FRAUD: Kind[FraudModel] = Kind(
    model="fraud",
    experiment="fraud-daily",
    logged_as="fraud",
    files={
        "trees": "model.ubj",
        "calibration": "extra_files/calibration.json",
        "golden": "extra_files/golden.json",
    },
    features=tuple(FEATURES),
    score=FraudModel.score,
    pack=_pack,
    unpack=_unpack,
    # A probability moves with the margin by a quarter of the slope at most, and a recalibration may have a slope of 10.
    tolerance=lambda model: GOLDEN_TOLERANCE * max(1.0, model.calibration.slope),
)

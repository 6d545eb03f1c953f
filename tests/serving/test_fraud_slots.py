"""The fraud model in memory is the one that was registered, and a rollback of it loads nothing."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xgboost

from ingest.errors import ArtefactError
from serving.fraud_slots import load_fraud, take_over_fraud
from serving.release import Artefact, Release
from serving.served_kind import SERVED_FRAUD
from tests.serving.small_issuer import fraud_version_in
from tests.training.fraud.test_artefact import REFUSED, ROWS, fitted
from training.artefact import GOLDEN_TOLERANCE
from training.fraud.artefact import FRAUD
from training.fraud.model import Calibration, FraudModel

INDEX = Artefact("2026-03-02", "/nowhere", "0" * 64)


def release(fraud: Artefact | None, previous: Artefact | None = None) -> Release:
    return Release(1, None, None, None, INDEX, fraud=fraud, fraud_previous=previous)


def test_a_version_on_disk_scores_as_the_fitted_one(tmp_path: Path) -> None:
    """Probabilities to what a golden request may differ by, unknown values included."""
    held = load_fraud(fraud_version_in(tmp_path, "17"))
    assert held.version == "17"
    assert np.isnan(ROWS).any()
    assert np.abs(held.model.score(ROWS) - fitted().score(ROWS)).max() <= GOLDEN_TOLERANCE


@pytest.mark.parametrize("file", FRAUD.files.values())
def test_one_flipped_byte_is_refused(tmp_path: Path, file: str) -> None:
    """Whichever file it is in; the message names the model, for the recommender's versions have the same numbers."""
    artefact = fraud_version_in(tmp_path, "17")
    content = bytearray((tmp_path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ArtefactError, match="Version 17 of 'fraud' was altered"):
        load_fraud(artefact)


@pytest.mark.parametrize("what", REFUSED)
def test_files_with_the_right_hash_may_still_be_no_fraud_model(tmp_path: Path, what: str) -> None:
    """What the registry's loading refuses is refused by a worker, too."""
    changed, reason = REFUSED[what]
    with pytest.raises(ArtefactError, match=f"Version 17 of 'fraud' cannot be loaded.*{reason}"):
        load_fraud(fraud_version_in(tmp_path, "17", changed()))


def test_a_model_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    """The message says how long one payment takes, and how long it may."""
    with pytest.raises(ArtefactError, match=r"scoring 1 payment takes \d+\.\d ms, allowed are 0\."):
        replace(SERVED_FRAUD, slow_ms=0.0).load(fraud_version_in(tmp_path))


def test_a_rollback_moves_a_pointer(tmp_path: Path) -> None:
    """The version before scores at once: it is the same object as ever, though its files are gone by then."""
    one, two = (fraud_version_in(tmp_path / name, name) for name in ("1", "2"))
    first = take_over_fraud(release(one), None)
    promoted = take_over_fraud(release(two, one), first)
    for artefact in (one, two):
        for file in FRAUD.files.values():
            (Path(artefact.path) / file).unlink()

    rolled_back = take_over_fraud(release(one), promoted)

    assert first is not None and promoted is not None and rolled_back is not None
    assert rolled_back.champion is promoted.previous is first.champion
    assert rolled_back.previous is None


def test_without_a_fraud_model_there_is_none(tmp_path: Path) -> None:
    """A platform that has no fraud model yet is a whole one."""
    assert take_over_fraud(release(None), None) is None


GONE = Artefact("9", "/nowhere", "0" * 64)


def test_a_champion_that_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    """Whoever holds something goes on with it."""
    held = take_over_fraud(release(fraud_version_in(tmp_path, "1")), None)
    with pytest.raises(ArtefactError, match="/nowhere"):
        take_over_fraud(release(GONE, fraud_version_in(tmp_path / "2", "2")), held)


def test_without_the_version_before_payments_are_scored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that cannot be loaded is left out and logged: it is there for a rollback only."""
    slots = take_over_fraud(release(fraud_version_in(tmp_path, "2"), GONE), None)
    assert slots is not None
    assert (slots.champion.version, slots.previous) == ("2", None)
    assert "/nowhere" in caplog.text


def test_trees_that_are_not_served_are_no_fraud_model(tmp_path: Path) -> None:
    """XGBoost has other boosters, which look otherwise inside; a version of such trees is refused like any other."""
    rows = xgboost.DMatrix(ROWS, label=(ROWS[:, 0] > 1).astype(np.float32))
    dart = FraudModel(xgboost.train({"booster": "dart", "objective": "binary:logistic", "max_depth": 2}, rows, 3))
    trees, beside = FRAUD.pack(dart)
    golden = FRAUD.golden(dart, ROWS).to_json().encode()
    version = fraud_version_in(tmp_path, "17", {"trees": bytes(trees.save_raw("ubj")), **beside, "golden": golden})
    with pytest.raises(ArtefactError, match=r"Version 17 of 'fraud' cannot be loaded.*no 'fraud': KeyError"):
        load_fraud(version)


@pytest.mark.parametrize(("slope", "off", "taken"), [(1.0, 5e-6, False), (10.0, 5e-6, True), (10.0, 5e-5, False)])
def test_a_steep_calibration_may_be_off_by_as_much_more(tmp_path: Path, slope: float, off: float, taken: bool) -> None:
    """It multiplies what the sums of trees differ by from library to library; a real difference is refused all the same."""
    model = replace(fitted(), calibration=Calibration(slope, 0.0))
    _, beside = FRAUD.pack(model)
    golden = FRAUD.golden(model, ROWS)
    golden = replace(golden, scores=golden.scores + np.float32(off))
    version = fraud_version_in(tmp_path, "17", {**beside, "golden": golden.to_json().encode()})
    with nullcontext() if taken else pytest.raises(ArtefactError, match="scores its golden request differently"):
        load_fraud(version)

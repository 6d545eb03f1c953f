"""A fraud model comes back from the registry as it was fitted, or not at all, and lives beside the ranker."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import mlflow
import numpy as np
import pytest

from feature_repo.card_features import FEATURES
from ingest.errors import ArtefactError, RegistryError
from tests.training import versions
from training.artefact import Golden
from training.fraud.artefact import FRAUD
from training.fraud.model import Calibration, FraudModel, FraudParams, fingerprint, fit_fraud_model
from training.mlflow_registry import MlflowRegistry, Version
from training.promotion import Aliases
from training.recommender.artefact import RANKER
from training.settings import build_settings

Registry = MlflowRegistry[FraudModel]

ROWS = np.random.default_rng(5).normal(size=(400, len(FEATURES))).astype(np.float32)
ROWS[::3, 4] = np.nan  # what is unknown of a payment


@cache
def fitted(seed: int = 0) -> FraudModel:
    fraud, days = ROWS[:, 0] > 1, np.repeat(np.arange(20), 20)
    return fit_fraud_model(ROWS, fraud, np.ones(400), days, FraudParams(trees=4, depth=2), seed=seed)


def register(registry: Registry, key: str, golden: Golden | None = None) -> Version:
    model = fitted()
    return registry.register(
        model,
        golden=golden or FRAUD.golden(model, ROWS),
        params={"trees": 4},
        metrics={"rows": 400.0},
        tags={"key": key, "fingerprint": fingerprint(model)},
        run_name=key,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(home: Path) -> Registry:
    return MlflowRegistry(build_settings(home), FRAUD)


def test_a_loaded_model_is_the_fitted_one_bit_for_bit(registry: Registry) -> None:
    """Trees, calibration and names: its fingerprint is the recorded one, and its scores are the same."""
    version = register(registry, "roundtrip")
    loaded = registry.load(version.version)
    assert fingerprint(loaded) == version.tags["fingerprint"]
    assert np.array_equal(loaded.score(ROWS), fitted().score(ROWS))
    assert np.array_equal(registry.scorer(version.version)(ROWS), fitted().score(ROWS))
    assert registry.find("roundtrip") == version


@pytest.mark.parametrize("name", FRAUD.files)
def test_an_altered_file_is_not_loaded(registry: Registry, name: str) -> None:
    """One flipped byte is found before anything is unpacked, whichever file it is in."""
    version = register(registry, f"altered {name}").version
    file = Path(mlflow.artifacts.download_artifacts(f"models:/fraud/{version}")) / FRAUD.files[name]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"Version {version} of 'fraud' was altered.*mlops rollback"):
        registry.load(version)


def test_a_model_that_answers_otherwise_than_where_it_was_fitted_is_not_loaded(registry: Registry) -> None:
    """Its hash is right, for it was registered so; the message says by how much it is off, and what to do."""
    golden = FRAUD.golden(fitted(), ROWS)
    version = register(registry, "off", replace(golden, scores=golden.scores + np.float32(1e-3))).version
    with pytest.raises(ArtefactError, match=rf"Version {version} of 'fraud' .*differently, by up to 0.001.*rollback"):
        registry.load(version)


def test_two_models_share_a_store_and_nothing_else(registry: Registry, home: Path) -> None:
    """Each has its own versions, experiment and aliases, though their numbers are the same."""
    rankers = MlflowRegistry(build_settings(home), RANKER)
    again = MlflowRegistry(build_settings(home), FRAUD)
    ranker, fraud = versions.register(rankers, "side by side"), register(again, "side by side")
    rankers.set_aliases(Aliases(champion=ranker.version))
    registry.challenge(fraud.version)

    assert rankers.aliases() == Aliases(champion=ranker.version)
    assert registry.aliases() == Aliases(challenger=fraud.version)
    assert rankers.versions() == [ranker]
    assert fraud in registry.versions()
    assert rankers.find("roundtrip") is None
    client = mlflow.MlflowClient()
    experiments = [client.get_experiment(client.get_run(v.run_id).info.experiment_id).name for v in (ranker, fraud)]
    assert experiments == ["recommender-weekly", "fraud-daily"]


def test_an_unknown_version_names_the_model(registry: Registry) -> None:
    """MLflow's error leaves as ours."""
    with pytest.raises(RegistryError, match="no version '999' of 'fraud'"):
        registry.version("999")


def contents() -> dict[str, bytes]:
    trees, beside = FRAUD.pack(fitted())
    golden = FRAUD.golden(fitted(), ROWS).to_json().encode()
    return {"trees": bytes(trees.save_raw("ubj")), **beside, "golden": golden}


def described(**changed: object) -> bytes:
    return json.dumps({**json.loads(contents()["calibration"]), **changed}).encode()


def asked(**changed: object) -> bytes:
    return json.dumps({**json.loads(contents()["golden"]), **changed}).encode()


REFUSED: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "trees of another fit": (
        lambda: {"trees": bytes(FRAUD.pack(fitted(seed=1))[0].save_raw("ubj"))},
        "not those that were fitted together",
    ),
    "another calibration": (lambda: {"calibration": described(offset=1.0)}, "not those that were fitted together"),
    "other names": (lambda: {"calibration": described(names=["amount"])}, "not those that were fitted together"),
    "a slope that is no number": (lambda: {"calibration": described(slope=None)}, "calibration cannot be read"),
    "no calibration": (lambda: {"calibration": b"{}"}, "calibration cannot be read: KeyError"),
    "no JSON": (lambda: {"calibration": b"slope 1"}, "These files hold no 'fraud'"),
    "no trees": (lambda: {"trees": b"no trees at all"}, "These files hold no 'fraud'"),
    "a feature more": (lambda: {"golden": asked(names=[*FEATURES, "shoe_size"])}, "other features .*: shoe_size"),
    "another order": (lambda: {"golden": asked(names=list(FEATURES)[::-1])}, "other features .*: another order"),
    "a score that is none": (lambda: {"golden": asked(scores=[float("nan")] * 64)}, "by up to nan"),
    "two scores each": (lambda: {"golden": asked(scores=[[0.1, 0.1]] * 64)}, r"scores of shape \(64, 2\), .* \(64,\)"),
    "no rows": (lambda: {"golden": asked(pairs=[], scores=[])}, "does not hold rows"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_files_that_nobody_altered_may_still_be_no_fraud_model(what: str) -> None:
    """Each fault is refused with its reason."""
    changed, reason = REFUSED[what]
    with pytest.raises(ArtefactError, match=reason):
        FRAUD.opened(contents() | changed())


def test_a_recalibrated_model_is_another_version_of_the_same_trees() -> None:
    """What the platform's answer to more fraud gives can be stored as any other."""
    renewed = replace(fitted(), calibration=Calibration(1.0, 0.5))
    trees, beside = FRAUD.pack(renewed)
    golden = FRAUD.golden(renewed, ROWS).to_json().encode()
    found = FRAUD.opened({"trees": bytes(trees.save_raw("ubj")), **beside, "golden": golden})
    assert found.calibration == Calibration(1.0, 0.5)
    assert np.array_equal(found.margins(ROWS), fitted().margins(ROWS))


def test_the_hash_is_over_the_files_in_the_order_of_the_kind() -> None:
    """Whatever the order in which they were read; the ranker's is what it was when there was no other kind."""
    forward = contents()
    assert FRAUD.sha256_of(dict(reversed(forward.items()))) == FRAUD.sha256_of(forward)
    names = {"golden": b"e", "unseen": b"d", "levelwise": b"c", "pointwise": b"b", "listwise": b"a"}
    # sha256 of b"abcde"
    assert RANKER.sha256_of(names) == "36bbe50ed96841d10443bcb670d6554f0a34b761be67ec9c4a8ad2c0c44ca42c"

"""The registry keeps what a model was made from, refuses altered files, and moves aliases."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest

from ingest.errors import ArtefactError, RegistryError
from tests.training.versions import fitted, register
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases
from training.recommender.artefact import RANKER
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import score_pairs
from training.settings import build_settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(home: Path) -> MlflowRegistry:
    return MlflowRegistry(build_settings(home), RANKER)


def folder_of(version: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(f"models:/recommender/{version}"))


def test_nothing_is_live_in_an_empty_registry(tmp_path: Path) -> None:
    """A new registry has no aliases and no versions, and says so without an error."""
    empty = MlflowRegistry(build_settings(tmp_path), RANKER)
    assert (empty.aliases(), empty.versions()) == (Aliases(), [])


def test_a_version_is_found_by_what_it_was_made_from(registry: MlflowRegistry) -> None:
    """The same inputs give the same version again instead of a second one."""
    registered = register(registry, "inputs-1")
    assert registry.find("inputs-1") == registered
    assert registry.find("inputs-2") is None


def test_a_loaded_model_scores_as_the_fitted_one(registry: MlflowRegistry) -> None:
    """What comes back from storage gives the same scores to the bit."""
    version = register(registry, "roundtrip").version
    rows = np.random.default_rng(1).random((50, len(FEATURES)), dtype=np.float32)
    assert np.array_equal(score_pairs(registry.load(version), rows), score_pairs(fitted(), rows))


def test_no_pickle_is_stored(registry: MlflowRegistry) -> None:
    """The trees are UBJSON; nothing in their folder can run code when it is loaded."""
    files = {path.suffix for path in folder_of(register(registry, "safe").version).rglob("*") if path.is_file()}
    assert ".ubj" in files
    assert files & {".pkl", ".pickle", ".joblib"} == set()


@pytest.mark.parametrize("name", RANKER.files.values())
def test_an_altered_file_is_not_loaded(registry: MlflowRegistry, name: str) -> None:
    """One flipped byte is found before anything is unpacked, and the message says how to go on."""
    version = register(registry, f"altered {Path(name).stem}").version
    file = folder_of(version) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"Version {version} .* was altered.*backup.*mlops rollback"):
        registry.load(version)


def test_a_version_without_one_of_its_files_is_not_loaded(registry: MlflowRegistry) -> None:
    """Half a ranker is none."""
    version = register(registry, "half").version
    (folder_of(version) / RANKER.files["unseen"]).unlink()
    with pytest.raises(ArtefactError, match=r"not whole.*backup.*mlops rollback"):
        registry.load(version)


def test_aliases_move_and_go(registry: MlflowRegistry) -> None:
    """Aliases are what was set last; one that is no longer given is removed."""
    one, two = register(registry, "one").version, register(registry, "two").version
    registry.set_aliases(Aliases(champion=two, previous=one))
    assert registry.aliases() == Aliases(champion=two, previous=one)
    registry.set_aliases(Aliases(champion=one))
    assert registry.aliases() == Aliases(champion=one)


def test_a_candidate_is_the_challenger_until_it_is_decided_about(registry: MlflowRegistry) -> None:
    """Whoever looks at the registry meanwhile sees which version is under judgment."""
    live, candidate = register(registry, "live").version, register(registry, "candidate").version
    registry.set_aliases(Aliases(champion=live))
    registry.challenge(candidate)
    assert registry.aliases() == Aliases(champion=live, challenger=candidate)
    registry.set_aliases(Aliases(champion=candidate, previous=live))
    assert registry.aliases() == Aliases(champion=candidate, previous=live)


def test_an_unknown_version_is_a_clear_error(registry: MlflowRegistry) -> None:
    """Asking for what is not there names it and says where to look."""
    with pytest.raises(RegistryError, match=r"no version '99'.*mlops status"):
        registry.version("99")


REQUESTS: dict[str, Callable[[MlflowRegistry], object]] = {
    "find": lambda registry: registry.find("inputs"),
    "challenge": lambda registry: registry.challenge("1"),
    "register": lambda registry: register(registry, "inputs"),
    "versions": lambda registry: registry.versions(),
    "version": lambda registry: registry.version("1"),
    "load": lambda registry: registry.load("1"),
    "size_bytes": lambda registry: registry.size_bytes("1"),
    "log_evaluation": lambda registry: registry.log_evaluation("run", {"ndcg": 0.5}, {}, {}),
    "aliases": lambda registry: registry.aliases(),
    "set_aliases": lambda registry: registry.set_aliases(Aliases(champion="1")),
}


@pytest.fixture(scope="module")
def broken(registry: MlflowRegistry, home: Path, tmp_path_factory: pytest.TempPathFactory) -> MlflowRegistry:
    """A registry whose database was overwritten after it was opened; a copy, for its tables take a second to make."""
    settings = build_settings(tmp_path_factory.mktemp("broken"))
    database = Path(shutil.copy(home / "mlflow.db", settings.home))
    copied = MlflowRegistry(settings, RANKER)
    assert copied.versions() == registry.versions()
    database.write_bytes(b"no database any more" * 1_000)
    return copied


@pytest.mark.parametrize("request_", REQUESTS)
def test_whatever_mlflow_raises_leaves_as_ours(broken: MlflowRegistry, request_: str) -> None:
    """A store that broke ends every request with our error, which keeps MLflow's words."""
    with pytest.raises(RegistryError, match="file is not a database"):
        REQUESTS[request_](broken)


def test_a_store_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    """A damaged file is named as soon as it is opened."""
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1_000)
    with pytest.raises(RegistryError, match=r"MLflow at sqlite:.*mlflow.db cannot be used.*file is not a database"):
        MlflowRegistry(build_settings(tmp_path), RANKER)


def test_an_alias_needs_a_version(registry: MlflowRegistry) -> None:
    """An alias cannot be put on a version that does not exist; the message says where to look."""
    with pytest.raises(RegistryError, match=r"Aliases cannot be moved.*version=99.*mlops status"):
        registry.set_aliases(Aliases(champion="99"))


def test_an_unreachable_server_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracking server that is down is named, with the setting to check."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with pytest.raises(RegistryError, match=r"^MLflow at http://127.0.0.1:9 cannot be used: .* tracking_uri setting\."):
        MlflowRegistry(build_settings(tmp_path, tracking_uri="http://127.0.0.1:9"), RANKER)

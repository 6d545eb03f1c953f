"""The controller follows the fraud model as it does the recommender, and neither pays for the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import mlflow
import numpy as np
import pytest

from serving.controller import Controller
from serving.fraud_slots import take_over_fraud
from serving.live_aliases import AGAIN_S
from serving.release import Release
from tests.serving.test_controller import Clock, leave_week, looked, names, refusals
from tests.training.fraud.test_artefact import ROWS, fitted
from tests.training.histories import MONDAY, altered, begun_anew, decide, silent_registry
from tests.training.versions import register as register_ranker
from training.carry_out import carry_out
from training.fraud.artefact import FRAUD
from training.fraud.model import fingerprint
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases
from training.recommender.artefact import RANKER
from training.rollback import roll_back
from training.settings import build_settings
from training.vocabulary import Decision
from training.workspace import Workspace


def register_fraud(registry: MlflowRegistry, key: str, off: float = 0.0) -> str:
    """A version whose golden request is off by so much."""
    golden = FRAUD.golden(fitted(), ROWS)
    return registry.register(
        fitted(), golden=replace(golden, scores=golden.scores + np.float32(off)), params={}, metrics={},
        tags={"key": key, "fingerprint": fingerprint(fitted())}, run_name=key,
    ).version  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rankers 1 to 3, and fraud models 1 to 3 and 4, which answers otherwise than where it was fitted."""
    home = tmp_path_factory.mktemp("two-models")
    settings = build_settings(home)
    rankers, frauds = MlflowRegistry(settings, RANKER), MlflowRegistry(settings, FRAUD)
    assert [register_ranker(rankers, key).version for key in "abc"] == ["1", "2", "3"]
    assert [register_fraud(frauds, key) for key in "abc"] == ["1", "2", "3"]
    assert register_fraud(frauds, "d", off=1e-3) == "4"
    return home


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    """Ranker 2 is live, after 1, and fraud model 2, after 1."""
    ws = begun_anew(home)
    MlflowRegistry(ws.settings, FRAUD).set_aliases(Aliases())
    leave_week(ws, MONDAY)
    for version in ("1", "2"):
        decide(ws, "promotion", version)
        promote_fraud(ws, version)
    return ws


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def controller(ws: Workspace, clock: Clock) -> Controller:
    return Controller(ws, clock=clock)


def promote_fraud(ws: Workspace, version: str) -> None:
    ws.decisions.record(
        Decision(
            at=MONDAY.isoformat(), actor="policy", kind="promotion", subject=f"fraud version {version}",
            action="promote", reason="better", model_version=version,
        )
    )  # fmt: skip
    carry_out(ws)


def roll_fraud_back(ws: Workspace, to: str | None = None) -> None:
    at = MONDAY + timedelta(days=1)
    roll_back(ws, at, to=to, reason="complaints", actor="person:ann", model="fraud")


def frauds(release: Release) -> tuple[str | None, str | None]:
    """The versions: what scores, and the one before."""
    found = (release.fraud, release.fraud_previous)
    return found[0].name if found[0] else None, found[1].name if found[1] else None


def stored(version: str) -> Path:
    """The trees of a fraud version in the registry."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/fraud/{version}")) / FRAUD.files["trees"]


def test_both_models_are_released(controller: Controller) -> None:
    """Versions of one number lie side by side, and workers can take both over."""
    release = looked(controller)
    assert (names(release), frauds(release)) == (("2", None, "1"), ("2", "1"))
    assert release.champion is not None
    assert release.fraud is not None
    assert release.champion.path != release.fraud.path
    slots = take_over_fraud(release, None)
    assert slots is not None
    assert {slot: held.version for slot, held in slots.held.items()} == {"champion": "2", "previous": "1"}
    assert np.abs(slots.champion.model.score(ROWS) - fitted().score(ROWS)).max() < 1e-6


def test_without_a_fraud_model_the_recommender_is_released_as_ever(home: Path) -> None:
    """Its part of the release says so."""
    ws = begun_anew(home)
    MlflowRegistry(ws.settings, FRAUD).set_aliases(Aliases())
    leave_week(ws, MONDAY)
    decide(ws, "promotion", "1")
    release = looked(Controller(ws))
    assert (names(release), frauds(release), release.refusals) == (("1", None, None), (None, None), ())


def test_a_rollback_of_the_fraud_model_is_one_generation(ws: Workspace, controller: Controller) -> None:
    """And none of the recommender's business."""
    before = looked(controller)
    roll_fraud_back(ws)
    release = looked(controller)
    assert (release.generation, frauds(release)) == (before.generation + 1, ("1", None))
    assert names(release) == names(before)


@pytest.mark.parametrize(("version", "reason"), [("3", "was altered"), ("4", "scores its golden request differently")])
def test_a_broken_fraud_model_is_refused_and_the_recommender_goes_on(
    ws: Workspace, controller: Controller, version: str, reason: str
) -> None:
    """The version before goes on scoring, the refusal is recorded under the model's name, and a new ranker goes live meanwhile."""
    looked(controller)
    with altered(stored("3")):
        promote_fraud(ws, version)
        decide(ws, "promotion", "3")
        release = looked(controller)
    assert (names(release), frauds(release)) == (("3", None, "2"), ("2", "2"))
    assert [(r.name, reason in r.reason) for r in release.refusals] == [(f"fraud {version}", True)]
    assert [subject for subject, _ in refusals(ws)] == [f"fraud version {version}"]


def test_a_broken_ranker_is_refused_and_payments_go_on(ws: Workspace, controller: Controller) -> None:
    """The other way round."""
    looked(controller)
    ranker = Path(mlflow.artifacts.download_artifacts("models:/recommender/3")) / RANKER.files["unseen"]
    with altered(ranker):
        decide(ws, "promotion", "3")
        promote_fraud(ws, "3")
        release = looked(controller)
    assert (names(release), frauds(release)) == (("2", None, "2"), ("3", "2"))
    assert [r.name for r in release.refusals] == ["3"]


def test_a_mended_fraud_model_is_taken(ws: Workspace, controller: Controller, clock: Clock) -> None:
    """When it is looked at again."""
    looked(controller)
    with altered(stored("3")):
        promote_fraud(ws, "3")
        looked(controller)
    clock.now_s += AGAIN_S
    release = looked(controller)
    assert (frauds(release), release.refusals) == (("3", "2"), ())


def test_a_silent_registry_leaves_the_word_to_the_decisions(ws: Workspace, controller: Controller) -> None:
    """A rollback of the fraud model is followed from this disk though no alias has moved."""
    looked(controller)
    with silent_registry(ws):
        roll_fraud_back(ws)
        release = looked(controller)
    assert (frauds(release), names(release)) == (("1", None), ("2", None, "1"))


def test_a_registry_that_forgot_the_fraud_model_is_believed_about_the_recommender(
    ws: Workspace, controller: Controller
) -> None:
    """A person moved the recommender's alias by hand: that is followed, and fraud goes by its decisions."""
    looked(controller)
    MlflowRegistry(ws.settings, RANKER).set_aliases(Aliases(champion="3", previous="1"))
    MlflowRegistry(ws.settings, FRAUD).set_aliases(Aliases())
    release = looked(controller)
    assert (names(release), release.follows, frauds(release)) == (("3", None, "1"), "registry", ("2", "1"))


def test_old_fraud_versions_are_deleted_by_themselves(ws: Workspace, controller: Controller) -> None:
    """What is kept of one model has nothing to do with the other's numbers."""
    looked(controller)
    place = controller.folder.copies_of("fraud")
    for age in range(9):
        (place / f"old {age}").mkdir()
    promote_fraud(ws, "3")
    assert frauds(looked(controller)) == ("3", "2")
    assert {"2", "3"} <= {path.name for path in place.iterdir()}
    assert len([path for path in place.iterdir() if path.name.startswith("old")]) < 9
    assert (controller.folder.models / "1").exists()


def test_a_version_that_a_person_registered_is_refused(ws: Workspace, controller: Controller) -> None:
    """MLflow's page registers without our record, and nobody can say what its files should be; the version before goes on."""
    looked(controller)
    client = mlflow.MlflowClient(ws.settings.mlflow_uri)
    source = client.get_model_version("fraud", "1").source
    by_hand = client.create_model_version("fraud", source).version
    promote_fraud(ws, by_hand)
    release = looked(controller)
    assert frauds(release) == ("2", "2")
    assert [refusal.name for refusal in release.refusals] == [f"fraud {by_hand}"]
    assert "has no record of its hash: it was not registered here" in release.refusals[0].reason


@dataclass(frozen=True)
class FailingAliases:
    """A registry that says what nobody foresaw."""

    silent: bool = False

    def after(self, decisions: Sequence[Decision]) -> tuple[Aliases, str]:
        raise LookupError("champion")


def test_what_goes_wrong_about_the_fraud_model_costs_only_its_part(
    ws: Workspace, controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    """The recommender's new version is released, what scored goes on, the heart beats, and it is said once."""
    looked(controller)
    controller._fraud_aliases = FailingAliases()  # type: ignore[assignment]
    decide(ws, "promotion", "3")
    os.utime(controller.folder.heartbeat, (0, 0))
    for _ in range(3):
        release = looked(controller)
    assert (names(release), frauds(release)) == (("3", None, "2"), ("2", "1"))
    assert controller.folder.heartbeat.stat().st_mtime > 0
    assert caplog.text.count("the fraud model stays as it is") == 1


def test_a_disk_that_refuses_the_fraud_models_copies_costs_only_them(
    ws: Workspace, controller: Controller, clock: Clock
) -> None:
    """A file where the folder should be; the recommender is released, and once it is mended both are."""
    place = controller.folder.copies_of("fraud")
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    place.write_text("in the way")
    release = looked(controller)
    assert (names(release), frauds(release)) == (("2", None, "1"), (None, None))
    assert controller.folder.heartbeat.exists()
    place.unlink()
    clock.now_s += AGAIN_S
    assert frauds(looked(controller)) == ("2", "1")


def test_a_damaged_copy_is_mended_while_the_controller_runs(ws: Workspace, controller: Controller) -> None:
    """Not only by the next one: a worker that starts meanwhile loads it from this disk."""
    looked(controller)
    with altered(controller.folder.copies_of("fraud") / "1" / FRAUD.files["trees"]):
        slots = take_over_fraud(looked(controller), None)
    assert slots is not None
    assert slots.previous is not None

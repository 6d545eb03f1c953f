"""The release controller follows the registry, believes nothing unseen, and goes on with what it holds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pytest
from scipy.sparse import csr_array

from ingest.errors import LakeError
from serving.controller import Controller
from serving.live_aliases import AGAIN_S
from serving.release import Release, Traffic
from serving.slots import file_sha256, take_over
from serving.version_copies import KEPT_MODELS
from tests.training.histories import (
    MONDAY,
    aliases,
    altered,
    begun_anew,
    decide,
    kinds,
    silent_registry,
    small_registry,
)
from tests.training.versions import fitted
from training.mlflow_registry import MlflowRegistry
from training.promotion import Aliases
from training.recommender.artefact import RANKER
from training.recommender.index import ITEM_FEATURES, MATRICES, ItemIndex, save_index
from training.recommender.pair_features import FEATURES
from training.rollback import roll_back
from training.workspace import Workspace

NEXT_MONDAY = MONDAY + timedelta(days=7)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_registry(tmp_path_factory)


@pytest.fixture
def ws(home: Path) -> Workspace:
    """Version 1 is live, then 2; a week's features and index are there."""
    ws = begun_anew(home)
    leave_week(ws, MONDAY)
    decide(ws, "promotion", "1")
    decide(ws, "promotion", "2")
    return ws


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def controller(ws: Workspace, clock: Clock) -> Controller:
    return Controller(ws, clock=clock)


def leave_week(ws: Workspace, as_of: datetime) -> Path:
    """What a week's features leave behind: an index of three items, and the part."""
    nothing = csr_array((3, 3), dtype=np.float32)
    index = ItemIndex(
        as_of,
        np.array(["a", "b", "c"]),
        np.ones((3, len(ITEM_FEATURES)), np.float32),
        np.ones(3, np.float32),
        **dict.fromkeys(MATRICES, nothing),
    )
    path = ws.index_path(as_of)
    path.parent.mkdir(exist_ok=True)
    save_index(index, path)
    ws.once(as_of, "features", lambda: {"features_as_of": f"{as_of:%Y-%m-%d}"})
    return path


def looked(controller: Controller) -> Release:
    """What is released after a look, which is what the workers read."""
    release = controller.look()
    assert release is not None
    assert controller.folder.read_release() == release
    return release


def names(release: Release) -> tuple[str | None, ...]:
    """The versions in the slots: champion, challenger, previous."""
    slots = (release.champion, release.challenger, release.previous)
    return tuple(artefact.name if artefact else None for artefact in slots)


def inode(controller: Controller) -> int:
    return controller.folder.release.stat().st_ino


def stored(version: str) -> Path:
    """One of the version's files in the registry."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/recommender/{version}")) / RANKER.files["unseen"]


def refusals(ws: Workspace) -> list[tuple[str, str]]:
    return [(d.subject, d.reason) for d in ws.decisions.read() if d.kind == "refusal"]


def test_a_release_is_what_the_aliases_say(ws: Workspace, controller: Controller) -> None:
    """Champion, previous and the newest index, each with its hash, and the workers can take it over."""
    release = looked(controller)
    assert (release.generation, names(release), release.traffic) == (1, ("2", None, "1"), Traffic())
    assert (release.follows, release.refusals) == ("registry", ())
    assert (release.index.name, release.index.sha256) == ("2026-03-02", file_sha256(ws.index_path(MONDAY)))
    slots = take_over(release, None)
    assert {slot: model.version for slot, model in slots.models.items()} == {"champion": "2", "previous": "1"}


def test_nothing_new_writes_nothing(controller: Controller) -> None:
    """The file stays the very same one, so that no worker looks into it again."""
    first = looked(controller)
    file = inode(controller)
    assert looked(controller) == first
    assert inode(controller) == file


def test_a_controller_that_starts_again_writes_nothing_new(ws: Workspace, controller: Controller) -> None:
    """A restart is no release."""
    first = looked(controller)
    file = inode(controller)
    assert looked(Controller(ws, clock=Clock())) == first
    assert inode(controller) == file


def test_the_heart_beats_when_nothing_changes(controller: Controller) -> None:
    """The workers hold a canary back when nobody watches it: each look is a sign of life."""
    looked(controller)
    os.utime(controller.folder.heartbeat, (0, 0))
    looked(controller)
    assert controller.folder.heartbeat.stat().st_mtime > 0


def test_a_moved_alias_is_in_the_next_look(ws: Workspace, controller: Controller) -> None:
    """One look, one generation."""
    looked(controller)
    decide(ws, "promotion", "3")
    release = looked(controller)
    assert (release.generation, names(release)) == (2, ("3", None, "2"))


def test_an_alias_that_a_person_moved_is_followed(ws: Workspace, controller: Controller) -> None:
    """The registry's alias is the truth about what is live, whoever moved it."""
    MlflowRegistry(ws.settings, RANKER).set_aliases(Aliases(champion="3", previous="1"))
    release = looked(controller)
    assert (names(release), release.follows) == (("3", None, "1"), "registry")


def test_a_challenger_gets_the_traffic_that_the_ramp_says(ws: Workspace) -> None:
    """The ramp is asked about a challenger that can answer, and its word is in the release."""
    decide(ws, "canary", "3")
    asked: list[Aliases] = []

    def ramp(wanted: Aliases) -> Traffic:
        asked.append(wanted)
        return Traffic("canary", 0.25)

    release = looked(Controller(ws, ramp))
    assert (names(release), release.traffic) == (("2", "3", "1"), Traffic("canary", 0.25))
    assert asked == [Aliases(champion="2", challenger="3", previous="1")]


def test_a_broken_challenger_gets_no_traffic(ws: Workspace) -> None:
    """Whatever the ramp would give it."""
    decide(ws, "canary", "3")
    with altered(stored("3")):
        release = looked(Controller(ws, lambda _: Traffic("canary", 0.25)))
    assert (names(release), release.traffic) == (("2", None, "1"), Traffic())


def test_a_broken_challenger_ends_its_canary(ws: Workspace, controller: Controller) -> None:
    """Nobody will ever see it answer, so that its canary would stay open for ever; the record says why it ended."""
    decide(ws, "canary", "3")
    with altered(stored("3")):
        looked(controller)
    last = ws.decisions.read()[-1]
    assert (last.kind, last.model_version, last.previous_version) == ("rollback", "2", "3")
    assert "cannot be taken into service" in last.reason
    assert aliases(ws) == Aliases(champion="2", previous="1")


def test_a_controller_that_starts_again_does_not_repeat_a_refusal(ws: Workspace, clock: Clock) -> None:
    """What stands in the record is not news."""
    decide(ws, "promotion", "3")
    with altered(stored("3")):
        for _ in range(2):
            looked(Controller(ws, clock=clock))
    assert len(refusals(ws)) == 1


def test_nothing_promoted_nothing_released(home: Path) -> None:
    """There is no release, no file, and a sign of life all the same."""
    controller = Controller(begun_anew(home))
    leave_week(controller.ws, MONDAY)
    assert controller.look() is None
    assert not controller.folder.release.exists()
    assert controller.folder.heartbeat.exists()


def test_an_altered_version_is_refused_once_and_the_old_one_stays(
    ws: Workspace, controller: Controller, clock: Clock
) -> None:
    """However often it is looked at, the record holds one refusal, and customers see the version before."""
    looked(controller)
    with altered(stored("3")):
        decide(ws, "promotion", "3")
        for _ in range(4):
            release = looked(controller)
            assert names(release) == ("2", None, "2")
            clock.now_s += AGAIN_S
            time.sleep(0.4)  # decisions are dated to the second, and the same one is never recorded twice
    [(subject, reason)] = refusals(ws)
    assert subject == "recommender version 3"
    assert "was altered" in reason
    assert [(refusal.name, refusal.reason) for refusal in release.refusals] == [("3", reason)]
    assert kinds(ws)[-1] == ("refusal", None)


def test_what_was_live_stays_rather_than_what_was_before(ws: Workspace, controller: Controller) -> None:
    """In the place of a broken champion the one that answered until now goes on, not whatever is called previous."""
    looked(controller)
    with altered(stored("3")):
        MlflowRegistry(ws.settings, RANKER).set_aliases(Aliases(champion="3", previous="1"))
        assert names(looked(controller)) == ("2", None, "1")


def test_a_mended_version_is_taken_when_it_is_looked_at_again(
    ws: Workspace, controller: Controller, clock: Clock
) -> None:
    """Five seconds after it was refused, not before: verifying is work."""
    looked(controller)
    with altered(stored("3")):
        decide(ws, "promotion", "3")
        looked(controller)
    clock.now_s += AGAIN_S - 0.1
    assert names(looked(controller)) == ("2", None, "2")
    clock.now_s += 0.1
    release = looked(controller)
    assert (names(release), release.refusals) == (("3", None, "2"), ())


def test_a_refused_version_that_was_taken_back_worries_nobody(ws: Workspace, controller: Controller) -> None:
    """The alert on refusals asks for a rollback; after that it must be silent."""
    with altered(stored("3")):
        decide(ws, "promotion", "3")
        assert [refusal.name for refusal in looked(controller).refusals] == ["3"]
        roll_back(ws, NEXT_MONDAY, to=None, reason="refused when loaded", actor="person:ann")
        assert looked(controller).refusals == ()


def test_a_cold_start_with_a_broken_champion_serves_the_version_before(ws: Workspace, controller: Controller) -> None:
    """Better the one before than none."""
    with altered(stored("2")):
        release = looked(controller)
    assert names(release) == ("1", None, "1")
    assert [refusal.name for refusal in release.refusals] == ["2"]


def test_a_cold_start_with_nothing_whole_serves_nothing(ws: Workspace, controller: Controller) -> None:
    """An altered version is never loaded, not even when there is no other."""
    with altered(stored("1")), altered(stored("2")):
        assert controller.look() is None
    assert len(refusals(ws)) == 2


def test_a_version_that_answers_differently_than_where_it_was_fitted_is_refused(
    ws: Workspace, controller: Controller
) -> None:
    """Its files are whole and its hash is right: only asking it shows that something is wrong."""
    registry = MlflowRegistry(ws.settings, RANKER)
    pairs = np.random.default_rng(0).random((3, len(FEATURES)), np.float32)
    strange = registry.register(
        fitted(),
        golden=replace(RANKER.golden(fitted(), pairs), scores=np.full((3, 2), 0.5, np.float32)),
        params={}, metrics={}, tags={"key": "strange"}, run_name="strange",
    )  # fmt: skip
    decide(ws, "promotion", strange.version)
    release = looked(controller)
    assert names(release) == ("2", None, "2")
    assert "scores its golden request differently" in release.refusals[0].reason


@pytest.mark.parametrize("file", RANKER.files.values())
def test_a_damaged_copy_is_fetched_again(ws: Workspace, controller: Controller, file: str) -> None:
    """What is on this disk is only a copy: the registry has it whole, so nothing is refused."""
    looked(controller)
    with altered(controller.folder.models / "2" / file):
        release = looked(Controller(ws, clock=Clock()))
        assert (names(release), refusals(ws)) == (("2", None, "1"), [])
        assert take_over(release, None).models["champion"].version == "2"


def test_a_silent_registry_leaves_the_word_to_the_decisions(
    ws: Workspace, controller: Controller, clock: Clock
) -> None:
    """A rollback is followed though no alias has moved; what is on this disk is served; back is back."""
    looked(controller)
    with silent_registry(ws):
        roll_back(ws, NEXT_MONDAY, to=None, reason="complaints", actor="person:ann")
        release = looked(controller)
        assert (names(release), release.follows) == (("1", None, None), "decision log")
    assert aliases(ws).champion == "2"
    clock.now_s += AGAIN_S

    assert looked(controller).follows == "decision log"
    assert aliases(ws) == Aliases(champion="1")
    assert not ws.unreconciled.exists()
    release = looked(controller)
    assert (names(release), release.follows) == (("1", None, None), "registry")


def test_a_silent_registry_is_asked_again_after_a_while(ws: Workspace, controller: Controller, clock: Clock) -> None:
    """Not twice a second: a registry that is down may take ten seconds to say nothing."""
    looked(controller)
    with silent_registry(ws):
        release = looked(controller)
        assert (names(release), release.follows) == (("2", None, "1"), "decision log")
    assert looked(controller).follows == "decision log"
    clock.now_s += AGAIN_S
    release = looked(controller)
    assert (names(release), release.follows, release.generation) == (("2", None, "1"), "registry", 3)


def test_a_cold_start_while_the_registry_is_silent_serves_from_this_disk(ws: Workspace, controller: Controller) -> None:
    """A service that starts again needs no registry for the versions that it had."""
    looked(controller)
    controller.folder.release.unlink()
    with silent_registry(ws):
        release = looked(Controller(ws))
    assert (names(release), release.follows) == (("2", None, "1"), "decision log")


def test_a_version_that_nobody_could_look_at_is_not_refused(ws: Workspace, controller: Controller) -> None:
    """It may be whole: with the registry silent it is waited for, and the version before answers."""
    looked(controller)
    decide(ws, "promotion", "3")
    with silent_registry(ws):
        assert names(looked(controller)) == ("2", None, "2")
    assert refusals(ws) == []


def test_an_emptied_registry_is_no_order_to_stop(ws: Workspace, controller: Controller) -> None:
    """It answers and names no champion, but the decisions do: they are followed."""
    MlflowRegistry(ws.settings, RANKER).set_aliases(Aliases())
    release = looked(controller)
    assert (names(release), release.follows) == (("2", None, "1"), "decision log")


def test_aliases_that_are_owed_are_not_believed(ws: Workspace, controller: Controller) -> None:
    """While the mark stands the decisions are followed, though the registry answers; then its aliases are moved."""
    with silent_registry(ws):
        roll_back(ws, NEXT_MONDAY, to=None, reason="complaints", actor="person:ann")
    assert aliases(ws).champion == "2"
    release = looked(controller)
    assert (names(release), release.follows) == (("1", None, None), "decision log")
    assert (aliases(ws), ws.unreconciled.exists()) == (Aliases(champion="1"), False)
    assert looked(controller).follows == "registry"


def test_a_new_week_brings_its_index(ws: Workspace, controller: Controller) -> None:
    """The models stay as they are."""
    looked(controller)
    leave_week(ws, NEXT_MONDAY)
    release = looked(controller)
    assert (release.generation, release.index.name, names(release)) == (2, "2026-03-09", ("2", None, "1"))
    assert take_over(release, None).index.as_of == NEXT_MONDAY


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no archive": lambda content: b"no index",
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a flipped bit": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
}


@pytest.mark.parametrize("damage", [*DAMAGE, "absent"])
def test_a_damaged_index_is_refused_once_and_the_old_one_stays(
    ws: Workspace, controller: Controller, clock: Clock, damage: str
) -> None:
    """Last week's catalogue is better than none, and the record says what to do; mended, it is taken."""
    looked(controller)
    path = leave_week(ws, NEXT_MONDAY)
    whole = path.read_bytes()
    path.unlink()
    if damage in DAMAGE:
        path.write_bytes(DAMAGE[damage](whole))
    for _ in range(3):
        release = looked(controller)
        assert release.index.name == "2026-03-02"
        assert [refusal.name for refusal in release.refusals] == ["index 2026-03-09"]
        clock.now_s += AGAIN_S
    assert [subject for subject, _ in refusals(ws)] == ["item index 2026-03-09"]
    path.write_bytes(whole)
    release = looked(controller)
    assert (release.index.name, release.refusals) == ("2026-03-09", ())


@pytest.fixture
def filled(ws: Workspace, controller: Controller) -> set[str]:
    """Version 3 was released after a look at 2 and 1 and nine older ones; names those of them that are to be kept."""
    looked(controller)
    models = controller.folder.models
    for age, version in enumerate(("1", "2", *(f"old {n}" for n in range(KEPT_MODELS + 3)))):
        (models / version).mkdir(exist_ok=True)
        (models / f"{version}.sha256").touch()
        os.utime(models / version, (age, age))
    decide(ws, "promotion", "3")
    assert names(looked(controller)) == ("3", None, "2")
    return {f"old {n}" for n in range(3, KEPT_MODELS + 3)}


def test_old_versions_are_deleted_but_never_one_in_a_slot(controller: Controller, filled: set[str]) -> None:
    """The disk does not fill up; how long ago a version in a slot was fetched does not matter."""
    models = controller.folder.models
    assert {path.name for path in models.iterdir() if path.is_dir()} == {"2", "3"} | filled
    assert {path.stem for path in models.glob("*.sha256")} == {"2", "3"} | filled


def test_a_version_that_was_deleted_is_fetched_again(ws: Workspace, controller: Controller, filled: set[str]) -> None:
    """A rollback far back finds its files in the registry."""
    assert not (controller.folder.models / "1").exists()
    roll_back(ws, NEXT_MONDAY, to="1", reason="complaints", actor="person:ann")
    release = looked(controller)
    assert names(release) == ("1", None, None)
    assert take_over(release, None).models["champion"].version == "1"


def test_what_goes_wrong_in_one_look_does_not_end_the_next(ws: Workspace) -> None:
    """A disk that is full for a moment costs a look, not the controller."""
    decide(ws, "canary", "3")
    over, looks = threading.Event(), []

    def ramp(_: Aliases) -> Traffic:
        looks.append(1)
        if len(looks) == 1:
            raise LakeError("The disk is full.")
        over.set()
        return Traffic("shadow")

    controller = Controller(ws, ramp)
    controller.run(over)
    release = controller.folder.read_release()
    assert release is not None
    assert release.traffic == Traffic("shadow")


def test_what_nobody_foresaw_does_not_end_the_controller(ws: Workspace) -> None:
    """Nobody starts its thread again."""
    decide(ws, "canary", "3")
    over, looks = threading.Event(), []

    def ramp(_: Aliases) -> Traffic:
        looks.append(1)
        if len(looks) == 1:
            raise KeyError("sha256")
        over.set()
        return Traffic("shadow")

    controller = Controller(ws, ramp)
    controller.run(over)
    assert controller.folder.read_release() is not None


def test_a_canary_that_could_not_be_asked_about_gets_no_sign_of_life(ws: Workspace) -> None:
    """Or nobody would hold it back: a controller that cannot look at it, or tell the workers, does not watch it."""
    decide(ws, "canary", "3")

    def ramp(_: Aliases) -> Traffic:
        raise LakeError("The canary's counts cannot be read.")

    controller = Controller(ws, ramp)
    with pytest.raises(LakeError):
        controller.look()
    assert not controller.folder.heartbeat.exists()

"""A worker follows the release file, and keeps what it holds when it cannot."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serving.follower import AGAIN_S, SILENT_S, Follower
from serving.release import Artefact, Release, ServingFolder, Traffic
from tests.serving.released import Disk, version_in
from tests.serving.small_issuer import fraud_version_in
from training.fraud.artefact import FRAUD
from training.recommender.artefact import RANKER

CANARY = Traffic("canary", 0.1)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "disk")


@pytest.fixture
def folder(tmp_path: Path) -> ServingFolder:
    found = ServingFolder(tmp_path)
    found.root.mkdir()
    return found


@pytest.fixture
def follower(folder: ServingFolder, clock: Clock) -> Follower:
    return Follower(folder, clock)


def versions(follower: Follower) -> dict[str, str]:
    assert follower.slots is not None
    return {slot: model.version for slot, model in follower.slots.models.items()}


def traffic(follower: Follower) -> Traffic:
    assert follower.slots is not None
    return follower.slots.traffic


def beat(folder: ServingFolder, wall_s: float) -> None:
    """A sign of life of the controller, at a time by the wall clock."""
    folder.heartbeat.touch()
    os.utime(folder.heartbeat, (wall_s, wall_s))


def test_before_the_first_release_there_is_nothing(follower: Follower) -> None:
    """A worker that is started first waits for the controller."""
    follower.look()
    assert (follower.slots, follower.release) == (None, None)


def test_a_new_release_is_taken_over(follower: Follower, folder: ServingFolder, disk: Disk) -> None:
    """Generation, versions and release are those of the file that was written last."""
    for generation, slots in [(1, {"champion": "1"}), (2, {"champion": "2", "previous": "1"})]:
        folder.write_release(disk.release(generation, **slots))
        follower.look()
        assert follower.slots is not None
        assert follower.slots.generation == generation
        assert versions(follower) == slots
        assert follower.release == disk.release(generation, **slots)


def test_without_a_new_release_nothing_changes(follower: Follower, folder: ServingFolder, disk: Disk) -> None:
    """Looking again does not load again."""
    folder.write_release(disk.release(champion="1"))
    follower.look()
    before = follower.slots
    follower.look()
    assert follower.slots is before


def test_a_request_keeps_the_slots_that_it_has_read(follower: Follower, folder: ServingFolder, disk: Disk) -> None:
    """A swap is another object beside it; what a request holds never changes under its hands."""
    folder.write_release(disk.release(1, champion="1"))
    follower.look()
    held = follower.slots
    assert held is not None
    before = (held.generation, held.index, dict(held.models), held.traffic)

    folder.write_release(disk.release(2, CANARY, champion="2", challenger="3", previous="1"))
    follower.look()

    assert follower.slots is not held
    assert (held.generation, held.index, held.models, held.traffic) == before
    assert follower.slots is not None
    assert follower.slots.model("previous") is held.model("champion")


def without(record: Release, name: str) -> str:
    """The release as text, without one of its parts."""
    return json.dumps({key: value for key, value in record.to_dict().items() if key != name})


BROKEN: dict[str, Callable[[Release], str]] = {
    "empty": lambda release: "",
    "no JSON": lambda release: "{",
    "no release": lambda release: "[1, 2]",
    "no index": lambda release: without(release, "index"),
    "no traffic": lambda release: without(release, "traffic"),
    "no champion": lambda release: without(release, "champion"),
    "a version without a hash": lambda release: json.dumps(release.to_dict() | {"champion": {"name": "2"}}),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_release_file_leaves_everything_as_it_is(
    follower: Follower, folder: ServingFolder, disk: Disk, fault: str
) -> None:
    """The same slots go on answering, and the next good release is taken over."""
    folder.write_release(disk.release(1, champion="1"))
    follower.look()
    before = follower.slots

    folder.release.write_text(BROKEN[fault](disk.release(2, champion="2")))
    follower.look()
    assert follower.slots is before
    assert follower.release == disk.release(1, champion="1")

    folder.write_release(disk.release(3, champion="3"))
    follower.look()
    assert versions(follower) == {"champion": "3"}


def test_a_release_file_that_cannot_be_read_leaves_everything_as_it_is(
    follower: Follower, folder: ServingFolder, disk: Disk
) -> None:
    """A disk that refuses does not end the following."""
    folder.write_release(disk.release(1, champion="1"))
    follower.look()
    before = follower.slots
    folder.release.unlink()
    folder.release.mkdir()
    follower.look()
    assert follower.slots is before


def test_a_release_file_that_is_gone_leaves_everything_as_it_is(
    follower: Follower, folder: ServingFolder, disk: Disk
) -> None:
    """Whoever deletes it, so that the controller writes it anew, takes nothing from the customers."""
    folder.write_release(disk.release(1, champion="1"))
    follower.look()
    before = follower.slots
    folder.release.unlink()
    follower.look()
    assert follower.slots is before


@pytest.mark.parametrize("part", ["champion", "challenger", "index"])
def test_an_artefact_that_cannot_be_loaded_leaves_everything_as_it_is(
    follower: Follower, folder: ServingFolder, disk: Disk, part: str
) -> None:
    """A release is taken over whole or not at all."""
    folder.write_release(disk.release(1, champion="1"))
    follower.look()
    before = follower.slots
    wanted = disk.release(2, CANARY, champion="2", challenger="3", previous="1")
    folder.write_release(replace(wanted, **{part: Artefact("4", "/nowhere", "0" * 64)}))
    follower.look()
    assert follower.slots is before
    assert follower.release == disk.release(1, champion="1")


def test_a_refused_release_is_looked_at_again(
    follower: Follower, folder: ServingFolder, disk: Disk, clock: Clock
) -> None:
    """Somebody who mends an artefact need not write the release again, and a machine that was busy is not so for ever."""
    place = Path(disk.versions["2"].path)
    folder.write_release(disk.release(1, champion="1"))
    follower.look()
    (place / RANKER.files["golden"]).unlink()
    folder.write_release(disk.release(2, champion="2"))
    follower.look()
    version_in(place, "2")

    clock.now += AGAIN_S - 0.1
    follower.look()
    assert versions(follower) == {"champion": "1"}
    clock.now += 0.1
    follower.look()
    assert versions(follower) == {"champion": "2"}


def scores_by(follower: Follower) -> dict[str, str]:
    assert follower.fraud is not None
    return {slot: held.version for slot, held in follower.fraud.held.items()}


def test_a_release_of_before_there_was_a_fraud_model_is_taken_over(
    follower: Follower, folder: ServingFolder, disk: Disk
) -> None:
    """Workers that start again on an old workspace find a file that names none."""
    record = disk.release(1, champion="1").to_dict()
    folder.release.write_text(json.dumps({n: v for n, v in record.items() if n not in ("fraud", "fraud_previous")}))
    follower.look()
    assert (versions(follower), follower.fraud) == ({"champion": "1"}, None)
    assert follower.release == disk.release(1, champion="1")


def test_the_fraud_model_is_taken_over_and_rolled_back_in_place(
    follower: Follower, folder: ServingFolder, disk: Disk, tmp_path: Path
) -> None:
    """A release, its successor, and back: what scored before is the same object again."""
    one, two = (fraud_version_in(tmp_path / name, name) for name in ("1", "2"))
    held = []
    for generation, (fraud, previous) in enumerate([(one, None), (two, one), (one, None)], 1):
        folder.write_release(replace(disk.release(generation, champion="1"), fraud=fraud, fraud_previous=previous))
        follower.look()
        assert follower.fraud is not None
        held.append(follower.fraud.champion)
    assert [scorer.version for scorer in held] == ["1", "2", "1"]
    assert held[2] is held[0]


def test_a_broken_fraud_model_holds_up_no_ranker(
    follower: Follower, folder: ServingFolder, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    """A rollback of the recommender does not wait for it; mended, it is taken over without a new release."""
    one, two = (fraud_version_in(tmp_path / name, name) for name in ("1", "2"))
    folder.write_release(replace(disk.release(1, champion="1"), fraud=one))
    follower.look()
    (Path(two.path) / FRAUD.files["golden"]).unlink()
    folder.write_release(replace(disk.release(2, champion="2"), fraud=two, fraud_previous=one))
    follower.look()
    assert (versions(follower), scores_by(follower)) == ({"champion": "2"}, {"champion": "1"})
    fraud_version_in(tmp_path / "2", "2")
    clock.now += AGAIN_S
    follower.look()
    assert scores_by(follower) == {"champion": "2", "previous": "1"}


def test_a_broken_ranker_holds_up_no_fraud_model(
    follower: Follower, folder: ServingFolder, disk: Disk, tmp_path: Path
) -> None:
    """Nor the other way round: the release counts as the one that the recommender's slots were made from."""
    one, two = (fraud_version_in(tmp_path / name, name) for name in ("1", "2"))
    folder.write_release(replace(disk.release(1, champion="1"), fraud=one))
    follower.look()
    broken = replace(disk.release(2), champion=Artefact("4", "/nowhere", "0" * 64), fraud=two)
    folder.write_release(broken)
    follower.look()
    assert (versions(follower), scores_by(follower)) == ({"champion": "1"}, {"champion": "2"})
    assert follower.release is not None
    assert follower.release.generation == 1


def test_the_version_before_is_taken_over_when_it_is_mended(
    follower: Follower, folder: ServingFolder, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    """A new worker answers and scores without; nobody needs to write the release again."""
    one, two = (fraud_version_in(tmp_path / name, name) for name in ("1", "2"))
    for place, kind in ((Path(disk.versions["1"].path), RANKER), (Path(one.path), FRAUD)):
        (place / kind.files["golden"]).unlink()
    wanted = disk.release(1, champion="2", previous="1")
    folder.write_release(replace(wanted, fraud=two, fraud_previous=one))
    follower.look()
    assert (versions(follower), scores_by(follower)) == ({"champion": "2"}, {"champion": "2"})

    fraud_version_in(tmp_path / "1", "1")
    version_in(Path(disk.versions["1"].path), "1")
    clock.now += AGAIN_S
    follower.look()
    both = {"champion": "2", "previous": "1"}
    assert (versions(follower), scores_by(follower)) == (both, both)


def test_what_nobody_foresaw_ends_no_following(
    folder: ServingFolder, disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A release whose fraud part is no artefact at all is logged, and the next one is taken over by the same thread."""
    strange = disk.release(1, champion="1").to_dict() | {"fraud": {"name": ["1"], "path": 7, "sha256": ""}}
    folder.release.write_text(json.dumps(strange))
    follower = Follower(folder)
    follower.start()
    try:
        assert versions(follower) == {"champion": "1"}
        assert "release refused: TypeError" in caplog.text
        folder.write_release(replace(disk.release(2, champion="2"), fraud=fraud_version_in(tmp_path / "1")))
        deadline = time.monotonic() + 10
        while follower.fraud is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert versions(follower) == {"champion": "2"}
    finally:
        follower.stop()


def test_a_silent_controller_holds_the_canary_back(
    follower: Follower, folder: ServingFolder, disk: Disk, clock: Clock
) -> None:
    """After 15 s without a sign of life the champion answers everybody, and with the next one the canary has its share again."""
    beat(folder, 5_000)
    folder.write_release(disk.release(1, CANARY, champion="1", challenger="2"))
    follower.look()
    given = follower.slots
    assert given is not None

    clock.now += SILENT_S - 0.1
    follower.look()
    assert follower.slots is given

    clock.now += 0.1
    follower.look()
    assert traffic(follower) == Traffic()
    assert follower.slots is not None
    assert follower.slots.models == given.models
    assert given.traffic == CANARY  # who holds it still, answers by it

    beat(folder, 5_016)
    follower.look()
    assert traffic(follower) == CANARY
    assert follower.controller_silent_s == 0


def test_a_controller_that_never_lived_gives_no_canary(
    follower: Follower, folder: ServingFolder, disk: Disk, clock: Clock
) -> None:
    """A release file from yesterday is no watch over a canary."""
    folder.write_release(disk.release(1, CANARY, champion="1", challenger="2"))
    clock.now += SILENT_S
    follower.look()
    assert versions(follower) == {"champion": "1", "challenger": "2"}
    assert traffic(follower) == Traffic()


@pytest.mark.parametrize("jump_s", [-1e9, -3600, 3600, 1e9])
def test_a_heartbeat_counts_whatever_the_wall_clock_says(
    follower: Follower, folder: ServingFolder, disk: Disk, clock: Clock, jump_s: float
) -> None:
    """A wall clock that is set back or ahead makes no controller silent."""
    folder.write_release(disk.release(1, CANARY, champion="1", challenger="2"))
    wall_s = 1_700_000_000.0
    for second in range(0, 40, 10):
        clock.now = 1_000 + second
        beat(folder, wall_s + second + (jump_s if second >= 20 else 0))
        follower.look()
        assert (traffic(follower), follower.controller_silent_s) == (CANARY, 0)


@pytest.mark.parametrize("jump_s", [-1e9, 0, 1e9])
def test_a_heartbeat_that_stands_still_is_none_whatever_the_wall_clock_says(
    follower: Follower, folder: ServingFolder, disk: Disk, clock: Clock, jump_s: float
) -> None:
    """A stamp from next year keeps no canary alive."""
    folder.write_release(disk.release(1, CANARY, champion="1", challenger="2"))
    beat(folder, time.time() + jump_s)
    follower.look()
    clock.now += SILENT_S
    follower.look()
    assert traffic(follower) == Traffic()
    assert follower.controller_silent_s == SILENT_S


def test_a_started_follower_follows_by_itself(folder: ServingFolder, disk: Disk) -> None:
    """It holds what is released as soon as it is started, and what is released later soon after."""
    folder.write_release(disk.release(1, champion="1"))
    follower = Follower(folder)
    follower.start()
    try:
        assert versions(follower) == {"champion": "1"}
        folder.write_release(disk.release(2, champion="2"))
        deadline = time.monotonic() + 10
        while versions(follower) != {"champion": "2"}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        follower.stop()

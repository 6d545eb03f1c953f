"""What is taken into memory is what was registered, and a release is taken over whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.errors import ArtefactError
from serving.release import Artefact, Traffic
from serving.served_kind import SERVED_RANKER
from serving.slots import file_sha256, load_item_index, load_model, take_over
from tests.serving.released import Disk, contents, index_in, pairs, ranker, version_in
from tests.serving.small_shop import shop
from training.artefact import GOLDEN_TOLERANCE
from training.recommender.artefact import RANKER, TREES
from training.recommender.pair_features import FEATURES
from training.recommender.ranker import score_pairs


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def golden(**changed: Any) -> bytes:
    """The golden request of the version, with parts of it replaced."""
    return json.dumps(json.loads(contents()["golden"]) | changed).encode()


def golden_scores(add: float) -> list[list[float]]:
    """What the trees say about the golden pairs, with something added to one score."""
    scores = score_pairs(ranker(), pairs()).tolist()
    scores[1][0] += add
    return scores


def test_a_version_on_disk_scores_as_the_fitted_one(tmp_path: Path) -> None:
    """Each list is scored by its own trees, to what a golden request may differ by."""
    model = load_model(version_in(tmp_path, "17"))
    expected = score_pairs(ranker(), pairs(50))
    assert model.version == "17"
    for column, scope in enumerate(("all", "new")):
        assert np.abs(model.score(pairs(50), scope) - expected[:, column]).max() <= GOLDEN_TOLERANCE


@pytest.mark.parametrize("file", RANKER.files.values())
def test_one_flipped_byte_is_refused(tmp_path: Path, file: str) -> None:
    """Whichever file it is in, nothing of the version is unpacked."""
    artefact = version_in(tmp_path, "17")
    content = bytearray((tmp_path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ArtefactError, match="Version 17 of 'recommender' was altered: its files have sha256 "):
        load_model(artefact)


@pytest.mark.parametrize("file", RANKER.files.values())
def test_a_version_without_one_of_its_files_is_refused(tmp_path: Path, file: str) -> None:
    """The message names the file that is missing."""
    artefact = version_in(tmp_path, "17")
    (tmp_path / file).unlink()
    with pytest.raises(ArtefactError, match=f"Version 17 of 'recommender' is not whole: .*{file}"):
        load_model(artefact)


def half(name: str) -> bytes:
    return contents()[name][: len(contents()[name]) // 2]


REFUSED: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "a feature more": (lambda: {"golden": golden(names=[*FEATURES, "shoe_size"])}, "other features .*: shoe_size"),
    "a feature less": (lambda: {"golden": golden(names=FEATURES[1:])}, f"other features .*: {FEATURES[0]}"),
    "another order": (lambda: {"golden": golden(names=FEATURES[::-1])}, "other features .*: another order"),
    "a score too high": (lambda: {"golden": golden(scores=golden_scores(1e-4))}, "differently, by up to 0.0001"),
    "a score too low": (lambda: {"golden": golden(scores=golden_scores(-1e-4))}, "differently, by up to 0.0001"),
    "a score that is none": (lambda: {"golden": golden(scores=golden_scores(float("nan")))}, "by up to nan"),
    "pairs of other width": (lambda: {"golden": golden(pairs=pairs()[:, 1:].tolist())}, "cannot be loaded"),
    "no pairs": (lambda: {"golden": golden(pairs=[], scores=[])}, "does not hold rows"),
    "one score for all": (lambda: {"golden": golden(scores=golden_scores(0)[:1])}, "does not hold rows"),
    "no scores": (lambda: {"golden": json.dumps({"names": FEATURES}).encode()}, "cannot be read: KeyError"),
    "no JSON": (lambda: {"golden": b"golden"}, "cannot be loaded"),
    **{f"{name} is text": (lambda name=name: {name: b"no trees at all"}, "cannot be loaded") for name in TREES},
    **{f"half of {name}": (lambda name=name: {name: half(name)}, "cannot be loaded") for name in TREES},
    "trees of another list": (lambda: {"unseen": contents()["pointwise"]}, "scores its golden request differently"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_files_with_the_right_hash_may_still_be_no_version_of_ours(tmp_path: Path, what: str) -> None:
    """A hash says that nobody changed the files, not that they were good: each fault is refused with its reason."""
    changed, reason = REFUSED[what]
    with pytest.raises(ArtefactError, match=f"Version 17 .*{reason}"):
        load_model(version_in(tmp_path, "17", **changed()))


def test_a_score_may_differ_by_the_order_of_a_sum(tmp_path: Path) -> None:
    """Another processor's last bit is no other model."""
    assert load_model(version_in(tmp_path, golden=golden(scores=golden_scores(5e-7)))).version == "1"


def test_trees_that_take_too_long_are_refused(tmp_path: Path) -> None:
    """The message says how long they take, and how long they may."""
    artefact = version_in(tmp_path, "17")
    with pytest.raises(
        ArtefactError,
        match=r"Version 17 of 'recommender' is refused: scoring 200 pairs takes \d+\.\d ms, allowed are 0",
    ):
        load_model(artefact, replace(SERVED_RANKER, slow_ms=0.0))


def test_a_rollback_moves_pointers(disk: Disk) -> None:
    """The version before answers at once: it is the same object as ever, though its files are gone by then."""
    first = take_over(disk.release(1, champion="1"), None)
    promoted = take_over(disk.release(2, champion="2", previous="1"), first)
    for version in ("1", "2"):
        for file in RANKER.files.values():
            (Path(disk.versions[version].path) / file).unlink()

    rolled_back = take_over(disk.release(3, champion="1"), promoted)

    assert rolled_back.model("champion") is promoted.model("previous") is first.model("champion")
    assert set(rolled_back.models) == {"champion"}


def test_a_canary_that_is_promoted_is_not_loaded_again(disk: Disk) -> None:
    """What has proved itself in memory is what goes on answering."""
    canary = take_over(disk.release(1, Traffic("canary", 0.5), champion="1", challenger="2"), None)
    promoted = take_over(disk.release(2, champion="2", previous="1"), canary)
    assert promoted.model("champion") is canary.model("challenger")
    assert promoted.model("previous") is canary.model("champion")
    assert promoted.index is canary.index


def test_slots_are_what_the_release_says(disk: Disk) -> None:
    """Generation, traffic, and a version in each slot that the release fills."""
    slots = take_over(disk.release(7, Traffic("canary", 0.05), champion="1", challenger="3"), None)
    assert (slots.generation, slots.traffic) == (7, Traffic("canary", 0.05))
    assert {slot: model.version for slot, model in slots.models.items()} == {"champion": "1", "challenger": "3"}
    assert slots.model("previous") is None
    assert slots.index.item_ids.tolist() == shop()[1].item_ids.tolist()


@pytest.mark.parametrize("part", ["champion", "challenger", "index"])
def test_a_release_with_one_part_that_cannot_be_loaded_changes_nothing(disk: Disk, part: str) -> None:
    """What is held goes on as it is, with the same objects in the same slots."""
    held = take_over(disk.release(1, champion="1"), None)
    before = dict(held.models)
    wanted = disk.release(2, champion="2", challenger="3", previous="1")
    gone = Artefact("2010-01-04" if part == "index" else "4", "/nowhere", "0" * 64)
    with pytest.raises(ArtefactError, match="/nowhere"):
        take_over(replace(wanted, **{part: gone}), held)
    assert held.models == before
    assert (held.generation, held.traffic) == (1, Traffic())


def test_without_the_version_before_customers_are_answered(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    """One that cannot be loaded is left out and logged, on a cold start, too."""
    wanted = replace(disk.release(2, champion="2", challenger="3"), previous=Artefact("4", "/nowhere", "0" * 64))
    assert set(take_over(wanted, None).models) == {"champion", "challenger"}
    assert "/nowhere" in caplog.text


def test_an_altered_index_is_refused(tmp_path: Path) -> None:
    """One flipped byte is one too many."""
    artefact = index_in(tmp_path / "index.npz")
    content = bytearray((tmp_path / "index.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "index.npz").write_bytes(content)
    with pytest.raises(ArtefactError, match=r"index.npz was altered after it was released"):
        load_item_index(artefact)


def test_a_missing_index_is_refused(tmp_path: Path) -> None:
    """The message says where it should be."""
    with pytest.raises(ArtefactError, match=r"index.npz cannot be read"):
        load_item_index(Artefact("2020-03-30", str(tmp_path / "index.npz"), "0" * 64))


def test_a_file_that_is_no_index_is_refused(tmp_path: Path) -> None:
    """Even with the hash that was released."""
    file = tmp_path / "index.npz"
    file.write_bytes(b"no index")
    with pytest.raises(ArtefactError, match="is not an item index"):
        load_item_index(Artefact("2020-03-30", str(file), file_sha256(file)))


def test_another_mondays_index_replaces_the_one_in_memory(disk: Disk) -> None:
    """The models beside it stay the objects that they are."""
    held = take_over(disk.release(1, champion="1"), None)
    older = replace(held, index=replace(held.index, as_of=held.index.as_of.replace(day=1)))
    renewed = take_over(disk.release(2, champion="1"), older)
    assert renewed.index.as_of == shop()[1].as_of
    assert renewed.model("champion") is held.model("champion")

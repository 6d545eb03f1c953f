"""Copies are verified, again whenever they change, and a registry that does not answer is asked once in a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ingest.errors import RegistryError
from serving.refusals import AGAIN_S, Refusals
from serving.served_kind import SERVED_FRAUD
from serving.version_copies import VersionCopies
from tests.serving.test_controller import Clock
from tests.training.fraud.test_artefact import contents
from tests.training.histories import altered
from training.fraud.artefact import FRAUD
from training.mlflow_registry import Version
from training.settings import build_settings
from training.workspace import Workspace


@dataclass
class FakeRegistry:
    """Holds one model under every version, and answers or not as it is told."""

    silent: bool = False
    asked: list[str] = field(default_factory=list)

    def files(self, version: str) -> Mapping[str, bytes]:
        self.asked.append(version)
        if self.silent:
            raise RegistryError("The registry took ten seconds to say nothing.")
        return contents()

    def version(self, version: str) -> Version:
        return Version(version, "run", {"sha256": FRAUD.sha256_of(contents())})


@dataclass
class Kept:
    """The copies in a folder, with what they need."""

    home: Path
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.refusals = Refusals(Workspace(build_settings(self.home)), self.clock)
        self.copies = VersionCopies(
            SERVED_FRAUD, self.home / "copies", lambda: self.registry, self.refusals, str,  # type: ignore[arg-type, return-value]
        )  # fmt: skip

    def look(self, *versions: str) -> list[bool]:
        """Which of the versions are there in one look of the controller."""
        self.refusals.asked_in_vain = False
        return [self.copies.artefact(version) is not None for version in versions]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    yield Kept(tmp_path)


def test_a_copy_is_fetched_once(kept: Kept) -> None:
    """What has not changed is not looked at again."""
    assert kept.look("1") == kept.look("1") == [True]
    assert kept.registry.asked == ["1"]


@pytest.mark.parametrize("file", FRAUD.files.values())
def test_a_copy_that_is_damaged_later_is_fetched_again(kept: Kept, file: str) -> None:
    """A worker that starts then must be able to load it."""
    kept.look("1")
    with altered(kept.copies.folder / "1" / file):
        assert kept.look("1") == [True]
        assert kept.registry.asked == ["1", "1"]
        found = kept.copies.artefact("1")
        assert found is not None
        SERVED_FRAUD.load(found)


def test_a_copy_that_was_only_touched_needs_no_registry(kept: Kept) -> None:
    """It is read again, and is what it was."""
    kept.look("1")
    kept.registry.silent = True
    os.utime(kept.copies.folder / "1" / FRAUD.files["golden"], (0, 0))
    assert kept.look("1") == [True]


def test_what_cannot_be_fetched_is_said_once_and_asked_for_now_and_then(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at every look, for each may take ten seconds; it is nobody's refusal, and is there when the registry answers."""
    kept.registry.silent = True
    for _ in range(3):
        assert kept.look("1") == [False]
    assert kept.registry.asked == ["1"]
    kept.clock.now_s += AGAIN_S
    kept.look("1")
    assert kept.registry.asked == ["1", "1"]
    assert [record.getMessage() for record in caplog.records] == [
        "fraud version 1 cannot be looked at, and is waited for: The registry took ten seconds to say nothing."
    ]
    assert kept.refusals.among({"1"}) == ()
    kept.registry.silent = False
    kept.clock.now_s += AGAIN_S
    assert kept.look("1") == [True]


def test_one_look_waits_for_one_silence(kept: Kept) -> None:
    """A second version is asked for in the next look; what is on this disk is there all the same."""
    kept.look("3")
    kept.registry.silent = True
    kept.copies = VersionCopies(
        SERVED_FRAUD, kept.home / "copies", lambda: kept.registry, kept.refusals, str,  # type: ignore[arg-type, return-value]
    )  # fmt: skip
    assert kept.look("1", "2", "3") == [False, False, True]
    assert kept.registry.asked == ["3", "1"]
    kept.look("1", "2", "3")
    assert kept.registry.asked == ["3", "1", "2"]


def test_a_disk_that_refuses_is_waited_for(kept: Kept) -> None:
    """It is no fault of the version, and ends nothing else."""
    kept.copies.folder.write_text("a file where a folder should be")
    assert kept.look("1") == [False]
    kept.copies.folder.unlink()
    kept.clock.now_s += AGAIN_S
    assert kept.look("1") == [True]

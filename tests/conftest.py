"""What every test needs before anything is imported: quiet vendors, and OpenMP threads that sleep instead of spin."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

os.environ.update(
    DO_NOT_TRACK="1", BENTOML_DO_NOT_TRACK="True", MLFLOW_DISABLE_TELEMETRY="true", OMP_WAIT_POLICY="PASSIVE"
)

# How long an example takes says more of the machine than of the code; what must be quick has a test that says so.
hypothesis.settings.register_profile("any machine", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("any machine")

#: Stories that several files read are told once, to one worker; every other file is a group of its own.
TOLD_ONCE = {
    "test_demo.py": "demo", "test_serving.py": "demo", "test_api_contract.py": "demo", "test_drills.py": "demo",
    "test_up.py": "demo",
    "test_full_disk.py": "two weeks", "test_killed.py": "two weeks",
    "test_controller.py": "small registry", "test_ramp.py": "small registry", "test_canary_decision.py": "small registry",
    "test_daily.py": "small days", "test_candidate.py": "small days",
    "test_late_answers.py": "small registry", "test_rollback.py": "small registry",
}  # fmt: skip


class ByStory(LoadScopeScheduling):
    """Gives a worker whole groups of tests, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0].rsplit("/", 1)[-1]
        return TOLD_ONCE.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByStory:
    """`loadgroup` would do, but xdist 3.8 hands its groups to an attribute that pytest 9.2 no longer reads."""
    return ByStory(config, log)


_machine = ExitStack()  # held from one test that wants to be alone to the next
_kept = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Run tests side by side, but one that is marked `alone` beside nothing; what their fixtures do is part of them."""
    global _kept  # noqa: PLW0603
    if not hasattr(item.config, "workerinput"):
        return (yield)
    alone = "alone" in item.keywords
    if not _kept:
        shared = item.config._tmp_path_factory.getbasetemp().parent
        _machine.enter_context(_on_the_machine(shared, alone=alone))
    try:
        return (yield)
    finally:
        _kept = alone and nextitem is not None and "alone" in nextitem.keywords
        if not _kept:
            _machine.close()


@contextmanager
def _on_the_machine(shared: Path, *, alone: bool) -> Iterator[None]:
    """Hold the machine with others, or alone. Whoever waits for it holds the turnstile meanwhile, so that nobody slips in before."""
    with (shared / "turnstile").open("w") as turnstile, (shared / "machine").open("w") as machine:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield


#: Folders that only a command which names them runs: `make compose-test` wants a Docker engine, `make infra-test` Terraform.
BY_NAME = ("compose", "terraform")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs more than the environment, unless it was named."""
    folder = collection_path.name if collection_path.parent == Path(__file__).parent else ""
    return True if folder in BY_NAME and not any(folder in str(argument) for argument in config.args) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones."""
    items.sort(key=lambda item: "slow" not in item.keywords)

"""An emulator, and plans and stacks against it, told once for all files. Needs Terraform and its AWS provider."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.emulator.gaps import left_out
from infra.emulator.process import emulator
from infra.emulator.readback import Account
from infra.k8s.manifests import Manifest, render
from infra.k8s.outputs import write
from infra.plan import Plan
from infra.stack import ENVIRONMENTS, Stack

K8S = Path(__file__).parents[2] / "infra" / "k8s"
COMMIT, CERTIFICATE = "d46fc6b", "arn:aws:acm:us-east-1:000000000000:certificate/made-up"


def manifests(environment: str, outputs: Mapping[str, Any], folder: Path) -> list[Manifest]:
    """The overlay of an environment, in a copy, filled with these outputs."""
    tree = folder / "k8s"
    shutil.copytree(K8S, tree, ignore=shutil.ignore_patterns("platform.env"))
    write(outputs, tree / "overlays" / environment, tag=COMMIT, certificate=CERTIFICATE)
    return render(tree / "overlays" / environment)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole root against an emulator to which nothing is applied."""
    folder = tmp_path_factory.mktemp("untouched")
    with emulator(folder / "emulator.log") as address:
        yield Stack.copy(folder, address)


@pytest.fixture(scope="session")
def plans(untouched: Stack) -> dict[str, Plan]:
    """What would be made, by environment."""
    return {environment: untouched.plan(environment) for environment in ENVIRONMENTS}


@dataclass(frozen=True, slots=True)
class Applied:
    """An environment that was applied to an emulator of its own, without the gaps."""

    environment: str
    stack: Stack
    account: Account
    plan: Plan
    before: set[tuple[str, str]]

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.stack.state())


@pytest.fixture(scope="session")
def apply(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Applied]]:
    """Apply an environment, once; asked again it gives what stands."""
    running: dict[str, tuple[Any, Applied]] = {}

    def applied(environment: str) -> Applied:
        if environment not in running:
            folder: Path = tmp_path_factory.mktemp(environment)
            started = emulator(folder / "emulator.log")
            account = Account(address := started.__enter__())
            stack = Stack.copy(folder, address, left_out())
            running[environment] = (
                started,
                Applied(environment, stack, account, before=account.inventory(), plan=stack.apply(environment)),
            )
        return running[environment][1]

    yield applied
    for started, _ in running.values():
        started.__exit__(None, None, None)

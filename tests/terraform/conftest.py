"""An emulator, and plans and stacks against it, told once for all files. Needs Terraform and its AWS provider."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.emulator.gaps import GAPS, can_hold, left_out
from infra.emulator.process import emulator
from infra.emulator.readback import LISTINGS, Account
from infra.k8s.agree import disagreements
from infra.k8s.manifests import Manifest, render
from infra.k8s.outputs import FILE, write
from infra.plan import Plan
from infra.stack import Stack

K8S = Path(__file__).parents[2] / "infra" / "k8s"
#: The default security group lets nothing in or out.
MEANT_TO_BE_EMPTY = {
    ("aws_default_security_group", "IpPermissions"),
    ("aws_default_security_group", "IpPermissionsEgress"),
}
COMMIT, CERTIFICATE = "d46fc6b", "arn:aws:acm:us-east-1:000000000000:certificate/made-up"


def copied(folder: Path) -> Path:
    """The manifests in a folder of the test's own, so that nothing is written into the repository."""
    tree = folder / "k8s"
    shutil.copytree(K8S, tree, ignore=shutil.ignore_patterns("*.py", "__pycache__", FILE))
    return tree


def manifests(environment: str, outputs: Mapping[str, Any], folder: Path) -> list[Manifest]:
    """The overlay of an environment, in a copy, filled with these outputs."""
    overlay = copied(folder) / "overlays" / environment
    write(outputs, overlay, tag=COMMIT, certificate=CERTIFICATE)
    return render(overlay)


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The whole root against an emulator to which nothing is applied."""
    folder = tmp_path_factory.mktemp("untouched")
    with emulator(folder / "emulator.log") as address:
        yield Stack.copy(folder, address)


@pytest.fixture(scope="session")
def planned(untouched: Stack) -> Callable[[str], Plan]:
    """What would be made in an environment, planned once."""
    return functools.cache(untouched.plan)


@dataclass(frozen=True, slots=True)
class Applied:
    """An environment that was applied to an emulator of its own, without the gaps."""

    environment: str
    stack: Stack
    account: Account
    plan: Plan
    before: set[tuple[str, str]]

    def check_all_is_there(self, whole: Plan) -> None:
        """All of the whole root's plan stands, but what GAPS.yaml says."""
        gaps = {resource.address for resource in whole.resources if not can_hold(resource)}
        assert self.stack.state().keys() == {resource.address for resource in whole.resources} - gaps
        assert {gap.type for gap in GAPS} == {resource.type for resource in whole.resources if resource.address in gaps}

    def check_it_is_as_planned(self) -> None:
        """Each resource, asked of AWS's API by boto3."""
        state = self.stack.state()
        found = [str(d) for r in self.plan.resources for d in self.account.disagreements(r, state[r.address])]
        assert found == []

    def check_all_was_compared(self) -> None:
        """Each reading compares something for some resource, and each listing lists something: none agrees because both are empty."""
        state = self.stack.state()
        compared = [(r.type, *one) for r in self.plan.resources for one in self.account.compared(r, state[r.address])]
        said = {(type_, what) for type_, what, wanted, _ in compared if wanted not in (None, [], {}, "")}
        assert {(type_, what) for type_, what, *_ in compared} - said == MEANT_TO_BE_EMPTY
        silent = set().union(*LISTINGS.values()) - {call for call, _ in self.account.inventory() - self.before}
        assert silent == {"describe_instances"}  # Batch starts none while nothing is asked

    def check_manifests_name_it(self, folder: Path) -> None:
        outputs = self.stack.outputs()
        assert disagreements(manifests(self.environment, outputs, folder), outputs) == []


@contextmanager
def applied(environment: str, folder: Path) -> Iterator[Applied]:
    """Apply an environment to an emulator that lives as long."""
    with emulator(folder / "emulator.log") as address:
        account, stack = Account(address), Stack.copy(folder, address, left_out())
        before = account.inventory()
        yield Applied(environment, stack, account, stack.apply(environment), before)

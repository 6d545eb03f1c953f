"""What Terraform would make, in each environment: planned, judged, priced, and named as the manifests name it. Nothing is applied."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.cost.budget import over_budget
from infra.cost.monthly import monthly
from infra.emulator.gaps import can_hold
from infra.emulator.readback import READINGS
from infra.k8s.agree import disagreements
from infra.plan import Plan
from infra.policies.rules import check
from infra.stack import ENVIRONMENTS, Stack
from tests.terraform.conftest import manifests
from tests.terraform.k8s_outputs import filled

Planned = Callable[[str], Plan]
environments = pytest.mark.parametrize("environment", ENVIRONMENTS)


def test_it_is_written_as_terraform_writes_it(untouched: Stack) -> None:
    assert untouched.format_check() == []


def test_mocks_prove_what_the_modules_promise(untouched: Stack) -> None:
    """Every run of infra/terraform/tests; a failing one is told by name."""
    summary = [json.loads(line) for line in untouched.test("-json").splitlines()]
    counted = next(line["test_summary"] for line in summary if line["type"] == "test_summary")
    assert counted["status"] == "pass"
    assert counted["passed"] >= 57
    assert counted["failed"] == counted["errored"] == counted["skipped"] == 0


@environments
def test_nothing_breaks_a_rule(planned: Planned, environment: str) -> None:
    assert [str(violation) for violation in check(planned(environment))] == []


@environments
def test_the_budget_is_kept(planned: Planned, environment: str) -> None:
    bill = monthly(planned(environment))
    assert 0 < bill.total.floor <= bill.total.expected <= bill.total.ceiling
    assert [str(excess) for excess in over_budget(planned(environment), bill)] == []


@environments
def test_manifests_and_outputs_agree(planned: Planned, environment: str, tmp_path: Path) -> None:
    outputs = {name: output.value for name, output in planned(environment).outputs.items()}
    assert disagreements(manifests(environment, filled(outputs, environment), tmp_path), outputs) == []


@environments
def test_every_resource_can_be_read_back_or_is_a_known_gap(planned: Planned, environment: str) -> None:
    unread = {r.type for r in planned(environment).resources if can_hold(r)} - READINGS.keys()
    assert unread == set()


def test_environments_hold_the_same_kinds(planned: Planned) -> None:
    """They differ in numbers, of ways out and of endpoints, say, and in values."""
    kinds = {
        environment: {(r.module, r.type) for r in plan.resources}
        for environment, plan in zip(ENVIRONMENTS, map(planned, ENVIRONMENTS), strict=True)
    }
    assert kinds["dev"] == kinds["staging"] == kinds["prod"]
    assert len(planned("prod").resources) > len(planned("dev").resources)


def test_nothing_secret_is_an_output(planned: Planned) -> None:
    said = repr({name: output.value for name, output in planned("prod").outputs.items()})
    secret: Any = planned("prod").of("aws_secretsmanager_secret_version")[0].get("secret_string")
    assert len(secret) >= 32
    assert secret not in said

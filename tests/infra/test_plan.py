"""A plan reads as what will be: known values as they are, later ones as UNKNOWN, and nothing that goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.errors import PlanError
from infra.plan import UNKNOWN, Output, Plan, Resource
from tests.infra.plans import document, later, plan, resource


def changed(after: Any, unknown: Any, actions: tuple[str, ...] = ("create",), address: str = "aws_x.this") -> Plan:
    """A plan with one change, as Terraform writes it."""
    change = {"actions": [*actions], "after": after, "after_unknown": unknown}
    kind = address.rpartition(".")[0].rpartition(".")[2]
    changes = [{"address": address, "type": kind, "mode": "managed", "change": change}]
    return Plan({"planned_values": {}, "resource_changes": changes, "variables": {}})


@pytest.mark.parametrize(
    ("after", "unknown", "read"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": True}, {"a": 1, "b": UNKNOWN}),
        ({"a": None}, {"a": True}, {"a": UNKNOWN}),
        ({"a": None}, {"a": False}, {"a": None}),
        ({"a": 1}, {"a": False, "b": False}, {"a": 1}),
        ({"a": [{"b": 1}, {}]}, {"a": [{}, {"c": True}]}, {"a": [{"b": 1}, {"c": UNKNOWN}]}),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": True}]}, {"a": [{"b": UNKNOWN}, {"b": 2}]}),
        ({"a": ["x", None]}, {"a": [False, True]}, {"a": ["x", UNKNOWN]}),
        ({"tags": None}, {"tags": {"owner": True}}, {"tags": {"owner": UNKNOWN}}),
        ({"a": [{"b": 1}]}, {"a": []}, {"a": [{"b": 1}]}),
    ],
)
def test_what_comes_later_is_unknown(after: Any, unknown: Any, read: Any) -> None:
    """UNKNOWN stands wherever a plan says so, at any depth, and nowhere else."""
    assert changed(after, unknown).resources[0].values == read


def test_unknown_is_true_and_says_what_it_is() -> None:
    """What will be there counts as set, and is seen in a message."""
    assert UNKNOWN
    assert repr(UNKNOWN) == "UNKNOWN"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "lake"),
        ("rule.0.days", 7),
        ("rule.1.days", "missing"),
        ("rule.days", "missing"),
        ("owner", "missing"),
        ("nothing", "missing"),
        ("name.0", "missing"),
        ("arn", UNKNOWN),
        ("arn.0.deeper", UNKNOWN),
        ("off", False),
    ],
)
def test_a_value_is_had_by_its_path(path: str, value: Any) -> None:
    """Missing and null are the default; below what is unknown all is unknown; false is a value."""
    bucket = Resource(
        "aws_s3_bucket.this",
        "aws_s3_bucket",
        {"name": "lake", "rule": [{"days": 7}], "owner": None, "arn": UNKNOWN, "off": False},
    )
    assert bucket.get(path, "missing") == value


def test_what_is_destroyed_is_not_there() -> None:
    """A resource that goes is among the changes, and not among the resources; one that is replaced is among both."""
    gone, swapped, kept = (resource(f"aws_sns_topic.{name}", name=name) for name in ("gone", "swapped", "kept"))
    read = plan(
        replace(gone, actions=("delete",)),
        replace(swapped, actions=("delete", "create")),
        replace(kept, actions=("no-op",)),
    )
    assert [it.address for it in read.resources] == ["aws_sns_topic.swapped", "aws_sns_topic.kept"]
    assert read.changes == {"aws_sns_topic.gone": ("delete",), "aws_sns_topic.swapped": ("delete", "create")}


def test_data_sources_stand_apart() -> None:
    """Those read already and those that wait are data, and no resources."""
    read = plan(
        resource("data.aws_caller_identity.current", account_id="123456789012"),
        resource("module.a.data.aws_iam_policy_document.this", json=later("x.y")),
        resource("aws_sns_topic.this"),
    )
    assert [it.address for it in read.resources] == ["aws_sns_topic.this"]
    assert {it.address: it.get("account_id", it.get("json")) for it in read.data} == {
        "data.aws_caller_identity.current": "123456789012",
        "module.a.data.aws_iam_policy_document.this": UNKNOWN,
    }


def test_data_in_modules_of_the_state_is_found() -> None:
    """What an earlier read put into the state of a module within a module is there too."""
    inner = {
        "address": "module.a.module.b.data.aws_region.r",
        "type": "aws_region",
        "mode": "data",
        "values": {"name": "x"},
    }
    managed = {"address": "module.a.aws_x.this", "type": "aws_x", "mode": "managed", "values": {}}
    made = document()
    made["prior_state"]["values"]["root_module"] = {
        "child_modules": [{"resources": [managed], "child_modules": [{"resources": [inner]}]}]
    }
    assert [it.address for it in Plan(made).data] == ["module.a.module.b.data.aws_region.r"]


def test_resources_are_had_by_type() -> None:
    """Of one type or several, in the plan's order."""
    read = plan(resource("aws_a.x"), resource("aws_b.y"), resource("aws_c.z"))
    assert [it.address for it in read.of("aws_c", "aws_a")] == ["aws_a.x", "aws_c.z"]


@pytest.mark.parametrize(
    ("address", "module"),
    [
        ("aws_sns_topic.this", ""),
        ('module.lake.aws_s3_bucket.this["a.b"]', "module.lake"),
        ('module.pools.module.template["gpu.spot"].aws_launch_template.this', "module.pools.module.template"),
        ("module.role.data.aws_iam_policy_document.trust", "module.role"),
    ],
)
def test_a_module_is_named_without_keys(address: str, module: str) -> None:
    """So that instances of a module count as one."""
    given = resource(address)
    assert Resource(address, given.type, {}).module == module


def test_outputs_are_values_or_unknown() -> None:
    """What an output will hold, and whether it is secret."""
    made = document()
    made["output_changes"] = {
        "region": {"after": "us-east-1", "after_unknown": False, "after_sensitive": False},
        "cluster": {"after": {"name": "prod"}, "after_unknown": {"endpoint": True}, "after_sensitive": False},
        "password": {"after_unknown": True, "after_sensitive": True},
    }
    assert Plan(made).outputs == {
        "region": Output("us-east-1", sensitive=False),
        "cluster": Output({"name": "prod", "endpoint": UNKNOWN}, sensitive=False),
        "password": Output(UNKNOWN, sensitive=True),
    }


def test_variables_are_those_given() -> None:
    """The environment is one of them; one that was not given is an error that names it."""
    read = plan(environment="staging", image_tag="d46fc6b")
    assert (read.environment, read.variable("image_tag")) == ("staging", "d46fc6b")
    with pytest.raises(PlanError, match="without variable 'region'"):
        read.variable("region")


@pytest.mark.parametrize("missing", ["resource_changes", "planned_values"])
def test_a_state_is_no_plan(missing: str) -> None:
    """What is no plan is refused, with the command that writes one."""
    made = document()
    del made[missing]
    with pytest.raises(PlanError, match=r"not the JSON of a plan.*terraform show -json"):
        Plan(made)


def test_a_plan_that_failed_is_refused() -> None:
    """Half of a plan would pass where the other half is wrong."""
    with pytest.raises(PlanError, match="ended in an error"):
        Plan(document() | {"errored": True})
    assert Plan(document() | {"errored": False}).resources == ()


def test_a_file_is_read(tmp_path: Path) -> None:
    """The file that `terraform show -json` wrote is the plan."""
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(document(resource("aws_sns_topic.this"), environment="dev")))
    assert [it.address for it in Plan.read(path).resources] == ["aws_sns_topic.this"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist; `terraform show"), (b"Plan: 3 to add", "is not JSON"), (b"\x80\x00zip", "is not JSON")],
)
def test_a_file_that_is_none_says_what_to_do(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A missing file, a plan as text and a plan as Terraform's own archive are refused alike."""
    path = tmp_path / "dev.tfplan"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError, match=message) as refused:
        Plan.read(path)
    assert str(path) in str(refused.value)

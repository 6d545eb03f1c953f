"""Prod: applied and read back as dev is, with all that only prod has, and not destroyed by a slip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.errors import ToolError
from infra.plan import Plan
from tests.terraform.conftest import Applied, applied


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    with applied("prod", tmp_path_factory.mktemp("prod")) as environment:
        yield environment


def test_every_planned_resource_is_applied_or_a_gap(prod: Applied, planned: Callable[[str], Plan]) -> None:
    prod.check_all_is_there(planned("prod"))


def test_what_stands_is_what_was_planned(prod: Applied) -> None:
    prod.check_it_is_as_planned()


def test_nothing_agrees_because_it_is_empty(prod: Applied) -> None:
    prod.check_all_was_compared()


def test_a_second_plan_changes_nothing(prod: Applied) -> None:
    assert prod.stack.plan("prod").changes == {}


def test_what_stands_is_what_manifests_name(prod: Applied, tmp_path: Path) -> None:
    prod.check_manifests_name_it(tmp_path)


def test_it_is_not_destroyed_by_a_slip(prod: Applied) -> None:
    """The database refuses, and stands."""
    with pytest.raises(ToolError, match="deletion protection"):
        prod.stack.destroy("prod", "-target=module.tracking.aws_db_instance.this")
    assert prod.account.client("rds").describe_db_instances()["DBInstances"]

"""`mlops infra` on plans of one's own: verdict, exit status and JSON, without Terraform."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.commands import app
from infra.errors import InfraError
from infra.policies.rules import RULES
from tests.infra.plans import change, document, world

runner = CliRunner()


@pytest.fixture
def in_order(tmp_path: Path) -> Path:
    file = tmp_path / "prod.json"
    file.write_text(json.dumps(world().document))
    return file


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(world(change("aws_db_instance.this", "publicly_accessible", True)).document))
    return file


def test_a_plan_in_order_is_counted_and_passes(in_order: Path) -> None:
    ended = runner.invoke(app, ["plan", "--plan", str(in_order), "--json"])
    assert ended.exit_code == 0, ended.output
    said = json.loads(ended.output)["prod"]
    assert said["violations"] == []
    assert said["changes"]["create"] == sum(said["resources"].values()) > 50
    told = runner.invoke(app, ["plan", "--plan", str(in_order)])
    assert told.exit_code == 0
    assert f"{len(RULES)} rules: all kept" in told.output


def test_a_broken_rule_is_told_with_what_to_do(broken: Path) -> None:
    ended = runner.invoke(app, ["plan", "--plan", str(broken), "--json"])
    assert ended.exit_code == 1
    [violation] = json.loads(ended.output)["prod"]["violations"]
    assert violation["rule"] == "rds-not-public"
    assert violation["address"] == "aws_db_instance.this"
    told = runner.invoke(app, ["plan", "--plan", str(broken)])
    [rule] = [rule for rule in RULES if rule.id == "rds-not-public"]
    assert told.exit_code == 1
    assert "broken 1 times" in told.output
    assert rule.remedy.split()[0] in told.output


@pytest.mark.parametrize("command", ["plan", "cost"])
def test_environments_and_plans_are_not_mixed(command: str, in_order: Path) -> None:
    ended = runner.invoke(app, [command, "dev", "--plan", str(in_order)])
    assert isinstance(ended.exception, InfraError)
    assert "not both" in str(ended.exception)


def test_a_file_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"format_version": "1.0", "values": {}}))
    ended = runner.invoke(app, ["plan", "--plan", str(tmp_path / "state.json")])
    assert "no resource_changes" in str(ended.exception)


def test_cost_is_told_and_a_budget_that_is_exceeded_ends_with_one(tmp_path: Path) -> None:
    limits = {"limit_usd": 1, "model_limits_usd": {}}
    nat = {
        "module_address": "module.network",
        "mode": "managed",
        "type": "aws_nat_gateway",
        "address": "module.network.aws_nat_gateway.this",
    }
    change_ = {"actions": ["create"], "before": None, "after": {"tags_all": {"model": "shared"}}, "after_unknown": {}}
    for limit, status in ((1, 1), (1000, 0)):
        plan = document(environment="dev", region="us-east-1", budget=limits | {"limit_usd": limit})
        plan["resource_changes"] = [nat | {"change": change_}]
        (tmp_path / "dev.json").write_text(json.dumps(plan))
        ended = runner.invoke(app, ["cost", "--plan", str(tmp_path / "dev.json"), "--json"])
        assert ended.exit_code == status, ended.output
        said = json.loads(ended.output)
        assert len(said["over_budget"]) == status
        assert said["bills"][0]["usd_a_month"]["expected"] > 1
        assert said["spot"]


def test_help_teaches() -> None:
    said = runner.invoke(app, ["--help"]).output
    for command in ("plan", "cost", "diff", "test"):
        assert command in said

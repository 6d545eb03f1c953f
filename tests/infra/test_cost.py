"""The bill of an environment: what is priced, what is refused, and whether it keeps to its budget."""

import io
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infra.cost import told
from infra.cost.budget import limits, over_budget
from infra.cost.charges import FREE, PRICED, vcpus
from infra.cost.errors import CostError
from infra.cost.monthly import monthly
from infra.cost.pricing import Price, PriceTable, Spot
from infra.cost.span import Span
from infra.cost.usage import USAGE, Usage
from infra.plan import Plan

VARIABLES = {
    "environment": "dev",
    "region": "us-east-1",
    "budget": {"limit_usd": 1000, "model_limits_usd": {"recommender": 20}},
    "jobs": {"recommender": {"vcpus": 8}},
}

PRICES = """
region = "us-east-1"
as_of = 2026-11-26

[[prices]]
unit = "hour"
source = "https://example.com"
as_of = 2026-11-26
read = "https://example.com/read"

[prices.usd]
"ec2.m6i.large" = 0.1
"ec2.m7i.large" = 0.2
"ec2.m6i.2xlarge" = 0.4
"eks.standard" = 0.1
"eks.extended" = 0.6
"nat.hour" = 0.05
"nat.gb" = 0.04

[[prices]]
unit = "month"
source = "https://example.com"
as_of = 2026-11-26

[prices.usd]
"ebs.gp3" = 0.08
"cloudwatch.metric" = 0.3
"kms.key" = 1.0
"kms.requests" = 0.03
"logs.gb" = 0.5
"logs.kept" = 0.03

[[spot]]
type = "m6i.large"
usd = [0.03, 0.04]
interrupted_a_month = [0.0, 0.05]
source = "https://example.com"
as_of = 2026-11-26
read = "https://example.com/read"

[spot_elsewhere]
share_of_on_demand = 0.5
interrupted_a_month = [0.05, 0.1]
source = "https://example.com"
as_of = 2026-11-26

[kubernetes_standard_until]
source = "https://example.com"

[kubernetes_standard_until.days]
"1.33" = 2026-07-29
"1.35" = 2027-03-27
"""

ASSUMED = {
    "nat_gb": [0, 100, 200],
    "pool_hours.system": 70,
    "runs_a_week.recommender": 3,
    "run_hours.recommender": 2,
    "batch_on_spot": 0.75,
    "kms_ten_thousand_requests": [0, 10, 100],
    "logs_gb.control_plane": [1, 10, 50],
    "logs_gb.containers": [1, 8, 50],
    "logs_compressed": 0.2,
}


def made(addresses: Mapping[str, Mapping[str, Any]], **variables: Any) -> Plan:
    """A plan that creates resources by address; `shared` is their model unless they say otherwise."""
    changes = [
        {
            "address": address,
            "mode": "managed",
            "type": next(part for part in address.replace("[", ".").split(".") if part.startswith("aws_")),
            "change": {"actions": ["create"], "after": {"tags_all": {"model": "shared"}, **values}},
        }
        for address, values in addresses.items()
    ]
    given = {name: {"value": value} for name, value in (VARIABLES | variables).items()}
    return Plan({"resource_changes": changes, "planned_values": {}, "variables": given})


@pytest.fixture
def prices(tmp_path: Path) -> PriceTable:
    """A small table with round prices."""
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return PriceTable.read(path)


@pytest.fixture
def usage(tmp_path: Path) -> Usage:
    """A few assumptions with round amounts."""
    path = tmp_path / "usage.toml"
    path.write_text("".join(f'[{key}]\nreason = "for tests"\ndev = {amount}\n' for key, amount in ASSUMED.items()))
    return Usage.read("dev", path)


def template(gb: int = 100, monitored: bool = True) -> dict[str, Any]:
    return {
        "block_device_mappings": [{"ebs": [{"volume_size": gb}]}],
        "monitoring": [{"enabled": monitored}],
    }


def pool(name: str, low: int, high: int, *types: str, capacity: str = "ON_DEMAND") -> dict[str, dict[str, Any]]:
    return {
        f'module.node_pools.aws_eks_node_group.this["{name}"]': {
            "node_group_name": name,
            "capacity_type": capacity,
            "instance_types": list(types),
            "scaling_config": [{"min_size": low, "max_size": high}],
        },
        f'module.node_pools.module.launch_template["{name}"].aws_launch_template.this': template(),
    }


def batch(max_vcpus: int = 16) -> dict[str, dict[str, Any]]:
    def environment(capacity: str) -> dict[str, Any]:
        resources = {"type": capacity, "max_vcpus": max_vcpus, "instance_type": ["m6i.2xlarge"]}
        return {"compute_resources": [resources], "tags_all": {"model": "recommender"}}

    return {
        'module.training.aws_batch_compute_environment.this["spot"]': environment("SPOT"),
        'module.training.aws_batch_compute_environment.this["on-demand"]': environment("EC2"),
        'module.training.aws_batch_job_definition.this["recommender"]': {"tags_all": {"model": "recommender"}},
        "module.training.module.launch_template.aws_launch_template.this": template(monitored=False),
    }


NAT: dict[str, dict[str, Any]] = {f'module.network.aws_nat_gateway.this["us-east-1{zone}"]': {} for zone in "ab"}
KEY: dict[str, dict[str, Any]] = {"module.security.aws_kms_key.this": {"enable_key_rotation": True}}


# ── A bill by hand ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_small_bill_by_hand(prices: PriceTable, usage: Usage) -> None:
    """Two NAT gateways are one line: 1,460 hours at $.05, and 100 GB at $.04 between them; a key that rotates costs up to three."""
    bill = monthly(made(NAT | KEY), prices, usage)
    assert [(line.what, line.usd.floor, line.usd.expected, line.usd.ceiling) for line in bill.lines] == [
        ("NAT gateway", 73.0, 73.0, 73.0),
        ("traffic through NAT", 0.0, 4.0, 8.0),
        ("keys", 1.0, 1.0, 3.0),
        ("requests", 0.0, pytest.approx(0.3), 3.0),
    ]
    assert bill.total.expected == pytest.approx(78.3)
    assert bill.lines[0].addresses == tuple(NAT)
    assert {module: span.expected for module, span in bill.by_module.items()} == {
        "network": pytest.approx(77.0),
        "security": pytest.approx(1.3),
    }


def test_a_pool_s_minimum_runs_all_month(prices: PriceTable, usage: Usage) -> None:
    """One node of two stands all month, 70 hours of another are assumed; at the maximum both are of the dearest type."""
    bill = monthly(made(pool("system", 1, 2, "m6i.large", "m7i.large")), prices, usage)
    machines, disks, metrics = bill.lines
    assert machines.quantity == Span(730, 800, 1460)
    assert (machines.usd.floor, machines.usd.expected, machines.usd.ceiling) == pytest.approx((73, 80, 292))
    assert disks.usd.expected == pytest.approx(800 / 730 * 100 * 0.08)
    assert metrics.usd.expected == pytest.approx(800 / 730 * 7 * 0.3)


def test_spot_takes_the_upper_end_of_what_was_seen(prices: PriceTable, usage: Usage) -> None:
    """A type whose spot price was seen costs its upper end; another a share of on-demand, which nobody read anywhere."""
    bill = monthly(made(pool("system", 0, 2, "m6i.large", "m7i.large", capacity="SPOT")), prices, usage)
    assert bill.lines[0].unit_usd.expected == pytest.approx((0.04 + 0.1) / 2)
    assert bill.lines[0].unit_usd.ceiling == pytest.approx(0.1)
    assert "spot.m7i.large" in bill.unread
    assert "spot.m6i.large" not in bill.unread


def test_trainings_are_their_model_s(prices: PriceTable, usage: Usage) -> None:
    """Three runs a week of two hours are 26 a month: 19.5 at half price on spot, 6.5 on demand, and their disks."""
    bill = monthly(made(batch()), prices, usage)
    assert bill.by_model["recommender"].expected == pytest.approx(19.5 * 0.2 + 6.5 * 0.4 + 26 / 730 * 100 * 0.08)
    assert set(bill.by_model) == {"recommender"}
    room = bill.by_key["module.training.aws_batch_compute_environment.this", "more trainings on spot: machines"]
    assert room.quantity == Span(0, 0, 2 * 730 - 19.5)


def test_a_training_without_machines_is_not_free(prices: PriceTable, usage: Usage) -> None:
    planned = batch()
    for address in planned:
        if "compute_environment" in address:
            planned[address] |= {"tags_all": {"model": "shared"}}
    with pytest.raises(CostError, match="is of model 'recommender', and no compute environment is tagged"):
        monthly(made(planned), prices, usage)


def test_logs_are_paid_when_they_come_and_while_they_stay(prices: PriceTable, usage: Usage) -> None:
    """Ten GB a month kept for a year, compressed to a fifth, are 24 GB."""
    group = {"module.cluster.aws_cloudwatch_log_group.control_plane": {"retention_in_days": 365}}
    bill = monthly(made(group), prices, usage)
    assert [line.usd.expected for line in bill.lines] == pytest.approx([5.0, 24 * 0.03])


def test_an_assumption_about_several_groups_is_divided_among_them(prices: PriceTable, usage: Usage) -> None:
    groups = {
        f'module.cluster.aws_cloudwatch_log_group.containers["{name}"]': {"retention_in_days": 30}
        for name in ("host", "pods")
    }
    bill = monthly(made(groups), prices, usage)
    assert (
        bill.by_key["module.cluster.aws_cloudwatch_log_group.containers", "logs of containers"].quantity.expected == 8
    )


@pytest.mark.parametrize(
    ("version", "on", "usd"),
    [("1.33", date(2026, 7, 29), 73.0), ("1.33", date(2026, 7, 30), 438.0), ("1.35", date(2026, 11, 26), 73.0)],
)
def test_an_old_kubernetes_costs_six_times_as_much(
    version: str, on: date, usd: float, prices: PriceTable, usage: Usage
) -> None:
    """From the day after its standard support, a cluster is charged for extended support."""
    cluster = {"module.cluster.aws_eks_cluster.this": {"version": version}}
    assert monthly(made(cluster), prices, usage, on).total.expected == pytest.approx(usd)


def test_neighbours_of_another_size_keep_their_own_line(prices: PriceTable, usage: Usage) -> None:
    """What is priced differently is not added up, though its address differs only in its index."""
    clusters = {
        f'module.cluster.aws_eks_cluster.this["{version}"]': {"version": version} for version in ("1.33", "1.35")
    }
    bill = monthly(made(clusters), prices, usage)
    assert [line.usd.expected for line in bill.lines] == pytest.approx([438.0, 73.0])


@pytest.mark.parametrize(
    ("instance_type", "count"), [("m6i.large", 2), ("g5.xlarge", 4), ("m5.2xlarge", 8), ("g6.4xlarge", 16)]
)
def test_processors_by_size(instance_type: str, count: int) -> None:
    """A type's size says how many processors it has."""
    assert vcpus(instance_type) == count


# ── What is refused ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_price_is_an_error(prices: PriceTable, usage: Usage) -> None:
    """A type without a price never costs 0: the error names it, and the file that wants it."""
    with pytest.raises(
        CostError, match=r"^c9x\.large has no price in us-east-1; add 'ec2\.c9x\.large' to .*prices\.toml"
    ):
        monthly(made(pool("system", 1, 2, "c9x.large")), prices, usage)


def test_a_type_that_nobody_priced_is_an_error(prices: PriceTable, usage: Usage) -> None:
    """A new kind of resource cannot slip in for nothing."""
    with pytest.raises(
        CostError, match=r"module\.new\.aws_msk_cluster\.this is of a type that is neither priced nor free"
    ):
        monthly(made({"module.new.aws_msk_cluster.this": {}}), prices, usage)


def test_an_add_on_that_nobody_priced_is_an_error(prices: PriceTable, usage: Usage) -> None:
    """Some add-ons are charged for, so that an unknown one is not free."""
    with pytest.raises(CostError, match="Add-on kubecost is neither priced nor free"):
        monthly(made({"module.addons.aws_eks_addon.this": {"addon_name": "kubecost"}}), prices, usage)


def test_a_region_without_prices_is_refused(prices: PriceTable, usage: Usage) -> None:
    """Prices of one region say nothing about another."""
    with pytest.raises(CostError, match="There are prices of us-east-1 only, and this plan is of eu-west-1"):
        monthly(made(NAT, region="eu-west-1"), prices, usage)


def test_an_unknown_kubernetes_is_refused(prices: PriceTable, usage: Usage) -> None:
    """A version whose support nobody wrote down could cost either price."""
    with pytest.raises(CostError, match=r"until when Kubernetes 1\.99 is in standard support"):
        monthly(made({"module.cluster.aws_eks_cluster.this": {"version": "1.99"}}), prices, usage)


def test_what_nobody_assumed_is_an_error(prices: PriceTable, usage: Usage) -> None:
    """A log group without an assumption has no cost yet, rather than none."""
    group = {"module.other.aws_cloudwatch_log_group.this": {"retention_in_days": 30}}
    with pytest.raises(CostError, match=r"Nobody assumed 'logs_gb\.other' of dev"):
        monthly(made(group), prices, usage)


def test_logs_kept_for_ever_are_refused(prices: PriceTable, usage: Usage) -> None:
    """What never expires has no monthly cost."""
    with pytest.raises(CostError, match="keeps its lines for ever"):
        monthly(
            made({"module.cluster.aws_cloudwatch_log_group.control_plane": {"retention_in_days": 0}}), prices, usage
        )


def test_more_hours_than_a_pool_has_are_refused(prices: PriceTable, usage: Usage) -> None:
    """An assumption that the plan cannot bear is wrong, or the pool is."""
    with pytest.raises(CostError, match="assumed to run 800 hours a month, and its max_nodes allow 730"):
        monthly(made(pool("system", 1, 1, "m6i.large")), prices, usage)


def test_more_training_than_batch_has_is_refused(prices: PriceTable, usage: Usage) -> None:
    """Runs that max_vcpus leave no room for are wrong, or max_vcpus is."""
    with pytest.raises(CostError, match=r"assumed to take 19\.5 machine hours .* allow 0"):
        monthly(made(batch(max_vcpus=0)), prices, usage)


def test_machines_without_a_template_are_refused(prices: PriceTable, usage: Usage) -> None:
    """A disk that nobody can find has no price."""
    alone = {
        address: values for address, values in pool("system", 1, 2, "m6i.large").items() if "node_group" in address
    }
    with pytest.raises(CostError, match="could start from 0 launch templates"):
        monthly(made(alone), prices, usage)


@pytest.mark.parametrize("amounts", [(2, 1, 3), (1, 3, 2), (-1, 0, 1)])
def test_a_span_does_not_fall(amounts: tuple[float, float, float]) -> None:
    """Idle, expected and maximum come in this order."""
    with pytest.raises(CostError, match="none may be below"):
        Span(*amounts)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[nat_gb]\ndev = 1\n", "without a reason"),
        ('[nat_gb]\nreason = "why"\nprod = 1\n', "not assumed of dev"),
        ("nat_gb = 1\n", "wants a table"),
        ("[nat_gb\n", "is not TOML"),
    ],
)
def test_a_bad_assumption_is_refused(text: str, says: str, tmp_path: Path) -> None:
    """Each assumption has a reason and an amount for each environment."""
    path = tmp_path / "usage.toml"
    path.write_text(text)
    with pytest.raises(CostError, match=says):
        Usage.read("dev", path)


TWICE = '[[prices]]\nunit = "GB"\nsource = "x"\nas_of = 2026-01-01\nusd = { "nat.gb" = 1 }\n\n[[spot]]'


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[[spot]]", TWICE, "priced twice"),
        ('source = "https://example.com"', "", "source"),
        ('region = "us-east-1"', "region =", "is not TOML"),
    ],
)
def test_a_bad_price_table_is_refused(old: str, new: str, says: str, tmp_path: Path) -> None:
    """A price has a source, and is written once."""
    path = tmp_path / "prices.toml"
    path.write_text(PRICES.replace(old, new, 1))
    with pytest.raises(CostError, match=says):
        PriceTable.read(path)


# ── The budget ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limit", "of_model", "over"),
    [(7, 7, []), (6, 7, ["dev"]), (7, 6, ["recommender"]), (6, 6, ["dev", "recommender"])],
)
def test_who_is_over_budget(limit: float, of_model: float, over: list[str], prices: PriceTable, usage: Usage) -> None:
    """The expected cost, here $6.78, is held against the environment's limit and against its models'."""
    plan = made(batch(), budget={"limit_usd": limit, "model_limits_usd": {"recommender": of_model, "fraud": 1}})
    excess = over_budget(plan, monthly(plan, prices, usage))
    assert [one.of for one in excess] == over


def test_an_excess_says_both_amounts(prices: PriceTable, usage: Usage) -> None:
    """Who is over budget learns by how much."""
    plan = made(NAT | KEY, budget={"limit_usd": 50})
    (excess,) = over_budget(plan, monthly(plan, prices, usage))
    assert str(excess) == "dev is expected to cost $78 a month, and its budget is $50"
    assert limits(plan) == {"dev": 50}


# ── Any size ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    low=st.integers(0, 5),
    more=st.integers(1, 20),
    capacity=st.sampled_from(["SPOT", "ON_DEMAND"]),
    types=st.lists(st.sampled_from(["m6i.large", "m7i.large", "g5.xlarge", "m6i.2xlarge"]), min_size=1, unique=True),
    max_vcpus=st.integers(8, 512),
    environment=st.sampled_from(["dev", "staging", "prod"]),
)
def test_idle_costs_no_more_than_expected_and_that_no_more_than_the_maximum(
    *, low: int, more: int, capacity: str, types: list[str], max_vcpus: int, environment: str
) -> None:
    """With real prices and assumptions, and for every line: floor <= expected <= ceiling; the parts are the whole."""
    plan = made(
        NAT | KEY | batch(max_vcpus) | pool("system", low, low + more, *types, capacity=capacity),
        environment=environment,
    )
    bill = monthly(plan)
    for usd in (bill.total, *(line.usd for line in bill.lines)):
        assert 0 <= usd.floor <= usd.expected <= usd.ceiling
    assert bill.total.floor < bill.total.expected < bill.total.ceiling
    for parts in (bill.by_model, bill.by_module):
        assert sum(part.expected for part in parts.values()) == pytest.approx(bill.total.expected)


# ── The tables as committed ──────────────────────────────────────────────────────────────────────────────────────────────


def test_each_price_is_sourced_and_dated() -> None:
    """Every price names AWS's page and a day no later than the table's; some were read on a page, and those say where."""
    table = PriceTable.read()
    priced: list[Price | Spot] = [*table.prices.values(), *table.spots.values()]
    for price in priced:
        assert price.source.startswith("https://aws.amazon.com/")
        assert date(2026, 1, 1) <= price.as_of <= table.as_of
        assert price.read is None or price.read.startswith("https://")
    assert all(price.usd > 0 for price in table.prices.values())


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_each_environment_is_assumed_of(environment: str) -> None:
    """The committed assumptions cover every environment, each with a sentence for a reason."""
    assumed = Usage.read(environment, USAGE).assumptions
    assert len(assumed) > 30
    assert all(assumption.reason.endswith(".") for assumption in assumed.values())


def test_nothing_is_both_priced_and_free() -> None:
    """A type is priced or free, and what is free says why."""
    assert not PRICED.keys() & FREE.keys()
    assert all(FREE.values())


# ── As told ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bill_as_tables(prices: PriceTable, usage: Usage) -> None:
    """Environments stand side by side with their budget; the dearest lines, models and unread prices are told."""
    plan = made(NAT | KEY | batch())
    bill = monthly(plan, prices, usage)
    console = Console(width=200, file=io.StringIO(), record=True)
    tables = told.environments([bill], {"dev": 50}), told.biggest(bill, 2), told.modules([bill])
    console.print(*tables, told.models([bill], {"dev": {"recommender": 20}}), sep="\n")
    text = console.export_text()
    for said in (
        "expected of budget        │   170%",
        "NAT gateway",
        "6.78 of 20",
        "prices not read on a page │ 4 of 7",
    ):
        assert said in text


def test_a_bill_as_json(prices: PriceTable, usage: Usage) -> None:
    """The dictionary survives JSON, with its lines, their prices and what nobody read."""
    bill = told.as_dict(monthly(made(NAT), prices, usage))
    again = json.loads(json.dumps(bill))
    assert again == bill
    assert again["usd_a_month"] == {"floor": 73.0, "expected": 77.0, "ceiling": 81.0}
    assert [line["what"] for line in again["lines"]] == ["NAT gateway", "traffic through NAT"]
    assert again["prices"]["nat.gb"]["read"] == "https://example.com/read"

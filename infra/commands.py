"""`mlops infra`: plan, judge, price, compare and test the infrastructure, with no account."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.errors import ToolError
from infra.plan import Plan
from infra.stack import ENVIRONMENTS, Stack

app = typer.Typer(
    no_args_is_help=True,
    help="Plan, judge, price, compare and test the infrastructure. Needs Terraform; AWS is an emulator on this machine.",
)
console = Console(width=None if sys.stdout.isatty() else 160)
progress = Console(stderr=True)


class Environment(StrEnum):
    """As infra/terraform/environments has them."""

    dev = "dev"
    staging = "staging"
    prod = "prod"


class Tier(StrEnum):
    """Which tests."""

    fast = "fast"
    emulator = "emulator"
    all = "all"


Environments = Annotated[
    list[Environment] | None, typer.Argument(help="Which; all when none is named.", show_default=False)
]
PlanFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--plan",
        help="A plan of your own account instead: what `terraform show -json FILE.tfplan` prints. It holds secrets.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


@app.command()
def plan(environments: Environments = None, plans: PlanFiles = None, as_json: Json = False) -> None:
    """What Terraform would make from nothing, by module, judged by the policies; ends with 1 when a rule is broken."""
    from infra.policies.rules import RULES, check

    made = _plans(environments, plans)
    found = {one.environment: check(one) for one in made}
    if as_json:
        said = {
            one.environment: {
                "changes": dict(Counter("/".join(actions) for actions in one.changes.values())),
                "resources": dict(sorted(Counter(r.type for r in one.resources).items())),
                "violations": [
                    {"rule": v.rule, "address": v.address, "found": v.found} for v in found[one.environment]
                ],
            }
            for one in made
        }
        print(json.dumps(said))
    else:
        console.print(_modules(made))
        titles = {rule.id: rule for rule in RULES}
        for one in made:
            for violation in found[one.environment]:
                rule = titles[violation.rule]
                console.print(
                    f"[red]{one.environment}[/red]: {violation}\n    {rule.reason} {rule.remedy}", highlight=False
                )
        broken = sum(map(len, found.values()))
        console.print(
            f"{len(RULES)} rules: " + (f"[red]broken {broken} times[/red]" if broken else "[green]all kept[/green]")
        )
    raise typer.Exit(1 if any(found.values()) else 0)


@app.command()
def cost(environments: Environments = None, plans: PlanFiles = None, as_json: Json = False) -> None:
    """USD a month, idle, as expected and at most, and spot beside on-demand; ends with 1 when a budget is exceeded."""
    from infra.cost import told
    from infra.cost.budget import limits, over_budget
    from infra.cost.monthly import monthly
    from infra.cost.pricing import PriceTable
    from infra.cost.spot import compare

    made, today = _plans(environments, plans), date.today()
    bills = [monthly(one, on=today) for one in made]
    budgets = {one.environment: limits(one) for one in made}
    excess = [excess for one, bill in zip(made, bills, strict=True) for excess in over_budget(one, bill)]
    machines = compare(told.TRAINING, told.CHECKPOINT_EACH_HOURS, PriceTable.read())
    if as_json:
        said = {
            "bills": [told.as_dict(bill) | {"limits_usd": budgets[bill.environment]} for bill in bills],
            "over_budget": [str(one) for one in excess],
            "spot": [asdict(machine) for machine in machines],
        }
        print(json.dumps(said))
    else:
        console.print(told.environments(bills, {name: its[name] for name, its in budgets.items()}))
        for bill in bills:
            console.print(told.biggest(bill))
        console.print(told.modules(bills))
        console.print(told.models(bills, budgets))
        console.print(told.spot(machines))
        for one in excess:
            console.print(f"[red]{one}[/red]; raise its budget in infra/terraform/environments, or spend less")
    raise typer.Exit(1 if excess else 0)


@app.command()
def diff(left: Environment, right: Environment, as_json: Json = False) -> None:
    """How two environments differ: what only one has, which values, and what that costs."""
    from infra.compare import differences
    from infra.cost.monthly import monthly

    ours, theirs = _plans([left, right], None)
    found = differences(ours, theirs)
    here, there = (monthly(one, on=date.today()) for one in (ours, theirs))
    if as_json:
        said: dict[str, Any] = {
            "values": [{"address": d.address, "path": d.path, left: d.left, right: d.right} for d in found],
            "usd_a_month": {left: here.total.expected, right: there.total.expected},
        }
        print(json.dumps(said, default=str))
        return
    table = Table(title=f"{left} and {right}: {len(found)} values differ")
    for heading in ("resource", "value", left, right):
        table.add_column(heading, overflow="fold")  # an address that is cut names nothing
    for one in found:
        table.add_row(one.address, one.path or "(whether it is there)", _cell(one.left), _cell(one.right))
    console.print(table)
    costs = Table("USD a month", "where", left, right, title="What that costs, as expected")
    keys = sorted(here.by_key.keys() | there.by_key.keys(), key=lambda key: -_usd(there, key))
    for key in keys:
        if round(_usd(here, key)) != round(_usd(there, key)):
            costs.add_row(key[1], key[0], f"{_usd(here, key):,.0f}", f"{_usd(there, key):,.0f}")
    costs.add_section()
    costs.add_row("all", "", f"{here.total.expected:,.0f}", f"{there.total.expected:,.0f}")
    console.print(costs)


@app.command()
def test(
    tier: Annotated[Tier, typer.Argument(help="fast (2 minutes), emulator (10 minutes), or all.")] = Tier.fast,
) -> None:
    """Prove it: mocks, policies, budgets and names (fast); applied, read back, drifted, repaired, destroyed (emulator)."""
    tests = Path(__file__).parents[1] / "tests" / "terraform"
    if not tests.is_dir() or importlib.util.find_spec("pytest") is None:
        raise ToolError("The tests are not installed with the platform; run this in a clone, after `make setup`.")
    emulated = ["test_mutations.py", "test_prod.py", "test_round_trip.py"]
    files = {Tier.fast: ["test_manifests.py", "test_plans.py"], Tier.emulator: emulated, Tier.all: [""]}[tier]
    command = [sys.executable, "-m", "pytest", "-n", "2", *(str(tests / file) for file in files)]
    ended = subprocess.run(command, cwd=tests.parents[1], check=False)
    raise typer.Exit(ended.returncode)


def _plans(environments: Sequence[Environment] | None, files: Sequence[Path] | None) -> list[Plan]:
    if files:
        if environments:
            raise ToolError(
                "Name environments, or give plans with --plan, not both: a plan says which environment it is of."
            )
        read = [Plan.read(file) for file in files]
        if len({one.environment for one in read}) < len(read):
            raise ToolError("Two of these plans are of the same environment; judge one after the other.")
        return read
    from infra.emulator.process import emulator

    with (
        tempfile.TemporaryDirectory(prefix="mlops-infra-") as folder,
        progress.status("starting the emulator") as status,
        emulator(Path(folder) / "emulator.log") as address,
    ):
        stack = Stack.copy(Path(folder), address)
        made = []
        for environment in environments or ENVIRONMENTS:
            status.update(f"planning {environment}")
            made.append(stack.plan(environment))
    return made


def _modules(plans: Sequence[Plan]) -> Table:
    table = Table("module", *(one.environment for one in plans), title="Resources", show_footer=True)
    counts = [
        Counter(r.module.removeprefix("module.").partition(".")[0] or "(root)" for r in one.resources) for one in plans
    ]
    for module in sorted({module for count in counts for module in count}):
        table.add_row(module, *(str(count[module]) for count in counts))
    table.columns[0].footer = "all"
    for column, count in zip(table.columns[1:], counts, strict=True):
        column.footer, column.justify = str(count.total()), "right"
    return table


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _usd(bill: Any, key: tuple[str, str]) -> float:
    return bill.by_key[key].usd.expected if key in bill.by_key else 0.0

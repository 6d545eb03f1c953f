"""Who owns it, who pays, and who is told before it costs too much."""

from __future__ import annotations

from collections.abc import Iterator

from infra.plan import UNKNOWN, Plan, Resource
from infra.policies.evidence import PLAN, YES, is_set, listed, shown, unknown, wants, wants_at_least
from infra.policies.rule import Finding, rule

TAGS = ("owner", "cost_centre", "model", "environment")
SHARED = "shared"  # what is of no single model
LEAST_WARNINGS = 2  # the first must come while there is still time


@rule(
    "tags-complete",
    "Whatever can be tagged says who owns it, who pays, which model it is of, and of which environment it is.",
    reason="What nobody owns nobody turns off, and the bill is split by tags.",
    remedy="Leave default_tags of the provider alone; set owner and cost_centre.",
)
def tags_complete(plan: Plan) -> Iterator[Finding]:
    for resource in plan.resources:
        if "tags_all" in resource.values:
            yield from _untagged(resource, "tags_all", plan.environment)


@rule(
    "tags-reach-machines",
    "Machines and their disks are tagged, as is what Batch starts.",
    reason="Default tags stop at the template; machines are the largest part of the bill.",
    remedy="Use modules/launch_template; set propagate_tags in job definitions.",
)
def tags_reach_machines(plan: Plan) -> Iterator[Finding]:
    for template in plan.of("aws_launch_template"):
        paths = {
            tag.get("resource_type"): f"tag_specifications.{i}.tags"
            for i, tag in enumerate(listed(template, "tag_specifications"))
        }
        for kind in ("instance", "volume"):
            if kind in paths:
                yield from _untagged(template, paths[kind], plan.environment)
            else:
                yield template.address, f"tag_specifications has none for {kind}"
    for job in plan.of("aws_batch_job_definition"):
        yield from wants(job, "propagate_tags", *YES)


@rule(
    "jobs-name-their-model",
    "A training, and the machines it runs on, say which model they are of.",
    reason="What a model costs is asked of its owner; `shared` is everybody's, and so nobody's.",
    remedy="Set tags = { model = … } of the job definition and the compute environment; modules/queue does.",
)
def jobs_name_their_model(plan: Plan) -> Iterator[Finding]:
    for one in plan.of("aws_batch_job_definition", "aws_batch_compute_environment"):
        if one.get("tags_all.model", SHARED) in {SHARED, ""}:
            yield one.address, f"the tag model is {shown(one.get('tags_all.model'))}"


@rule(
    "budget-of-environment",
    "The environment has a monthly budget.",
    reason="A forgotten GPU is found on the bill otherwise.",
    remedy="Use modules/budget, which filters by the tag environment.",
)
def budget_of_environment(plan: Plan) -> Iterator[Finding]:
    yield from _wants_budget(plan, f"user:environment${plan.environment}")


@rule(
    "budget-of-each-model",
    "Each model that is trained has a monthly budget.",
    reason="The environment's budget says that too much is spent, and not by whom.",
    remedy="Set budget.model_limits_usd for it.",
)
def budget_of_each_model(plan: Plan) -> Iterator[Finding]:
    models = {str(job.get("tags_all.model", SHARED)) for job in plan.of("aws_batch_job_definition")}
    for model in sorted(models - {SHARED}):
        yield from _wants_budget(plan, f"user:model${model}")


@rule(
    "budget-warns",
    "A budget warns somebody at two marks or more, and when the forecast exceeds it.",
    reason="At 100 % the money is gone; a forecast comes while there is still time.",
    remedy="Use modules/budget: 50, 80 and 100 %, and a forecast of 100 %.",
)
def budget_warns(plan: Plan) -> Iterator[Finding]:
    for budget in plan.of("aws_budgets_budget"):
        heard = [
            (notice.get("notification_type"), notice.get("threshold"))
            for i, notice in enumerate(listed(budget, "notification"))
            if _has_reader(plan, budget, i)
        ]
        marks = {mark for kind, mark in heard if kind == "ACTUAL"}
        if len(marks) < LEAST_WARNINGS or "FORECASTED" not in dict(heard):
            yield budget.address, f"notifications that somebody gets are {shown(heard)}"


@rule(
    "athena-bounded",
    "A question to the lake may read so much and no more.",
    reason="Athena bills what it reads; a forgotten WHERE reads all of it.",
    remedy="Set bytes_scanned_cutoff_per_query.",
)
def athena_bounded(plan: Plan) -> Iterator[Finding]:
    for workgroup in plan.of("aws_athena_workgroup"):
        yield from wants_at_least(workgroup, "configuration.0.bytes_scanned_cutoff_per_query", 1)


def _untagged(resource: Resource, path: str, environment: str) -> Iterator[Finding]:
    tags = resource.get(path, {})
    if tags is UNKNOWN:
        yield unknown(resource, path)
        return
    for tag in TAGS:
        if tags.get(tag) is UNKNOWN:
            yield unknown(resource, f"{path}.{tag}")
        elif not (tags.get(tag) or "").strip():
            yield resource.address, f"{path}.{tag} is {shown(tags.get(tag))}"
    if isinstance(tags.get("environment"), str) and tags["environment"].strip() not in {"", environment}:
        yield resource.address, f"{path}.environment is {shown(tags['environment'])}, and this is {environment}"


def _wants_budget(plan: Plan, value: str) -> Iterator[Finding]:
    budgets = [budget for budget in plan.of("aws_budgets_budget") if _is_of(budget, value)]
    if not budgets:
        yield PLAN, f"no monthly aws_budgets_budget of costs filters by {value}"
    for budget in budgets:
        limit = budget.get("limit_amount", 0)
        if limit is UNKNOWN:
            yield unknown(budget, "limit_amount")
        elif float(limit) <= 0:
            yield budget.address, f"limit_amount is {shown(limit)}"


def _is_of(budget: Resource, value: str) -> bool:
    monthly = (budget.get("budget_type"), budget.get("time_unit")) == ("COST", "MONTHLY")
    return monthly and any(
        it["name"] == "TagKeyValue" and it["values"] == [value] for it in listed(budget, "cost_filter")
    )


def _has_reader(plan: Plan, budget: Resource, i: int) -> bool:
    readers = ("subscriber_sns_topic_arns", "subscriber_email_addresses")
    return any(is_set(plan, budget, f"notification.{i}.{reader}") for reader in readers)

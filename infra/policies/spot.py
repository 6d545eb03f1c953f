"""What runs on machines that AWS takes back: it can bear that, is told of it, and has somewhere else to go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from infra.plan import UNKNOWN, Plan, Resource
from infra.policies.evidence import PLAN, listed, shown, unknown, wants, wants_at_least
from infra.policies.rule import Finding, rule
from infra.policies.wiring import companions, leads_to, origins

LEAST_TYPES = 3  # with fewer, one shortage stops everything
#: What a spot pool and its fallback may say differently of themselves.
OWN_LABELS = {"mlops/pool", "mlops/capacity"}
INTERRUPTION = "EC2 Spot Instance Interruption Warning"
MOVING_TAGS = {"latest", "main", "master", "edge", "stable", "dev", "staging", "prod"}


# ── Nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "spot-many-types",
    f"Spot machines come from {LEAST_TYPES} instance types or more.",
    reason="Each type in each zone is a market of its own; with few, one shortage stops everything.",
    remedy="Name more types of one size.",
)
def spot_many_types(plan: Plan) -> Iterator[Finding]:
    batch = [
        it for it in plan.of("aws_batch_compute_environment") if it.get("compute_resources.0.type") in ("SPOT", UNKNOWN)
    ]
    for machines, path in [
        *((pool, "instance_types") for pool in _spot_pools(plan)),
        *((environment, "compute_resources.0.instance_type") for environment in batch),
    ]:
        types = machines.get(path, [])
        if types is UNKNOWN:
            yield unknown(machines, path)
        elif len(set(types)) < LEAST_TYPES:
            yield machines.address, f"{path} is {shown(types)}"


@rule(
    "spot-tainted",
    "Spot pools are tainted.",
    reason="Only a pod that says it can be killed goes there.",
    remedy="Taint it mlops/capacity = spot, NO_SCHEDULE, as modules/node_pools does.",
)
def spot_tainted(plan: Plan) -> Iterator[Finding]:
    for pool in _spot_pools(plan):
        if not any("spot" in f"{key}={value}" for key, value in _taints(pool)):
            yield pool.address, f"taint is {shown(pool.get('taint'))}"


@rule(
    "spot-from-zero",
    "Spot pools start at no machine.",
    reason="They are for jobs; a node that waits for one is paid for, and is no cheaper for being spot.",
    remedy="Set min_size = 0; the autoscaler adds what pods ask for.",
)
def spot_from_zero(plan: Plan) -> Iterator[Finding]:
    for pool in _spot_pools(plan):
        yield from wants(pool, "scaling_config.0.min_size", 0)


@rule(
    "spot-falls-back",
    "Each spot pool has an on-demand pool that takes the same pods.",
    reason="When there is no spot to be had, work waits for ever without one.",
    remedy="Add an on-demand pool with the labels, an instance type and the image family of the spot pool, and no other taints.",
)
def spot_falls_back(plan: Plan) -> Iterator[Finding]:
    for pool in _spot_pools(plan):
        if not any(_takes_pods_of(pool, other) for other in plan.of("aws_eks_node_group")):
            yield (
                pool.address,
                "no on-demand pool has its labels, image family and one of its instance types, and no other taints",
            )


# ── Jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "batch-falls-back",
    "A queue with spot machines has others behind them.",
    reason="Without, a shortage of spot stops training for as long as it lasts.",
    remedy="Order an EC2 environment behind the spot one.",
)
def batch_falls_back(plan: Plan) -> Iterator[Finding]:
    for queue in plan.of("aws_batch_job_queue"):
        types = [environment.get("compute_resources.0.type") for environment in _environments(plan, queue)]
        if len(types) < len(listed(queue, "compute_environment_order")) or not types:
            yield queue.address, f"compute_environment_order cannot be judged: only {types} of it stands in the plan"
        elif set(types) <= {"SPOT", "FARGATE_SPOT", UNKNOWN}:
            yield queue.address, f"compute_environment_order has {types} and nothing behind"


@rule(
    "batch-retries-reclaimed",
    "A job is started again when its machine is taken back, and then only.",
    reason="Losing the machine is nobody's fault; any other failure would only fail again, at the same price.",
    remedy='Set retry_strategy: attempts of 2 or more, RETRY on status reason "Host EC2*", EXIT on all others.',
)
def batch_retries_reclaimed(plan: Plan) -> Iterator[Finding]:
    for job in plan.of("aws_batch_job_definition"):
        yield from wants_at_least(job, "retry_strategy.0.attempts", 2)
        exits = [_answer(it) for it in listed(job, "retry_strategy.0.evaluate_on_exit")]
        # The first that fits is taken.
        first, others = exits[:1], exits[1:]
        if first != [("RETRY", "Host EC2*")] or not others or any(action != "EXIT" for action, _ in others):
            yield job.address, f"retry_strategy answers {shown(exits)}"
        elif not _fits_all(listed(job, "retry_strategy.0.evaluate_on_exit")[-1]):
            yield job.address, "retry_strategy ends without an EXIT for all else, and what fits none is tried again"


@rule(
    "batch-times-out",
    "A job has an end.",
    reason="One that hangs is paid for until somebody looks.",
    remedy="Set timeout.attempt_duration_seconds.",
)
def batch_times_out(plan: Plan) -> Iterator[Finding]:
    for job in plan.of("aws_batch_job_definition"):
        yield from wants_at_least(job, "timeout.0.attempt_duration_seconds", 60)


@rule(
    "batch-image-pinned",
    "A job's image has a tag that does not move, or a digest.",
    reason="Otherwise a retry may run other code than the first try, and no lineage says which.",
    remedy="Set image_tag to the commit.",
)
def batch_image_pinned(plan: Plan) -> Iterator[Finding]:
    for job in plan.of("aws_batch_job_definition"):
        image = _image(plan, job)
        if image is UNKNOWN:
            yield unknown(job, "container_properties")
        elif not _is_pinned(image):
            yield job.address, f"the image is {shown(image)}"


# ── Notices ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "spot-notices-heard",
    "Whoever drains nodes is told two minutes before a machine is taken back.",
    reason="A node that is not drained loses its pods where they stand.",
    remedy=f'Send "{INTERRUPTION}" by an aws_cloudwatch_event_rule and its target to the queue of notices.',
)
def spot_notices_heard(plan: Plan) -> Iterator[Finding]:
    heard = [it for it in plan.of("aws_cloudwatch_event_rule") if INTERRUPTION in str(it.get("event_pattern"))]
    if _spot_pools(plan) and not heard:
        yield PLAN, f"there are spot pools, and no aws_cloudwatch_event_rule for {INTERRUPTION}"
    for notice in heard:
        yield from wants(notice, "state", "ENABLED", None)  # AWS's default is to enable it
        if not companions(plan, notice, kind="aws_cloudwatch_event_target", argument="rule"):
            yield notice.address, "no aws_cloudwatch_event_target names it"


def _spot_pools(plan: Plan) -> list[Resource]:
    # A capacity that is not known may be spot.
    return [pool for pool in plan.of("aws_eks_node_group") if pool.get("capacity_type") in {"SPOT", UNKNOWN}]


def _taints(pool: Resource) -> set[tuple[str, str]]:
    """Taints that keep pods away."""
    if pool.get("taint") is UNKNOWN:
        return {("UNKNOWN", pool.address)}
    hard = [it for it in listed(pool, "taint") if it["effect"] in {"NO_SCHEDULE", "NO_EXECUTE"}]
    return {(it["key"], it.get("value") or "") for it in hard}


def _takes_pods_of(pool: Resource, other: Resource) -> bool:
    """Whether a pod that runs on a spot pool would also run on the other, and fit there."""
    return (
        other.get("capacity_type", "ON_DEMAND") == "ON_DEMAND"
        and other.get("cluster_name") == pool.get("cluster_name")
        and other.get("ami_type") == pool.get("ami_type")
        and _kind(other) == _kind(pool)
        and _taints(other) <= _taints(pool)
        and bool(set(listed(other, "instance_types")) & set(listed(pool, "instance_types")))
        and not list(wants_at_least(other, "scaling_config.0.max_size", 1))
    )


def _kind(pool: Resource) -> dict[str, Any]:
    labels = pool.get("labels", {})
    if labels is UNKNOWN:
        return {"UNKNOWN": pool.address}
    return {key: value for key, value in labels.items() if key not in OWN_LABELS}


def _environments(plan: Plan, queue: Resource) -> list[Resource]:
    """The compute environments of a queue."""
    environments = plan.of("aws_batch_compute_environment")
    paths = [
        f"compute_environment_order.{i}.compute_environment"
        for i in range(len(listed(queue, "compute_environment_order")))
    ]
    named = [it for it in environments if any(leads_to(plan, queue, path, it) for path in paths)]
    # A dynamic block leaves no expressions. A queue with as many places as its module has environments has them all: Batch
    # takes each but once.
    near = [it for it in environments if it.module == queue.module]
    return near if not named and len(near) == len(paths) else named


def _answer(on_exit: dict[str, Any]) -> tuple[str, str]:
    return str(on_exit["action"]).upper(), on_exit.get("on_status_reason") or ""


def _fits_all(on_exit: dict[str, Any]) -> bool:
    wanted = [on_exit.get(field) for field in ("on_status_reason", "on_reason", "on_exit_code")]
    return {it for it in wanted if it} == {"*"}


def _image(plan: Plan, job: Resource) -> Any:
    """The image of a job; before the registry's address is known, as much of it as the plan was given."""
    properties = job.get("container_properties")
    if properties is UNKNOWN and "var.image_tag" in origins(plan, job, "container_properties"):
        return f"…:{plan.variable('image_tag')}"
    return json.loads(properties).get("image") if isinstance(properties, str) else properties


def _is_pinned(image: str | None) -> bool:
    name, _, tag = (image or "").rpartition("/")[2].partition(":")
    return "@sha256:" in (image or "") or (bool(name and tag) and tag not in MOVING_TAGS)

"""What is written down, for how long, and who is told."""

from __future__ import annotations

from collections.abc import Iterator

from infra.plan import UNKNOWN, Plan, Resource
from infra.policies.evidence import is_set, listed, shown, wants, wants_at_least, wants_companion, wants_set
from infra.policies.rule import Finding, rule

LOG_DAYS = 90  # a break-in is found after weeks
CONTROL_PLANE_LOGS = {"api", "audit", "authenticator", "controllerManager", "scheduler"}
CONTAINER_LOGS = ("application", "dataplane", "host", "performance")


@rule(
    "logs-kept",
    "Logs are kept for a time that somebody chose, in prod for 90 days or more.",
    reason="AWS keeps them for ever, and bills that; a break-in is found after weeks.",
    remedy="Set retention_in_days.",
)
def logs_kept(plan: Plan) -> Iterator[Finding]:
    for group in plan.of("aws_cloudwatch_log_group"):
        # 0 is for ever.
        yield from wants_at_least(group, "retention_in_days", LOG_DAYS if plan.environment == "prod" else 1)


@rule(
    "logs-ours",
    "Log groups that AWS would make by itself are made here.",
    reason="AWS makes them without our key, without tags and for ever, and destroys them never.",
    remedy="Declare an aws_cloudwatch_log_group of that name before what writes to it.",
)
def logs_ours(plan: Plan) -> Iterator[Finding]:
    ours = {group.get("name") for group in plan.of("aws_cloudwatch_log_group")}
    for writer, name in _written_logs(plan):
        if name not in ours:
            yield writer.address, f"no aws_cloudwatch_log_group is named {name}"


@rule(
    "eks-logs",
    "The control plane writes down all that it does.",
    reason="Who did what in the cluster stands in the audit log, and nowhere else.",
    remedy="Set enabled_cluster_log_types to all five.",
)
def eks_logs(plan: Plan) -> Iterator[Finding]:
    for cluster in plan.of("aws_eks_cluster"):
        missing = CONTROL_PLANE_LOGS - set(listed(cluster, "enabled_cluster_log_types"))
        if missing:
            yield cluster.address, f"enabled_cluster_log_types lacks {', '.join(sorted(missing))}"


@rule(
    "network-logged",
    "A VPC writes down who talked to whom.",
    reason="After a break-in it is all that says what was reached.",
    remedy='Give it an aws_flow_log with traffic_type = "ALL".',
)
def network_logged(plan: Plan) -> Iterator[Finding]:
    def judge(log: Resource) -> Iterator[Finding]:
        yield from wants(log, "traffic_type", "ALL")

    yield from wants_companion(plan, "aws_flow_log", of="aws_vpc", argument="vpc_id", judge=judge)


@rule(
    "alarms-heard",
    "An alarm tells somebody.",
    reason="One without an action is a red dot on a page that nobody has open.",
    remedy="Set alarm_actions to the topic of alerts, and leave actions_enabled as it is.",
)
def alarms_heard(plan: Plan) -> Iterator[Finding]:
    for alarm in plan.of("aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm"):
        yield from wants_set(plan, alarm, "alarm_actions")
        yield from wants(alarm, "actions_enabled", True, None)


@rule(
    "alerts-reach-somebody",
    "A topic has somebody who listens.",
    reason="SNS drops what nobody subscribes to, without a word.",
    remedy="Set alert_emails.",
)
def alerts_reach_somebody(plan: Plan) -> Iterator[Finding]:
    def judge(subscription: Resource) -> Iterator[Finding]:
        yield from wants_set(plan, subscription, "endpoint")

    yield from wants_companion(
        plan, "aws_sns_topic_subscription", of="aws_sns_topic", argument="topic_arn", judge=judge
    )


@rule(
    "stores-watched",
    "Databases and caches have an alarm.",
    reason="A full disk or memory stops them, and is seen days before.",
    remedy="Name alarms in the module's output `alarms`; modules/monitoring sounds them.",
)
def stores_watched(plan: Plan) -> Iterator[Finding]:
    alarms = [alarm for alarm in plan.of("aws_cloudwatch_metric_alarm") if alarm.get("dimensions") is not UNKNOWN]
    watched = {str(name) for alarm in alarms for name in alarm.get("dimensions", {}).values()}
    for store in plan.of("aws_db_instance", "aws_elasticache_replication_group"):
        name = store.get("identifier") or store.get("replication_group_id")
        # An alarm of a cache is of one of its members: name-001.
        if not any(it == name or it.startswith(f"{name}-") for it in watched):
            yield store.address, f"no aws_cloudwatch_metric_alarm has {shown(name)} among its dimensions"


def _written_logs(plan: Plan) -> Iterator[tuple[Resource, str]]:
    """Log groups that a service makes when it finds none, with the resource that has it do so."""
    for cluster in plan.of("aws_eks_cluster"):
        if is_set(plan, cluster, "enabled_cluster_log_types"):
            yield cluster, f"/aws/eks/{cluster.get('name')}/cluster"
    for database in plan.of("aws_db_instance"):
        for log in listed(database, "enabled_cloudwatch_logs_exports"):
            yield database, f"/aws/rds/instance/{database.get('identifier')}/{log}"
    for addon in plan.of("aws_eks_addon"):
        if addon.get("addon_name") == "amazon-cloudwatch-observability":
            for log in CONTAINER_LOGS:
                yield addon, f"/aws/containerinsights/{addon.get('cluster_name')}/{log}"

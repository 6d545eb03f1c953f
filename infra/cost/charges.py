"""What each type of resource costs: the one place that must know a type before a plan may use it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Final

from infra.cost.bill import Line
from infra.cost.errors import CostError
from infra.cost.pricing import Price, PriceTable
from infra.cost.span import NOTHING, Span
from infra.cost.spot import HOURS_A_MONTH as HOURS
from infra.cost.usage import Usage
from infra.plan import Plan, Resource

WEEKS: Final = 52 / 12
DETAILED_METRICS: Final = 7  # what a machine with `monitoring` writes each minute

#: A key that rotates each year costs as two keys in its second year, as three from its third on.
ROTATED_KEYS: Final = Span(1, 1, 3)
ONCE: Final = Span.always(1)
ALL_MONTH: Final = Span.always(HOURS)
MONTH: Final = 365 / 12  # days


@dataclass(frozen=True, slots=True)
class Facts:
    """What lines are made from: the plan, the prices, the assumptions, and the day."""

    plan: Plan
    prices: PriceTable
    usage: Usage
    on: date

    def share(self, key: str, resource: Resource) -> Span:
        """An assumption about all resources of a type, divided among them."""
        return self.usage.of(key) * (1 / len(self.plan.of(resource.type)))


@dataclass(frozen=True, slots=True)
class Fleet:
    """Machines that run some hours, each of one of the types priced; `likely` is the USD expected for an hour."""

    what: str
    hours: Span
    prices: Sequence[Price]
    likely: float
    template: Resource


Charge = Callable[[Facts, Resource], Iterator[Line]]


def line(resource: Resource, what: str, quantity: Span, price: Price) -> Line:
    return _line(resource, what, quantity, Span.always(price.usd), (price,))


def _line(resource: Resource, what: str, quantity: Span, unit_usd: Span, prices: Sequence[Price]) -> Line:
    return Line(
        place=re.sub(r"\[[^\]]*\]", "", resource.address),
        addresses=(resource.address,),
        what=what,
        unit=prices[0].unit,
        quantity=quantity,
        unit_usd=unit_usd,
        model=resource.get("tags_all.model", "shared"),
        module=resource.module.split(".")[1] if resource.module else "root",
        prices=tuple(prices),
    )


# ── Machines ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _cluster(facts: Facts, cluster: Resource) -> Iterator[Line]:
    yield line(cluster, "control plane", ALL_MONTH, facts.prices.cluster(cluster.get("version"), facts.on))


def _pool(facts: Facts, pool: Resource) -> Iterator[Line]:
    """The minimum all month, and the assumed hours of further nodes.

    An on-demand pool starts the first of its types that can be had; what a spot pool starts, AWS decides, so that the mean
    is expected. At the maximum each node is of the dearest type.
    """
    capacity = pool.get("capacity_type")
    prices = [_machine_price(facts, capacity, type_) for type_ in pool.get("instance_types")]
    likely = fmean(price.usd for price in prices) if capacity == "SPOT" else prices[0].usd
    what = f"pool {pool.get('node_group_name')}"
    yield from _machines(
        facts, pool, Fleet(what, _pool_hours(facts, pool), prices, likely, _template(facts.plan, pool))
    )


def _pool_hours(facts: Facts, pool: Resource) -> Span:
    low, high = (pool.get(f"scaling_config.0.{size}") * HOURS for size in ("min_size", "max_size"))
    name = pool.get("node_group_name")
    expected = low + facts.usage.of(f"pool_hours.{name}").expected
    if expected > high:
        raise CostError(
            f"Pool {name} is assumed to run {expected:g} hours a month, and its max_nodes allow {high:g}; "
            f"lower pool_hours.{name} in {facts.usage.path}, or raise the pool."
        )
    return Span(low, expected, high)


def _job(facts: Facts, job: Resource) -> Iterator[Line]:
    """A model's runs of a month, on spot and on the on-demand machines behind it."""
    model = job.get("tags_all.model")
    environments = [e for e in facts.plan.of("aws_batch_compute_environment") if e.get("tags_all.model") == model]
    if not environments:
        raise CostError(
            f"{job.address} is of model {model!r}, and no compute environment is tagged with it; "
            "nobody could say what its machines cost. Use modules/queue."
        )
    for environment in environments:
        hours = _job_hours(facts, model, environment)
        yield from _machines(facts, job, _batch(facts, environment, model, Span(0, hours, hours)))


def _room(facts: Facts, environment: Resource) -> Iterator[Line]:
    """What a compute environment may start beyond the jobs that are expected of it: only the maximum costs."""
    hours = environment.get("compute_resources.0.max_vcpus") / _smallest(environment) * HOURS
    model = environment.get("tags_all.model")
    jobs = [job for job in facts.plan.of("aws_batch_job_definition") if job.get("tags_all.model") == model]
    used = sum(_job_hours(facts, model, environment) for _ in jobs)
    if used > hours:
        raise CostError(
            f"Trainings are assumed to take {used:g} machine hours of {environment.address}, and max_vcpus allow {hours:g}; "
            f"lower runs_a_week or run_hours in {facts.usage.path}, or raise training.max_vcpus."
        )
    yield from _machines(facts, environment, _batch(facts, environment, "more trainings", Span(0, 0, hours - used)))


def _batch(facts: Facts, environment: Resource, what: str, hours: Span) -> Fleet:
    capacity = environment.get("compute_resources.0.type")
    types = environment.get("compute_resources.0.instance_type")
    prices = [_machine_price(facts, capacity, type_) for type_ in types]
    where = "spot" if capacity == "SPOT" else "on demand"
    likely = fmean(price.usd for price in prices)
    return Fleet(f"{what} on {where}", hours, prices, likely, _template(facts.plan, environment))


def _job_hours(facts: Facts, model: str, environment: Resource) -> float:
    """Machine hours a month: a run has its machines to itself, for Batch may, but need not, put two jobs on one."""
    runs = facts.usage.of(f"runs_a_week.{model}").expected * WEEKS
    machines = math.ceil(facts.plan.variable("jobs")[model]["vcpus"] / _smallest(environment))
    on_spot = facts.usage.of("batch_on_spot").expected
    share = on_spot if environment.get("compute_resources.0.type") == "SPOT" else 1 - on_spot
    return runs * facts.usage.of(f"run_hours.{model}").expected * machines * share


def _machine_price(facts: Facts, capacity: str, instance_type: str) -> Price:
    return facts.prices.spot(instance_type) if capacity == "SPOT" else facts.prices.on_demand(instance_type)


def _smallest(environment: Resource) -> int:
    return min(vcpus(type_) for type_ in environment.get("compute_resources.0.instance_type"))


def vcpus(instance_type: str) -> int:
    """Processors of a type by its size, as families of general purpose have them: large 2, xlarge 4, then 4 for each."""
    size = instance_type.partition(".")[2]
    if match := re.fullmatch(r"(\d*)xlarge", size):
        return 4 * int(match[1] or 1)
    if size == "large":
        return 2
    raise CostError(
        f"How many processors has {instance_type}? Its size is none of large, xlarge, 2xlarge, …; name such a type."
    )


def _machines(facts: Facts, resource: Resource, fleet: Fleet) -> Iterator[Line]:
    """Machine hours, with the disks and the metrics of their launch template."""
    disk_gb = fleet.template.get("block_device_mappings.0.ebs.0.volume_size")
    unit_usd = Span(fleet.likely, fleet.likely, max(price.usd for price in fleet.prices))
    yield _line(resource, f"{fleet.what}: machines", fleet.hours, unit_usd, fleet.prices)
    yield line(resource, f"{fleet.what}: disks", fleet.hours * (disk_gb / HOURS), facts.prices.of("ebs.gp3"))
    if fleet.template.get("monitoring.0.enabled"):
        metrics = fleet.hours * (DETAILED_METRICS / HOURS)
        yield line(resource, f"{fleet.what}: metrics each minute", metrics, facts.prices.of("cloudwatch.metric"))


def _template(plan: Plan, resource: Resource) -> Resource:
    """The launch template in the resource's instance of its module; of several the one with its index. No ids are known yet."""
    instance = resource.address.rpartition(f"{resource.type}.")[0]
    inside = [t for t in plan.of("aws_launch_template") if t.address.startswith(instance)]
    index = re.search(r"\[[^\]]*\]$", resource.address)
    mine = inside if len(inside) == 1 else [t for t in inside if index and index[0] in t.address]
    if len(mine) != 1:
        raise CostError(
            f"{resource.address} could start from {len(mine)} launch templates, so its disks have no price; "
            "give its module one template, or one for each index of the resource."
        )
    return mine[0]


# ── Network ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _vpc(facts: Facts, vpc: Resource) -> Iterator[Line]:
    yield line(vpc, "traffic between zones", facts.share("zones_gb", vpc) * 2, facts.prices.of("zones.gb"))


def _nat(facts: Facts, nat: Resource) -> Iterator[Line]:
    yield line(nat, "NAT gateway", ALL_MONTH, facts.prices.of("nat.hour"))
    yield line(nat, "traffic through NAT", facts.share("nat_gb", nat), facts.prices.of("nat.gb"))


def _address(facts: Facts, address: Resource) -> Iterator[Line]:
    yield line(address, "public IPv4 address", ALL_MONTH, facts.prices.of("ipv4.hour"))


def _endpoint(facts: Facts, endpoint: Resource) -> Iterator[Line]:
    if endpoint.get("vpc_endpoint_type") != "Interface":
        return  # a gateway, for S3, is free
    zones = len({s.get("availability_zone") for s in facts.plan.of("aws_subnet") if s.module == endpoint.module})
    interfaces = sum(e.get("vpc_endpoint_type") == "Interface" for e in facts.plan.of(endpoint.type))
    traffic = facts.usage.of("endpoint_gb") * (1 / interfaces)
    yield line(endpoint, "interface endpoint", ALL_MONTH * zones, facts.prices.of("endpoint.hour"))
    yield line(endpoint, "traffic through endpoints", traffic, facts.prices.of("endpoint.gb"))


def beside(facts: Facts) -> Iterator[Line]:
    """What Kubernetes will make of the manifests, and no plan shows: the load balancer of what is served."""
    if not any(resource.module == "module.serving" for resource in facts.plan.resources):
        return
    service = Resource("module.serving.kubernetes_service.recommender", "kubernetes_service", {})
    yield line(service, "load balancer", ALL_MONTH, facts.prices.of("nlb.hour"))
    yield line(service, "load balancer's traffic", facts.usage.of("nlb_lcu") * HOURS, facts.prices.of("nlb.lcu"))


# ── Databases and caches ─────────────────────────────────────────────────────────────────────────────────────────────────


def _database(facts: Facts, database: Resource) -> Iterator[Line]:
    """With multi_az there is a second machine with a second disk. A disk grows by itself up to max_allocated_storage."""
    machines = 2 if database.get("multi_az") else 1
    gb = database.get("allocated_storage")
    disk = Span(gb, gb, database.get("max_allocated_storage", gb))
    yield line(database, "database", ALL_MONTH * machines, facts.prices.of(f"rds.{database.get('instance_class')}"))
    yield line(database, "database's disk", disk * machines, facts.prices.of("rds.gp3"))
    yield line(database, "database's backups", facts.share("db_backup_gb", database), facts.prices.of("rds.backup"))
    if database.get("manage_master_user_password"):
        yield line(database, "secret that RDS keeps", ONCE, facts.prices.of("secrets.secret"))


def _cache(facts: Facts, cache: Resource) -> Iterator[Line]:
    price = facts.prices.of(f"elasticache.{cache.get('node_type')}")
    yield line(cache, "cache", ALL_MONTH * cache.get("num_cache_clusters"), price)
    backups = facts.share("cache_backup_gb", cache)
    yield line(cache, "cache's snapshots", backups, facts.prices.of("elasticache.backup"))


# ── Files and images ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _bucket(facts: Facts, bucket: Resource) -> Iterator[Line]:
    yield line(bucket, "files", facts.usage.of(f"s3_gb.{_last(bucket)}"), facts.prices.of("s3.gb"))
    yield line(bucket, "writes", facts.share("s3_thousand_puts", bucket), facts.prices.of("s3.put"))
    yield line(bucket, "reads", facts.share("s3_thousand_gets", bucket), facts.prices.of("s3.get"))


def _files(facts: Facts, files: Resource) -> Iterator[Line]:
    yield line(files, "files", facts.share("efs_gb", files), facts.prices.of("efs.gb"))
    yield line(files, "reads", facts.share("efs_read_gb", files), facts.prices.of("efs.read"))
    yield line(files, "writes", facts.share("efs_write_gb", files), facts.prices.of("efs.write"))


def _file_backups(facts: Facts, policy: Resource) -> Iterator[Line]:
    if policy.get("backup_policy.0.status") == "ENABLED":
        yield line(policy, "backups", facts.share("efs_backup_gb", policy), facts.prices.of("backup.efs"))


def _images(facts: Facts, repository: Resource) -> Iterator[Line]:
    yield line(repository, "images", facts.share("image_gb", repository), facts.prices.of("ecr.gb"))


def _questions(facts: Facts, workgroup: Resource) -> Iterator[Line]:
    yield line(workgroup, "questions to the lake", facts.share("athena_tb", workgroup), facts.prices.of("athena.tb"))


# ── Who watches ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _log_group(facts: Facts, group: Resource) -> Iterator[Line]:
    """What comes in, and what is kept. An assumption is about all groups of one resource, divided among them."""
    days = group.get("retention_in_days")
    if not days:
        raise CostError(
            f"{group.address} keeps its lines for ever, so that its cost has no end; set retention_in_days."
        )
    name = _label(group)
    several = [other for other in facts.plan.of(group.type) if (other.module, _label(other)) == (group.module, name)]
    gb = facts.usage.of(f"logs_gb.{name}") * (1 / len(several))
    kept = gb * (days / MONTH * facts.usage.of("logs_compressed").expected)
    yield line(group, f"logs of {name}", gb, facts.prices.of("logs.gb"))
    yield line(group, f"logs of {name}, kept", kept, facts.prices.of("logs.kept"))


def _label(resource: Resource) -> str:
    """The resource's own name, or its module's where it is the only one and so `this`."""
    label = resource.address.rpartition(f"{resource.type}.")[2].partition("[")[0]
    return _last(resource) if label == "this" else label


def _addon(facts: Facts, addon: Resource) -> Iterator[Line]:
    name = addon.get("addon_name")
    if name in FREE_ADDONS:
        return
    if name != "amazon-cloudwatch-observability":
        raise CostError(f"Add-on {name} is neither priced nor free; say which in infra/cost/charges.py.")
    hours = sum((_pool_hours(facts, pool) for pool in facts.plan.of("aws_eks_node_group")), NOTHING)
    observations = hours * facts.usage.of("insights_million_a_node_hour")
    yield line(addon, "Container Insights", observations, facts.prices.of("cloudwatch.observations"))


def _alarm(facts: Facts, alarm: Resource) -> Iterator[Line]:
    yield line(alarm, "alarms", ONCE, facts.prices.of("cloudwatch.alarm"))


def _metrics(facts: Facts, workspace: Resource) -> Iterator[Line]:
    samples = facts.share("prometheus_ten_million_samples", workspace)
    queried = facts.share("prometheus_billion_queried", workspace)
    yield line(workspace, "samples taken in", samples, facts.prices.of("prometheus.samples"))
    yield line(workspace, "samples read", queried, facts.prices.of("prometheus.queries"))
    yield line(workspace, "samples kept", facts.share("prometheus_gb", workspace), facts.prices.of("prometheus.gb"))


# ── Keys and secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _key(facts: Facts, key: Resource) -> Iterator[Line]:
    keys = ROTATED_KEYS if key.get("enable_key_rotation") else ONCE
    yield line(key, "keys", keys, facts.prices.of("kms.key"))
    yield line(key, "requests", facts.share("kms_ten_thousand_requests", key), facts.prices.of("kms.requests"))


def _secret(facts: Facts, secret: Resource) -> Iterator[Line]:
    yield line(secret, "secrets", ONCE, facts.prices.of("secrets.secret"))


def _last(resource: Resource) -> str:
    """Name of the innermost module, by which an assumption is found: `lake` of `module.lake.module.lake`."""
    return resource.module.rpartition(".")[2]


PRICED: Final[dict[str, Charge]] = {
    "aws_athena_workgroup": _questions,
    "aws_batch_compute_environment": _room,
    "aws_batch_job_definition": _job,
    "aws_cloudwatch_log_group": _log_group,
    "aws_cloudwatch_metric_alarm": _alarm,
    "aws_db_instance": _database,
    "aws_ecr_repository": _images,
    "aws_efs_backup_policy": _file_backups,
    "aws_efs_file_system": _files,
    "aws_eip": _address,
    "aws_eks_addon": _addon,
    "aws_eks_cluster": _cluster,
    "aws_eks_node_group": _pool,
    "aws_elasticache_replication_group": _cache,
    "aws_kms_key": _key,
    "aws_nat_gateway": _nat,
    "aws_prometheus_workspace": _metrics,
    "aws_s3_bucket": _bucket,
    "aws_secretsmanager_secret": _secret,
    "aws_vpc": _vpc,
    "aws_vpc_endpoint": _endpoint,
}

_SETTING: Final = "a setting of something that is priced itself"
_NETWORK: Final = "AWS asks nothing for the parts of a VPC, only for what passes gateways, endpoints and zones"
_ACCESS: Final = "AWS asks nothing for identities and rights"
_FEW: Final = "far below what AWS gives free each month: a few alerts and notices"

#: Types that cost nothing, each with its reason.
FREE: Final[dict[str, str]] = {
    "aws_batch_job_queue": "Batch itself is free; its machines are priced with jobs and compute environments",
    "aws_budgets_budget": "a budget without actions is free",
    "aws_cloudwatch_event_rule": "events of AWS's own services are free",
    "aws_cloudwatch_event_target": "events of AWS's own services are free",
    "aws_db_parameter_group": _SETTING,
    "aws_db_subnet_group": _SETTING,
    "aws_default_security_group": _NETWORK,
    "aws_ecr_lifecycle_policy": _SETTING,
    "aws_efs_access_point": _SETTING,
    "aws_efs_file_system_policy": _SETTING,
    "aws_efs_mount_target": "mount targets are free; what crosses zones on the way is in the VPC's traffic",
    "aws_eks_access_entry": _ACCESS,
    "aws_eks_access_policy_association": _ACCESS,
    "aws_elasticache_subnet_group": _SETTING,
    "aws_flow_log": "priced with the log group that it writes to",
    "aws_glue_catalog_database": "the first million objects and requests of the catalogue are free",
    "aws_glue_catalog_table": "the first million objects and requests of the catalogue are free",
    "aws_iam_instance_profile": _ACCESS,
    "aws_iam_openid_connect_provider": _ACCESS,
    "aws_iam_role": _ACCESS,
    "aws_iam_role_policy": _ACCESS,
    "aws_iam_role_policy_attachment": _ACCESS,
    "aws_internet_gateway": _NETWORK,
    "aws_kms_alias": _SETTING,
    "aws_launch_template": "priced with the machines that start from it",
    "aws_prometheus_alert_manager_definition": _SETTING,
    "aws_prometheus_rule_group_namespace": "priced with the samples that its rules read",
    "aws_route": _NETWORK,
    "aws_route_table": _NETWORK,
    "aws_route_table_association": _NETWORK,
    "aws_s3_bucket_lifecycle_configuration": _SETTING,
    "aws_s3_bucket_ownership_controls": _SETTING,
    "aws_s3_bucket_policy": _SETTING,
    "aws_s3_bucket_public_access_block": _SETTING,
    "aws_s3_bucket_server_side_encryption_configuration": _SETTING,
    "aws_s3_bucket_versioning": _SETTING,
    "aws_secretsmanager_secret_version": "priced with its secret",
    "aws_security_group": _NETWORK,
    "aws_sns_topic": _FEW,
    "aws_sns_topic_policy": _SETTING,
    "aws_sns_topic_subscription": _FEW,
    "aws_sqs_queue": _FEW,
    "aws_sqs_queue_policy": _SETTING,
    "aws_subnet": _NETWORK,
    "aws_vpc_security_group_egress_rule": _NETWORK,
    "aws_vpc_security_group_ingress_rule": _NETWORK,
}

#: Add-ons that cost nothing but the room on their nodes.
FREE_ADDONS: Final = frozenset({"aws-efs-csi-driver", "coredns", "kube-proxy", "vpc-cni"})

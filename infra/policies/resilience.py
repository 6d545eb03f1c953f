"""What survives a mistake, a lost zone and a bad week."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.plan import UNKNOWN, Plan, Resource
from infra.policies.evidence import PLAN, unknown, wants, wants_at_least, wants_companion, wants_set
from infra.policies.rule import Finding, rule
from infra.policies.wiring import companions, leads_to

BACKUP_DAYS = 14  # a bad week is found on the Monday after
RECOVERY_DAYS = 30  # the longest that AWS allows, for keys and secrets alike: a month's end is within it
SECRET_DAYS = 7  # the shortest that AWS allows beside none


# ── Databases and caches ─────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "rds-backed-up",
    "Databases are backed up, in prod for two weeks.",
    reason="MLflow's registry and Airflow's history can be made again from nothing else.",
    remedy="Set backup_retention_period.",
)
def rds_backed_up(plan: Plan) -> Iterator[Finding]:
    for database in plan.of("aws_db_instance", "aws_rds_cluster"):
        least = BACKUP_DAYS if plan.environment == "prod" else 1
        yield from wants_at_least(database, "backup_retention_period", least)


@rule(
    "rds-kept",
    "In prod a database cannot be destroyed, or leaves a snapshot.",
    reason="A renamed argument can replace it, and automatic backups go with the instance.",
    remedy="Set deletion_protection, skip_final_snapshot = false and final_snapshot_identifier.",
)
def rds_kept(plan: Plan) -> Iterator[Finding]:
    for database in _in_prod(plan, "aws_db_instance", "aws_rds_cluster"):
        yield from wants(database, "deletion_protection", True)
        yield from wants(database, "skip_final_snapshot", False)
        yield from wants_set(plan, database, "final_snapshot_identifier")


@rule(
    "rds-multi-az",
    "In prod a database has a twin in another zone.",
    reason="Restoring from a backup takes an hour, the twin a minute; Airflow stands still meanwhile.",
    remedy="Set multi_az.",
)
def rds_multi_az(plan: Plan) -> Iterator[Finding]:
    for database in _in_prod(plan, "aws_db_instance"):
        yield from wants(database, "multi_az", True)


@rule(
    "redis-survives-zone",
    "In prod a cache has a replica in another zone that takes over, and snapshots.",
    reason="Each request reads it; filling it again from the lake takes longer than customers wait.",
    remedy="Set num_cache_clusters to 2 or more, automatic_failover_enabled, multi_az_enabled and snapshot_retention_limit.",
)
def redis_survives_zone(plan: Plan) -> Iterator[Finding]:
    for cache in _in_prod(plan, "aws_elasticache_replication_group"):
        yield from wants_at_least(cache, "num_cache_clusters", 2)
        yield from wants(cache, "automatic_failover_enabled", True)
        yield from wants(cache, "multi_az_enabled", True)
        yield from wants_at_least(cache, "snapshot_retention_limit", 1)


@rule(
    "way-out-per-zone",
    "In prod each zone has a way out of its own.",
    reason="A single gateway's zone takes the others with it.",
    remedy="Set network.nat to per_zone.",
)
def way_out_per_zone(plan: Plan) -> Iterator[Finding]:
    subnets, gateways = _in_prod(plan, "aws_subnet"), _in_prod(plan, "aws_nat_gateway")
    if not gateways:
        return  # nothing goes out, which is no zone's fault
    beside = {
        gateway.address: [it for it in subnets if leads_to(plan, gateway, "subnet_id", it)] for gateway in gateways
    }
    zones = {subnet.address: subnet.get("availability_zone") for subnet in subnets}
    unjudged = [
        *((gateway, "subnet_id leads to no subnet of this plan") for gateway, its in beside.items() if not its),
        *(unknown(subnet, "availability_zone") for subnet in subnets if zones[subnet.address] is UNKNOWN),
    ]
    yield from unjudged
    if not unjudged:
        with_way_out = {zones[subnet.address] for its in beside.values() for subnet in its}
        for zone in sorted(set(zones.values()) - with_way_out):
            yield PLAN, f"zone {zone} has no NAT gateway"


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "s3-versioned",
    "Buckets keep what is overwritten or deleted.",
    reason="The lake is append-only by agreement; a wrong job does not know the agreement.",
    remedy="Use modules/bucket.",
)
def s3_versioned(plan: Plan) -> Iterator[Finding]:
    def judge(versioning: Resource) -> Iterator[Finding]:
        yield from wants(versioning, "versioning_configuration.0.status", "Enabled")

    yield from wants_companion(plan, "aws_s3_bucket_versioning", of="aws_s3_bucket", argument="bucket", judge=judge)


@rule(
    "s3-tidied",
    "Buckets let go of old versions and of uploads that broke off.",
    reason="Neither is seen in a listing, both are paid for, and what was deleted for a customer's sake must go in the end.",
    remedy="Use modules/bucket, whose rule `tidy` does both in the whole bucket.",
)
def s3_tidied(plan: Plan) -> Iterator[Finding]:
    def judge(lifecycle: Resource) -> Iterator[Finding]:
        rules = _rules_of_all(lifecycle)
        for duty in ("noncurrent_version_expiration", "abort_incomplete_multipart_upload"):
            if not any(it.get(duty) for it in rules):
                yield lifecycle.address, f"no enabled rule of the whole bucket has {duty}"

    kind = "aws_s3_bucket_lifecycle_configuration"
    yield from wants_companion(plan, kind, of="aws_s3_bucket", argument="bucket", judge=judge)


@rule(
    "s3-kept",
    "In prod a bucket is not destroyed with what is in it, unless all of that expires anyway.",
    reason="force_destroy deletes every version; answers of Athena and checkpoints are gone in a month by themselves.",
    remedy="Set force_destroy = false, or a lifecycle rule that expires the whole bucket.",
)
def s3_kept(plan: Plan) -> Iterator[Finding]:
    for bucket in _in_prod(plan, "aws_s3_bucket"):
        kind = "aws_s3_bucket_lifecycle_configuration"
        rules = [it for life in companions(plan, bucket, kind=kind, argument="bucket") for it in _rules_of_all(life)]
        if not any(it.get("expiration") for it in rules):
            yield from wants(bucket, "force_destroy", False, None)


@rule(
    "efs-backed-up",
    "In prod file systems are backed up every night.",
    reason="The workspace holds decisions and the logs of answers, which no versioning keeps.",
    remedy='Give it an aws_efs_backup_policy with status = "ENABLED".',
)
def efs_backed_up(plan: Plan) -> Iterator[Finding]:
    def judge(policy: Resource) -> Iterator[Finding]:
        yield from wants(policy, "backup_policy.0.status", "ENABLED")

    if plan.environment == "prod":
        kind = "aws_efs_backup_policy"
        yield from wants_companion(plan, kind, of="aws_efs_file_system", argument="file_system_id", judge=judge)


# ── Images ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "images-immutable",
    "An image's tag never moves.",
    reason="A rollback must get the image that it was rolled back to.",
    remedy='Set image_tag_mutability = "IMMUTABLE".',
)
def images_immutable(plan: Plan) -> Iterator[Finding]:
    for registry in plan.of("aws_ecr_repository"):
        yield from wants(registry, "image_tag_mutability", "IMMUTABLE")


@rule(
    "images-scanned",
    "Images are scanned when they are pushed.",
    reason="A known flaw is then known before it runs.",
    remedy="Set image_scanning_configuration.scan_on_push.",
)
def images_scanned(plan: Plan) -> Iterator[Finding]:
    for registry in plan.of("aws_ecr_repository"):
        yield from wants(registry, "image_scanning_configuration.0.scan_on_push", True)


@rule(
    "images-tidied",
    "Registries let go of old images.",
    reason="Each commit pushes a gigabyte.",
    remedy="Give it an aws_ecr_lifecycle_policy that says how many are kept.",
)
def images_tidied(plan: Plan) -> Iterator[Finding]:
    def judge(policy: Resource) -> Iterator[Finding]:
        yield from wants_set(plan, policy, "policy")

    yield from wants_companion(
        plan, "aws_ecr_lifecycle_policy", of="aws_ecr_repository", argument="repository", judge=judge
    )


@rule(
    "images-kept",
    "In prod a registry is not destroyed with its images.",
    reason="What runs could not start again, and nothing could be rolled back to.",
    remedy="Set force_delete = false.",
)
def images_kept(plan: Plan) -> Iterator[Finding]:
    for registry in _in_prod(plan, "aws_ecr_repository"):
        yield from wants(registry, "force_delete", False, None)


# ── Keys and secrets ─────────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "keys-recoverable",
    "In prod a deleted key can be had back for a month.",
    reason="All that it encrypted goes with it, backups too.",
    remedy=f"Set deletion_window_in_days = {RECOVERY_DAYS}.",
)
def keys_recoverable(plan: Plan) -> Iterator[Finding]:
    for key in _in_prod(plan, "aws_kms_key"):
        # Not set is AWS's default, the longest.
        if key.get("deletion_window_in_days") is not None:
            yield from wants_at_least(key, "deletion_window_in_days", RECOVERY_DAYS)


@rule(
    "secrets-recoverable",
    "In prod a deleted secret can be had back.",
    reason="With a window of 0 it is gone at once, and whoever uses it stands outside.",
    remedy=f"Set recovery_window_in_days to {SECRET_DAYS} or more.",
)
def secrets_recoverable(plan: Plan) -> Iterator[Finding]:
    for secret in _in_prod(plan, "aws_secretsmanager_secret"):
        if secret.get("recovery_window_in_days") is not None:
            yield from wants_at_least(secret, "recovery_window_in_days", SECRET_DAYS)


def _in_prod(plan: Plan, *types: str) -> list[Resource]:
    return plan.of(*types) if plan.environment == "prod" else []


def _rules_of_all(lifecycle: Resource) -> list[dict[str, Any]]:
    """Enabled rules of a lifecycle that hold for all objects of the bucket."""
    rules = lifecycle.get("rule", [])
    return [] if rules is UNKNOWN else [it for it in rules if it.get("status") == "Enabled" and not _is_partial(it)]


def _is_partial(lifecycle_rule: dict[str, Any]) -> bool:
    filters = lifecycle_rule.get("filter") or []
    return bool(lifecycle_rule.get("prefix")) or any(any(it.values()) for it in filters)

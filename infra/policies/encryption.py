"""What is encrypted: at rest with keys of ours, and on its way."""

from __future__ import annotations

from collections.abc import Iterator

from infra.plan import Plan, Resource
from infra.policies.evidence import YES, is_set, listed, wants, wants_companion, wants_set
from infra.policies.rule import Finding, rule
from infra.policies.statements import Policy, Statement, policies
from infra.policies.wiring import leads_to

OUR_KEY = "With a key of ours we say who may read, and CloudTrail says who did; with AWS's own nobody does."
NO_TLS = "aws:securetransport"


# ── At rest ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule("s3-encrypted", "Buckets encrypt by KMS.", reason=OUR_KEY, remedy="Use modules/bucket, which does.")
def s3_encrypted(plan: Plan) -> Iterator[Finding]:
    default = "rule.0.apply_server_side_encryption_by_default.0"

    def judge(encryption: Resource) -> Iterator[Finding]:
        yield from wants(encryption, f"{default}.sse_algorithm", "aws:kms", "aws:kms:dsse")
        yield from wants_set(plan, encryption, f"{default}.kms_master_key_id")

    kind = "aws_s3_bucket_server_side_encryption_configuration"
    yield from wants_companion(plan, kind, of="aws_s3_bucket", argument="bucket", judge=judge)


@rule(
    "rds-encrypted",
    "Databases are encrypted, and so is what Performance Insights show of them.",
    reason=OUR_KEY + " Insights show statements, and statements show rows.",
    remedy="Set storage_encrypted, kms_key_id and performance_insights_kms_key_id.",
)
def rds_encrypted(plan: Plan) -> Iterator[Finding]:
    for database in plan.of("aws_db_instance", "aws_rds_cluster"):
        yield from wants(database, "storage_encrypted", *YES)
        yield from wants_set(plan, database, "kms_key_id")
        if database.get("performance_insights_enabled"):
            yield from wants_set(plan, database, "performance_insights_kms_key_id")


@rule(
    "redis-encrypted",
    "Caches are encrypted, in memory dumps and on the wire.",
    reason="Features are of people, and the password crosses the same wire.",
    remedy="Set at_rest_encryption_enabled, kms_key_id and transit_encryption_enabled; each needs a new group.",
)
def redis_encrypted(plan: Plan) -> Iterator[Finding]:
    for cache in plan.of("aws_elasticache_replication_group"):
        yield from wants(cache, "at_rest_encryption_enabled", *YES)
        yield from wants_set(plan, cache, "kms_key_id")
        yield from wants(cache, "transit_encryption_enabled", *YES)
    for cluster in plan.of("aws_elasticache_cluster"):
        # A member of a group has what the group has; one that stands alone cannot be encrypted at rest.
        if not is_set(plan, cluster, "replication_group_id"):
            yield (
                cluster.address,
                "stands alone, where a cache cannot be encrypted at rest; make it a replication group",
            )


@rule("efs-encrypted", "File systems are encrypted.", reason=OUR_KEY, remedy="Set encrypted and kms_key_id.")
def efs_encrypted(plan: Plan) -> Iterator[Finding]:
    for files in plan.of("aws_efs_file_system"):
        yield from wants(files, "encrypted", *YES)
        yield from wants_set(plan, files, "kms_key_id")


@rule(
    "disks-encrypted",
    "Machines' disks are encrypted.",
    reason="A disk holds the image's layers, spilled data and whatever a job wrote to /tmp.",
    remedy="Use modules/launch_template. AWS's key does here: one of ours needs a grant to Auto Scaling's own role.",
)
def disks_encrypted(plan: Plan) -> Iterator[Finding]:
    for template in plan.of("aws_launch_template"):
        disks = listed(template, "block_device_mappings")
        if not disks:
            yield template.address, "block_device_mappings is not set, so the image decides"
        for i in range(len(disks)):
            yield from wants(template, f"block_device_mappings.{i}.ebs.0.encrypted", *YES)
    for machine in plan.of("aws_instance"):
        yield from wants(machine, "root_block_device.0.encrypted", *YES)
    for disk in plan.of("aws_ebs_volume"):
        yield from wants(disk, "encrypted", *YES)


@rule("images-encrypted", "Registries encrypt by KMS.", reason=OUR_KEY, remedy="Set encryption_configuration to KMS.")
def images_encrypted(plan: Plan) -> Iterator[Finding]:
    for registry in plan.of("aws_ecr_repository"):
        yield from wants(registry, "encryption_configuration.0.encryption_type", "KMS", "KMS_DSSE")
        yield from wants_set(plan, registry, "encryption_configuration.0.kms_key")


@rule(
    "eks-secrets-encrypted",
    "Kubernetes secrets are encrypted with a key of ours.",
    reason="Without it they lie in etcd in base64, under a disk key that nobody can withdraw.",
    remedy='Set encryption_config with resources = ["secrets"].',
)
def eks_secrets_encrypted(plan: Plan) -> Iterator[Finding]:
    for cluster in plan.of("aws_eks_cluster"):
        yield from wants(cluster, "encryption_config.0.resources", ["secrets"])
        yield from wants_set(plan, cluster, "encryption_config.0.provider.0.key_arn")


@rule(
    "keys-of-ours",
    "Logs, messages, secrets and metrics are encrypted with a key of ours.",
    reason=OUR_KEY + " CloudWatch and EventBridge cannot even write where AWS's key for SNS or SQS stands.",
    remedy="Give it the key of its kind from modules/security.",
)
def keys_of_ours(plan: Plan) -> Iterator[Finding]:
    arguments = {
        "aws_cloudwatch_log_group": "kms_key_id",
        "aws_sns_topic": "kms_master_key_id",
        "aws_sqs_queue": "kms_master_key_id",
        "aws_secretsmanager_secret": "kms_key_id",
        "aws_prometheus_workspace": "kms_key_arn",
    }
    for resource in plan.of(*arguments):
        argument = arguments[resource.type]
        yield from wants_set(plan, resource, argument)
        if str(resource.get(argument)).startswith("alias/aws/"):
            yield resource.address, f"{argument} is {resource.get(argument)}, which is AWS's"


@rule(
    "athena-encrypted",
    "What Athena answers is encrypted, whatever a client asks for.",
    reason="Answers are copies of the lake; unless the workgroup is enforced, a client's own settings win.",
    remedy="Set enforce_workgroup_configuration and result_configuration's encryption to SSE_KMS with our key.",
)
def athena_encrypted(plan: Plan) -> Iterator[Finding]:
    encryption = "configuration.0.result_configuration.0.encryption_configuration.0"
    for workgroup in plan.of("aws_athena_workgroup"):
        yield from wants(workgroup, "configuration.0.enforce_workgroup_configuration", *YES)
        yield from wants(workgroup, f"{encryption}.encryption_option", "SSE_KMS", "CSE_KMS")
        yield from wants_set(plan, workgroup, f"{encryption}.kms_key_arn")


@rule(
    "kms-rotated",
    "Keys are rotated every year.",
    reason="A key that leaked opens a year of data, not all of it.",
    remedy="Set enable_key_rotation.",
)
def kms_rotated(plan: Plan) -> Iterator[Finding]:
    for key in plan.of("aws_kms_key"):
        # AWS cannot rotate keys that sign; those are no keys to data.
        if key.get("customer_master_key_spec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT":
            yield from wants(key, "enable_key_rotation", *YES)


# ── On its way ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@rule(
    "s3-tls-only",
    "Buckets refuse whoever comes without TLS.",
    reason="S3 answers plain HTTP unless the bucket's policy refuses.",
    remedy="Deny s3:* to everybody where aws:SecureTransport is false, as modules/bucket does.",
)
def s3_tls_only(plan: Plan) -> Iterator[Finding]:
    yield from _wants_refusal(
        plan, "aws_s3_bucket_policy", of="aws_s3_bucket", argument="bucket", actions={"s3:*", "*"}
    )


@rule(
    "efs-tls-only",
    "File systems refuse whoever comes without TLS.",
    reason="NFS itself encrypts nothing; only the file system's policy makes clients do it.",
    remedy="Deny elasticfilesystem:ClientMount to everybody where aws:SecureTransport is false.",
)
def efs_tls_only(plan: Plan) -> Iterator[Finding]:
    actions = {"elasticfilesystem:ClientMount", "elasticfilesystem:*", "*"}
    kind = "aws_efs_file_system_policy"
    yield from _wants_refusal(plan, kind, of="aws_efs_file_system", argument="file_system_id", actions=actions)


@rule(
    "rds-tls-only",
    "Databases refuse whoever comes without TLS.",
    reason="PostgreSQL takes plain connections unless a parameter forbids it; before version 15 that is the default.",
    remedy='Give the instance a parameter group with rds.force_ssl = "1".',
)
def rds_tls_only(plan: Plan) -> Iterator[Finding]:
    for database in plan.of("aws_db_instance"):
        groups = [g for g in plan.of("aws_db_parameter_group") if leads_to(plan, database, "parameter_group_name", g)]
        forced = [p["value"] for group in groups for p in listed(group, "parameter") if p["name"] == "rds.force_ssl"]
        if forced != ["1"]:
            yield database.address, f"its parameter group sets rds.force_ssl to {forced[0] if forced else 'nothing'}"


def _wants_refusal(plan: Plan, kind: str, *, of: str, argument: str, actions: set[str]) -> Iterator[Finding]:
    """Find fault unless a policy refuses the actions to everybody without TLS."""
    by_holder = {policy.holder.address: policy for policy in policies(plan)}

    def judge(holder: Resource) -> Iterator[Finding]:
        policy = by_holder.get(holder.address)
        if policy is None or not _refuses(policy, actions):
            yield holder.address, f"policy does not deny {min(actions - {'*'})} where aws:SecureTransport is false"

    yield from wants_companion(plan, kind, of=of, argument=argument, judge=judge)


def _refuses(policy: Policy, actions: set[str]) -> bool:
    return any(_refuses_without_tls(statement, actions) for statement in policy.statements or ())


def _refuses_without_tls(statement: Statement, actions: set[str]) -> bool:
    everybody = "*" in [name for _, name in statement.principals]
    # A second condition would narrow the refusal, and let the rest in.
    tests = [(c.test, str(c.variable).lower(), c.values) for c in statement.conditions]
    return (
        not statement.allows
        and everybody
        and bool(actions & set(statement.actions))
        and tests in ([("Bool", NO_TLS, ("false",))], [("Bool", NO_TLS, (False,))])
    )

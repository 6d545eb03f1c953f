"""Each rule lets through what is in order, and finds what is not, where it is."""
# ruff: noqa: E501 - a case is one row, however long

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from infra.plan import UNKNOWN, Plan
from infra.policies.rules import RULES, check
from infra.policies.wiring import leads_to, origins
from tests.infra.plans import (
    ACCOUNT,
    TAGS,
    Dynamic,
    Edit,
    add,
    change,
    condition,
    drop,
    later,
    plan,
    principal,
    resource,
    statement,
    taggable,
    without_tls,
    world,
)

PLAN = "the plan"
LAKE = "module.lake.aws_s3_bucket"
BUCKET, POLICY, LIFECYCLE = f"{LAKE}.this", f"{LAKE}_policy.this", f"{LAKE}_lifecycle_configuration.this"
ENCRYPTION = f"{LAKE}_server_side_encryption_configuration.this"
DATABASE, PARAMETERS = "aws_db_instance.this", "aws_db_parameter_group.this"
CACHE, FILES = "aws_elasticache_replication_group.this", "aws_efs_file_system.this"
REGISTRY = 'aws_ecr_repository.this["platform"]'
CLUSTER, TEMPLATE = "aws_eks_cluster.this", "aws_launch_template.this"
SPOT, FALLBACK = "aws_eks_node_group.spot", "aws_eks_node_group.fallback"
BATCH_SPOT, BATCH_BEHIND = (f"aws_batch_compute_environment.{it}" for it in ("spot", "on-demand"))
QUEUE, JOB = "aws_batch_job_queue.this", 'aws_batch_job_definition.this["fraud"]'
KEY, WORKGROUP = "aws_kms_key.this", "aws_athena_workgroup.this"
BUDGET = "aws_budgets_budget.all"
TOPIC, TOPIC_POLICY = "aws_sns_topic.alerts", "aws_sns_topic_policy.alerts"
LOG = "aws_cloudwatch_log_group.cluster"
ROLE, GRANTS = "module.role.aws_iam_role.this", "module.role.aws_iam_role_policy.this"
TRUST_TEXT, GRANTS_TEXT = (f"module.role.data.aws_iam_policy_document.{it}" for it in ("trust", "grants"))
BUCKET_TEXT = "module.lake.data.aws_iam_policy_document.this"
EGRESS = "aws_vpc_security_group_egress_rule.machine"
INGRESS = "aws_vpc_security_group_ingress_rule.store"


@dataclass(frozen=True)
class Case:
    """What befalls the world that is in order; where a rule finds fault then, and what it shows."""

    rule: str
    edits: tuple[Edit, ...]
    address: str = ""
    shows: str = ""
    environment: str = "prod"
    #: Rules that the same fault breaks too.
    also: frozenset[str] = frozenset()


def passes(rule: str, *edits: Edit, environment: str = "prod") -> Case:
    return Case(rule, edits, environment=environment)


def fails(rule: str, address: str, shows: str, *edits: Edit, environment: str = "prod", also: str = "") -> Case:
    return Case(rule, edits, address, shows, environment, frozenset(also.split()))


def granted(*blocks: dict[str, Any]) -> Edit:
    """The role's policy has these statements."""
    return change(GRANTS_TEXT, "statement", [*blocks])


def trusted(*tests: dict[str, Any]) -> Edit:
    """The role's trust in the cluster's tokens has these tests."""
    return change(TRUST_TEXT, "statement.0.condition", [*tests])


def key_policy(**more: Any) -> Edit:
    """The key's policy, known already, allows this."""
    allow = {"Effect": "Allow", "Resource": "*", "Action": "kms:Decrypt", **more}
    return change(KEY, "policy", json.dumps({"Statement": [allow]}))


def let_in(**values: Any) -> Edit:
    return add(taggable("aws_vpc_security_group_ingress_rule.more", security_group_id=later("x.y"), **values))


def topic_allows(**more: Any) -> Edit:
    return change("data.aws_iam_policy_document.alerts", "statement", [statement("sns:Publish", **more)])


def file_policy(**more: Any) -> Edit:
    """The file system's policy also allows mounting to everybody, with these conditions."""
    mount = statement("elasticfilesystem:ClientMount", principals=principal("AWS", "*"), **more)
    refusal = without_tls("elasticfilesystem:ClientMount")
    return change("data.aws_iam_policy_document.files", "statement", [refusal, mount])


SUB = condition("StringEquals", "issuer:sub", "system:serviceaccount:mlflow:mlflow")
AUD = condition("StringEquals", "issuer:aud", "sts.amazonaws.com")
FOREIGN_ROOT = "arn:aws:iam::999999999999:root"
OTHER_BUCKET = resource("module.other.aws_s3_bucket_versioning.this", bucket="other", versioning_configuration=[{}])
GROUP_EGRESS = [{"cidr_blocks": ["0.0.0.0/0"], "ipv6_cidr_blocks": []}]
RETRY, EXIT = {"action": "RETRY", "on_status_reason": "Host EC2*"}, {"action": "EXIT", "on_reason": "*"}
RULE_FOR_PART = {
    "status": "Enabled",
    "filter": [{"prefix": "old/"}],
    "expiration": [{"days": 30}],
    "abort_incomplete_multipart_upload": [{"days_after_initiation": 7}],
    "noncurrent_version_expiration": [{"noncurrent_days": 90}],
}

PASSING = [
    # ── encryption
    passes("s3-encrypted", change(ENCRYPTION, "rule.0.apply_server_side_encryption_by_default.0.sse_algorithm", "aws:kms:dsse")),
    passes("rds-encrypted", change(DATABASE, "performance_insights_enabled", False), change(DATABASE, "performance_insights_kms_key_id", later())),
    passes("redis-encrypted", add(taggable("aws_elasticache_cluster.member", replication_group_id="store"))),
    passes("efs-encrypted", change(FILES, "kms_key_id", "arn:aws:kms:us-east-1:123456789012:key/1")),
    passes("disks-encrypted", add(taggable("aws_ebs_volume.this", encrypted=True))),
    passes("images-encrypted", change(REGISTRY, "encryption_configuration.0.encryption_type", "KMS_DSSE")),
    passes("eks-secrets-encrypted", change(CLUSTER, "encryption_config.0.provider.0.key_arn", "arn:aws:kms:us-east-1:123456789012:key/1")),
    passes("keys-of-ours", change(TOPIC, "kms_master_key_id", "alias/mlops-prod-logs")),
    passes("athena-encrypted", change(WORKGROUP, "configuration.0.result_configuration.0.encryption_configuration.0.encryption_option", "CSE_KMS")),
    passes("kms-rotated", change(KEY, "enable_key_rotation", False), change(KEY, "customer_master_key_spec", "ECC_NIST_P256")),
    passes("s3-tls-only", change(POLICY, "policy", json.dumps({"Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}}))),
    passes("efs-tls-only"),
    passes("rds-tls-only", change(DATABASE, "parameter_group_name", later("aws_db_parameter_group.this.name", "aws_db_parameter_group.this"))),
    # ── exposure
    passes("s3-not-public"),
    passes("rds-not-public", change(DATABASE, "publicly_accessible", None)),
    passes("eks-endpoint-private", change(CLUSTER, "vpc_config.0.endpoint_public_access", True), change(CLUSTER, "vpc_config.0.public_access_cidrs", ["198.51.100.0/24"]), environment="dev"),
    passes("ingress-from-inside", let_in(cidr_ipv6="fd00::/8")),
    passes("ingress-from-inside", let_in(cidr_ipv4=later(), referenced_security_group_id=later("x.y"))),
    passes("egress-not-from-what-listens", change("aws_security_group.machine", "egress", GROUP_EGRESS)),
    passes("egress-not-from-what-listens", change("aws_security_group.store", "egress", [{"cidr_blocks": ["10.22.0.0/16"]}])),
    passes("egress-not-from-what-listens", change("aws_security_group.store", "egress", [{"prefix_list_ids": ["pl-63a5400a"]}])),
    passes("default-group-closed"),
    passes("no-public-addresses", add(taggable("aws_lb.this", internal=True))),
    passes("imdsv2", change(TEMPLATE, "metadata_options", [{"http_endpoint": "disabled"}])),
    passes("machines-from-templates", change(BATCH_BEHIND, "compute_resources", [{"type": "FARGATE"}])),
    # ── access
    passes("iam-readable", change(GRANTS, "policy", json.dumps({"Statement": []}))),
    passes("iam-readable", change(GRANTS_TEXT, "json", json.dumps({"Statement": []})), change(GRANTS_TEXT, "source_policy_documents", [later("x.y")])),
    passes("iam-not-everything", granted(statement("*", effect="Deny"))),
    passes("iam-no-whole-services", key_policy(Action="kms:*", Principal={"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]})),
    passes("iam-names-resources", granted(statement("autoscaling:SetDesiredCapacity", condition=[condition("StringEquals", "aws:ResourceTag/owner", "us")]))),
    passes("iam-names-resources", granted(statement("ecr:GetAuthorizationToken", "ec2:DescribeInstances", "batch:ListJobs"))),
    passes("iam-pass-role", granted(statement("iam:PassRole", on=f"arn:aws:iam::{ACCOUNT}:role/mlops-prod-job"))),
    passes("iam-not-inverted", granted(statement(effect="Deny", not_actions=["s3:GetObject"]))),
    passes("iam-not-anybody", file_policy(condition=[condition("StringEquals", "elasticfilesystem:AccessPointArn", later("aws_efs_access_point.this"))])),
    passes("iam-named-senders", topic_allows(principals=principal("Service", "events.amazonaws.com"), condition=[condition("ArnLike", "aws:SourceArn", later("x.y"))])),
    passes("iam-named-senders", key_policy(Principal={"Service": "logs.us-east-1.amazonaws.com"})),
    passes("irsa-one-account", trusted(SUB, AUD)),
    passes("iam-no-broad-managed", change("aws_iam_role_policy_attachment.this", "policy_arn", later("aws_iam_policy.this")), add(resource("aws_iam_policy.this", arn=later()))),
    passes("iam-no-broad-managed", change(ROLE, "managed_policy_arns", later())),
    passes("iam-no-standing-keys"),
    passes("eks-admins-named"),
    passes("redis-asks-password", change(CACHE, "auth_token", None), change(CACHE, "user_group_ids", ["readers"])),
    passes("rds-password-managed"),
    # ── resilience
    passes("rds-backed-up", change(DATABASE, "backup_retention_period", 14)),
    passes("rds-backed-up", change(DATABASE, "backup_retention_period", 1), environment="dev"),
    passes("rds-kept", change(DATABASE, "deletion_protection", False), change(DATABASE, "skip_final_snapshot", True), environment="dev"),
    passes("rds-multi-az", change(DATABASE, "multi_az", False), environment="staging"),
    passes("redis-survives-zone", change(CACHE, "num_cache_clusters", 1), change(CACHE, "snapshot_retention_limit", 0), environment="dev"),
    passes("way-out-per-zone", drop("aws_nat_gateway.us-east-1b"), environment="dev"),
    passes("way-out-per-zone", drop("aws_nat_gateway.us-east-1a"), drop("aws_nat_gateway.us-east-1b")),
    passes("s3-versioned"),
    passes("s3-tidied", change(LIFECYCLE, "rule.0.filter", [])),
    passes("s3-kept", change(BUCKET, "force_destroy", True), change(LIFECYCLE, "rule.0.expiration", [{"days": 30}])),
    passes("s3-kept", change(BUCKET, "force_destroy", True), environment="dev"),
    passes("efs-backed-up", change("aws_efs_backup_policy.this", "backup_policy", [{"status": "DISABLED"}]), environment="dev"),
    passes("images-immutable"),
    passes("images-scanned"),
    passes("images-tidied", change('aws_ecr_lifecycle_policy.this["platform"]', "repository", "prod/platform")),
    passes("images-kept", change(REGISTRY, "force_delete", True), environment="dev"),
    passes("keys-recoverable", change(KEY, "deletion_window_in_days", 7), environment="dev"),
    passes("keys-recoverable", change(KEY, "deletion_window_in_days", None)),
    passes("secrets-recoverable", change("aws_secretsmanager_secret.this", "recovery_window_in_days", 7)),
    passes("secrets-recoverable", change("aws_secretsmanager_secret.this", "recovery_window_in_days", 0), environment="dev"),
    # ── spot
    passes("spot-many-types", change(FALLBACK, "instance_types", ["m6i.2xlarge"])),
    passes("spot-tainted"),
    passes("spot-from-zero", change(FALLBACK, "scaling_config.0.min_size", 2)),
    passes("spot-falls-back", drop(SPOT), drop(FALLBACK)),
    passes("batch-falls-back", change(QUEUE, "compute_environment_order", [{"compute_environment": later(BATCH_SPOT)}, {"compute_environment": later(BATCH_BEHIND)}])),
    passes("batch-falls-back", change(BATCH_BEHIND, "arn", "arn:b"), change(QUEUE, "compute_environment_order", [{"compute_environment": "arn:b"}])),
    passes("batch-retries-reclaimed", change(JOB, "retry_strategy.0.attempts", 2)),
    passes("batch-times-out"),
    passes("batch-image-pinned", change(JOB, "container_properties", json.dumps({"image": "localhost:5000/platform:d46fc6b"}))),
    passes("batch-image-pinned", change(JOB, "container_properties", json.dumps({"image": "platform@sha256:0123"}))),
    passes("spot-notices-heard", change("aws_cloudwatch_event_rule.interruption", "state", "ENABLED")),
    # ── watching
    passes("logs-kept", change(LOG, "retention_in_days", 90)),
    passes("logs-kept", change(LOG, "retention_in_days", 7), environment="dev"),
    passes("logs-ours", drop("aws_eks_addon.logs"), drop("aws_cloudwatch_log_group.host")),
    passes("eks-logs"),
    passes("network-logged"),
    passes("alarms-heard", change("aws_cloudwatch_metric_alarm.store", "actions_enabled", None)),
    passes("alerts-reach-somebody"),
    passes("stores-watched", change("aws_cloudwatch_metric_alarm.store", "dimensions", {"ReplicationGroupId": "store"})),
    # ── ownership
    passes("tags-complete", change(BUCKET, "tags_all", TAGS | {"Name": "lake"})),
    passes("tags-reach-machines", change(JOB, "propagate_tags", "true")),
    passes("jobs-name-their-model"),
    passes("budget-of-environment", change(BUDGET, "limit_amount", "0.5")),
    passes("budget-of-each-model", change(JOB, "tags_all.model", "shared"), drop("aws_budgets_budget.fraud"), drop(JOB)),
    passes("budget-warns", change(BUDGET, "notification", [{"notification_type": kind, "threshold": mark, "subscriber_email_addresses": ["a@example.com"]} for kind, mark in (("ACTUAL", 50), ("ACTUAL", 80), ("FORECASTED", 100))])),
    passes("athena-bounded"),
]  # fmt: skip

FAILING = [
    # ── encryption
    fails("s3-encrypted", BUCKET, "no aws_s3_bucket_server_side", drop(ENCRYPTION)),
    fails("s3-encrypted", ENCRYPTION, 'sse_algorithm is "AES256"', change(ENCRYPTION, "rule.0.apply_server_side_encryption_by_default.0.sse_algorithm", "AES256")),
    fails("s3-encrypted", ENCRYPTION, "kms_master_key_id is not set", change(ENCRYPTION, "rule.0.apply_server_side_encryption_by_default.0.kms_master_key_id", None)),
    fails("s3-encrypted", ENCRYPTION, "sse_algorithm cannot be judged", change(ENCRYPTION, "rule.0.apply_server_side_encryption_by_default.0.sse_algorithm", later("x.y"))),
    fails("rds-encrypted", DATABASE, "storage_encrypted is false", change(DATABASE, "storage_encrypted", False)),
    fails("rds-encrypted", DATABASE, "kms_key_id is not set", change(DATABASE, "kms_key_id", later())),
    fails("rds-encrypted", DATABASE, "performance_insights_kms_key_id is not set", change(DATABASE, "performance_insights_kms_key_id", None)),
    fails("redis-encrypted", CACHE, "at_rest_encryption_enabled is not set", change(CACHE, "at_rest_encryption_enabled", None)),
    fails("redis-encrypted", CACHE, "kms_key_id", change(CACHE, "kms_key_id", None)),
    fails("redis-encrypted", CACHE, "transit_encryption_enabled is false", change(CACHE, "transit_encryption_enabled", False)),
    fails("redis-encrypted", "aws_elasticache_cluster.alone", "stands alone", add(taggable("aws_elasticache_cluster.alone"))),
    fails("efs-encrypted", FILES, "encrypted is false", change(FILES, "encrypted", False)),
    fails("efs-encrypted", FILES, "kms_key_id is not set", change(FILES, "kms_key_id", later())),
    fails("disks-encrypted", TEMPLATE, "block_device_mappings is not set", change(TEMPLATE, "block_device_mappings", [])),
    fails("disks-encrypted", TEMPLATE, 'mappings.1.ebs.0.encrypted is "false"', change(TEMPLATE, "block_device_mappings", [{"ebs": [{"encrypted": it}]} for it in ("true", "false")])),
    fails("disks-encrypted", "aws_ebs_volume.this", "encrypted", add(taggable("aws_ebs_volume.this"))),
    fails("disks-encrypted", "aws_instance.this", "root_block_device", add(taggable("aws_instance.this", metadata_options=[{"http_endpoint": "disabled"}], associate_public_ip_address=False))),
    fails("images-encrypted", REGISTRY, "encryption_type is not set", change(REGISTRY, "encryption_configuration", [{"kms_key": "k"}])),
    fails("images-encrypted", REGISTRY, "kms_key is not set", change(REGISTRY, "encryption_configuration.0.kms_key", later())),
    fails("eks-secrets-encrypted", CLUSTER, "encryption_config.0.resources is not set", change(CLUSTER, "encryption_config", [])),
    fails("eks-secrets-encrypted", CLUSTER, "key_arn is not set", change(CLUSTER, "encryption_config.0.provider", [])),
    *(fails("keys-of-ours", address, f"{argument} is not set", change(address, argument, None)) for address, argument in ((LOG, "kms_key_id"), (TOPIC, "kms_master_key_id"), ("aws_sqs_queue.notices", "kms_master_key_id"), ("aws_secretsmanager_secret.this", "kms_key_id"), ("aws_prometheus_workspace.this", "kms_key_arn"))),
    fails("keys-of-ours", TOPIC, "alias/aws/sns", change(TOPIC, "kms_master_key_id", "alias/aws/sns")),
    fails("athena-encrypted", WORKGROUP, "enforce_workgroup_configuration is false", change(WORKGROUP, "configuration.0.enforce_workgroup_configuration", False)),
    fails("athena-encrypted", WORKGROUP, 'encryption_option is "SSE_S3"', change(WORKGROUP, "configuration.0.result_configuration.0.encryption_configuration.0.encryption_option", "SSE_S3")),
    fails("athena-encrypted", WORKGROUP, "kms_key_arn is not set", change(WORKGROUP, "configuration.0.result_configuration.0.encryption_configuration.0.kms_key_arn", None)),
    fails("kms-rotated", KEY, "enable_key_rotation is not set", change(KEY, "enable_key_rotation", None)),
    fails("s3-tls-only", BUCKET, "no aws_s3_bucket_policy", drop(POLICY)),
    fails("s3-tls-only", POLICY, "does not deny s3:*", change(BUCKET_TEXT, "statement", [without_tls("s3:GetObject")])),
    fails("s3-tls-only", POLICY, "does not deny s3:*", change(BUCKET_TEXT, "statement.0.principals", principal("AWS", FOREIGN_ROOT))),
    fails("s3-tls-only", POLICY, "does not deny s3:*", change(BUCKET_TEXT, "statement.0.condition.0.values", ["true"])),
    fails("s3-tls-only", POLICY, "does not deny s3:*", change(BUCKET_TEXT, "statement", [without_tls("s3:*") | {"condition": [condition("Bool", "aws:SecureTransport", "false"), condition("StringEquals", "aws:SourceVpc", "vpc-1")]}])),
    fails("s3-tls-only", POLICY, "does not deny s3:*", change(POLICY, "policy", json.dumps({"Statement": []}))),
    fails("efs-tls-only", FILES, "no aws_efs_file_system_policy", drop("aws_efs_file_system_policy.this")),
    fails("efs-tls-only", "aws_efs_file_system_policy.this", "does not deny elasticfilesystem:", change("data.aws_iam_policy_document.files", "statement", [])),
    fails("rds-tls-only", DATABASE, "rds.force_ssl to 0", change(PARAMETERS, "parameter.0.value", "0")),
    fails("rds-tls-only", DATABASE, "rds.force_ssl to nothing", change(PARAMETERS, "parameter", [])),
    fails("rds-tls-only", DATABASE, "rds.force_ssl to nothing", change(DATABASE, "parameter_group_name", later())),
    # ── exposure
    fails("s3-not-public", BUCKET, "no aws_s3_bucket_public_access_block", drop(f"{LAKE}_public_access_block.this")),
    *(fails("s3-not-public", f"{LAKE}_public_access_block.this", f"{it} is false", change(f"{LAKE}_public_access_block.this", it, False)) for it in ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")),
    fails("s3-not-public", f"{LAKE}_ownership_controls.this", "ObjectWriter", change(f"{LAKE}_ownership_controls.this", "rule.0.object_ownership", "ObjectWriter")),
    fails("s3-not-public", BUCKET, "no aws_s3_bucket_ownership_controls", drop(f"{LAKE}_ownership_controls.this")),
    fails("rds-not-public", DATABASE, "publicly_accessible is true", change(DATABASE, "publicly_accessible", True)),
    fails("rds-not-public", DATABASE, "cannot be judged", change(DATABASE, "publicly_accessible", later("x.y"))),
    fails("eks-endpoint-private", CLUSTER, "endpoint_private_access is false", change(CLUSTER, "vpc_config.0.endpoint_private_access", False)),
    fails("eks-endpoint-private", CLUSTER, "endpoint_public_access is not set", change(CLUSTER, "vpc_config.0.endpoint_public_access", None), environment="dev"),
    fails("eks-endpoint-private", CLUSTER, "endpoint_public_access is true", change(CLUSTER, "vpc_config.0.endpoint_public_access", True), change(CLUSTER, "vpc_config.0.public_access_cidrs", ["198.51.100.0/24"])),
    fails("eks-endpoint-private", CLUSTER, "0.0.0.0/0", change(CLUSTER, "vpc_config.0.endpoint_public_access", True), change(CLUSTER, "vpc_config.0.public_access_cidrs", ["198.51.100.0/24", "0.0.0.0/0"]), environment="dev"),
    fails("eks-endpoint-private", CLUSTER, "public_access_cidrs cannot be judged", change(CLUSTER, "vpc_config.0.endpoint_public_access", True), environment="dev"),
    fails("ingress-from-inside", INGRESS, "cidr_ipv4 is 0.0.0.0/0", change(INGRESS, "cidr_ipv4", "0.0.0.0/0")),
    fails("ingress-from-inside", INGRESS, "cidr_ipv6 is ::/0", change(INGRESS, "cidr_ipv6", "::/0")),
    fails("ingress-from-inside", INGRESS, "10.0.0.0/7", change(INGRESS, "cidr_ipv4", "10.0.0.0/7")),
    fails("ingress-from-inside", INGRESS, "cidr_ipv4 cannot be judged", change(INGRESS, "cidr_ipv4", later("x.y"))),
    fails("ingress-from-inside", INGRESS, "prefix_list_id is pl-1", change(INGRESS, "prefix_list_id", "pl-1")),
    fails("ingress-from-inside", "aws_security_group_rule.old", "cidr_blocks is 0.0.0.0/0", add(resource("aws_security_group_rule.old", type="ingress", cidr_blocks=["0.0.0.0/0"]))),
    fails("ingress-from-inside", "aws_security_group.store", "ingress.0.ipv6_cidr_blocks is ::/0", change("aws_security_group.store", "ingress", [{"ipv6_cidr_blocks": ["::/0"]}])),
    fails("ingress-from-inside", "aws_security_group.store", "ingress cannot be judged", change("aws_security_group.store", "ingress", later("x.y"))),
    fails("egress-not-from-what-listens", EGRESS, "aws_security_group.store lets connections in", change(EGRESS, "security_group_id", later("aws_security_group.store"))),
    fails("egress-not-from-what-listens", "aws_security_group.store", "egress.0.cidr_blocks is 0.0.0.0/0", change("aws_security_group.store", "egress", GROUP_EGRESS)),
    fails("egress-not-from-what-listens", EGRESS, "aws_security_group.machine lets", change("aws_security_group.machine", "ingress", [{"self": True}])),
    fails("egress-not-from-what-listens", EGRESS, "cannot be judged", change(EGRESS, "cidr_ipv4", later("x.y"))),
    fails("default-group-closed", "aws_vpc.this", "no aws_default_security_group", drop("aws_default_security_group.closed")),
    fails("default-group-closed", "aws_default_security_group.closed", "egress", change("aws_default_security_group.closed", "egress", [{"self": True}])),
    fails("no-public-addresses", "aws_subnet.us-east-1a", "map_public_ip_on_launch is true", change("aws_subnet.us-east-1a", "map_public_ip_on_launch", True)),
    fails("no-public-addresses", "aws_lb.this", "internal is false", add(taggable("aws_lb.this", internal=False))),
    fails("no-public-addresses", TEMPLATE, "associate_public_ip_address", change(TEMPLATE, "network_interfaces", [{"associate_public_ip_address": "true"}])),
    fails("no-public-addresses", TEMPLATE, "network_interfaces cannot be judged", change(TEMPLATE, "network_interfaces", later("x.y"))),
    fails("imdsv2", TEMPLATE, 'http_tokens is "optional"', change(TEMPLATE, "metadata_options.0.http_tokens", "optional")),
    fails("imdsv2", TEMPLATE, "hop_limit is 2", change(TEMPLATE, "metadata_options.0.http_put_response_hop_limit", 2)),
    fails("machines-from-templates", SPOT, "launch_template.0.id is not set", change(SPOT, "launch_template", [])),
    fails("machines-from-templates", SPOT, "remote_access", change(SPOT, "remote_access", [{"ec2_ssh_key": "mine"}])),
    fails("machines-from-templates", BATCH_SPOT, "launch_template_id is not set", change(BATCH_SPOT, "compute_resources.0.launch_template", [])),
    fails("machines-from-templates", BATCH_SPOT, 'ec2_key_pair is "mine"', change(BATCH_SPOT, "compute_resources.0.ec2_key_pair", "mine")),
    # ── access
    fails("iam-readable", GRANTS, "policy cannot be judged", change(GRANTS, "policy", later("local.policy"))),
    fails("iam-readable", GRANTS, "policy cannot be judged", change(GRANTS_TEXT, "source_policy_documents", [later("x.y")])),
    fails("iam-readable", GRANTS, "policy cannot be judged", granted(statement("s3:GetObject", on="arn:x:y") | {"actions": [later("x.y")]})),
    fails("iam-readable", GRANTS, "policy cannot be judged", change(GRANTS_TEXT, "statement", later("x.y"))),
    fails("iam-readable", GRANTS, "policy cannot be judged", granted(statement("s3:GetObject", on="arn:x:y") | {"effect": later("x.y")})),
    fails("iam-not-everything", GRANTS, "policy allows * on *", granted(statement("*"))),
    fails("iam-not-everything", KEY, "policy allows * on *", key_policy(Action="*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})),
    fails("iam-not-everything", ROLE, "inline_policy.0.policy allows *", change(ROLE, "inline_policy", [{"policy": json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})}])),
    fails("iam-no-whole-services", GRANTS, "policy allows s3:* on *", granted(statement("s3:*"))),
    fails("iam-no-whole-services", KEY, "policy allows kms:*", key_policy(Action="kms:*", Principal={"AWS": FOREIGN_ROOT})),
    fails("iam-no-whole-services", GRANTS, "policy allows kms:*", granted(statement("kms:*", on="arn:x:y"))),
    fails("iam-names-resources", GRANTS, "allows secretsmanager:GetSecretValue on *", granted(statement("secretsmanager:GetSecretValue", "secretsmanager:ListSecrets"))),
    fails("iam-names-resources", GRANTS, "allows s3:GetObject on arn:aws:s3:::*", granted(statement("s3:GetObject", on="arn:aws:s3:::*"))),
    fails("iam-names-resources", GRANTS, "allows ec2:TerminateInstances", granted(statement("ec2:TerminateInstances", condition=[condition("Bool", "aws:SecureTransport", "true")]))),
    fails("iam-names-resources", GRANTS, "allows ec2:TerminateInstances", granted(statement("ec2:TerminateInstances", condition=[condition("StringNotEquals", "aws:ResourceTag/owner", "them")]))),
    fails("iam-names-resources", GRANTS, "allows ec2:TerminateInstances", granted(statement("ec2:TerminateInstances", condition=[condition("StringLike", "aws:ResourceTag/owner", "*")]))),
    fails("iam-pass-role", GRANTS, "allows iam:PassRole on *", granted(statement("iam:PassRole"))),
    fails("iam-pass-role", GRANTS, "allows iam:Pass* on arn:aws:iam::", granted(statement("iam:Pass*", on=f"arn:aws:iam::{ACCOUNT}:role/*"))),
    fails("iam-not-inverted", GRANTS, "by not_actions", granted(statement(not_actions=["iam:CreateUser"]))),
    fails("iam-not-inverted", GRANTS, "by not_resources", granted(statement("s3:GetObject", on=[], not_resources=["arn:x:y"]))),
    fails("iam-not-inverted", KEY, "by NotPrincipal", key_policy(NotPrincipal={"AWS": FOREIGN_ROOT}), also="iam-names-resources"),
    fails("iam-not-anybody", "aws_efs_file_system_policy.this", "ClientMount to *", file_policy()),
    fails("iam-not-anybody", "aws_efs_file_system_policy.this", "ClientMount to *", file_policy(condition=[condition("Bool", "elasticfilesystem:AccessedViaMountTarget", "true")])),
    fails("iam-not-anybody", KEY, "kms:Decrypt to *", key_policy(Principal="*", Condition={"Bool": {"aws:SecureTransport": "true"}})),
    fails("iam-not-anybody", KEY, "kms:Decrypt to *", key_policy(Principal={"AWS": "*"}, Condition={"StringEqualsIfExists": {"aws:SourceAccount": ACCOUNT}})),
    fails("iam-named-senders", TOPIC_POLICY, "events.amazonaws.com for any account", topic_allows(principals=principal("Service", "events.amazonaws.com"))),
    fails("irsa-one-account", ROLE, "names no single service account: StringEquals issuer:aud", trusted(AUD)),
    fails("irsa-one-account", ROLE, "does not ask for the audience", trusted(SUB)),
    fails("irsa-one-account", ROLE, "names no single", trusted(AUD, SUB | {"test": "StringLike", "values": ["system:serviceaccount:mlflow:*"]})),
    fails("irsa-one-account", ROLE, "names no single", trusted(AUD, SUB | {"values": [*SUB["values"], "system:serviceaccount:mlflow:other"]})),
    fails("irsa-one-account", ROLE, "names no single", trusted(AUD, SUB | {"variable": "issuer:email"})),
    fails("iam-no-broad-managed", "aws_iam_role_policy_attachment.this", "AdministratorAccess", change("aws_iam_role_policy_attachment.this", "policy_arn", "arn:aws:iam::aws:policy/AdministratorAccess")),
    fails("iam-no-broad-managed", "aws_iam_role_policy_attachment.this", "policy_arn cannot be judged", change("aws_iam_role_policy_attachment.this", "policy_arn", later("var.policy"))),
    fails("iam-no-broad-managed", ROLE, "managed_policy_arns cannot be judged", change(ROLE, "managed_policy_arns", later("module.of_others.policy"))),
    fails("iam-no-broad-managed", ROLE, "AmazonS3FullAccess", change(ROLE, "managed_policy_arns", ["arn:aws:iam::aws:policy/AmazonS3FullAccess"])),
    fails("iam-no-standing-keys", "aws_iam_access_key.ci", "aws_iam_access_key", add(resource("aws_iam_access_key.ci", user="ci"))),
    fails("eks-admins-named", CLUSTER, "CONFIG_MAP", change(CLUSTER, "access_config.0.authentication_mode", "CONFIG_MAP")),
    fails("eks-admins-named", CLUSTER, "bootstrap_cluster_creator_admin_permissions is true", change(CLUSTER, "access_config.0.bootstrap_cluster_creator_admin_permissions", True)),
    fails("redis-asks-password", CACHE, "neither", change(CACHE, "auth_token", None)),
    fails("rds-password-managed", DATABASE, "manage_master_user_password is not set", change(DATABASE, "manage_master_user_password", None)),
    fails("rds-password-managed", DATABASE, "lies in the state", change(DATABASE, "password", "hunter2")),
    # ── resilience
    fails("rds-backed-up", DATABASE, "backup_retention_period is 13, and must be 14", change(DATABASE, "backup_retention_period", 13)),
    fails("rds-backed-up", DATABASE, "is 0", change(DATABASE, "backup_retention_period", 0), environment="dev"),
    fails("rds-backed-up", DATABASE, "cannot be judged", change(DATABASE, "backup_retention_period", later("x.y"))),
    fails("rds-kept", DATABASE, "deletion_protection is false", change(DATABASE, "deletion_protection", False)),
    fails("rds-kept", DATABASE, "skip_final_snapshot is true", change(DATABASE, "skip_final_snapshot", True)),
    fails("rds-kept", DATABASE, "final_snapshot_identifier is not set", change(DATABASE, "final_snapshot_identifier", None)),
    fails("rds-multi-az", DATABASE, "multi_az is false", change(DATABASE, "multi_az", False)),
    fails("redis-survives-zone", CACHE, "num_cache_clusters is 1", change(CACHE, "num_cache_clusters", 1)),
    fails("redis-survives-zone", CACHE, "automatic_failover_enabled is false", change(CACHE, "automatic_failover_enabled", False)),
    fails("redis-survives-zone", CACHE, "multi_az_enabled is not set", change(CACHE, "multi_az_enabled", None)),
    fails("redis-survives-zone", CACHE, "snapshot_retention_limit is 0", change(CACHE, "snapshot_retention_limit", 0)),
    fails("way-out-per-zone", PLAN, "zone us-east-1b has no NAT gateway", drop("aws_nat_gateway.us-east-1b")),
    fails("way-out-per-zone", PLAN, "zone us-east-1b has no NAT gateway", change("aws_nat_gateway.us-east-1b", "subnet_id", later("aws_subnet.us-east-1a"))),
    fails("way-out-per-zone", "aws_nat_gateway.us-east-1b", "leads to no subnet", change("aws_nat_gateway.us-east-1b", "subnet_id", later("var.subnet"))),
    fails("way-out-per-zone", "aws_subnet.us-east-1b", "availability_zone cannot be judged", change("aws_subnet.us-east-1b", "availability_zone", later("data.aws_availability_zones.these"))),
    fails("s3-versioned", f"{LAKE}_versioning.this", "Suspended", change(f"{LAKE}_versioning.this", "versioning_configuration.0.status", "Suspended")),
    fails("s3-versioned", BUCKET, "no aws_s3_bucket_versioning", drop(f"{LAKE}_versioning.this"), add(OTHER_BUCKET)),
    fails("s3-tidied", BUCKET, "no aws_s3_bucket_lifecycle_configuration", drop(LIFECYCLE)),
    fails("s3-tidied", LIFECYCLE, "noncurrent_version_expiration", change(LIFECYCLE, "rule.0.noncurrent_version_expiration", [])),
    fails("s3-tidied", LIFECYCLE, "abort_incomplete_multipart_upload", change(LIFECYCLE, "rule.0.abort_incomplete_multipart_upload", [])),
    fails("s3-tidied", LIFECYCLE, "noncurrent_version_expiration", change(LIFECYCLE, "rule.0.status", "Disabled")),
    fails("s3-tidied", LIFECYCLE, "noncurrent_version_expiration", change(LIFECYCLE, "rule", [RULE_FOR_PART])),
    fails("s3-kept", BUCKET, "force_destroy is true", change(BUCKET, "force_destroy", True)),
    fails("efs-backed-up", "aws_efs_backup_policy.this", "DISABLED", change("aws_efs_backup_policy.this", "backup_policy.0.status", "DISABLED")),
    fails("efs-backed-up", FILES, "no aws_efs_backup_policy", drop("aws_efs_backup_policy.this")),
    fails("images-immutable", REGISTRY, "MUTABLE", change(REGISTRY, "image_tag_mutability", "MUTABLE")),
    fails("images-scanned", REGISTRY, "scan_on_push is not set", change(REGISTRY, "image_scanning_configuration", [])),
    fails("images-tidied", REGISTRY, "no aws_ecr_lifecycle_policy", change('aws_ecr_lifecycle_policy.this["platform"]', "repository", "prod/other")),
    fails("images-kept", REGISTRY, "force_delete is true", change(REGISTRY, "force_delete", True)),
    fails("keys-recoverable", KEY, "deletion_window_in_days is 7", change(KEY, "deletion_window_in_days", 7)),
    fails("secrets-recoverable", "aws_secretsmanager_secret.this", "recovery_window_in_days is 0", change("aws_secretsmanager_secret.this", "recovery_window_in_days", 0)),
    # ── spot
    fails("spot-many-types", SPOT, "instance_types is", change(SPOT, "instance_types", ["m6i.2xlarge", "m6a.2xlarge", "m6i.2xlarge"])),
    fails("spot-many-types", SPOT, "instance_types cannot be judged", change(SPOT, "instance_types", later()), also="spot-falls-back"),
    fails("spot-many-types", BATCH_SPOT, "compute_resources.0.instance_type is", change(BATCH_SPOT, "compute_resources.0.instance_type", ["m5.large"])),
    fails("spot-tainted", SPOT, "taint is []", change(SPOT, "taint", [])),
    fails("spot-tainted", SPOT, "PREFER_NO_SCHEDULE", change(SPOT, "taint.0.effect", "PREFER_NO_SCHEDULE")),
    fails("spot-from-zero", SPOT, "min_size is 1", change(SPOT, "scaling_config.0.min_size", 1)),
    fails("spot-falls-back", SPOT, "no on-demand pool", drop(FALLBACK)),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "labels", {"mlops/accelerator": "gpu"})),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "taint", [{"key": "only", "value": "us", "effect": "NO_EXECUTE"}])),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "taint", later("x.y"))),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "labels", later("x.y"))),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "instance_types", ["m6i.large"])),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "ami_type", "AL2023_ARM_64_STANDARD")),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "cluster_name", "other")),
    fails("spot-falls-back", SPOT, "no on-demand pool", change(FALLBACK, "scaling_config.0.max_size", 0)),
    fails("batch-falls-back", QUEUE, "['SPOT', 'SPOT'] and nothing behind", change(BATCH_BEHIND, "compute_resources.0.type", "SPOT")),
    fails("batch-falls-back", QUEUE, "['SPOT'] and nothing behind", change(QUEUE, "compute_environment_order", [{"compute_environment": later(BATCH_SPOT)}])),
    fails("batch-falls-back", QUEUE, "cannot be judged", change(QUEUE, "compute_environment_order", Dynamic([{"compute_environment": later()}]))),
    fails("batch-retries-reclaimed", JOB, "attempts is 1", change(JOB, "retry_strategy.0.attempts", 1)),
    fails("batch-retries-reclaimed", JOB, "retry_strategy answers", change(JOB, "retry_strategy.0.evaluate_on_exit", [EXIT])),
    fails("batch-retries-reclaimed", JOB, "retry_strategy answers", change(JOB, "retry_strategy.0.evaluate_on_exit", [RETRY])),
    fails("batch-retries-reclaimed", JOB, "retry_strategy answers", change(JOB, "retry_strategy.0.evaluate_on_exit", [EXIT, RETRY])),
    fails("batch-retries-reclaimed", JOB, "retry_strategy answers", change(JOB, "retry_strategy.0.evaluate_on_exit", [RETRY, {"action": "RETRY", "on_exit_code": "*"}, EXIT])),
    fails("batch-retries-reclaimed", JOB, "without an EXIT for all else", change(JOB, "retry_strategy.0.evaluate_on_exit", [RETRY, EXIT | {"on_exit_code": "1"}])),
    fails("batch-times-out", JOB, "attempt_duration_seconds is not set", change(JOB, "timeout", [])),
    *(fails("batch-image-pinned", JOB, f"{image}", change(JOB, "container_properties", json.dumps({"image": image}))) for image in ("platform:latest", "platform", "localhost:5000/platform")),
    fails("batch-image-pinned", JOB, "container_properties cannot be judged", change(JOB, "container_properties", later("aws_ecr_repository.this"))),
    fails("spot-notices-heard", PLAN, "Spot Instance Interruption", drop("aws_cloudwatch_event_rule.interruption")),
    fails("spot-notices-heard", "aws_cloudwatch_event_rule.interruption", "no aws_cloudwatch_event_target", drop("aws_cloudwatch_event_target.interruption")),
    fails("spot-notices-heard", "aws_cloudwatch_event_rule.interruption", "DISABLED", change("aws_cloudwatch_event_rule.interruption", "state", "DISABLED")),
    # ── watching
    fails("logs-kept", LOG, "retention_in_days is 89", change(LOG, "retention_in_days", 89)),
    fails("logs-kept", LOG, "retention_in_days is 0", change(LOG, "retention_in_days", 0), environment="dev"),
    fails("logs-ours", CLUSTER, "/aws/eks/prod/cluster", drop(LOG)),
    fails("logs-ours", DATABASE, "/aws/rds/instance/tracking/upgrade", change(DATABASE, "enabled_cloudwatch_logs_exports", ["postgresql", "upgrade"])),
    fails("logs-ours", "aws_eks_addon.logs", "/aws/containerinsights/prod/host", drop("aws_cloudwatch_log_group.host")),
    fails("eks-logs", CLUSTER, "lacks audit, scheduler", change(CLUSTER, "enabled_cluster_log_types", ["api", "authenticator", "controllerManager"])),
    fails("network-logged", "aws_vpc.this", "no aws_flow_log", drop("aws_flow_log.this")),
    fails("network-logged", "aws_flow_log.this", "REJECT", change("aws_flow_log.this", "traffic_type", "REJECT")),
    fails("alarms-heard", "aws_cloudwatch_metric_alarm.store", "alarm_actions is not set", change("aws_cloudwatch_metric_alarm.store", "alarm_actions", [])),
    fails("alarms-heard", "aws_cloudwatch_metric_alarm.store", "actions_enabled is false", change("aws_cloudwatch_metric_alarm.store", "actions_enabled", False)),
    fails("alerts-reach-somebody", TOPIC, "no aws_sns_topic_subscription", drop("aws_sns_topic_subscription.email")),
    fails("stores-watched", CACHE, '"store"', change("aws_cloudwatch_metric_alarm.store", "dimensions", {"CacheClusterId": "stores-001"})),
    fails("stores-watched", DATABASE, '"tracking"', drop("aws_cloudwatch_metric_alarm.database")),
    # ── ownership
    *(fails("tags-complete", BUCKET, f"tags_all.{tag} is {shown}", change(BUCKET, f"tags_all.{tag}", value)) for tag, value, shown in (("owner", None, "not set"), ("cost_centre", " ", '" "'), ("model", "", '""'), ("environment", "dev", '"dev", and this is prod'))),
    fails("tags-complete", BUCKET, "tags_all cannot be judged", change(BUCKET, "tags_all", later())),
    fails("tags-complete", BUCKET, "tags_all.owner cannot be judged", change(BUCKET, "tags_all.owner", later("x.y"))),
    fails("tags-reach-machines", TEMPLATE, "none for volume", change(TEMPLATE, "tag_specifications", [{"resource_type": "instance", "tags": TAGS}])),
    fails("tags-reach-machines", TEMPLATE, "tag_specifications.1.tags.owner is not set", change(TEMPLATE, "tag_specifications.1.tags.owner", None)),
    fails("tags-reach-machines", JOB, "propagate_tags is false", change(JOB, "propagate_tags", False)),
    fails("batch-falls-back", QUEUE, "and nothing behind", change(BATCH_BEHIND, "compute_resources.0.type", later("x.y"))),
    fails("jobs-name-their-model", JOB, '"shared"', change(JOB, "tags_all.model", "shared")),
    fails("jobs-name-their-model", BATCH_SPOT, '"shared"', change(BATCH_SPOT, "tags_all.model", "shared")),
    fails("budget-of-environment", PLAN, "user:environment$prod", drop(BUDGET)),
    fails("budget-of-environment", PLAN, "user:environment$prod", change(BUDGET, "time_unit", "ANNUALLY")),
    fails("budget-of-environment", BUDGET, 'limit_amount is "0"', change(BUDGET, "limit_amount", "0")),
    fails("budget-of-environment", BUDGET, "limit_amount cannot be judged", change(BUDGET, "limit_amount", later("x.y"))),
    fails("budget-of-each-model", PLAN, "user:model$fraud", drop("aws_budgets_budget.fraud")),
    fails("budget-warns", BUDGET, '[["ACTUAL", 50], ["FORECASTED", 100]]', change(BUDGET, "notification.1.subscriber_sns_topic_arns", [])),
    fails("budget-warns", BUDGET, "notifications that somebody gets", change(BUDGET, "notification.2.notification_type", "ACTUAL")),
    fails("budget-warns", BUDGET, "are []", change(BUDGET, "notification", [])),
    fails("athena-bounded", WORKGROUP, "bytes_scanned_cutoff_per_query is not set", change(WORKGROUP, "configuration.0.bytes_scanned_cutoff_per_query", None)),
]  # fmt: skip


def named(case: Case) -> str:
    return case.rule


@pytest.mark.parametrize("case", PASSING, ids=named)
def test_what_is_in_order_passes(case: Case) -> None:
    """A plan that a rule is about, and that keeps it, breaks no rule at all."""
    assert check(world(*case.edits, environment=case.environment)) == []


@pytest.mark.parametrize("case", FAILING, ids=named)
def test_a_fault_is_found_where_it_is(case: Case) -> None:
    """A fault breaks the rule against it, and no other; the address is right, and the value is shown."""
    found = check(world(*case.edits, environment=case.environment))
    assert {it.rule for it in found} == {case.rule, *case.also}
    assert {it.address for it in found if it.rule == case.rule} == {case.address}
    assert [it.found for it in found if it.rule == case.rule and case.shows in it.found]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule_has_a_fixture_of_either_kind(rule: Any) -> None:
    """No rule stands without a plan that keeps it and one that breaks it, a reason, and a remedy."""
    assert rule.id in {case.rule for case in PASSING}
    assert rule.id in {case.rule for case in FAILING}
    assert all(text.endswith(".") for text in (rule.title, rule.reason, rule.remedy))


def test_fixtures_are_of_rules_that_there_are() -> None:
    """Ids are unique, and no fixture outlives its rule."""
    ids = [rule.id for rule in RULES]
    assert len(ids) == len(set(ids)) >= 25
    assert {case.rule for case in (*PASSING, *FAILING)} == set(ids)


def test_nothing_planned_breaks_only_what_must_exist() -> None:
    """A plan without resources lacks its budget; nothing else is asked of what is not there."""
    assert {it.rule for it in check(plan(environment="prod"))} == {"budget-of-environment"}


def test_a_moving_image_tag_is_seen_before_the_registry_is() -> None:
    """While the image's address is not known, the tag that the plan was given is judged."""
    job = replace(
        taggable("module.training.aws_batch_job_definition.this", container_properties=later("var.image")), actions=("create",)
    )  # fmt: skip
    inputs = {"module.training": {"image": later("module.images.repository_urls", "var.image_tag")}}
    for tag, broken in (("latest", True), ("d46fc6b", False)):
        judged = check(plan(job, inputs=inputs, image_tag=tag))
        assert ("batch-image-pinned" in {it.rule for it in judged}) is broken


def test_secrets_are_never_shown() -> None:
    """A violation says that a password is set, and not which."""
    found = check(world(change(DATABASE, "password", "hunter2"), change(CACHE, "kms_key_id", None)))
    assert found
    assert not [it for it in found if "hunter2" in it.found or "drawn" in it.found]


# ── Wiring ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _of(judged: Plan, address: str) -> Any:
    return next(it for it in (*judged.resources, *judged.data) if it.address == address)


def test_an_argument_leads_to_what_its_expression_names() -> None:
    """In the same instance of a module, and to no other instance."""
    judged = plan(
        *(resource(f'module.b["{it}"].aws_s3_bucket.this', id=later()) for it in "xy"),
        *(resource(f'module.b["{it}"].aws_s3_bucket_policy.this', bucket=later("aws_s3_bucket.this")) for it in "xy"),
    )
    policy = _of(judged, 'module.b["x"].aws_s3_bucket_policy.this')
    assert leads_to(judged, policy, "bucket", _of(judged, 'module.b["x"].aws_s3_bucket.this'))
    assert not leads_to(judged, policy, "bucket", _of(judged, 'module.b["y"].aws_s3_bucket.this'))


def test_each_value_leads_to_the_same_key() -> None:
    """What is repeated for resources belongs to the one of its key, unless it names another."""
    judged = plan(
        *(resource(f'aws_kms_key.k["{it}"]', id=later()) for it in "xy"),
        resource('aws_kms_key_policy.k["x"]', for_each=("aws_kms_key.k",), key_id=later("each.value.id", "each.value")),
        resource('aws_kms_key_policy.other["x"]', key_id=later('aws_kms_key.k["y"].id', 'aws_kms_key.k["y"]', "aws_kms_key.k")),
    )  # fmt: skip
    x, y = (_of(judged, f'aws_kms_key.k["{it}"]') for it in "xy")
    same, other = _of(judged, 'aws_kms_key_policy.k["x"]'), _of(judged, 'aws_kms_key_policy.other["x"]')
    assert [leads_to(judged, same, "key_id", it) for it in (x, y)] == [True, False]
    assert [leads_to(judged, other, "key_id", it) for it in (x, y)] == [False, True]


def test_a_value_that_is_known_leads_by_what_it_says() -> None:
    """After an apply there are values; nobody asks for expressions, and what has no value leads nowhere."""
    judged = plan(
        resource("aws_sns_topic.a", arn="arn:a", name=None),
        resource("aws_sns_topic_subscription.a", topic_arn="arn:a"),
        resource("aws_sns_topic_subscription.none", topic_arn=None),
    )
    topic = _of(judged, "aws_sns_topic.a")
    assert leads_to(judged, _of(judged, "aws_sns_topic_subscription.a"), "topic_arn", topic)
    assert not leads_to(judged, _of(judged, "aws_sns_topic_subscription.none"), "topic_arn", topic)


def test_inputs_are_followed_to_whoever_gives_them() -> None:
    """Through two modules, up to the root's own input; one that nobody gives leads nowhere, so it is not set."""
    inputs = {"module.a": {"key": later("var.key")}, "module.a.module.b": {"key": later("var.key")}}
    judged = plan(resource("module.a.module.b.aws_efs_file_system.f", kms_key_id=later("var.key"), name=later("var.name")), inputs=inputs)  # fmt: skip
    files = _of(judged, "module.a.module.b.aws_efs_file_system.f")
    assert files.get("kms_key_id") is UNKNOWN
    assert origins(judged, files, "kms_key_id") == {"var.key"}
    assert origins(judged, files, "name") == frozenset()

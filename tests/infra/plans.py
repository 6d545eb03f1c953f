"""Plans for tests, as `terraform show -json` would write them, and one in which everything is as it should be."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.plan import Plan

ACCOUNT = "123456789012"
TAGS = {"owner": "ml-platform", "cost_centre": "ml-prod", "model": "shared", "environment": "prod"}

_MODULE = re.compile(r"module\.([\w-]+)(?:\[[^\]]*\])?\.")
_KEY = re.compile(r"\[[^\]]*\]$")


@dataclass(frozen=True)
class Later:
    """A value that the apply brings: written in terms of something or, with no references, chosen by AWS."""

    references: tuple[str, ...]


class Dynamic(list):
    """Blocks that a dynamic block makes, which leave no expressions in a plan."""


@dataclass(frozen=True)
class Given:
    """A resource or data source of a plan."""

    address: str
    values: Mapping[str, Any]
    loop: tuple[str, ...] = ()
    actions: tuple[str, ...] = ("create",)

    @property
    def local(self) -> str:
        """The address within the module."""
        return _MODULE.sub("", self.address)

    @property
    def is_data(self) -> bool:
        return self.local.startswith("data.")

    @property
    def type(self) -> str:
        return self.local.removeprefix("data.").partition(".")[0]


World = dict[str, Given]
Edit = Callable[[World], World]


def resource(address: str, *, for_each: tuple[str, ...] = (), **values: Any) -> Given:
    """A resource, or a data source where the address says so."""
    return Given(address, values, for_each)


def taggable(address: str, **values: Any) -> Given:
    """A resource with all tags."""
    return resource(address, tags_all=dict(TAGS), **values)


def later(*references: str) -> Later:
    return Later(references)


def plan(*given: Given, environment: str = "prod", inputs: Mapping[str, Any] | None = None, **variables: Any) -> Plan:
    """A plan of these resources; `inputs` are what modules are given, `{"module.training": {"image": later("var.image_tag")}}`."""
    return Plan(document(*given, environment=environment, inputs=inputs, **variables))


def document(
    *given: Given, environment: str = "prod", inputs: Mapping[str, Any] | None = None, **variables: Any
) -> dict[str, Any]:
    """The JSON of a plan."""
    known = [it for it in given if it.is_data and not _unknown(it.values)]
    return {
        "planned_values": {},
        "variables": {name: {"value": value} for name, value in {"environment": environment, **variables}.items()},
        "resource_changes": [_change(it) for it in given if it not in known],
        "prior_state": {"values": {"root_module": {"resources": [_read(it) for it in known]}}},
        "configuration": {"root_module": _configuration(given, inputs or {})},
    }


# ── A world in order, and what may befall it ─────────────────────────────────────────────────────────────────────────────


def world(*edits: Edit, environment: str = "prod") -> Plan:
    """The plan in which everything is as it should be, with some edits."""
    there = {it.address: it for it in (*_storage(), *_network(), *_cluster(), *_training(), *_access(), *_watching())}
    for edit in edits:
        there = edit(there)
    if environment != "prod":
        there = _moved(there, environment)
    return plan(*there.values(), environment=environment, image_tag="d46fc6b")


def change(address: str, path: str, value: Any) -> Edit:
    """Give an argument, or one in a block of it, another value."""

    def edit(there: World) -> World:
        values = copy.deepcopy(dict(there[address].values))
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        inner: Any = values
        for part in way:
            inner = inner[part]
        inner[last] = value
        return {**there, address: replace(there[address], values=values)}

    return edit


def drop(address: str) -> Edit:
    """Take a resource away."""
    return lambda there: {key: it for key, it in there.items() if key != there[address].address}


def add(*given: Given) -> Edit:
    """Add resources."""
    return lambda there: there | {it.address: it for it in given}


def _moved(there: World, environment: str) -> World:
    """The same world in another environment: only its tags and budget name it."""
    moved = {}
    for address, it in there.items():
        values = copy.deepcopy(dict(it.values))
        for tags in [values.get("tags_all"), *(t["tags"] for t in values.get("tag_specifications", []))]:
            if isinstance(tags, dict) and tags.get("environment") == "prod":
                tags["environment"] = environment
        if values.get("cost_filter") == _filter("user:environment$prod"):
            values["cost_filter"] = _filter(f"user:environment${environment}")
        moved[address] = replace(it, values=values)
    return moved


def statement(*actions: str, on: Any = "*", **more: Any) -> dict[str, Any]:
    """A statement of a policy document."""
    resources = on if isinstance(on, list) else [on]
    return {"actions": [*actions], "resources": resources, "principals": [], "condition": [], **more}


def principal(kind: str, *names: Any) -> list[dict[str, Any]]:
    return [{"type": kind, "identifiers": [*names]}]


def condition(test: str, variable: Any, *values: Any) -> dict[str, Any]:
    return {"test": test, "variable": variable, "values": [*values]}


def without_tls(action: str) -> dict[str, Any]:
    """The statement that refuses whoever comes without TLS."""
    test = condition("Bool", "aws:SecureTransport", "false")
    return statement(action, on=later("x.y.arn"), effect="Deny", principals=principal("AWS", "*"), condition=[test])


def _storage() -> list[Given]:
    bucket = later("aws_s3_bucket.this.id", "aws_s3_bucket.this")
    key = later("module.security.key_arns.data", "module.security")
    everything = [{"prefix": "", "tag": [], "and": []}]
    return [
        taggable("module.lake.aws_s3_bucket.this", bucket="lake", id=later(), force_destroy=False),
        resource(
            "module.lake.aws_s3_bucket_public_access_block.this",
            bucket=bucket, block_public_acls=True, block_public_policy=True, ignore_public_acls=True,
            restrict_public_buckets=True,
        ),
        resource(
            "module.lake.aws_s3_bucket_ownership_controls.this",
            bucket=bucket, rule=[{"object_ownership": "BucketOwnerEnforced"}],
        ),
        resource(
            "module.lake.aws_s3_bucket_server_side_encryption_configuration.this",
            bucket=bucket,
            rule=[{"apply_server_side_encryption_by_default": [{"sse_algorithm": "aws:kms", "kms_master_key_id": key}]}],
        ),
        resource(
            "module.lake.aws_s3_bucket_versioning.this",
            bucket=bucket, versioning_configuration=[{"status": "Enabled"}],
        ),
        resource(
            "module.lake.aws_s3_bucket_lifecycle_configuration.this",
            bucket=bucket,
            rule=[{
                "status": "Enabled", "filter": everything, "expiration": [],
                "abort_incomplete_multipart_upload": [{"days_after_initiation": 7}],
                "noncurrent_version_expiration": [{"noncurrent_days": 90}],
            }],
        ),
        resource("module.lake.data.aws_iam_policy_document.this", statement=[without_tls("s3:*")]),
        resource(
            "module.lake.aws_s3_bucket_policy.this",
            bucket=bucket, policy=later("data.aws_iam_policy_document.this.json", "data.aws_iam_policy_document.this"),
        ),
        taggable(
            "aws_athena_workgroup.this",
            configuration=[{
                "enforce_workgroup_configuration": True, "bytes_scanned_cutoff_per_query": 10**11,
                "result_configuration": [{
                    "encryption_configuration": [{"encryption_option": "SSE_KMS", "kms_key_arn": key}],
                }],
            }],
        ),
        taggable(
            "aws_db_instance.this",
            identifier="tracking", storage_encrypted=True, kms_key_id=key, performance_insights_enabled=True,
            performance_insights_kms_key_id=key, publicly_accessible=False, manage_master_user_password=True,
            parameter_group_name="tracking", backup_retention_period=35, deletion_protection=True, multi_az=True,
            skip_final_snapshot=False, final_snapshot_identifier="tracking-final",
            enabled_cloudwatch_logs_exports=["postgresql"],
        ),
        taggable(
            "aws_db_parameter_group.this",
            name="tracking", parameter=[{"name": "rds.force_ssl", "value": "1"}],
        ),
        taggable(
            "aws_elasticache_replication_group.this",
            replication_group_id="store", at_rest_encryption_enabled="true", kms_key_id=key,
            transit_encryption_enabled=True, auth_token="drawn", num_cache_clusters=2, automatic_failover_enabled=True,
            multi_az_enabled=True, snapshot_retention_limit=7,
        ),
        taggable("aws_efs_file_system.this", id=later(), encrypted=True, kms_key_id=key),
        resource("data.aws_iam_policy_document.files", statement=[without_tls("elasticfilesystem:ClientMount")]),
        resource(
            "aws_efs_file_system_policy.this",
            file_system_id=later("aws_efs_file_system.this"), policy=later("data.aws_iam_policy_document.files"),
        ),
        resource(
            "aws_efs_backup_policy.this",
            file_system_id=later("aws_efs_file_system.this"), backup_policy=[{"status": "ENABLED"}],
        ),
        taggable(
            'aws_ecr_repository.this["platform"]',
            name="prod/platform", image_tag_mutability="IMMUTABLE", force_delete=False,
            image_scanning_configuration=[{"scan_on_push": True}],
            encryption_configuration=[{"encryption_type": "KMS", "kms_key": key}],
        ),
        resource(
            'aws_ecr_lifecycle_policy.this["platform"]',
            for_each=("aws_ecr_repository.this",), repository=later("each.value.name", "each.value"), policy='{"rules": []}',
        ),
    ]  # fmt: skip


def _network() -> list[Given]:
    vpc = later("aws_vpc.this.id", "aws_vpc.this")
    zones = ("us-east-1a", "us-east-1b")
    store, machine = later("aws_security_group.store"), later("aws_security_group.machine")
    return [
        taggable("aws_vpc.this", id=later()),
        taggable("aws_default_security_group.closed", vpc_id=vpc, ingress=[], egress=[]),
        taggable("aws_flow_log.this", vpc_id=vpc, traffic_type="ALL"),
        *(taggable(f"aws_subnet.{it}", id=later(), availability_zone=it, map_public_ip_on_launch=False) for it in zones),
        *(taggable(f"aws_nat_gateway.{it}", subnet_id=later(f"aws_subnet.{it}")) for it in zones),
        taggable("aws_security_group.store", id=later(), ingress=later(), egress=later()),
        taggable("aws_security_group.machine", id=later(), ingress=later(), egress=later()),
        taggable(
            "aws_vpc_security_group_ingress_rule.store",
            security_group_id=store, cidr_ipv4="10.22.0.0/16", cidr_ipv6=None, prefix_list_id=None,
        ),
        taggable("aws_vpc_security_group_egress_rule.machine", security_group_id=machine, cidr_ipv4="0.0.0.0/0"),
    ]  # fmt: skip


def _cluster() -> list[Given]:
    def pool(name: str, capacity: str, taints: list[dict[str, str]]) -> Given:
        return taggable(
            f"aws_eks_node_group.{name}",
            cluster_name="prod", capacity_type=capacity, instance_types=["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge"],
            ami_type="AL2023_x86_64_STANDARD", labels={"mlops/accelerator": "none", "mlops/pool": name}, taint=taints,
            scaling_config=[{"min_size": 0, "max_size": 8}], remote_access=[],
            launch_template=[{"id": later("module.launch_template")}],
        )  # fmt: skip

    return [
        taggable(
            "aws_eks_cluster.this",
            name="prod", enabled_cluster_log_types=["api", "audit", "authenticator", "controllerManager", "scheduler"],
            access_config=[{"authentication_mode": "API", "bootstrap_cluster_creator_admin_permissions": False}],
            encryption_config=[{"resources": ["secrets"], "provider": [{"key_arn": later("aws_kms_key.this")}]}],
            vpc_config=[{
                "endpoint_private_access": True, "endpoint_public_access": False, "public_access_cidrs": later(),
            }],
        ),
        taggable("aws_eks_addon.logs", addon_name="amazon-cloudwatch-observability", cluster_name="prod"),
        pool("spot", "SPOT", [{"key": "mlops/capacity", "value": "spot", "effect": "NO_SCHEDULE"}]),
        pool("fallback", "ON_DEMAND", []),
        taggable(
            "aws_launch_template.this",
            metadata_options=[{
                "http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1,
            }],
            block_device_mappings=[{"ebs": [{"encrypted": "true"}]}],
            network_interfaces=[],
            tag_specifications=[{"resource_type": kind, "tags": dict(TAGS)} for kind in ("instance", "volume")],
        ),
    ]  # fmt: skip


def _training() -> list[Given]:
    def machines(name: str, kind: str) -> Given:
        return resource(
            f"aws_batch_compute_environment.{name}",
            tags_all=TAGS | {"model": "fraud"}, arn=later(),
            compute_resources=[{
                "type": kind, "instance_type": ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge"], "ec2_key_pair": None,
                "launch_template": [{"launch_template_id": later("module.launch_template")}],
            }],
        )  # fmt: skip

    job = taggable(
        'aws_batch_job_definition.this["fraud"]',
        container_properties=later("var.image_tag"), propagate_tags=True,
        timeout=[{"attempt_duration_seconds": 43200}],
        retry_strategy=[{"attempts": 5, "evaluate_on_exit": [
            {"action": "retry", "on_status_reason": "Host EC2*", "on_reason": None},
            {"action": "exit", "on_status_reason": None, "on_reason": "*"},
        ]}],
    )  # fmt: skip
    return [
        machines("spot", "SPOT"),
        machines("on-demand", "EC2"),
        taggable(
            "aws_batch_job_queue.this",
            compute_environment_order=Dynamic({"order": i, "compute_environment": later()} for i in (1, 2)),
        ),
        replace(job, values={**job.values, "tags_all": TAGS | {"model": "fraud"}}),
    ]


def _access() -> list[Given]:
    issuer = later("var.issuer")
    root = {
        "Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    }  # fmt: skip
    trust = statement(
        "sts:AssumeRoleWithWebIdentity",
        principals=principal("Federated", later("x.y.arn")),
        condition=[
            condition("StringEquals", issuer, "sts.amazonaws.com"),
            condition("StringEquals", issuer, "system:serviceaccount:mlflow:mlflow"),
        ],
    )
    return [
        resource("data.aws_caller_identity.current", account_id=ACCOUNT),
        taggable(
            "aws_kms_key.this",
            enable_key_rotation=True, deletion_window_in_days=30, policy=json.dumps({"Statement": [root]}),
        ),
        taggable("aws_secretsmanager_secret.this", kms_key_id=later("aws_kms_key.this"), recovery_window_in_days=30),
        resource("module.role.data.aws_iam_policy_document.trust", statement=[trust]),
        taggable("module.role.aws_iam_role.this", assume_role_policy=later("data.aws_iam_policy_document.trust")),
        resource(
            "module.role.data.aws_iam_policy_document.grants",
            statement=[
                statement("s3:GetObject", on=later("x.y.arn")), statement("ec2:DescribeInstances", "batch:ListJobs"),
            ],
        ),
        resource("module.role.aws_iam_role_policy.this", policy=later("data.aws_iam_policy_document.grants")),
        resource("aws_iam_role_policy_attachment.this", policy_arn="arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy"),
    ]  # fmt: skip


def _watching() -> list[Given]:
    key, topic = later("aws_kms_key.this"), later("aws_sns_topic.alerts")
    containers = [f"/aws/containerinsights/prod/{it}" for it in ("application", "dataplane", "host", "performance")]
    groups = ["/aws/eks/prod/cluster", "/aws/rds/instance/tracking/postgresql", *containers]
    senders = statement(
        "sns:Publish",
        on=topic,
        principals=principal("Service", "budgets.amazonaws.com"),
        condition=[condition("StringEquals", "aws:SourceAccount", ACCOUNT)],
    )

    def budget(name: str, value: str) -> Given:
        notices = Dynamic(
            {"notification_type": kind, "threshold": mark, "subscriber_sns_topic_arns": topic}
            for kind, mark in (("ACTUAL", 50), ("ACTUAL", 100), ("FORECASTED", 100))
        )
        return taggable(
            f"aws_budgets_budget.{name}",
            budget_type="COST", time_unit="MONTHLY", limit_amount="900.0", cost_filter=_filter(value),
            notification=notices,
        )  # fmt: skip

    return [
        *(taggable(f"aws_cloudwatch_log_group.{it.rpartition('/')[2]}", name=it, retention_in_days=365, kms_key_id=key) for it in groups),
        taggable("aws_sns_topic.alerts", arn=later(), kms_master_key_id=key, policy=later()),
        resource("data.aws_iam_policy_document.alerts", statement=[senders]),
        resource("aws_sns_topic_policy.alerts", policy=later("data.aws_iam_policy_document.alerts")),
        resource("aws_sns_topic_subscription.email", topic_arn=topic, endpoint="ml-platform@example.com"),
        taggable("aws_sqs_queue.notices", arn=later(), kms_master_key_id=key, policy=later()),
        taggable("aws_prometheus_workspace.this", kms_key_arn=key),
        taggable(
            "aws_cloudwatch_metric_alarm.database",
            dimensions={"DBInstanceIdentifier": "tracking"}, alarm_actions=topic, actions_enabled=True,
        ),
        taggable(
            "aws_cloudwatch_metric_alarm.store",
            dimensions={"CacheClusterId": "store-001"}, alarm_actions=topic, actions_enabled=True,
        ),
        taggable(
            "aws_cloudwatch_event_rule.interruption",
            name="interruption", event_pattern='{"detail-type": ["EC2 Spot Instance Interruption Warning"]}',
        ),
        resource("aws_cloudwatch_event_target.interruption", rule="interruption", arn=later("aws_sqs_queue.notices")),
        budget("all", "user:environment$prod"),
        budget("fraud", "user:model$fraud"),
    ]  # fmt: skip


def _filter(value: str) -> list[dict[str, Any]]:
    return [{"name": "TagKeyValue", "values": [value]}]


# ── How Terraform writes it ──────────────────────────────────────────────────────────────────────────────────────────────


def _change(it: Given) -> dict[str, Any]:
    after = None if it.actions == ("delete",) else _known(it.values)
    return {
        "address": it.address,
        "type": it.type,
        "mode": "data" if it.is_data else "managed",
        "change": {"actions": [*it.actions], "after": after, "after_unknown": _unknown(it.values)},
    }


def _read(it: Given) -> dict[str, Any]:
    return {"address": it.address, "type": it.type, "mode": "data", "values": _known(it.values)}


def _known(value: Any) -> Any:
    """What a plan knows already: what comes later is left out of blocks, and null in lists."""
    if isinstance(value, Mapping):
        return {key: _known(below) for key, below in value.items() if not isinstance(below, Later)}
    if isinstance(value, list):
        return [_known(below) for below in value]
    return None if isinstance(value, Later) else value


def _unknown(value: Any) -> Any:
    """True where something comes later, and nothing where nothing does."""
    if isinstance(value, Mapping):
        below = {key: _unknown(it) for key, it in value.items()}
        return {key: it for key, it in below.items() if it}
    if isinstance(value, list):
        items = [_unknown(it) or ({} if isinstance(it, Mapping) else False) for it in value]
        return items if any(items) else []
    return isinstance(value, Later)


def _configuration(given: tuple[Given, ...], inputs: Mapping[str, Any]) -> dict[str, Any]:
    root: dict[str, Any] = {"resources": [], "module_calls": {}}
    for it in given:
        inside, path = root, ""
        for name in _MODULE.findall(it.address):
            path = f"{path}.module.{name}".lstrip(".")
            call = {"module": {"resources": [], "module_calls": {}}, "expressions": _expression(inputs.get(path, {}))}
            inside = inside["module_calls"].setdefault(name, call)["module"]
        loop = {"for_each_expression": {"references": [*it.loop]}} if it.loop else {}
        block = {"address": _KEY.sub("", it.local), "expressions": _expression(it.values), **loop}
        same = [other for other in inside["resources"] if other["address"] == block["address"]]
        assert same in ([], [block]), f"{it.address}: what is repeated is written once, and so the same"
        inside["resources"] = [*inside["resources"], *([] if same else [block])]
    return root


def _expression(value: Any) -> Any:
    """Expressions of a block, of an argument, or none for what nobody wrote."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return [_expression(block) for block in value]
    if isinstance(value, Mapping):
        written = {k: it for k, it in value.items() if not isinstance(it, Dynamic) and it != Later(())}
        return {key: _expression(it) for key, it in written.items()}
    items = value if isinstance(value, list) else [value]
    references = [name for it in items if isinstance(it, Later) for name in it.references]
    return {"references": references} if references else {"constant_value": value}

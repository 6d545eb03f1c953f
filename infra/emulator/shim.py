"""What moto 5.2 answers otherwise than AWS does, put right where a few lines do it; the rest stands in GAPS.yaml.

Each function mends one thing and says what AWS does. `mend` puts all of them in place, once, in the emulator's own process.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from moto.amp.models import Workspace
from moto.amp.responses import PrometheusServiceResponse
from moto.budgets.responses import BudgetsResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.models.nat_gateways import NatGateway, NatGatewayBackend
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.efs.responses import EFSResponse
from moto.eks import urls as eks_urls
from moto.eks.models import Cluster, EKSBackend, Nodegroup
from moto.eks.responses import EKSResponse
from moto.elasticache.models import CacheCluster, ElastiCacheBackend, ReplicationGroup
from moto.elasticache.responses import ElastiCacheResponse
from moto.rds.models import DBParameterGroup, RDSBackend
from moto.utilities.tagging_service import TaggingService

from infra.errors import InfraError


def mend() -> None:
    """Put every correction in place; called once, before the server answers."""
    for correction in CORRECTIONS:
        correction()


def _around(owner: type, name: str) -> Callable[[Callable[..., Any]], None]:
    """Replace a method by one that is given the original first."""
    original = getattr(owner, name)

    def replace(correction: Callable[..., Any]) -> None:
        @wraps(original)
        def corrected(self: Any, *arguments: Any, **named: Any) -> Any:
            return correction(original, self, *arguments, **named)

        setattr(owner, name, corrected)

    return replace


def _add(owner: type, name: str, method: Callable[..., Any]) -> None:
    """Give a class a method that moto lacks."""
    if hasattr(owner, name):
        raise InfraError(f"moto has {owner.__name__}.{name} by now; take the correction out of infra/emulator/shim.py.")
    setattr(owner, name, method)


def cluster_has_a_security_group() -> None:
    """EKS makes a security group for each cluster, remembers how access is granted, and deletes the group with the cluster."""

    @_around(EKSResponse, "create_cluster")
    def create(original: Callable[..., Any], self: EKSResponse) -> Any:
        answer = original(self)
        cluster: Any = self.eks_backend.clusters[self._get_param("name")]
        ec2 = ec2_backends[self.current_account][self.region]
        vpc_id = ec2.get_subnet(cluster.resources_vpc_config["subnetIds"][0]).vpc_id
        group = ec2.create_security_group(f"eks-cluster-sg-{cluster.name}", "EKS created security group", vpc_id=vpc_id)
        cluster.resources_vpc_config |= {"clusterSecurityGroupId": group.id, "vpcId": vpc_id}
        cluster.access_config = self._get_param("accessConfig")
        return answer

    @_around(EKSBackend, "delete_cluster")
    def delete(original: Callable[..., Any], self: EKSBackend, name: str) -> Cluster:
        cluster = original(self, name)
        ec2 = ec2_backends[self.account_id][self.region_name]
        ec2.delete_security_group(group_id=cluster.resources_vpc_config["clusterSecurityGroupId"])
        return cluster


def node_group_says_what_was_asked() -> None:
    """A node group has the remote access that was asked for, with a launch template none, and remembers how it is updated."""

    @_around(EKSResponse, "create_nodegroup")
    def create(original: Callable[..., Any], self: EKSResponse) -> Any:
        answer = original(self)
        cluster = self.eks_backend.clusters[self._get_param("name")]
        group: Nodegroup = cluster.nodegroups[self._get_param("nodegroupName")]
        group.remote_access = self._get_param("remoteAccess")
        group.update_config = self._get_param("updateConfig")
        return answer


def an_update_of_the_cluster_can_be_waited_for() -> None:
    """An update is asked for until it is done; here it was done at once."""

    def describe(self: EKSResponse) -> ActionResult:
        done = {
            "id": self._get_param("updateId"),
            "status": "Successful",
            "type": "ConfigUpdate",
            "params": [],
            "errors": [],
        }
        return ActionResult({"update": done})

    _add(EKSResponse, "describe_update", describe)
    eks_urls.url_paths["{0}/clusters/(?P<name>[^/]+)/updates/(?P<updateId>[^/]+)$"] = eks_urls.response.dispatch


def replication_group_has_members() -> None:
    """Each member of a replication group is a cache cluster; the provider reads there what the group does not say."""
    parameters = list(inspect.signature(CacheCluster.__init__).parameters)[1:]

    @_around(ElastiCacheBackend, "create_replication_group")
    def create(original: Callable[..., Any], self: ElastiCacheBackend, **asked: Any) -> ReplicationGroup:
        if asked["num_cache_clusters"]:  # moto counts replicas only
            asked["replicas_per_node_group"] = asked["num_cache_clusters"] - 1
        group = original(self, **asked)
        known: dict[str, Any] = dict.fromkeys(parameters) | {name: asked[name] for name in parameters if name in asked}
        known |= {"account_id": self.account_id, "region_name": self.region_name}
        for name in group.member_clusters:
            member: Any = CacheCluster(**known | {"cache_cluster_id": name})
            member.at_rest_encryption_enabled = group.at_rest_encryption_enabled
            member.security_groups = [
                {"security_group_id": i, "status": "active"} for i in group.security_group_ids or ()
            ]
            self.cache_clusters[name] = member
        return group

    @_around(ElastiCacheBackend, "delete_replication_group")
    def delete(
        original: Callable[..., Any], self: ElastiCacheBackend, replication_group_id: str, *arguments: Any, **named: Any
    ) -> ReplicationGroup:
        group = original(self, replication_group_id, *arguments, **named)
        for member in group.member_clusters:
            del self.cache_clusters[member]
        del self.replication_groups[replication_group_id]
        return group


def metrics_workspace_keeps_its_key() -> None:
    """AMP encrypts with the key that it was given, and says which."""

    @_around(PrometheusServiceResponse, "create_workspace")
    def create(original: Callable[..., Any], self: PrometheusServiceResponse) -> Any:
        answer = json.loads(original(self))
        workspace: Any = self.amp_backend.workspaces[answer["workspaceId"]]
        workspace.kms_key_arn = json.loads(self.body).get("kmsKeyArn")
        return json.dumps(workspace.to_dict())

    @_around(Workspace, "to_dict")
    def to_dict(original: Callable[..., Any], self: Any) -> dict[str, Any]:
        return original(self) | {"kmsKeyArn": getattr(self, "kms_key_arn", None)}


def budget_names_its_subscribers_and_tags() -> None:
    """Who is told when a budget is nearly spent can be asked for, notification by notification; and budgets have tags."""
    tagger = TaggingService(key_name="Key", value_name="Value")

    def subscribers(self: BudgetsResponse) -> str:
        budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
        asked = self._get_param("Notification")
        keys = ("NotificationType", "ComparisonOperator", "Threshold")
        [found] = [n for n in budget.notifications if all(n.details[key] == asked[key] for key in keys)]
        return json.dumps({"Subscribers": found.subscribers})

    @_around(BudgetsResponse, "create_budget")
    def create(original: Callable[..., Any], self: BudgetsResponse) -> str:
        answer = original(self)
        name = self._get_param("Budget")["BudgetName"]
        arn = f"arn:{self.partition}:budgets::{self._get_param('AccountId')}:budget/{name}"
        tagger.tag_resource(arn, self._get_param("ResourceTags"))
        return answer

    def tags(self: BudgetsResponse) -> str:
        return json.dumps({"ResourceTags": tagger.list_tags_for_resource(self._get_param("ResourceARN"))["Tags"]})

    _add(BudgetsResponse, "describe_subscribers_for_notification", subscribers)
    _add(BudgetsResponse, "list_tags_for_resource", tags)


def launch_template_has_tags_of_its_own() -> None:
    """Tags of the launch template itself are no part of what it starts."""

    @_around(LaunchTemplate, "create_version")
    def create(original: Callable[..., Any], self: LaunchTemplate, data: dict[str, Any], description: str) -> Any:
        specified = data.get("TagSpecifications", [])
        started = [tags for tags in specified if tags["ResourceType"] != "launch-template"]
        return original(self, data | ({"TagSpecifications": started} if started else {}), description)


def rule_between_groups_has_a_description() -> None:
    """A security group rule says what it is for, whether it names addresses or another group."""

    def description(self: SecurityGroupRule) -> str | None:
        return self.ip_range.get("Description") or (self.source_group or {}).get("Description")

    setattr(SecurityGroupRule, "description", property(description))  # noqa: B010 - it is a method there


def database_keeps_what_was_asked() -> None:
    """A database says whether its performance is recorded, and with which key; a parameter that was set says who set it."""

    @_around(RDSBackend, "create_db_instance")
    def create(original: Callable[..., Any], self: RDSBackend, asked: dict[str, Any]) -> Any:
        database: Any = original(self, asked)
        database.performance_insights_enabled = asked.get("enable_performance_insights", False)
        database.performance_insights_kms_key_id = asked.get("performance_insights_kms_key_id")
        return database

    @_around(DBParameterGroup, "update_parameters")
    def update(original: Callable[..., Any], self: DBParameterGroup, parameters: Iterable[dict[str, Any]]) -> None:
        original(self, [parameter | {"Source": "user"} for parameter in parameters])


def what_can_be_made_can_be_deleted() -> None:
    """Deletes that moto has not: a file system's policy, a cache's subnet group, and what a NAT gateway answers by."""

    def file_system_policy(self: EFSResponse) -> tuple[str, dict[str, str | int]]:
        self.efs_backend.file_systems_by_id[self._get_param("FileSystemId")].file_system_policy = None
        return "{}", {"Content-Type": "application/json"}

    def cache_subnet_group(self: ElastiCacheResponse) -> EmptyResult:
        self.elasticache_backend.cache_subnet_groups.pop(self._get_param("CacheSubnetGroupName"))
        return EmptyResult()

    @_around(NatGatewayBackend, "delete_nat_gateway")
    def nat_gateway(original: Callable[..., Any], self: Any, nat_gateway_id: str) -> NatGateway:
        gateway: NatGateway = original(self, nat_gateway_id)
        self.delete_network_interface(gateway._eni.id)
        return gateway

    _add(EFSResponse, "delete_file_system_policy", file_system_policy)
    _add(ElastiCacheResponse, "delete_cache_subnet_group", cache_subnet_group)


CORRECTIONS: tuple[Callable[[], None], ...] = (
    cluster_has_a_security_group,
    node_group_says_what_was_asked,
    an_update_of_the_cluster_can_be_waited_for,
    replication_group_has_members,
    metrics_workspace_keeps_its_key,
    launch_template_has_tags_of_its_own,
    rule_between_groups_has_a_description,
    database_keeps_what_was_asked,
    what_can_be_made_can_be_deleted,
    budget_names_its_subscribers_and_tags,
)

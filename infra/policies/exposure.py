"""What can be reached, and from where: nothing from outside, and no machine's credentials from a pod."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from infra.plan import UNKNOWN, Plan, Resource
from infra.policies.evidence import is_set, listed, shown, unknown, wants, wants_companion, wants_set
from infra.policies.rule import Finding, rule
from infra.policies.wiring import is_written, leads_to

#: RFC 1918, RFC 6598 (EKS's custom networking) and RFC 4193.
INSIDE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
#: What is called open: no firm's own addresses are more.
OPEN_BITS = {4: 8, 6: 16}
#: Where networks stand in a rule of its own, and in an older rule or a block.
NETWORKS = ("cidr_ipv4", "cidr_ipv6", "prefix_list_id")
LISTS = ("cidr_blocks", "ipv6_cidr_blocks", "prefix_list_ids")


@rule(
    "s3-not-public",
    "Buckets are closed to the public, whatever a policy or an ACL says.",
    reason="One wrong policy is all that a leak of a lake has ever needed; these four settings overrule it.",
    remedy="Use modules/bucket, which sets all four and turns ACLs off.",
)
def s3_not_public(plan: Plan) -> Iterator[Finding]:
    settings = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")

    def closed(block: Resource) -> Iterator[Finding]:
        for setting in settings:
            yield from wants(block, setting, True)

    def without_acls(controls: Resource) -> Iterator[Finding]:
        yield from wants(controls, "rule.0.object_ownership", "BucketOwnerEnforced")

    for kind, judge in (
        ("aws_s3_bucket_public_access_block", closed),
        ("aws_s3_bucket_ownership_controls", without_acls),
    ):
        yield from wants_companion(plan, kind, of="aws_s3_bucket", argument="bucket", judge=judge)


@rule(
    "rds-not-public",
    "Databases have no public address.",
    reason="A password is then all that stands before it.",
    remedy="Set publicly_accessible = false; come by way of the cluster.",
)
def rds_not_public(plan: Plan) -> Iterator[Finding]:
    for database in plan.of("aws_db_instance", "aws_rds_cluster_instance"):
        # Not set is AWS's default, which is false.
        yield from wants(database, "publicly_accessible", False, None)


@rule(
    "eks-endpoint-private",
    "The Kubernetes API is reached from inside; in prod from nowhere else.",
    reason="Whoever reaches it may try stolen tokens and unpatched flaws.",
    remedy="Set endpoint_private_access, and endpoint_public_access = false or public_access_cidrs to your own addresses.",
)
def eks_endpoint_private(plan: Plan) -> Iterator[Finding]:
    public, cidrs = "vpc_config.0.endpoint_public_access", "vpc_config.0.public_access_cidrs"
    for cluster in plan.of("aws_eks_cluster"):
        yield from wants(cluster, "vpc_config.0.endpoint_private_access", True)
        # Not set is AWS's default: public, to 0.0.0.0/0.
        yield from wants(cluster, public, *([False] if plan.environment == "prod" else [False, True]))
        if cluster.get(public) is True:
            yield from _wants_own_addresses(cluster, cidrs)


@rule(
    "ingress-from-inside",
    "Security groups let in nothing but private addresses and other groups.",
    reason="The service is reached by its load balancer, people by the VPN; nothing else has callers outside.",
    remedy="Name a security group, or a network of ours, instead.",
)
def ingress_from_inside(plan: Plan) -> Iterator[Finding]:
    for resource, path, cidr in _ways(plan, "ingress"):
        if cidr is UNKNOWN:
            yield unknown(resource, path)
        elif not _is_inside(cidr):
            yield resource.address, f"{path} is {cidr}"


@rule(
    "egress-not-from-what-listens",
    "What takes connections does not open them to everywhere.",
    reason="A database or an endpoint has nothing to fetch; whoever breaks in would carry the data out by that way. "
    "Machines that only fetch, such as Batch's, may.",
    remedy="Leave egress out (modules/door does), or name the group or network that it goes to.",
)
def egress_not_from_what_listens(plan: Plan) -> Iterator[Finding]:
    for way, path, cidr in _ways(plan, "egress"):
        if cidr is UNKNOWN:
            yield unknown(way, path)
        elif _is_open(cidr):
            groups = [group for group in plan.of("aws_security_group") if _is_of(plan, way, group)]
            if not groups:
                yield unknown(way, "security_group_id")
            for group in groups:
                if _listens(plan, group):
                    yield way.address, f"{path} is {cidr}, and {group.address} lets connections in"


@rule(
    "default-group-closed",
    "A VPC's default security group lets nothing in or out.",
    reason="What forgets to name a group gets this one, in which AWS lets all members talk to each other and to everywhere.",
    remedy="Take it over with an aws_default_security_group without rules.",
)
def default_group_closed(plan: Plan) -> Iterator[Finding]:
    def judge(group: Resource) -> Iterator[Finding]:
        for direction in ("ingress", "egress"):
            yield from wants(group, direction, [], None)

    yield from wants_companion(plan, "aws_default_security_group", of="aws_vpc", argument="vpc_id", judge=judge)


@rule(
    "no-public-addresses",
    "Machines get no public address, and load balancers are internal.",
    reason="Only NAT gateways need one; whoever has one is scanned within minutes.",
    remedy="Set the argument to false, or internal to true.",
)
def no_public_addresses(plan: Plan) -> Iterator[Finding]:
    for subnet in plan.of("aws_subnet"):
        yield from wants(subnet, "map_public_ip_on_launch", False, None)
    for balancer in plan.of("aws_lb", "aws_alb"):
        yield from wants(balancer, "internal", True)
    for template in plan.of("aws_launch_template"):
        if template.get("network_interfaces") is UNKNOWN:
            yield unknown(template, "network_interfaces")
        for i in range(len(listed(template, "network_interfaces"))):
            yield from wants(template, f"network_interfaces.{i}.associate_public_ip_address", False, "false")
    for machine in plan.of("aws_instance"):
        yield from wants(machine, "associate_public_ip_address", False)


@rule(
    "imdsv2",
    "Machines tell their credentials by IMDSv2 only, and no further than one hop.",
    reason="By version 1 a forged request is enough to steal them; by a second hop any pod on a node has the node's role.",
    remedy='Use modules/launch_template: http_tokens = "required", http_put_response_hop_limit = 1.',
)
def imdsv2(plan: Plan) -> Iterator[Finding]:
    for machine in plan.of("aws_launch_template", "aws_instance"):
        if machine.get("metadata_options.0.http_endpoint") != "disabled":
            yield from wants(machine, "metadata_options.0.http_tokens", "required")
            yield from wants(machine, "metadata_options.0.http_put_response_hop_limit", 1)


@rule(
    "machines-from-templates",
    "Machines of EKS and Batch start from a template of ours, and nobody logs in.",
    reason="Without one AWS's applies, which no rule here has seen; SSH is a door that Session Manager makes needless.",
    remedy="Give modules/launch_template's id and version, and neither remote_access nor a key pair.",
)
def machines_from_templates(plan: Plan) -> Iterator[Finding]:
    for pool in plan.of("aws_eks_node_group"):
        yield from wants_set(plan, pool, "launch_template.0.id")
        yield from wants(pool, "remote_access", [], None)
    for machines in plan.of("aws_batch_compute_environment"):
        if machines.get("compute_resources.0.type") not in {"FARGATE", "FARGATE_SPOT"}:
            yield from wants_set(plan, machines, "compute_resources.0.launch_template.0.launch_template_id")
            yield from wants(machines, "compute_resources.0.ec2_key_pair", None, "")


def _wants_own_addresses(cluster: Resource, path: str) -> Iterator[Finding]:
    cidrs = cluster.get(path)
    if cidrs is UNKNOWN:
        yield unknown(cluster, path)
    elif not cidrs or any(cidr is UNKNOWN or _is_open(cidr) for cidr in cidrs):
        yield cluster.address, f"{path} is {shown(cidrs)}"


def _ways(plan: Plan, direction: str) -> Iterator[tuple[Resource, str, Any]]:
    """Each network that a security group lets in or out, in any of the three ways to write it: resource, path, CIDR."""
    for rule_ in plan.of(f"aws_vpc_security_group_{direction}_rule"):
        yield from ((rule_, path, rule_.get(path)) for path in NETWORKS if is_set(plan, rule_, path))
    for rule_ in plan.of("aws_security_group_rule"):
        if rule_.get("type") == direction:
            yield from _networks(rule_, "")
    for group in plan.of("aws_security_group"):
        blocks = group.get(direction)
        if blocks is UNKNOWN and is_written(plan, group, direction):
            yield group, direction, UNKNOWN
        elif isinstance(blocks, list):
            for i in range(len(blocks)):
                yield from _networks(group, f"{direction}.{i}.")


def _networks(resource: Resource, prefix: str) -> Iterator[tuple[Resource, str, Any]]:
    for path in (f"{prefix}{name}" for name in LISTS):
        cidrs = resource.get(path, [])
        yield from ((resource, path, cidr) for cidr in ([UNKNOWN] if cidrs is UNKNOWN else cidrs))


def _is_of(plan: Plan, way: Resource, group: Resource) -> bool:
    return way.address == group.address or leads_to(plan, way, "security_group_id", group)


def _listens(plan: Plan, group: Resource) -> bool:
    """Whether a security group lets anything in."""
    rules = plan.of("aws_vpc_security_group_ingress_rule", "aws_security_group_rule")
    inline = group.get("ingress")
    return (isinstance(inline, list) and bool(inline)) or any(
        rule_.get("type", "ingress") == "ingress" and _is_of(plan, rule_, group) for rule_ in rules
    )


def _is_inside(cidr: str) -> bool:
    if cidr.startswith("pl-"):
        return False  # a plan does not say what is on a prefix list
    network = ip_network(cidr, strict=False)
    return any(network.version == inside.version and network.subnet_of(inside) for inside in INSIDE)  # type: ignore[arg-type]


def _is_open(cidr: str) -> bool:
    if cidr.startswith("pl-"):
        return False  # the addresses of one service, S3's say
    network = ip_network(cidr, strict=False)
    return not _is_inside(cidr) and network.prefixlen <= OPEN_BITS[network.version]

"""The emulator without Terraform: what its shim puts right, and that what it cannot do it still cannot."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.emulator.gaps import GAPS, Gap, can_hold, left_out
from infra.emulator.process import emulator
from infra.emulator.readback import Account, Disagreement, _plain
from infra.plan import UNKNOWN, Resource

TERRAFORM = Path(__file__).parents[2] / "infra" / "terraform"
ROLE = "arn:aws:iam::123456789012:role/any"


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with emulator(tmp_path_factory.mktemp("emulator") / "log") as address:
        yield Account(address)


@pytest.fixture(scope="module")
def subnet(account: Account) -> str:
    return account.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]


# ── The shim ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_cluster_has_a_security_group_for_as_long_as_it_lives(account: Account, subnet: str) -> None:
    eks, ec2 = account.client("eks"), account.client("ec2")
    access = {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
    eks.create_cluster(name="one", roleArn=ROLE, resourcesVpcConfig={"subnetIds": [subnet]}, accessConfig=access)
    cluster = eks.describe_cluster(name="one")["cluster"]
    group = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["GroupName"] == "eks-cluster-sg-one"
    assert cluster["accessConfig"] == access
    eks.delete_cluster(name="one")
    assert group not in {there["GroupId"] for there in ec2.describe_security_groups()["SecurityGroups"]}


def test_a_node_group_says_what_was_asked(account: Account, subnet: str) -> None:
    eks = account.client("eks")
    eks.create_cluster(name="two", roleArn=ROLE, resourcesVpcConfig={"subnetIds": [subnet]})
    eks.create_nodegroup(
        clusterName="two", nodegroupName="pool", nodeRole=ROLE, subnets=[subnet], updateConfig={"maxUnavailable": 3}
    )
    group = eks.describe_nodegroup(clusterName="two", nodegroupName="pool")["nodegroup"]
    assert group["updateConfig"] == {"maxUnavailable": 3}
    assert "remoteAccess" not in group
    asked = eks.update_nodegroup_config(clusterName="two", nodegroupName="pool", scalingConfig={"maxSize": 9})["update"]
    done = eks.describe_update(name="two", nodegroupName="pool", updateId=asked["id"])["update"]
    assert (done["id"], done["status"]) == (asked["id"], "Successful")


def test_members_of_a_replication_group_come_and_go_with_it(account: Account) -> None:
    cache = account.client("elasticache")
    cache.create_replication_group(
        ReplicationGroupId="store",
        ReplicationGroupDescription="Features",
        NumCacheClusters=2,
        Engine="redis",
        AtRestEncryptionEnabled=True,
        SecurityGroupIds=["sg-1"],
    )
    [group] = cache.describe_replication_groups()["ReplicationGroups"]
    members = cache.describe_cache_clusters()["CacheClusters"]
    assert (
        {member["CacheClusterId"] for member in members} == set(group["MemberClusters"]) == {"store-001", "store-002"}
    )
    assert all(member["AtRestEncryptionEnabled"] for member in members)
    assert members[0]["SecurityGroups"] == [{"SecurityGroupId": "sg-1", "Status": "active"}]
    cache.delete_replication_group(ReplicationGroupId="store")
    assert (
        cache.describe_replication_groups()["ReplicationGroups"]
        == cache.describe_cache_clusters()["CacheClusters"]
        == []
    )


def test_a_metrics_workspace_keeps_its_key(account: Account) -> None:
    amp = account.client("amp")
    made = amp.create_workspace(alias="metrics", kmsKeyArn="arn:aws:kms:us-east-1:123456789012:key/1")
    assert amp.describe_workspace(workspaceId=made["workspaceId"])["workspace"]["kmsKeyArn"].endswith("key/1")


def test_a_launch_template_starts_machines_without_its_own_tags(account: Account) -> None:
    ec2 = account.client("ec2")
    tags = [{"Key": "owner", "Value": "ml"}]
    ec2.create_launch_template(
        LaunchTemplateName="nodes",
        LaunchTemplateData={"TagSpecifications": [{"ResourceType": "instance", "Tags": tags}]},
        TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
    )
    [version] = ec2.describe_launch_template_versions(LaunchTemplateName="nodes")["LaunchTemplateVersions"]
    specified = version["LaunchTemplateData"]["TagSpecifications"]
    assert [one["ResourceType"] for one in specified] == ["instance"]
    assert ec2.describe_launch_templates(LaunchTemplateNames=["nodes"])["LaunchTemplates"][0]["Tags"] == tags


def test_a_rule_between_groups_says_what_it_is_for(account: Account) -> None:
    ec2 = account.client("ec2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = [
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"] for name in ("door", "guest")
    ]
    pair = {"GroupId": made[1], "Description": "From guests"}
    ec2.authorize_security_group_ingress(
        GroupId=made[0],
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [pair]}],
    )
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [made[0]]}])["SecurityGroupRules"]
    assert [rule["Description"] for rule in rules if not rule["IsEgress"]] == ["From guests"]


def test_a_database_keeps_what_was_asked(account: Account) -> None:
    rds = account.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="db",
        DBInstanceClass="db.t4g.medium",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="mlops",
        ManageMasterUserPassword=True,
        EnablePerformanceInsights=True,
        PerformanceInsightsKMSKeyId="arn:aws:kms:us-east-1:123456789012:key/1",
    )
    [database] = rds.describe_db_instances(DBInstanceIdentifier="db")["DBInstances"]
    assert database["PerformanceInsightsEnabled"]
    assert database["PerformanceInsightsKMSKeyId"].endswith("key/1")
    rds.create_db_parameter_group(DBParameterGroupName="ours", DBParameterGroupFamily="postgres17", Description="TLS")
    asked = {"ParameterName": "rds.force_ssl", "ParameterValue": "1", "ApplyMethod": "immediate"}
    rds.modify_db_parameter_group(DBParameterGroupName="ours", Parameters=[asked])
    assert rds.describe_db_parameters(DBParameterGroupName="ours")["Parameters"] == [asked | {"Source": "user"}]


def test_a_budget_names_its_subscribers_and_tags(account: Account) -> None:
    budgets = account.client("budgets")
    notification = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
    told = [{"SubscriptionType": "SNS", "Address": "arn:aws:sns:us-east-1:123456789012:alerts"}]
    budgets.create_budget(
        AccountId="123456789012",
        Budget={
            "BudgetName": "all", "TimeUnit": "MONTHLY", "BudgetType": "COST", "BudgetLimit": {"Amount": "10", "Unit": "USD"}
        },
        NotificationsWithSubscribers=[{"Notification": notification, "Subscribers": told}],
        ResourceTags=[{"Key": "owner", "Value": "ml"}],
    )  # fmt: skip
    answer = budgets.describe_subscribers_for_notification(
        AccountId="123456789012", BudgetName="all", Notification=notification
    )
    assert answer["Subscribers"] == told
    tags = budgets.list_tags_for_resource(ResourceARN="arn:aws:budgets::123456789012:budget/all")["ResourceTags"]
    assert tags == [{"Key": "owner", "Value": "ml"}]


def test_what_was_made_is_gone_when_it_is_deleted(account: Account, subnet: str) -> None:
    efs, cache, ec2 = account.client("efs"), account.client("elasticache"), account.client("ec2")
    files = efs.create_file_system(CreationToken="files")["FileSystemId"]
    efs.put_file_system_policy(FileSystemId=files, Policy="{}")
    efs.delete_file_system_policy(FileSystemId=files)
    with pytest.raises(efs.exceptions.PolicyNotFound):
        efs.describe_file_system_policy(FileSystemId=files)
    cache.create_cache_subnet_group(CacheSubnetGroupName="private", CacheSubnetGroupDescription="-", SubnetIds=[subnet])
    cache.delete_cache_subnet_group(CacheSubnetGroupName="private")
    assert cache.describe_cache_subnet_groups()["CacheSubnetGroups"] == []
    before = account.inventory()
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    gateway = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    assert {call for call, _ in account.inventory() - before} == {
        "describe_addresses", "describe_nat_gateways", "describe_network_interfaces"
    }  # fmt: skip
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    ec2.release_address(AllocationId=address)
    assert account.inventory() == before


# ── Gaps ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.type)
def test_a_gap_is_still_one(account: Account, gap: Gap) -> None:
    """Once this fails the emulator can do it: take the entry out of GAPS.yaml, and let it be applied."""
    assert not gap.works(account)


def test_a_gap_that_began_to_work_is_found(account: Account) -> None:
    """A probe that gets an answer, another error than the one written down, or a 404 of what it asked for, is no gap."""
    answered = {"ask": "eks.list_clusters", "with": {}, "answers": 404}
    otherwise = {"ask": "eks.describe_cluster", "with": {"name": "nobody"}, "answers": 500}
    named = {"ask": "eks.describe_cluster", "with": {"name": "nobody"}, "answers": 404}
    for probe in (answered, otherwise, named):
        assert Gap("aws_eks_addon.this", "addons", "-", "for_each", probe, {}).works(account)


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.type)
def test_a_gap_is_planned_against_mocks(gap: Gap) -> None:
    """The run that is named asserts something of the resource."""
    tests = (TERRAFORM / "tests" / gap.mocked["file"]).read_text()
    runs = dict(re.findall(r'^run "(\w+)" \{\n(.*?)^\}', tests, re.MULTILINE | re.DOTALL))
    conditions = re.findall(
        r"^    condition +=(.*?)^    error_message", runs[gap.mocked["run"]], re.MULTILINE | re.DOTALL
    )
    assert any(gap.resource in condition for condition in conditions)


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.type)
def test_a_gap_leaves_out_what_is_there(gap: Gap) -> None:
    """The override merges into a resource of that name in that module, and the plan's address is known as a gap."""
    kind, _, name = gap.resource.partition(".")
    assert f'resource "{kind}" "{name}" {{' in (TERRAFORM / "modules" / gap.module / "main.tf").read_text()
    assert gap.because
    assert gap.override in left_out()[f"modules/{gap.module}/gaps_override.tf"]
    assert not can_hold(Resource(f"module.any.{gap.resource}[0]", kind, {}))
    assert can_hold(Resource(f"module.any.{kind}.another", kind, {}))


# ── Reading back ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_differs_from_the_plan_is_told(account: Account) -> None:
    logs = account.client("logs")
    logs.create_log_group(logGroupName="/training")
    logs.put_retention_policy(logGroupName="/training", retentionInDays=7)
    planned = {"name": "/training", "retention_in_days": 30, "kms_key_id": None}
    resource = Resource("module.x.aws_cloudwatch_log_group.this", "aws_cloudwatch_log_group", planned)
    [found] = account.disagreements(resource, {})
    assert found == Disagreement(resource.address, "retentionInDays", 30, 7)
    assert str(found) == f"{resource.address}: retentionInDays was planned as 30, and AWS's API says 7"
    assert (
        account.disagreements(Resource(resource.address, resource.type, planned | {"retention_in_days": 7}), {}) == []
    )


def test_what_is_not_there_is_told(account: Account) -> None:
    values = {"name": UNKNOWN, "retention_in_days": 30, "kms_key_id": None}
    resource = Resource("aws_cloudwatch_log_group.gone", "aws_cloudwatch_log_group", values)
    assert [found.found for found in account.disagreements(resource, {"name": "/gone"})] == ["not there"]


@pytest.mark.parametrize(
    ("terraform", "aws"),
    [
        ({"owner": "ml", "model": "shared"}, [{"Key": "model", "Value": "shared"}, {"Key": "owner", "Value": "ml"}]),
        ('{"Version": "2012-10-17", "Statement": []}', {"Statement": [], "Version": "2012-10-17"}),
        ("true", True), ("6000.0", "6000"), (300, "300"), (["b", "a"], ["a", "b"]), ("groups: []", b"groups: []"), ("", None),
    ],
)  # fmt: skip
def test_what_is_the_same_is_the_same(terraform: object, aws: object) -> None:
    assert _plain(terraform) == _plain(aws)


@pytest.mark.parametrize(
    ("terraform", "aws"),
    [
        (True, False),
        ("2", "1"),
        ("17.10", "17.1"),
        ({"min": 0, "max": 9}, {"min": 9, "max": 0}),
        ({"owner": "ml"}, []),
        (["a"], ["a", "b"]),
        (0, None),
        ("a", "b"),
        ([], None),
    ],
)
def test_what_differs_differs(terraform: object, aws: object) -> None:
    assert _plain(terraform) != _plain(aws)

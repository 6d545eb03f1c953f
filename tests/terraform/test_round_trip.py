"""Dev: applied, read back by another way, drifted, repaired, and taken down. The tests are one story, in this order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from infra.emulator.readback import Account
from infra.plan import Plan
from tests.terraform.conftest import Applied, applied


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    with applied("dev", tmp_path_factory.mktemp("dev")) as environment:
        yield environment


def test_every_planned_resource_is_applied_or_a_gap(dev: Applied, planned: Callable[[str], Plan]) -> None:
    dev.check_all_is_there(planned("dev"))


def test_what_stands_is_what_was_planned(dev: Applied) -> None:
    dev.check_it_is_as_planned()


def test_a_second_plan_changes_nothing(dev: Applied) -> None:
    assert dev.stack.plan("dev").changes == {}


def test_what_stands_is_what_manifests_name(dev: Applied, tmp_path: Path) -> None:
    dev.check_manifests_name_it(tmp_path)


# ── Behind Terraform's back ──────────────────────────────────────────────────────────────────────────────────────────────

NAME = "mlops-dev"


def _lake(account: Account) -> str:
    return next(
        name for call, name in account.inventory() if call == "list_buckets" and name.startswith(f"{NAME}-lake-")
    )


def bucket_opened(account: Account) -> None:
    opened = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)
    account.client("s3").put_public_access_block(Bucket=_lake(account), PublicAccessBlockConfiguration=opened)


def versions_no_longer_kept(account: Account) -> None:
    account.client("s3").put_bucket_versioning(Bucket=_lake(account), VersioningConfiguration={"Status": "Suspended"})


def logs_kept_for_a_day(account: Account) -> None:
    account.client("logs").put_retention_policy(logGroupName=f"/{NAME}/training", retentionInDays=1)


def key_no_longer_rotated(account: Account) -> None:
    kms = account.client("kms")
    [alias] = [a for a in kms.list_aliases()["Aliases"] if a["AliasName"] == f"alias/{NAME}-data"]
    kms.disable_key_rotation(KeyId=alias["TargetKeyId"])


def role_may_do_everything(account: Account) -> None:
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    account.client("iam").put_role_policy(
        RoleName=f"{NAME}-mlflow", PolicyName="grants", PolicyDocument=json.dumps(everything)
    )


def tags_of_images_move(account: Account) -> None:
    account.client("ecr").put_image_tag_mutability(repositoryName=f"{NAME}/platform", imageTagMutability="MUTABLE")


def fewer_backups(account: Account) -> None:
    account.client("rds").modify_db_instance(
        DBInstanceIdentifier=f"{NAME}-tracking", BackupRetentionPeriod=0, ApplyImmediately=True
    )


def alarm_deleted(account: Account) -> None:
    account.client("cloudwatch").delete_alarms(AlarmNames=[f"{NAME}-online-store-001-memory"])


def door_closed(account: Account) -> None:
    ec2 = account.client("ec2")
    [door] = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"{NAME}-tracking"]}])[
        "SecurityGroups"
    ]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [door["GroupId"]]}])
    [rule] = [r for r in rules["SecurityGroupRules"] if r.get("Description") == "From nodes"]
    ec2.revoke_security_group_ingress(GroupId=door["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])


def queue_stopped(account: Account) -> None:
    account.client("batch").update_job_queue(jobQueue=f"{NAME}-fraud", state="DISABLED")


def pool_grown(account: Account) -> None:
    account.client("eks").update_nodegroup_config(
        clusterName=NAME, nodegroupName="cpu-spot", scalingConfig={"minSize": 0, "maxSize": 40, "desiredSize": 0}
    )


def owner_forgotten(account: Account) -> None:
    account.client("logs").untag_log_group(logGroupName=f"/aws/eks/{NAME}/cluster", tags=["owner"])


#: What somebody did by hand, and the one resource that a plan must name for it.
DRIFTS: Mapping[Callable[[Account], None], str] = {
    bucket_opened: "module.lake.module.lake.aws_s3_bucket_public_access_block.this",
    versions_no_longer_kept: "module.lake.module.lake.aws_s3_bucket_versioning.this",
    logs_kept_for_a_day: "module.training.aws_cloudwatch_log_group.this",
    key_no_longer_rotated: 'module.security.aws_kms_key.this["data"]',
    role_may_do_everything: 'module.service_account["mlflow"].aws_iam_role_policy.this[0]',
    tags_of_images_move: 'module.images.aws_ecr_repository.this["platform"]',
    fewer_backups: "module.tracking.aws_db_instance.this",
    alarm_deleted: 'module.monitoring.aws_cloudwatch_metric_alarm.this["mlops-dev-online-store-001-memory"]',
    door_closed: 'module.tracking.module.door.aws_vpc_security_group_ingress_rule.this["nodes"]',
    queue_stopped: 'module.training.module.queue["fraud"].aws_batch_job_queue.this',
    pool_grown: 'module.node_pools.aws_eks_node_group.this["cpu-spot"]',
    owner_forgotten: "module.cluster.aws_cloudwatch_log_group.control_plane",
}


def test_whatever_is_changed_by_hand_is_found_and_repaired(dev: Applied) -> None:
    """All at once: the plan names each of them and nothing else, its apply puts them right, and boto3 sees that."""
    for drift in DRIFTS:
        drift(dev.account)
    found = dev.stack.apply("dev")
    assert found.changes.keys() == set(DRIFTS.values())
    assert dev.stack.plan("dev").changes == {}
    dev.check_it_is_as_planned()


def test_destroyed_nothing_is_left(dev: Applied) -> None:
    """The state is empty, and in every service stands what stood before."""
    dev.stack.destroy("dev")
    assert dev.stack.state() == {}
    assert dev.account.inventory() == dev.before

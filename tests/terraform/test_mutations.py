"""Break one attribute at a time: something must complain, and before anything is applied.

Each mutant is planned as prod and judged by the policies. What a plan does not show is left to the runs against mocks. Terraform itself
must have nothing against it, or the mutant would be a slip of the pen.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import pytest

from infra.errors import ToolError
from infra.policies.rules import check
from infra.stack import ROOT, Stack

SHARE_CAUGHT = 0.95


class Mutant(NamedTuple):
    """One edit of the root: the first place in `file` where `was` stands becomes `now`."""

    file: str
    was: str
    now: str


MUTANTS = (
    Mutant("modules/bucket/main.tf", 'sse_algorithm     = "aws:kms"', 'sse_algorithm     = "AES256"'),
    Mutant("modules/bucket/main.tf", "block_public_policy     = true", "block_public_policy     = false"),
    Mutant("modules/bucket/main.tf", 'status = "Enabled"', 'status = "Suspended"'),
    Mutant("modules/tracking/main.tf", "publicly_accessible    = false", "publicly_accessible    = true"),
    Mutant("modules/tracking/main.tf", "storage_encrypted     = true", "storage_encrypted     = false"),
    Mutant("modules/tracking/main.tf", 'value = "1"', 'value = "0"'),
    Mutant("modules/online_store/main.tf", "transit_encryption_enabled = true", "transit_encryption_enabled = false"),
    Mutant("modules/online_store/main.tf", "at_rest_encryption_enabled = true", "at_rest_encryption_enabled = false"),
    Mutant("modules/launch_template/main.tf", '"required"', '"optional"'),
    Mutant("modules/launch_template/main.tf", 'encrypted             = "true"', 'encrypted             = "false"'),
    Mutant("modules/security/main.tf", "enable_key_rotation     = true", "enable_key_rotation     = false"),
    Mutant("modules/images/main.tf", '"IMMUTABLE"', '"MUTABLE"'),
    Mutant("modules/workspace/main.tf", "encrypted       = true", "encrypted       = false"),
    Mutant("modules/node_pools/main.tf", '{ "mlops/capacity" = "spot" } : {}', "{} : {}"),
    Mutant("modules/training/main.tf", 'action           = "RETRY"', 'action           = "EXIT"'),
    Mutant("modules/training/main.tf", 'user                   = "10001"', 'user                   = "0"'),
    Mutant("modules/cluster/main.tf", "endpoint_public_access  = length(var.public_access_cidrs) > 0", "endpoint_public_access  = true"),
    Mutant("modules/cluster/main.tf", "retention_in_days = var.log_days", "retention_in_days = 0"),
    Mutant("modules/role/main.tf", 'test     = "StringEquals"', 'test     = "StringLike"'),
    Mutant("modules/monitoring/main.tf", "alarm_actions       = [aws_sns_topic.alerts.arn]", "alarm_actions       = []"),
    Mutant("modules/budget/main.tf", '[{ type = "FORECASTED", percent = 100 }]', "[]"),
    Mutant("modules/network/main.tf", "map_public_ip_on_launch = false", "map_public_ip_on_launch = true"),
    Mutant("main.tf", "deletion_protection = var.deletion_protection", "deletion_protection = false"),
    Mutant("main.tf", "backups     = var.deletion_protection", "backups     = false"),
    Mutant("access.tf", "resources = [module.online_store.secret_arn, module.tracking.database_secret_arn]", 'resources = ["*"]'),
)  # fmt: skip


@pytest.fixture(scope="module")
def stacks(untouched: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleQueue[Stack]]:
    """Two copies, so that both processors have one to plan."""
    free: SimpleQueue[Stack] = SimpleQueue()
    for _ in range(2):
        free.put(Stack.copy(tmp_path_factory.mktemp("mutants"), untouched.endpoint))
    yield free


def complaint(mutant: Mutant, stack: Stack) -> str:
    """What complains of the mutant first; nothing when it survives."""
    original = (ROOT / mutant.file).read_text()
    assert mutant.was in original, f"{mutant.file} has no {mutant.was!r} any more; mend the mutant"
    (stack.folder / mutant.file).write_text(original.replace(mutant.was, mutant.now, 1))
    try:
        violations = check(stack.plan("prod"))
        return str(violations[0]) if violations else _of_mocks(stack)
    finally:
        shutil.copy(ROOT / mutant.file, stack.folder / mutant.file)


def _of_mocks(stack: Stack) -> str:
    try:
        stack.test()
    except ToolError as error:
        return next(line for line in str(error).splitlines() if line.startswith("Error: Test assertion failed"))
    return ""


def test_what_is_broken_is_caught(stacks: SimpleQueue[Stack]) -> None:
    """At least 95 % of them."""

    def judged(mutant: Mutant) -> str:
        stack = stacks.get()
        try:
            return complaint(mutant, stack)
        finally:
            stacks.put(stack)

    assert len(set(MUTANTS)) >= 20
    with ThreadPoolExecutor(2) as pool:
        complaints = dict(zip(MUTANTS, pool.map(judged, MUTANTS), strict=True))
    for mutant, said in complaints.items():
        print(f"{mutant.file}: {mutant.now}\n    {said or 'SURVIVED'}")
    survived = [mutant for mutant, said in complaints.items() if not said]
    assert len(survived) <= (1 - SHARE_CAUGHT) * len(MUTANTS), survived


def test_unbroken_nothing_complains(stacks: SimpleQueue[Stack], tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    same = Mutant("main.tf", "module", "module")
    stack = stacks.get()
    try:
        assert complaint(same, stack) == ""
    finally:
        stacks.put(stack)

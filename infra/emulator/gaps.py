"""What the emulator cannot do: GAPS.yaml as data, as override files for the copy that is applied, and as calls that must fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from infra.emulator.readback import Account
from infra.plan import Resource

LIST = Path(__file__).parent / "GAPS.yaml"
_EMPTY = {"for_each": "{}", "count": "0"}


@dataclass(frozen=True, slots=True)
class Gap:
    """One resource that the emulator cannot hold; GAPS.yaml says what each field means."""

    resource: str
    module: str
    because: str
    leave_out: str
    probe: Mapping[str, Any]
    mocked: Mapping[str, str]

    @property
    def type(self) -> str:
        return self.resource.partition(".")[0]

    @property
    def override(self) -> str:
        """Terraform that empties the resource, merged into its module."""
        kind, _, name = self.resource.partition(".")
        return f'resource "{kind}" "{name}" {{\n  {self.leave_out} = {_EMPTY[self.leave_out]}\n}}\n'

    def works(self, account: Account) -> bool:
        """Whether the emulator can do it by now. Anything but the answer that is written down counts as that."""
        service, _, operation = self.probe["ask"].partition(".")
        try:
            getattr(account.client(service), operation)(**self.probe["with"])
        except ClientError as error:
            # A call that is not there has its status for a code; an error of one that is there has a name.
            return bool(error.response["Error"]["Code"] != str(self.probe["answers"]))
        return True


GAPS: tuple[Gap, ...] = tuple(Gap(**entry) for entry in yaml.safe_load(LIST.read_text()))


def left_out() -> dict[str, str]:
    """Override files by their path in the root: the same modules, without what the emulator cannot hold."""
    files: dict[str, str] = {}
    for gap in GAPS:
        path = f"modules/{gap.module}/gaps_override.tf"
        files[path] = files.get(path, "") + gap.override
    return files


def can_hold(resource: Resource) -> bool:
    """Whether the emulator can hold a planned resource."""
    address = re.sub(r"\[[^\]]*\]$", "", resource.address)
    return not any(f".{address}".endswith(f".{gap.resource}") for gap in GAPS)

"""A Terraform plan as data: what `terraform show -json` says of it, in the form that policies and prices read.

Values that AWS decides are not known before an apply. A plan names them in `after_unknown`; here each of them is `UNKNOWN`, so
that a rule can tell "will be set" from "is not set".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from infra.errors import PlanError


class _Unknown:
    """A value that the apply will bring; true, because it will be there."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
_INDEX = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource or data source, as it is to be after the apply; `actions` say how it gets there."""

    address: str
    type: str
    values: Mapping[str, Any]
    actions: tuple[str, ...] = ("create",)

    @property
    def module(self) -> str:
        """Path of the module, without indices: `module.lake.module.bucket`; empty for the root."""
        return _INDEX.sub("", self.address).rpartition(f"{self.type}.")[0].removesuffix("data.").rstrip(".")

    def get(self, path: str, default: Any = None) -> Any:
        """A value by its path, `metadata_options.0.http_tokens`; the default where it is missing or null.

        Where something on the way is unknown, so is the value.
        """
        value: Any = self.values
        for part in path.split("."):
            if value is UNKNOWN:
                return UNKNOWN
            if isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            elif isinstance(value, Mapping) and part in value:
                value = value[part]
            else:
                return default
        return default if value is None else value


@dataclass(frozen=True, slots=True)
class Output:
    """An output of the root: its value, and whether that is secret."""

    value: Any
    sensitive: bool


class Plan:
    """What Terraform would do to one environment."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Read the JSON of a plan.

        Raises:
            PlanError: The document is no plan, or one that ended in an error.
        """
        if "resource_changes" not in document or "planned_values" not in document:
            raise PlanError(
                "This is not the JSON of a plan (no resource_changes); `terraform show -json FILE.tfplan` writes it."
            )
        if document.get("errored"):
            raise PlanError("This plan ended in an error and is not whole; mend that first, and plan again.")
        self.document = document

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read the file that `terraform show -json` has written; raises PlanError."""
        try:
            return cls(json.loads(path.read_text()))
        except FileNotFoundError:
            raise PlanError(
                f"{path} does not exist; `terraform show -json FILE.tfplan > {path.name}` writes it."
            ) from None
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise PlanError(f"{path} is not JSON; `terraform show -json FILE.tfplan` writes JSON.") from None

    @property
    def environment(self) -> str:
        return self.variable("environment")

    def variable(self, name: str) -> Any:
        """A variable of the root as it was given; raises PlanError when it was not."""
        try:
            return self.document["variables"][name]["value"]
        except KeyError:
            raise PlanError(f"The plan was made without variable {name!r}; is it one of infra/terraform?") from None

    @cached_property
    def resources(self) -> tuple[Resource, ...]:
        """All managed resources after the apply; what is to be destroyed is not among them."""
        return tuple(
            _resource(change)
            for change in self.document["resource_changes"]
            if change["mode"] == "managed" and change["change"]["after"] is not None
        )

    @cached_property
    def data(self) -> tuple[Resource, ...]:
        """All data sources: those read already, and those that wait for the apply."""
        waiting = [c for c in self.document["resource_changes"] if c["mode"] == "data"]
        state = self.document.get("prior_state", {}).get("values", {}).get("root_module", {})
        known = [Resource(r["address"], r["type"], r["values"], ("read",)) for r in walk(state) if r["mode"] == "data"]
        return (*known, *map(_resource, waiting))

    def of(self, *types: str) -> list[Resource]:
        """The managed resources of these types."""
        return [resource for resource in self.resources if resource.type in types]

    @cached_property
    def changes(self) -> dict[str, tuple[str, ...]]:
        """Address and actions of whatever the apply would change, `("delete", "create")` for what is replaced."""
        return {
            change["address"]: tuple(change["change"]["actions"])
            for change in self.document["resource_changes"]
            if change["mode"] == "managed" and change["change"]["actions"] != ["no-op"]
        }

    @cached_property
    def outputs(self) -> dict[str, Output]:
        """The outputs of the root; what is not known yet is UNKNOWN."""
        return {
            name: Output(
                _overlay(change.get("after"), change.get("after_unknown")),
                bool(change.get("after_sensitive")),
            )
            for name, change in self.document.get("output_changes", {}).items()
        }


def _resource(change: Mapping[str, Any]) -> Resource:
    after, unknown = change["change"]["after"], change["change"].get("after_unknown", {})
    return Resource(
        change["address"], change["type"], _overlay(after or {}, unknown), tuple(change["change"]["actions"])
    )


def _overlay(value: Any, unknown: Any) -> Any:
    """Put UNKNOWN wherever a plan says that a value comes later; a plan leaves such a value out or null."""
    if unknown is True:
        return UNKNOWN
    if isinstance(unknown, Mapping):
        merged = dict(value or {})
        return merged | {key: _overlay(merged.get(key), below) for key, below in unknown.items() if below is not False}
    if isinstance(unknown, list) and isinstance(value, list):
        padded = [*unknown, *[False] * (len(value) - len(unknown))]
        return [_overlay(item, below) for item, below in zip(value, padded, strict=False)]
    return value


def walk(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The resources of a module and of those below it, as a state's or a plan's JSON has them."""
    yield from module.get("resources", ())
    for child in module.get("child_modules", ()):
        yield from walk(child)

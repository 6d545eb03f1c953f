"""What stands in the account, asked of AWS's API itself: each applied resource against its plan, and what is there in all.

Terraform says what it believes. Here boto3 asks the same API, by another way, and compares. Each type of resource has its
`Reading` in readings.yaml: which call finds it, and which part of the answer must agree with which value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any

import boto3
import jmespath
import yaml
from botocore.exceptions import ClientError

from infra.plan import UNKNOWN, Resource


@dataclass(frozen=True, slots=True)
class Reading:
    """One call about one resource; readings.yaml says what each part means."""

    service: str
    operation: str
    request: Mapping[str, str | list[str]]
    found: str
    agrees: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A resource that the API does not show as it was planned."""

    address: str
    what: str
    planned: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.address}: {self.what} was planned as {self.planned!r}, and AWS's API says {self.found!r}"


def _reading(entry: Mapping[str, Any]) -> Reading:
    service, _, operation = entry["ask"].partition(".")
    return Reading(service, operation, entry["with"], entry["found"], entry["agrees"])


_TABLE = yaml.safe_load((Path(__file__).parent / "readings.yaml").read_text())

READINGS: Mapping[str, tuple[Reading, ...]] = {
    type_: tuple(_reading(one) for one in readings) for type_, readings in _TABLE["readings"].items()
}
#: Service and call, to the identities in the answer.
LISTINGS: Mapping[str, Mapping[str, str]] = _TABLE["listings"]


class Account:
    """An account by its API; for the emulator, at its address."""

    def __init__(self, endpoint: str, region: str = "us-east-1") -> None:
        self._session = boto3.Session("testing", "testing", region_name=region)
        self._endpoint = endpoint
        self._clients: dict[str, Any] = {}

    @cached_property
    def id(self) -> str:
        """The account's number."""
        return str(self.client("sts").get_caller_identity()["Account"])

    def client(self, service: str) -> Any:
        """The client of one service."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, endpoint_url=self._endpoint)
        return self._clients[service]

    def disagreements(self, planned: Resource, state: Mapping[str, Any]) -> list[Disagreement]:
        """Ask for one resource; what was not known when it was planned comes from the state after the apply.

        Raises:
            KeyError: There is no reading for this type of resource.
        """
        return [
            Disagreement(planned.address, what, wanted, got)
            for what, wanted, got in self.compared(planned, state)
            if _plain(wanted) != _plain(got)
        ]

    def compared(self, planned: Resource, state: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """What was compared of one resource: what, as planned, as found."""
        values = _parsed(_known(planned.values, state))
        for reading in READINGS[planned.type]:
            answer = self._ask(reading, values)
            yield reading.operation, "there", "not there" if answer is None else "there"
            if answer is not None:
                for there, here in reading.agrees.items():
                    yield there, jmespath.search(here, values), jmespath.search(there, _parsed(answer))

    def inventory(self) -> set[tuple[str, str]]:
        """Everything that stands in the account, as pairs of call and identity."""
        there = set()
        for service, calls in LISTINGS.items():
            client = self.client(service)
            for call, identities in calls.items():
                whose = {"AccountId": self.id} if service == "budgets" else {}
                pages = (
                    client.get_paginator(call).paginate(**whose)
                    if client.can_paginate(call)
                    else [getattr(client, call)(**whose)]
                )
                there |= {(call, identity) for page in pages for identity in jmespath.search(identities, page) or ()}
        gone = [key for call, key in there if call == "list_keys" and self._is_going(key)]
        return there - {("list_keys", key) for key in gone}

    def _is_going(self, key: str) -> bool:
        return self.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"

    def _ask(self, reading: Reading, values: Mapping[str, Any]) -> Any:
        asked = {
            name: [jmespath.search(_filled(path, {}), values) for path in paths]
            if isinstance(paths, list)
            else jmespath.search(paths, values)
            for name, paths in reading.request.items()
        }
        try:
            answer = getattr(self.client(reading.service), reading.operation)(**asked)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in {400, 404}:
                return None
            raise
        return jmespath.search(_filled(reading.found, values), answer)


def _filled(expression: str, values: Mapping[str, Any]) -> str:
    return Template(expression).substitute(values)


def _known(planned: Any, state: Any) -> Any:
    """The plan's values, and the state's where the plan did not know them."""
    if planned is UNKNOWN or planned is None:
        return state
    if isinstance(planned, Mapping) and isinstance(state, Mapping):
        return {name: _known(planned.get(name), state.get(name)) for name in {*planned, *state}}
    if isinstance(planned, list) and isinstance(state, list) and len(planned) == len(state):
        return [_known(here, there) for here, there in zip(planned, state, strict=True)]
    return planned


def _parsed(value: Any) -> Any:
    """Values with JSON that is text read, so that expressions lead into it."""
    match value:
        case Mapping():
            return {name: _parsed(item) for name, item in value.items()}
        case list():
            return [_parsed(item) for item in value]
        case str() if value[:1] == "{":
            with suppress(json.JSONDecodeError):
                return json.loads(value)
    return value


def _plain(value: Any) -> Any:
    """One form for what AWS and Terraform write differently: tags, sets, JSON, numbers and truths as text, nothing."""
    match value:
        case bytes():
            return _plain(value.decode())
        case str():
            return _text(value)
        case bool() | None:
            return value
        case int() | float():
            return float(value)
        case Mapping():
            return {name: _plain(item) for name, item in value.items()}
        case _:
            tags = _tags(value)
            return sorted(map(_plain, value), key=repr) if tags is None else tags


def _tags(items: list[Any]) -> dict[str, Any] | None:
    """Tags as AWS lists them, `{"Key": …, "Value": …}`, by name; None when these are no tags."""
    pairs = [{name.lower(): value for name, value in item.items()} for item in items if isinstance(item, Mapping)]
    if not items or len(pairs) != len(items) or any(pair.keys() != {"key", "value"} for pair in pairs):
        return None
    return {pair["key"]: _plain(pair["value"]) for pair in pairs}


def _text(value: str) -> Any:
    if value in {"true", "false"}:
        return value == "true"
    if re.fullmatch(r"-?\d+(\.0+)?", value):  # a count or an amount; 17.10 is a version
        return float(value)
    if value[:1] in ("{", "["):
        with suppress(json.JSONDecodeError):
            return _plain(json.loads(value))
    return value or None

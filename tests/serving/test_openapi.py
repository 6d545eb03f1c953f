"""The page describes what the code says; that real answers fit it is told in tests/loop/test_api_contract.py."""

from __future__ import annotations

import json
import re
from typing import get_args

from serving import openapi, release
from serving.feature_reader import Rung


def test_slots_and_rungs_are_those_of_the_code() -> None:
    """The page spells them out, so that it needs neither Feast nor a model to be made."""
    assert get_args(openapi.Slot) == get_args(release.SlotName)
    assert get_args(openapi.Rung) == get_args(Rung)


def test_every_reference_is_resolved() -> None:
    """Whatever a path refers to is among the components."""
    page = openapi.page({path: ("", {}) for path in openapi.ANSWERS}, security=[{"bearer": []}])
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(page)))
    assert referred == set(page["components"]["schemas"])


def test_errors_of_the_guard_are_documented() -> None:
    """Every path that takes a key says so, probes say that they take none."""
    page = openapi.page({path: ("", {}) for path in openapi.ANSWERS}, security=[{"bearer": []}])
    for path, [operation] in ((path, verbs.values()) for path, verbs in page["paths"].items()):
        if path in openapi.PROBES:
            assert operation["security"] == []
        else:
            assert {"401", "429"} <= set(operation["responses"])

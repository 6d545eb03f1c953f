"""What is served online is what the batch wrote: the same champion, features and ranking code."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.loop.conftest import MLOPS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(demo: Path) -> Iterator[str]:
    """`mlops serve` on a free port, as a user starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([MLOPS, "serve", "--dir", demo, "--port", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready: http://127.0.0.1"), line
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def ask(service: str, **request: Any) -> dict[str, Any]:
    body = json.dumps(request).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"{service}/recommend", body, {"Content-Type": "application/json"})
    ) as answer:
        return json.load(answer)


def last_lists(demo: Path) -> pd.DataFrame:
    return pd.read_parquet(sorted((demo / "recommendations").glob("*.parquet"))[-1])


@pytest.mark.parametrize("scope", ["all", "new"])
def test_online_equals_batch(service: str, demo: Path, scope: str) -> None:
    """For a sample of customers the service answers the very list that Monday's batch wrote, scores to 1e-6."""
    lists = last_lists(demo)
    customers = lists["user_id"].dropna().unique()[::25]
    for user_id in customers:
        batch = lists[(lists["user_id"] == user_id) & (lists["list"] == scope)].sort_values("rank")
        online = ask(service, user_id=user_id, k=20, list=scope)
        assert [item["item_id"] for item in online["items"]] == batch["item_id"].tolist()
        assert [item["score"] for item in online["items"]] == pytest.approx(batch["score"].tolist(), abs=1e-6)
        assert online["model_version"] == batch["model_version"].iloc[0]


def test_an_unknown_customer_gets_the_default_list(service: str, demo: Path) -> None:
    """Whom nobody knows gets what the batch wrote under no customer, and is told so."""
    lists = last_lists(demo)
    default = lists[lists["user_id"].isna() & (lists["list"] == "all")].sort_values("rank")
    for user_id in ("nobody", None):
        online = ask(service, user_id=user_id, k=20)
        assert (online["known"], [i["item_id"] for i in online["items"]]) == (False, default["item_id"].tolist())


@pytest.mark.parametrize(
    "request_", [{"user_id": "1", "k": 0}, {"user_id": "1", "k": "many"}, {"user_id": ["1"]}, {"list": "old"}]
)
def test_a_bad_request_is_the_askers_fault(service: str, request_: dict[str, Any]) -> None:
    """A request that cannot be answered gets a 4xx that names the field."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(service, **request_)
    assert 400 <= refused.value.code < 500


def test_every_step_is_timed_by_slot(service: str) -> None:
    """Whoever looks for a slow step finds it: the store, the candidates, and each slot's model have a histogram of their own."""
    before = step_counts(service)
    ask(service, user_id="nobody")
    grown = {name: count - before.get(name, 0) for name, count in step_counts(service).items()}
    assert grown == {("any", "features"): 1, ("any", "candidates"): 1, ("champion", "score"): 1}


def step_counts(service: str) -> dict[tuple[str, str], float]:
    found = re.findall(r'recommender_step_seconds_count\{slot="(\w+)",step="(\w+)"\} (\S+)', get(service, "/metrics"))
    return {(slot, step): float(count) for slot, step, count in found}


def test_the_address_shows_what_can_be_asked(service: str) -> None:
    """Whoever opens the address that `mlops up` prints finds a page, and all that it loads."""
    front = get(service, "/")
    loaded = re.findall(r'(?:href|src)="\./(static_content/[^"]+)"', front)
    assert loaded
    assert all(get(service, f"/{path}") for path in loaded)


def get(service: str, path: str) -> str:
    with urllib.request.urlopen(f"{service}{path}") as answer:
        return str(answer.read(), "utf-8", "replace")

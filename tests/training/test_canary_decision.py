"""A canary is opened for what passed its gates, beside a champion, and keeps the challenger's alias until it ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import RegistryError
from tests.training.histories import (
    MONDAY,
    Killed,
    KilledAfterRecord,
    aliases,
    begun_anew,
    decide,
    kinds,
    silent_registry,
    small_registry,
)
from training.canary_decision import open_canary, promote_canary
from training.candidate import fit_and_register
from training.candidate_decision import candidate_decision
from training.carry_out import carry_out
from training.promotion import Aliases
from training.recommender.examples import Examples
from training.recommender.pair_features import FEATURES
from training.vocabulary import Evidence, GateResult, Verdict
from training.workspace import Workspace

NOON = MONDAY + timedelta(hours=12)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_registry(tmp_path_factory)


@pytest.fixture
def ws(home: Path) -> Workspace:
    """Version 2 was live, and is taken back for version 1."""
    ws = begun_anew(home)
    for version in "12":
        decide(ws, "promotion", version)
    decide(ws, "rollback", "1")
    return ws


def judged(ws: Workspace, version: str, champion: str | None, *, passed: bool = True) -> None:
    """Let the week's steps have come to a verdict about a version."""
    verdict = Verdict.of((GateResult("beats_champion", passed, "as measured", (Evidence("ndcg", 0.4, "test"),)),))
    ws.once(MONDAY, "snapshot", lambda: {"snapshot": {"id": "s"}})
    ws.once(MONDAY, "fit", lambda: {"candidate": {"version": version, "run_id": "r"}, "held": None})
    ws.once(MONDAY, "judge", lambda: {"champion": champion, "verdict": verdict.to_dict()})


def test_an_opened_canary_is_the_challenger(ws: Workspace) -> None:
    """The record names both versions, and the registry's alias follows."""
    decision = open_canary(ws, NOON, "2", reason="mended", actor="person:ann")
    assert (decision.model_version, decision.previous_version, decision.actor) == ("2", "1", "person:ann")
    assert kinds(ws)[-1] == ("canary", "2")
    assert aliases(ws) == Aliases(champion="1", challenger="2")


def test_a_canary_opened_while_the_registry_is_silent_is_owed(ws: Workspace) -> None:
    """Serving goes by the record; were the alias not owed, the canary would starve as soon as the registry is back."""
    with silent_registry(ws):
        open_canary(ws, NOON, "2", reason="mended", actor="person:ann")
    assert ws.unreconciled.exists()
    carry_out(ws)
    assert aliases(ws).challenger == "2"


#    what was promoted before, the version to try, and what the refusal says
REFUSED: list[tuple[str, str, str]] = [
    ("", "1", "Nothing is live yet"),
    ("12", "2", "Version 2 is live already"),
    ("12", "3", r"Version 3 was never let through by the gates. Versions that were: 1, 2\."),
]


@pytest.mark.parametrize(("promoted", "version", "reason"), REFUSED)
def test_a_canary_without_comparison_or_gates_is_refused(home: Path, promoted: str, version: str, reason: str) -> None:
    """Nothing is recorded and no alias moves, and the message says why."""
    ws = begun_anew(home)
    for before in promoted:
        decide(ws, "promotion", before)
    with pytest.raises(RegistryError, match=reason):
        open_canary(ws, NOON, version, reason="I like it", actor="person:ann")
    assert kinds(ws) == [("promotion", before) for before in promoted]
    assert aliases(ws).challenger is None


def test_a_version_that_was_on_canary_may_try_again(ws: Workspace) -> None:
    """Its gates let it through then; what it broke in may have been mended since."""
    decide(ws, "canary", "3")
    decide(ws, "rollback", "1")
    assert open_canary(ws, NOON, "3", reason="the cache is mended", actor="person:ann").model_version == "3"


def test_a_promoted_canary_is_live_and_the_version_before_is_the_way_back(ws: Workspace) -> None:
    """The last stage was passed: the aliases say so, and the record holds the evidence."""
    open_canary(ws, NOON, "2", reason="mended", actor="person:ann")
    evidence = (Evidence("errors:canary", 0.0, "canary", n=900),)
    decision = promote_canary(ws, NOON, "2", reason="not worse", evidence=evidence)
    assert (decision.kind, decision.previous_version, decision.evidence) == ("promotion", "1", evidence)
    assert aliases(ws) == Aliases(champion="2", previous="1")


def test_a_canary_is_promoted_though_the_registry_is_silent(ws: Workspace) -> None:
    """Nothing is raised, and the aliases are owed."""
    open_canary(ws, NOON, "2", reason="mended", actor="person:ann")
    with silent_registry(ws):
        promote_canary(ws, NOON, "2", reason="not worse", evidence=())
    assert ws.unreconciled.exists()
    assert carry_out(ws)["recommender"] == Aliases(champion="2", previous="1")


def test_a_promotion_killed_behind_its_record_is_owed(ws: Workspace) -> None:
    """Or else the record would say 2 and the registry 1, for good."""
    open_canary(ws, NOON, "2", reason="mended", actor="person:ann")
    ws.decisions = KilledAfterRecord(ws.decisions.path)
    with pytest.raises(Killed):
        promote_canary(ws, NOON, "2", reason="not worse", evidence=())
    assert aliases(ws).champion == "1"
    assert ws.unreconciled.exists()


@pytest.mark.parametrize(
    ("release", "live", "kind", "action"),
    [
        ("direct", None, "promotion", "promote"),
        ("direct", "1", "promotion", "promote"),
        ("canary", "1", "canary", "canary"),
        ("canary", None, "promotion", "promote"),  # there is nothing that it could be compared with
    ],
)
def test_what_a_version_gets_that_passed_its_gates(
    home: Path, release: str, live: str | None, kind: str, action: str
) -> None:
    """All customers at once, or a canary first where the settings say so and there is a champion."""
    ws = begun_anew(home, release=release)
    if live:
        decide(ws, "promotion", live)
    judged(ws, "3", champion=live)
    decision = candidate_decision(ws, MONDAY)
    assert (decision.kind, decision.action, decision.model_version) == (kind, action, "3")
    assert (decision.previous_version, decision.snapshot_id, decision.run_id) == (live, "s", "r")
    assert [evidence.name for evidence in decision.evidence] == ["ndcg"]


def test_a_canary_decided_again_is_the_same_decision(home: Path) -> None:
    """A run that died after the record records nothing new, also when the canary has been promoted meanwhile."""
    ws = begun_anew(home, release="canary")
    decide(ws, "promotion", "1")
    judged(ws, "3", champion="1")
    first = ws.decisions.record(candidate_decision(ws, MONDAY))
    assert candidate_decision(ws, MONDAY) == first
    promote_canary(ws, NOON, "3", reason="not worse", evidence=())
    assert candidate_decision(ws, MONDAY) == first


def test_a_version_that_did_not_pass_gets_no_canary(home: Path) -> None:
    """A canary is no way around the gates."""
    ws = begun_anew(home, release="canary")
    decide(ws, "promotion", "1")
    judged(ws, "3", champion="1", passed=False)
    assert candidate_decision(ws, MONDAY).kind == "refusal"


@pytest.mark.parametrize("canary", [None, "2"])
def test_a_candidate_leaves_the_alias_to_an_open_canary(ws: Workspace, canary: str | None) -> None:
    """A candidate under judgment is the challenger, unless customers are being answered by another one."""
    if canary:
        open_canary(ws, NOON, canary, reason="mended", actor="person:ann")
    ws.once(MONDAY, "snapshot", lambda: {"snapshot": {"id": "s"}})
    fit = fit_and_register(ws, MONDAY, [few_examples()])
    assert fit["version"] not in ("1", "2", "3")
    assert aliases(ws).challenger == (canary or fit["version"])


def few_examples() -> Examples:
    features = np.random.default_rng(0).random((200, len(FEATURES)), dtype=np.float32)
    users = np.repeat(np.arange(10, dtype=np.int32), 20)
    return Examples(datetime(2026, 2, 23), users, features, features[:, 0] > 0.5)

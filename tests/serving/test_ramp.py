"""A canary goes its way from the first customers to a recorded end, whoever is killed meanwhile."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.whole_files import write_json
from serving.canary import CanaryPolicy, CanaryState, Reading, SliceCounts, begin
from serving.controller import Controller
from serving.ramp import SHADOW, Ramp
from serving.release import ServingFolder, Traffic
from tests.serving.answers import NOON, answer, write
from tests.serving.test_controller import leave_week
from tests.training.histories import (
    MONDAY,
    Killed,
    KilledAfterRecord,
    KilledBeforeRecord,
    aliases,
    begun_anew,
    decide,
    kinds,
    small_registry,
)
from training.decision_log import DecisionLog
from training.promotion import Aliases
from training.rollback import roll_back
from training.workspace import Workspace

POLICY = CanaryPolicy(min_requests=20, min_seconds=2, patience_seconds=5)
CANARY = Aliases(champion="1", challenger="2")


class Time:
    """Both clocks, which stand still until they are moved."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return 1_000.0 + self.passed_s

    def now(self) -> datetime:
        return NOON.replace(tzinfo=None) + timedelta(seconds=self.passed_s)


class Service:
    """A workspace under traffic: each second both slices answer ten customers, and the ramp is asked."""

    def __init__(self, ws: Workspace, time: Time) -> None:
        self.ws, self.time = ws, time
        self.folder = ServingFolder(ws.home)
        self.ramp = self.started()
        self.answered = 0

    def started(self, policy: CanaryPolicy = POLICY) -> Ramp:
        """A ramp as a controller that starts has it."""
        return Ramp(self.ws, policy, monotonic=self.time.monotonic, now=self.time.now)

    def second(self, *, failing: bool = False, quiet: bool = False, wanted: Aliases = CANARY) -> Traffic:
        self.time.passed_s += 1
        if not quiet:
            at = self.time.now().replace(tzinfo=NOON.tzinfo)
            stand_in: dict[str, Any] = {"slot": "champion", "version": "1"} if failing else {}
            write(
                self.folder.predictions,
                [answer("canary", at=at, **stand_in) for _ in range(10)]
                + [answer("control", at=at) for _ in range(10)],
            )
            self.answered += 10
        return self.ramp(wanted)

    def until_ended(self, *, failing: bool = False) -> list[float]:
        """The shares of each second, up to the decision that ends the canary."""
        shares = []
        while kinds(self.ws)[-1][0] == "canary":
            shares.append(self.second(failing=failing).share)
            assert len(shares) < 30, "the canary does not end"
        return shares

    def state(self) -> CanaryState:
        return CanaryState.from_dict(json.loads(self.folder.canary.read_text()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_registry(tmp_path_factory)


@pytest.fixture
def service(home: Path) -> Service:
    """Version 1 is live, and version 2 on canary since Monday."""
    ws = begun_anew(home)
    decide(ws, "promotion", "1")
    decide(ws, "canary", "2")
    return Service(ws, Time())


def test_a_good_canary_takes_its_stages_and_is_promoted(service: Service) -> None:
    """1, 10, 50 and 100 %, each after two seconds and twenty answers; the end is a record, and the aliases follow."""
    assert service.ramp(CANARY) == Traffic("canary", 0.01)
    shares = service.until_ended()
    assert shares == [0.01, 0.1, 0.1, 0.5, 0.5, 1.0]

    decision = service.ws.decisions.read()[-1]
    assert (decision.kind, decision.actor) == ("promotion", "policy")
    assert (decision.model_version, decision.previous_version) == ("2", "1")
    assert decision.reason.startswith("canary: 50% passed: ")
    evidence = {item.name: item for item in decision.evidence}
    assert (evidence["errors:canary"].value, evidence["errors:canary"].n) == (0.0, 60)
    assert aliases(service.ws) == Aliases(champion="2", previous="1")


def test_a_bad_canary_is_rolled_back(service: Service) -> None:
    """The champion stays, nobody is on the canary any more, and the record holds the evidence."""
    service.ramp(CANARY)
    shares = service.until_ended(failing=True)
    assert shares[-1] == 0.0
    assert set(shares[:-1]) == {0.01}

    decision = service.ws.decisions.read()[-1]
    assert (decision.kind, decision.actor) == ("rollback", "policy")
    assert (decision.model_version, decision.previous_version) == ("1", "2")
    assert decision.reason.startswith("canary aborted at 1%: errors 100.00% of ")
    assert {item.name: item.value for item in decision.evidence}["errors:canary"] == 1.0
    assert aliases(service.ws) == Aliases(champion="1")


def test_a_canary_that_breaks_later_is_rolled_back_there(service: Service) -> None:
    """What it did well in the first stage does not protect it."""
    service.ramp(CANARY)
    while service.second().share < 0.1:
        pass
    service.until_ended(failing=True)
    assert kinds(service.ws)[-1] == ("rollback", "1")
    assert "aborted at 10%" in service.ws.decisions.read()[-1].reason


def test_customers_who_buy_less_end_a_canary(service: Service) -> None:
    """What is shown and not bought is evidence, and a malformed line of the tracker does not stop it."""
    service.ramp(CANARY)
    service.time.passed_s += 1
    at = service.time.now().replace(tzinfo=NOON.tzinfo)
    shown = {
        slice_: write(service.folder.predictions, [answer(slice_, at=at, user_id=f"{slice_} {n}") for n in range(100)])
        for slice_ in ("canary", "control")
    }
    service.ramp(CANARY)
    with service.folder.outcomes.open("w", encoding="utf-8") as file:
        for number in range(100):
            for slice_ in ("canary", "control"):
                bought = ["a"] if slice_ == "control" else []
                file.write(json.dumps({"request_id": shown[slice_][number], "bought": bought}) + "\n")
            file.write("not json\n")
            if number % 10 == 9:
                file.flush()
                service.second(quiet=True)
                service.time.passed_s -= 0.9
            if kinds(service.ws)[-1][0] != "canary":
                break
    assert kinds(service.ws)[-1] == ("rollback", "1")
    assert "misses 100.00% of" in service.ws.decisions.read()[-1].reason


def test_a_restart_in_the_middle_goes_on_and_counts_nothing_twice(service: Service) -> None:
    """Same stage, same counts; a controller that starts again each second sees what a steady one sees."""
    service.ramp(CANARY)
    while service.second().share < 0.1:
        pass
    before = service.state()
    service.ramp = service.started()
    assert service.ramp(CANARY) == Traffic("canary", 0.1)
    after = service.state()
    assert (after.share, after.counts, after.tests) == (before.share, before.counts, before.tests)
    assert (after.began_at, after.stage_began_s) == (before.began_at, before.stage_began_s)

    shares = []
    while kinds(service.ws)[-1][0] == "canary":
        service.ramp = service.started()
        shares.append(service.second().share)
    assert shares == [0.1, 0.5, 0.5, 1.0]
    seen = service.state().tests["errors"].seen
    assert (seen.canary.trials, seen.control.trials) == (service.answered, service.answered)


def test_a_share_is_on_the_disk_before_customers_see_it(service: Service) -> None:
    """Killed in between, the next controller does not take the step twice."""
    for _ in range(4):
        assert service.second().share == service.state().share


def test_a_log_that_cannot_be_read_ends_the_canary_when_patience_ends(service: Service) -> None:
    """What cannot be seen is not left in front of customers: five seconds it goes on, the sixth ends it."""
    service.ramp(CANARY)
    damaged = service.folder.predictions / "hour=2026-03-02T12" / "1-1.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no parquet")
    assert [service.second(quiet=True).share for _ in range(6)] == [0.01] * 5 + [0.0]
    assert kinds(service.ws)[-1] == ("rollback", "1")
    assert "no evidence: the metrics are missing" in service.ws.decisions.read()[-1].reason
    assert aliases(service.ws) == Aliases(champion="1")


def test_a_log_that_is_mended_in_time_costs_nothing(service: Service) -> None:
    """The canary goes on, and what was answered before and after counts."""
    service.second()
    damaged = service.folder.predictions / "hour=2026-03-02T13" / "1-1.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"no parquet")
    service.second(quiet=True)
    damaged.unlink()
    service.second()
    counts = service.state().counts
    assert counts is not None
    assert counts.canary.requests == service.answered


def test_outcomes_that_cannot_be_read_end_the_canary(service: Service) -> None:
    """Though it answers without an error: what its customers do would not be seen."""
    service.ramp(CANARY)
    service.folder.outcomes.mkdir(parents=True)
    service.until_ended()
    assert kinds(service.ws)[-1] == ("rollback", "1")


def test_a_challenger_that_no_decision_put_on_canary_gets_copies(service: Service) -> None:
    """A week's candidate under judgment is asked in the shadow; no customer sees it, and nothing is recorded."""
    roll_back(service.ws, service.time.now(), to=None, reason="complaints", actor="person:ann")
    assert service.second() == SHADOW == Traffic("shadow")
    assert service.second(wanted=Aliases(champion="1", challenger="3")) == SHADOW
    assert not service.folder.canary.exists()


@pytest.mark.parametrize("wanted", [Aliases(champion="1"), Aliases(challenger="2"), Aliases()])
def test_without_two_versions_there_is_nothing_to_compare(service: Service, wanted: Aliases) -> None:
    """No traffic for nobody, and none that has no control."""
    assert service.second(wanted=wanted) == Traffic()


@pytest.mark.parametrize("decided_at", [MONDAY, NOON.replace(tzinfo=None) + timedelta(hours=1)])
def test_a_new_canary_begins_at_the_first_stage(service: Service, decided_at: datetime) -> None:
    """What another version earned is not its own, be it dated by its week or by the clock."""
    service.ramp(CANARY)
    while service.second().share < 0.5:
        pass
    decide(service.ws, "canary", "3", at=decided_at)
    wanted = Aliases(champion="1", challenger="3")
    assert service.ramp(wanted) == Traffic("canary", 0.01)
    state = service.state()
    assert (state.version, state.tests["errors"].seen.canary.trials) == ("3", 0)
    # The control of this very second; the answers of version 2 are no errors of version 3.
    assert state.counts == Reading(SliceCounts(), SliceCounts(requests=10))


def test_the_same_version_on_canary_again_begins_at_the_first_stage(service: Service) -> None:
    """It was aborted and mended since: neither its share nor its end is inherited, and its old answers do not count."""
    service.ramp(CANARY)
    service.until_ended(failing=True)
    service.time.passed_s += 60
    decide(service.ws, "canary", "2", at=service.time.now())
    service.ramp = service.started()
    assert service.ramp(CANARY) == Traffic("canary", 0.01)
    assert service.until_ended()[-1] == 1.0
    assert kinds(service.ws)[-1] == ("promotion", "2")


def test_a_state_that_cannot_be_read_begins_the_canary_again(service: Service) -> None:
    """Another version of the code, or somebody's hand, wrote it: the first stage does the least harm."""
    service.ramp(CANARY)
    while service.second().share < 0.5:
        pass
    for content in ("", "{", "[]", "{}", '{"version": "2"}'):
        service.folder.canary.write_text(content)
        assert service.ramp(CANARY) == Traffic("canary", 0.01)


@pytest.mark.parametrize("failing", [False, True])
def test_a_controller_killed_before_it_records_the_end_records_it_once(service: Service, failing: bool) -> None:
    """The state says that the canary has ended and no decision does: the next controller makes up for it."""
    service.ramp(CANARY)
    path = service.ws.decisions.path
    service.ws.decisions = KilledBeforeRecord(path)
    with pytest.raises(Killed):
        service.until_ended(failing=failing)
    ended = service.state().ended
    assert ended is not None
    assert kinds(service.ws)[-1] == ("canary", "2")

    service.ws.decisions = DecisionLog(path)
    service.time.passed_s += 3_600
    service.ramp = service.started()
    for _ in range(3):
        service.second()
    assert kinds(service.ws)[2:] == [("rollback", "1") if failing else ("promotion", "2")]
    assert service.ws.decisions.read()[-1].reason.endswith(ended.reason)


@pytest.mark.parametrize(
    ("failing", "live"), [(False, Aliases(champion="2", previous="1")), (True, Aliases(champion="1"))]
)
def test_a_controller_killed_behind_the_record_moves_the_aliases_when_it_is_back(
    service: Service, failing: bool, live: Aliases
) -> None:
    """The next one releases what was decided, moves the aliases, and records nothing more."""
    leave_week(service.ws, MONDAY)
    service.ramp(CANARY)
    path = service.ws.decisions.path
    service.ws.decisions = KilledAfterRecord(path)
    with pytest.raises(Killed):
        service.until_ended(failing=failing)
    assert aliases(service.ws) == CANARY

    service.ws.decisions = DecisionLog(path)
    controller = Controller(service.ws, service.started())
    release = controller.look()
    assert release is not None
    assert release.champion is not None
    assert (release.champion.name, release.challenger) == (live.champion, None)
    assert aliases(service.ws) == live
    assert len(kinds(service.ws)) == 3


def test_a_canary_whose_controller_is_another_machine_starts_its_stage_anew(service: Service) -> None:
    """Its monotonic clock means nothing there: the time of the stage is not taken as watched."""
    state = begin("2", "1", POLICY, now_s=9_999_999.0, at=service.time.now().isoformat())
    service.folder.root.mkdir(parents=True)
    write_json(service.folder.canary, state.to_dict())
    assert [service.second().share for _ in range(4)] == [0.01, 0.01, 0.1, 0.1]


def test_the_whole_story_by_the_controller(service: Service) -> None:
    """From the shares in the release to the promoted version in the champion's slot."""
    leave_week(service.ws, MONDAY)
    controller = Controller(service.ws, service.ramp, service.time.monotonic)
    slots = []
    for _ in range(9):
        service.time.passed_s += 1
        at = service.time.now().replace(tzinfo=NOON.tzinfo)
        write(service.folder.predictions, [answer(s, at=at) for s in ("canary", "control") for _ in range(20)])
        release = controller.look()
        assert release is not None
        assert release.champion is not None
        slots.append((release.champion.name, release.challenger and release.challenger.name, release.traffic.share))
    assert [slot for slot, following in zip(slots, [*slots[1:], None], strict=True) if slot != following] == [
        ("1", "2", 0.01),
        ("1", "2", 0.1),
        ("1", "2", 0.5),
        ("1", "2", 1.0),
        ("2", None, 0.0),
    ]

"""What is live is a fold over the recorded decisions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.promotion import Aliases, aliases_after
from training.vocabulary import Decision, DecisionKind


def decided(kind: DecisionKind, version: str | None = None) -> Decision:
    return Decision(
        at="2011-01-24T00:00:00",
        actor="policy",
        kind=kind,
        subject=f"recommender version {version}",
        action="a",
        reason="r",
        model_version=version,
    )


def promoted(*versions: str) -> list[Decision]:
    return [decided("promotion", version) for version in versions]


def test_nothing_decided_nothing_live() -> None:
    """An empty record names no champion."""
    assert aliases_after([]) == Aliases()


def test_the_last_promoted_is_champion_and_the_one_before_previous() -> None:
    """A promotion puts a version on top of the others."""
    assert aliases_after(promoted("1", "2", "3")) == Aliases(champion="3", previous="2")


def test_refusals_and_holds_change_nothing() -> None:
    """Only promotions and rollbacks move aliases."""
    log = [*promoted("1", "2"), decided("refusal", "3"), decided("training_held"), decided("watch")]
    assert aliases_after(log) == Aliases(champion="2", previous="1")


def test_a_rolled_back_version_is_never_previous() -> None:
    """After going back from 3 to 2, a second rollback goes to 1 and not to the bad release again."""
    assert aliases_after([*promoted("1", "2", "3"), decided("rollback", "2")]) == Aliases(champion="2", previous="1")


def test_a_promotion_after_a_rollback_returns_to_the_good_one() -> None:
    """The version that was rolled back to is the way back of the next promotion."""
    log = [*promoted("1", "2", "3"), decided("rollback", "2"), *promoted("4")]
    assert aliases_after(log) == Aliases(champion="4", previous="2")


def test_rollback_to_a_version_that_was_taken_off_starts_anew() -> None:
    """A person may name any version; what lay above and below it is no longer the way back."""
    log = [*promoted("1", "2", "3"), decided("rollback", "1"), decided("rollback", "3")]
    assert aliases_after(log) == Aliases(champion="3")


def test_an_open_canary_is_the_challenger() -> None:
    """While it is compared, the champion stays, and so does the way back."""
    log = [*promoted("1", "2"), decided("canary", "3")]
    assert aliases_after(log) == Aliases(champion="2", challenger="3", previous="1")


def test_a_promoted_canary_is_the_champion() -> None:
    """The one that it was compared with is the way back, and the challenger's name is free again."""
    log = [*promoted("1"), decided("canary", "2"), decided("promotion", "2")]
    assert aliases_after(log) == Aliases(champion="2", previous="1")


def test_a_canary_rolled_back_leaves_everything_as_it_was() -> None:
    """Neither the champion nor the way back has changed."""
    log = [*promoted("1", "2"), decided("canary", "3"), decided("rollback", "2")]
    assert aliases_after(log) == aliases_after(promoted("1", "2"))


def test_another_promotion_ends_a_canary() -> None:
    """It was compared with a version that is not live any more."""
    log = [*promoted("1"), decided("canary", "2"), *promoted("3")]
    assert aliases_after(log) == Aliases(champion="3", previous="1")


def test_another_canary_takes_the_place_of_an_open_one() -> None:
    """There is one challenger at a time, the last one."""
    log = [*promoted("1"), decided("canary", "2"), decided("canary", "3")]
    assert aliases_after(log) == Aliases(champion="1", challenger="3")


@pytest.mark.parametrize("kind", ["refusal", "hold", "watch", "training_held", "human_approval", "retrain_request"])
def test_what_is_decided_about_others_leaves_a_canary_open(kind: DecisionKind) -> None:
    """A week's refused candidate, or a watch, is no reason to end it."""
    log = [*promoted("1"), decided("canary", "2"), decided(kind, "3")]
    assert aliases_after(log) == Aliases(champion="1", challenger="2")


def test_a_canary_of_a_former_version_that_failed_is_no_way_back() -> None:
    """Version 1 was live once, failed as a canary against 2, and must not be what a rollback of 2 returns to."""
    log = [*promoted("0", "1", "2"), decided("canary", "1"), decided("rollback", "2")]
    assert aliases_after(log) == Aliases(champion="2", previous="0")


EVENTS = st.lists(
    st.tuples(st.sampled_from(["promotion", "rollback", "canary", "refusal"]), st.sampled_from("12345")), max_size=20
)


@given(EVENTS)
def test_champion_and_the_others_differ(events: list[tuple[DecisionKind, str]]) -> None:
    """Whatever was decided, the way back never leads to where one is, and nothing is compared with itself."""
    live = aliases_after([decided(kind, version) for kind, version in events])
    assert live.champion is None or live.champion not in (live.previous, live.challenger)


@given(EVENTS)
def test_previous_was_never_rolled_back_since(events: list[tuple[DecisionKind, str]]) -> None:
    """A version that a rollback took off, live or on canary, is a way back only after it was put live again."""
    log: list[Decision] = []
    rolled_back: set[str | None] = set()
    for kind, version in events:
        before = aliases_after(log)
        if kind == "rollback":
            rolled_back |= {before.champion, before.challenger}
        if kind in ("rollback", "promotion"):
            rolled_back -= {version}
        log.append(decided(kind, version))
        assert aliases_after(log).previous not in rolled_back - {None}


def test_each_model_has_its_own_history() -> None:
    """What is decided about one model moves nothing of another's."""
    fraud = Decision(
        at="2011-01-24T00:00:00", actor="policy", kind="promotion", subject="fraud version 7", action="promote",
        reason="r", model_version="7",
    )  # fmt: skip
    log = [*promoted("1", "2"), fraud]
    assert aliases_after(log) == Aliases(champion="2", previous="1")
    assert aliases_after(log, "fraud") == Aliases(champion="7")


def test_a_version_in_the_shadow_is_the_challenger_until_it_is_decided_about() -> None:
    """Its own refusal ends it; another candidate's does not, nor that of a canary."""
    log = [*promoted("1"), decided("shadow", "2")]
    assert aliases_after(log) == Aliases(champion="1", challenger="2")
    assert aliases_after([*log, decided("refusal", "3")]).challenger == "2"
    assert aliases_after([*log, decided("refusal", "2")]) == Aliases(champion="1")
    assert aliases_after([*log, decided("promotion", "2")]) == Aliases(champion="2", previous="1")

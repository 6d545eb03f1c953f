"""What is live is a fold over the recorded decisions."""

from hypothesis import given
from hypothesis import strategies as st

from training.promotion import Aliases, aliases_after
from training.vocabulary import Decision, DecisionKind


def decided(kind: DecisionKind, version: str | None = None) -> Decision:
    return Decision(
        at="2011-01-24T00:00:00", actor="policy", kind=kind, subject="m", action="a", reason="r", model_version=version
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


@given(st.lists(st.tuples(st.sampled_from(["promotion", "rollback", "refusal"]), st.sampled_from("12345"))))
def test_champion_and_previous_differ(events: list[tuple[DecisionKind, str]]) -> None:
    """Whatever was decided, the way back never leads to where one is."""
    live = aliases_after([decided(kind, version) for kind, version in events])
    assert live.champion is None or live.champion != live.previous

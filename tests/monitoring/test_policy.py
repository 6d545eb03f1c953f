"""The monitoring policy as a table: what is seen in a week, and what is done about it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.history import trailing
from monitoring.policy import ANSWERS, DEFAULT_ANSWER, RULES, WatchPolicy, choose_action
from training.vocabulary import Evidence

Seen = dict[str, Any]
POLICY = WatchPolicy()
USUAL = {
    item.name: item
    for item in (
        Evidence("online_filled", True, "test"),
        Evidence("feature_mismatch", 0.0, "test", n=100),
        Evidence("feature_age_days", 7.0, "test", n=100),
        Evidence("feature_due_days", 7.0, "test"),
        Evidence("contract_state", "accepted", "test"),
        Evidence("feed_restored", False, "test"),
        Evidence("data_verified", True, "test"),
        Evidence("has_previous", True, "test"),
        Evidence("ndcg_diff_vs_previous", 0.002, "test", n=300, low=-0.006, high=0.010),
        Evidence("realised_ndcg", 0.33, "test", n=300),
        Evidence("realised_ndcg_usual", 0.33, "test", n=8),
        Evidence("realised_ndcg_spread", 0.01, "test", n=8),
        Evidence("drifted_share", 0.1, "test"),
        Evidence("prediction_drifted", False, "test"),
        Evidence("weeks_since_promotion", 1, "test"),
    )
}

SKEWED = {"feature_mismatch": 0.02}
STALE = {"feature_age_days": 14.0}
NEVER_FILLED = {"online_filled": False}
HELD = {"contract_state": "held"}
RESTORED = {"feed_restored": True}
DRIFT = {"drifted_share": 0.33}
DIPPED = {"realised_ndcg": 0.30}  # 9 % and three deviations below the usual
LOST = {"realised_ndcg": 0.27}  # 18 % and six
OLD = {"weeks_since_promotion": 9}
BAD_RELEASE = {"ndcg_diff_vs_previous": (-0.020, -0.0369, -0.0031)}
DOUBTFUL = {"data_verified": False}

#   seen this week                           action          cause
POLICY_TABLE = [
    ({}, "hold", "nothing to do"),
    (SKEWED, "ask_a_person", "skewed features"),
    ({"feature_mismatch": 0.01}, "hold", "nothing to do"),
    ({**SKEWED, **HELD}, "ask_a_person", "skewed features"),
    ({**SKEWED, **RESTORED}, "ask_a_person", "skewed features"),
    ({**SKEWED, **BAD_RELEASE, **LOST, **DRIFT, **OLD}, "ask_a_person", "skewed features"),
    ({**SKEWED, **STALE}, "ask_a_person", "skewed features"),
    (STALE, "ask_a_person", "stale features"),
    ({"feature_age_days": 8.0}, "hold", "nothing to do"),
    ({"feature_age_days": 8.1}, "ask_a_person", "stale features"),
    ({**STALE, "feature_due_days": 14.0}, "hold", "nothing to do"),  # a week was held back: no newer rows could be had
    ({**STALE, **RESTORED, **BAD_RELEASE, **OLD}, "ask_a_person", "stale features"),
    ({**STALE, **DRIFT, **DIPPED}, "ask_a_person", "stale features"),
    ({**SKEWED, **STALE, **NEVER_FILLED}, "hold", "nothing to do"),
    (HELD, "hold", "broken feed"),
    ({**HELD, **BAD_RELEASE, **LOST, **DRIFT, **OLD}, "hold", "broken feed"),
    (RESTORED, "retrain", "feed restored"),
    (BAD_RELEASE, "roll_back", "bad release"),
    ({**BAD_RELEASE, **LOST}, "roll_back", "bad release"),
    ({"ndcg_diff_vs_previous": (-0.020, -0.0370, -0.0030)}, "hold", "nothing to do"),
    ({"ndcg_diff_vs_previous": (-0.0199, -0.0300, -0.0098)}, "hold", "nothing to do"),
    ({**BAD_RELEASE, "has_previous": False}, "hold", "nothing to do"),
    (LOST, "ask_a_person", "quality lost, no better version"),
    ({**LOST, **DRIFT}, "ask_a_person", "quality lost, no better version"),
    ({"realised_ndcg": 0.2804}, "ask_a_person", "quality lost, no better version"),  # 15.03 %
    ({"realised_ndcg": 0.2806}, "hold", "quality dipped, no drift"),
    ({**LOST, "realised_ndcg_spread": 0.02}, "hold", "quality dipped, no drift"),  # exactly three deviations
    (DRIFT, "hold", "harmless drift"),
    ({"prediction_drifted": True}, "hold", "harmless drift"),
    ({"drifted_share": 0.32}, "hold", "nothing to do"),
    ({**DRIFT, **OLD}, "hold", "harmless drift"),
    ({**DRIFT, **DIPPED}, "retrain", "harmful drift"),
    ({**DRIFT, **DIPPED, **DOUBTFUL}, "ask_a_person", "drift on doubtful data"),
    (DIPPED, "hold", "quality dipped, no drift"),
    ({"realised_ndcg": 0.305}, "hold", "nothing to do"),  # 7.6 %
    (OLD, "retrain", "old champion"),
    ({"weeks_since_promotion": 8}, "hold", "nothing to do"),
    ({**OLD, **DOUBTFUL}, "hold", "nothing to do"),
]


def week(seen: Seen) -> dict[str, Evidence]:
    evidence = dict(USUAL)
    for name, value in seen.items():
        if isinstance(value, tuple):
            mean, low, high = value
            evidence[name] = replace(evidence[name], value=mean, low=low, high=high)
        else:
            evidence[name] = replace(evidence[name], value=value)
    return evidence


@pytest.mark.parametrize(("seen", "action", "cause"), POLICY_TABLE)
def test_what_is_seen_decides_what_is_done(seen: Seen, action: str, cause: str) -> None:
    """The first rule that applies gives the action and names the cause."""
    chosen = choose_action(week(seen), POLICY)
    assert (chosen.name, chosen.cause) == (action, cause)


def test_every_rule_has_a_row() -> None:
    """No line of the policy is untested."""
    assert {cause for _, _, cause in POLICY_TABLE} == {rule.cause for rule in RULES}


#   not seen                   otherwise               action          cause
BLIND_TABLE = [
    ("online_filled", BAD_RELEASE, "ask_a_person", "bad release, with a blind spot"),
    ("feature_mismatch", {}, "hold", "not enough evidence"),
    ("feature_mismatch", BAD_RELEASE, "ask_a_person", "bad release, with a blind spot"),
    ("feature_mismatch", RESTORED, "ask_a_person", "feed restored, with a blind spot"),
    ("feature_mismatch", STALE, "ask_a_person", "stale features"),
    ("feature_age_days", OLD, "ask_a_person", "old champion, with a blind spot"),
    ("feature_due_days", {**DRIFT, **DIPPED}, "ask_a_person", "harmful drift, with a blind spot"),
    ("contract_state", {}, "hold", "not enough evidence"),
    ("contract_state", BAD_RELEASE, "ask_a_person", "bad release, with a blind spot"),
    ("feed_restored", OLD, "ask_a_person", "old champion, with a blind spot"),
    ("ndcg_diff_vs_previous", {}, "hold", "not enough evidence"),
    ("ndcg_diff_vs_previous", LOST, "ask_a_person", "quality lost, no better version"),
    ("ndcg_diff_vs_previous", {**DRIFT, **DIPPED}, "ask_a_person", "harmful drift, with a blind spot"),
    ("realised_ndcg", DRIFT, "hold", "not enough evidence"),
    ("realised_ndcg", OLD, "ask_a_person", "old champion, with a blind spot"),
    ("data_verified", {**DRIFT, **DIPPED}, "ask_a_person", "drift on doubtful data"),
]


@pytest.mark.parametrize(("missing", "seen", "action", "cause"), BLIND_TABLE)
def test_a_blind_spot_is_named_and_nothing_automatic_follows(missing: str, seen: Seen, action: str, cause: str) -> None:
    """Without the evidence a person is asked or the champion is held, and the reason says what was not seen."""
    chosen = choose_action({name: item for name, item in week(seen).items() if name != missing}, POLICY)
    assert (chosen.name, chosen.cause) == (action, cause)
    assert f"{missing} is missing" in chosen.reason


def test_too_few_users_cannot_roll_back() -> None:
    """A measurable difference between few users is still a blind spot."""
    evidence = week(BAD_RELEASE)
    evidence["ndcg_diff_vs_previous"] = replace(evidence["ndcg_diff_vs_previous"], n=99)
    chosen = choose_action(evidence, POLICY)
    assert chosen.name == "hold"
    assert "99 users, 100 needed" in chosen.reason


def test_a_question_comes_with_answers_to_choose_from() -> None:
    """Whoever is asked at night sees the options and the figures."""
    chosen = choose_action(week(LOST), POLICY)
    assert chosen.options == tuple(ANSWERS)
    assert ANSWERS[DEFAULT_ANSWER] == "hold"
    assert {item.name for item in chosen.evidence} >= {"realised_ndcg", "realised_ndcg_usual", "ndcg_diff_vs_previous"}


AUTOMATIC = {"roll_back", "retrain"}


@given(
    seen=st.lists(st.sampled_from([row[0] for row in POLICY_TABLE]), max_size=4),
    hidden=st.sets(st.sampled_from(sorted(USUAL)), min_size=1),
)
def test_hiding_evidence_never_causes_an_automatic_action(seen: list[Seen], hidden: set[str]) -> None:
    """What is done without a person is done only if all evidence together says the same."""
    evidence = week({name: value for row in seen for name, value in row.items()})
    blind = choose_action({name: item for name, item in evidence.items() if name not in hidden}, POLICY)
    if blind.name in AUTOMATIC:
        assert blind.name == choose_action(evidence, POLICY).name


def test_the_usual_level_ignores_one_extraordinary_week() -> None:
    """Median and deviation of the last weeks; Christmas neither moves them nor hides the next fall."""
    usual = trailing([0.10, 0.33, 0.34, 0.32, 0.60, 0.33], weeks=5, source="test")
    assert usual["realised_ndcg_usual"].value == 0.33
    assert usual["realised_ndcg_spread"].value == pytest.approx(0.014826)
    assert usual["realised_ndcg_usual"].n == 5


def test_no_history_is_no_evidence() -> None:
    """In the first weeks the usual level is not known, and says so."""
    assert trailing([], weeks=5, source="test")["realised_ndcg_usual"].value is None

"""Choose what to do about the live recommender this week: the first rule of a short table that applies.

Retraining is not the default. A rule that cannot be read for want of evidence cannot be ruled out either, so nothing
automatic (roll back, retrain) may follow it: a person is asked, and the blind spot is named.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from training.evidence_reader import BlindSpot, EvidenceReader
from training.vocabulary import Action, ActionName, Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPolicy:
    """The thresholds of the weekly watch."""

    # The store is a copy, so an honest mismatch is none; one row in a hundred may be read while it is being rewritten.
    max_feature_mismatch: float = 0.01
    # Rows are stamped with Mondays, so one refresh that did not happen is seven days. A day is for a store with a clock of its own.
    max_feature_delay_days: float = 1.0

    # As for promotion: below 100 paired users a comparison of two versions says nothing.
    min_users: int = 100
    # A release is bad when even the kindest reading loses 0.003 (1 %): the loss that the promotion gate still allows.
    bad_release_margin: float = 0.003
    # And it must be material: the interval knows the chance of customers, not that of training, and two honest versions
    # of consecutive weeks were seen to differ by 0.01 to 0.015 (measured on simulated weeks after a disturbance).
    bad_release_loss: float = 0.02

    # Four weeks are the fewest whose median and spread mean anything.
    min_history_weeks: int = 4
    # One week of 300 customers wobbles by 5 % (standard error 0.017 of 0.33), so one deviation is no news, three are.
    severe_deviations: float = 3.0
    # Four weeks without any fresh data cost 11 %, eight 20 %. Nothing that ages slowly takes 15 % in a week.
    severe_loss: float = 0.15
    moderate_deviations: float = 1.5
    moderate_loss: float = 0.08

    # One column in three: a single one moves with every season or price list.
    drifted_share: float = 0.33
    # With fresh features an old ranker loses 1 to 3 %; after eight refused weeks somebody should know why.
    max_champion_age_weeks: float = 8.0


def choose_action(evidence: Mapping[str, Evidence], policy: WatchPolicy) -> Action:
    """The action of the first rule that applies, with everything that was looked at on the way."""
    read = EvidenceReader(evidence)
    blind: list[str] = []
    for rule in RULES:
        try:
            applies = rule.applies(read, policy)
        except BlindSpot as gap:
            blind.append(str(gap))
            continue
        if applies:
            return _act(rule, read, list(dict.fromkeys(blind)))
    raise AssertionError("The last rule of the table always applies.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the table: when it applies, what is done and why."""

    applies: Callable[[EvidenceReader, WatchPolicy], bool]
    action: ActionName
    cause: str
    reason: str


def features_skewed(read: EvidenceReader, policy: WatchPolicy) -> bool:
    if not read.flag("online_filled"):  # nothing was ever served from it
        return False
    return read.number("feature_mismatch") > policy.max_feature_mismatch


def features_stale(read: EvidenceReader, policy: WatchPolicy) -> bool:
    if not read.flag("online_filled"):
        return False
    # A week that the contract held back makes features older, and is no fault of the store.
    late_days = read.number("feature_age_days") - read.number("feature_due_days")
    return late_days > policy.max_feature_delay_days


def feed_broken(read: EvidenceReader, _policy: WatchPolicy) -> bool:
    return read.text("contract_state") != "accepted"


def feed_restored(read: EvidenceReader, _policy: WatchPolicy) -> bool:
    return read.flag("feed_restored")


def release_bad(read: EvidenceReader, policy: WatchPolicy) -> bool:
    if not read.flag("has_previous"):
        return False
    users = read.sample("ndcg_diff_vs_previous")
    if users < policy.min_users:
        raise BlindSpot(f"ndcg_diff_vs_previous has {users} users, {policy.min_users} needed")
    _, mean, kindest = read.interval("ndcg_diff_vs_previous")
    return kindest < -policy.bad_release_margin and mean <= -policy.bad_release_loss


def quality_lost(read: EvidenceReader, policy: WatchPolicy) -> bool:
    loss, deviations = _loss(read, policy)
    return loss >= policy.severe_loss and deviations > policy.severe_deviations


def quality_dipped(read: EvidenceReader, policy: WatchPolicy) -> bool:
    loss, deviations = _loss(read, policy)
    return loss >= policy.moderate_loss and deviations > policy.moderate_deviations


def drifted(read: EvidenceReader, policy: WatchPolicy) -> bool:
    columns = read.number("drifted_share") >= policy.drifted_share
    return read.flag("prediction_drifted") or columns


def drifted_and_dipped(read: EvidenceReader, policy: WatchPolicy) -> bool:
    return drifted(read, policy) and quality_dipped(read, policy)


def drifted_and_dipped_on_verified_data(read: EvidenceReader, policy: WatchPolicy) -> bool:
    return drifted_and_dipped(read, policy) and read.flag("data_verified")


def drifted_without_loss(read: EvidenceReader, policy: WatchPolicy) -> bool:
    return drifted(read, policy) and not quality_dipped(read, policy)


def champion_old_on_verified_data(read: EvidenceReader, policy: WatchPolicy) -> bool:
    return read.number("weeks_since_promotion") > policy.max_champion_age_weeks and read.flag("data_verified")


def otherwise(_read: EvidenceReader, _policy: WatchPolicy) -> bool:
    return True


def _loss(read: EvidenceReader, policy: WatchPolicy) -> tuple[float, float]:
    """How far realised quality fell below its usual level: as a share of it, and in its usual deviations."""
    weeks = read.sample("realised_ndcg_usual")
    if weeks < policy.min_history_weeks:
        raise BlindSpot(f"realised_ndcg_usual has {weeks} weeks, {policy.min_history_weeks} needed")
    usual, spread = read.number("realised_ndcg_usual"), read.number("realised_ndcg_spread")
    if usual <= 0:
        raise BlindSpot(f"realised_ndcg_usual is {usual:g}: a share of nothing cannot be lost")
    fall = usual - read.number("realised_ndcg")
    if spread == 0:  # identical weeks: any fall is beyond their spread
        return fall / usual, math.inf if fall > 0 else 0.0
    return fall / usual, fall / spread


# What a person may answer, and what is then done. No answer opens or closes the gates: the week's candidate is judged all the same.
ANSWERS: dict[str, ActionName] = {
    "leave it to the gates": "hold",
    "retrain on verified data": "retrain",
    "go back to the previous version": "roll_back",
}
# Nobody answered in time: the answer that changes nothing.
DEFAULT_ANSWER = "leave it to the gates"

# These change what is live, or what may become live, without a person.
AUTOMATIC: frozenset[ActionName] = frozenset({"roll_back", "retrain"})

# What serving reads comes first: a model must neither learn from, nor be blamed for, what was made of features served wrong.
# Not even a broken feed goes before it: that holds training by itself, and nobody else would hear of the store.
RULES: tuple[Rule, ...] = (
    Rule(
        applies=features_skewed,
        action="ask_a_person",
        cause="skewed features",
        reason="serving reads other features than the lake gives for the same moment; every version would be served wrong",
    ),
    Rule(
        applies=features_stale,
        action="ask_a_person",
        cause="stale features",
        reason="the online store was not refreshed when it was due; every version would be served old, and after three weeks nothing",
    ),
    Rule(
        applies=feed_broken,
        action="hold",
        cause="broken feed",
        reason="the data contract is not met; the champion stays, training waits for a good delivery",
    ),
    Rule(
        applies=feed_restored,
        action="retrain",
        cause="feed restored",
        reason="training was held and the week's data has since arrived whole",
    ),
    Rule(
        applies=release_bad,
        action="roll_back",
        cause="bad release",
        reason="on the same fresh week the champion is measurably worse than the version before it",
    ),
    Rule(
        applies=quality_lost,
        action="ask_a_person",
        cause="quality lost, no better version",
        reason="realised quality fell far below its usual level, and no version at hand is known to be better",
    ),
    Rule(
        applies=drifted_and_dipped_on_verified_data,
        action="retrain",
        cause="harmful drift",
        reason="the inputs moved, quality dipped with them, and the data is verified",
    ),
    Rule(
        applies=drifted_and_dipped,
        action="ask_a_person",
        cause="drift on doubtful data",
        reason="the inputs moved and quality dipped, but the data is not verified; a model must not learn from it",
    ),
    Rule(
        applies=drifted_without_loss,
        action="hold",
        cause="harmless drift",
        reason="the inputs moved and quality holds",
    ),
    Rule(
        applies=champion_old_on_verified_data,
        action="retrain",
        cause="old champion",
        reason="no candidate was promoted for longer than a ranker keeps its quality",
    ),
    Rule(
        applies=quality_dipped,
        action="hold",
        cause="quality dipped, no drift",
        reason="one weaker week without a visible cause; a second one will show whether it is more than chance",
    ),
    Rule(
        applies=otherwise,
        action="hold",
        cause="nothing to do",
        reason="data, quality and inputs are as usual",
    ),
)


def _act(rule: Rule, read: EvidenceReader, blind: list[str]) -> Action:
    action = Action(
        name=rule.action,
        cause=rule.cause,
        reason=rule.reason,
        evidence=read.seen,
        options=tuple(ANSWERS) if rule.action == "ask_a_person" else (),
    )
    if not blind:
        return action
    unseen = f"not seen: {'; '.join(blind)}"
    if rule.action in AUTOMATIC:
        return replace(
            action,
            name="ask_a_person",
            cause=f"{rule.cause}, with a blind spot",
            reason=f"{rule.reason}; but an earlier rule could not be ruled out ({unseen})",
            options=tuple(ANSWERS),
        )
    if rule.applies is otherwise:
        return replace(action, cause="not enough evidence", reason=f"nothing seen calls for action ({unseen})")
    return replace(action, reason=f"{rule.reason} ({unseen})")

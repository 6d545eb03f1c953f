"""Judge a fraud candidate: gates of evidence and policy, and who decides when the gold audit has seen too little fraud.

Gates fail closed, like the recommender's (`training/gates.py`): evidence that is missing, empty or not a number is a refusal
that names it. One gap is a person's to close: too few frauds in the audit's random part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from training.evidence_reader import EvidenceReader
from training.fraud.artefact import FRAUD
from training.fraud.examples import MATURE_DAYS
from training.fraud.judging import Rival
from training.gates import Check, Ruling, pass_through
from training.vocabulary import Decision, DecisionKind, Evidence, GateResult, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class FraudGatePolicy:
    """The thresholds, chosen on seeds 0 and 1 of the simulated issuer: 21 matured days with 466 and 664 known frauds.

    "Sound" are refits on payments four weeks younger than the champion's, "half missed" those on labels that lack half of the
    fraud, "flipped" those on labels of which one in 200 says the opposite. On seeds 2 and 3, which chose nothing, half missed was
    refused twice, flipped once of two (its probabilities were 1.47 times too high), and sound once of four, for money.
    """

    # Gold contradicts 4 % of what analysts say and 10 % of chargebacks: twice that is a source that nobody should learn from.
    max_contradicted: float = 0.2
    # Of 50 labels checked, a source that errs in one of ten has more than ten wrong in one of a hundred; two audits check as many.
    min_checked: int = 50

    # Two whole weeks: weekdays count alike, and the percentile interval of fewer than a dozen days is too narrow.
    min_days: int = 14
    # The noise of expected over observed is then one in ten, and each day has some.
    min_frauds: int = 100

    # The interval is .02 wide on either side. Sound .00 to +.02, half missed -.06 to -.01, at worst -.10. Small losses, each
    # accepted, would add up retraining after retraining: so the mean may lose less than the interval.
    max_mean_precision_loss: float = 0.01
    max_plausible_precision_loss: float = 0.04
    # As wide. Sound -.03 to .00, at worst -.05 (it finds larger frauds instead); flipped -.04 to -.03, at worst -.07.
    max_mean_recall_loss: float = 0.03
    max_plausible_recall_loss: float = 0.06
    # The amount alone has an average precision of .04 and a recall of .12; models gain .4 to .6 and .35 to .46. One that adds
    # less than a tenth to either is not worth its upkeep.
    min_first_gain: float = 0.1

    # Sound 1.0 to 1.2; half missed .5 to .6, flipped 1.6 to 2.0.
    min_expected_over_observed: float = 2 / 3
    max_expected_over_observed: float = 3 / 2

    # Amounts are so uneven that the interval is .1 to .2 wide. Sound -.04 to +.08, half missed +.18 to +.37.
    max_extra_loss: float = 0.15

    # Two sound models differ on one fraud in fifteen: with ten, a candidate falls behind by one, which is allowed, in one of
    # four cases, and by two in one of thirty. The simulated audit's random part needs ten weeks for as many.
    min_gold_frauds: int = 10
    max_gold_recall_loss: float = 0.1


def judge(evidence: Mapping[str, Evidence], policy: FraudGatePolicy, *, first_model: bool) -> tuple[GateResult, ...]:
    """What each gate says of a candidate; `first_model` says that there is no champion, so that the amount alone is its rival."""
    gates = FIRST_MODEL_GATES if first_model else GATES
    return tuple(pass_through(name, check, evidence, policy) for name, check in gates.items())


def decide(
    gates: tuple[GateResult, ...],
    *,
    at: str,
    version: str,
    champion: str | None,
    snapshot_id: str | None = None,
    run_id: str | None = None,
) -> Decision:
    """Promote, refuse or ask a person, as the record that the aliases follow; asking moves nothing (`hold`).

    `at` is the moment of the data interval (ISO), `champion` the version that the candidate was judged against.
    """
    verdict = Verdict.of(gates)
    kind, action, reason = _outcome(verdict)
    return Decision(
        at=at,
        actor="policy",
        kind=kind,
        subject=f"{FRAUD.model} version {version}",
        action=action,
        reason=reason,
        evidence=verdict.evidence,
        model_version=version,
        previous_version=champion,
        snapshot_id=snapshot_id,
        run_id=run_id,
    )


def _outcome(verdict: Verdict) -> tuple[DecisionKind, str, str]:
    if verdict.outcome == "promote":
        return "promotion", "promote", "every gate passed"
    reasons = "; ".join(f"{gate.gate}: {gate.reason}" for gate in verdict.refusals)
    refused = {gate.gate for gate in verdict.refusals}
    # Recall on too few frauds is nobody's evidence, for or against: with it or without it, a person decides.
    if "gold_sample" in refused and refused <= {"gold_sample", "gold_recall"}:
        return "hold", "ask_a_person", reasons
    return "refusal", "refuse", reasons


def training_allowed(read: EvidenceReader, _policy: FraudGatePolicy) -> Ruling:
    frozen = read.flag("training_frozen")
    return Ruling(not frozen, f"training is {'frozen' if frozen else 'not frozen'}")


def label_maturity(read: EvidenceReader, _policy: FraudGatePolicy) -> Ruling:
    age = read.number("youngest_learned_days")
    return Ruling(age >= MATURE_DAYS, f"the youngest payment learned from was {age:g} days old, {MATURE_DAYS} needed")


def label_sources(read: EvidenceReader, policy: FraudGatePolicy) -> Ruling:
    """Every source that the candidate learned from is trusted by the watch and was verified by the gold audit."""
    objections, names = [], read.text("label_sources").split()
    for name in names:
        figure = f"contradicted_by_gold:{name}"
        if read.flag(f"quarantined:{name}"):
            objections.append(f"{name} is quarantined")
        elif (checked := read.sample(figure)) < policy.min_checked:
            objections.append(
                f"{name} is not verified: gold checked {checked} of its labels, {policy.min_checked} needed"
            )
        elif (share := read.number(figure)) > policy.max_contradicted:
            objections.append(f"gold contradicts {share:.0%} of {name}, {policy.max_contradicted:.0%} allowed")
    return Ruling(not objections, "; ".join(objections) or f"verified by gold: {', '.join(names)}")


def held_out(read: EvidenceReader, _policy: FraudGatePolicy) -> Ruling:
    learned, judged = read.number("judged_payments_learned"), read.sample("judged_payments_learned")
    return Ruling(judged > 0 and learned == 0, f"{learned:.0f} of {judged} judged payments were learned from")


def sample_size(read: EvidenceReader, policy: FraudGatePolicy) -> Ruling:
    days, frauds = read.number("days_judged"), read.number("frauds_judged")
    return Ruling(
        days >= policy.min_days and frauds >= policy.min_frauds,
        f"{frauds:.0f} frauds on {days:.0f} days judged, {policy.min_frauds} on {policy.min_days} needed",
    )


def average_precision(read: EvidenceReader, policy: FraudGatePolicy) -> Ruling:
    return _not_worse(
        read, "average_precision_diff_vs", policy.max_mean_precision_loss, policy.max_plausible_precision_loss
    )


def recall_at_capacity(read: EvidenceReader, policy: FraudGatePolicy) -> Ruling:
    return _not_worse(read, "recall_at_capacity_diff_vs", policy.max_mean_recall_loss, policy.max_plausible_recall_loss)


def _not_worse(read: EvidenceReader, figure: str, mean_loss: float, plausible_loss: float) -> Ruling:
    low, mean, _ = read.interval(f"{figure}:champion")
    return Ruling(
        mean >= -mean_loss and low >= -plausible_loss,
        f"{mean:+.3f} against the champion, at worst {low:+.3f}; allowed {-mean_loss:+.3f}, at worst {-plausible_loss:+.3f}",
    )


def first_gain(read: EvidenceReader, policy: FraudGatePolicy, *, figure: str) -> Ruling:
    """The first model replaces a rule that costs nothing: it must gain, and surely."""
    low, mean, _ = read.interval(f"{figure}:amount_alone")
    return Ruling(
        mean >= policy.min_first_gain and low > 0,
        f"{mean:+.3f} against the amount alone, at worst {low:+.3f}; needed {policy.min_first_gain:+.3f}, at worst above 0",
    )


def calibration(read: EvidenceReader, policy: FraudGatePolicy) -> Ruling:
    ratio = read.number("expected_over_observed")
    low, high = policy.min_expected_over_observed, policy.max_expected_over_observed
    return Ruling(
        low <= ratio <= high, f"{ratio:.2f} frauds expected for each observed, {low:.2f} to {high:.2f} allowed"
    )


def expected_loss(read: EvidenceReader, policy: FraudGatePolicy, *, rival: Rival) -> Ruling:
    """Not measurably more than the rival loses, and not much more where the noise hides it."""
    low, mean, _ = read.interval(f"loss_over:{rival}")
    return Ruling(
        low <= 0 and mean <= policy.max_extra_loss,
        f"loses {mean:+.0%} against {rival}, at best {low:+.0%}; allowed {policy.max_extra_loss:+.0%}, at best no more than 0",
    )


def gold_sample(read: EvidenceReader, policy: FraudGatePolicy, *, rival: Rival) -> Ruling:
    frauds = read.sample(f"gold_recall_diff_vs:{rival}")
    return Ruling(
        frauds >= policy.min_gold_frauds,
        f"{frauds} frauds in the audit's random part, {policy.min_gold_frauds} needed",
    )


def gold_recall(read: EvidenceReader, policy: FraudGatePolicy, *, rival: Rival) -> Ruling:
    """Labels that are wrong in one way for all say nothing of it; the audit's truth does."""
    difference = read.number(f"gold_recall_diff_vs:{rival}")
    return Ruling(
        difference >= -policy.max_gold_recall_loss,
        f"recall of gold frauds {difference:+.2f} against {rival}, allowed {-policy.max_gold_recall_loss:+.2f}",
    )


# Labels first: what was learned from doubtful ones is not worth measuring. This is the order in which a person reads it.
GATES: dict[str, Check[FraudGatePolicy]] = {
    "training_allowed": training_allowed,
    "label_maturity": label_maturity,
    "label_sources": label_sources,
    "held_out": held_out,
    "sample_size": sample_size,
    "average_precision": average_precision,
    "recall_at_capacity": recall_at_capacity,
    "calibration": calibration,
    "expected_loss": partial(expected_loss, rival="champion"),
    "gold_sample": partial(gold_sample, rival="champion"),
    "gold_recall": partial(gold_recall, rival="champion"),
}
FIRST_MODEL_GATES: dict[str, Check[FraudGatePolicy]] = {
    **GATES,
    "average_precision": partial(first_gain, figure="average_precision_diff_vs"),
    "recall_at_capacity": partial(first_gain, figure="recall_at_capacity_diff_vs"),
    "expected_loss": partial(expected_loss, rival="amount_alone"),
    "gold_sample": partial(gold_sample, rival="amount_alone"),
    "gold_recall": partial(gold_recall, rival="amount_alone"),
}

"""Judge a candidate: every gate is a short function of evidence and policy, and all of them must pass.

Gates fail closed. Evidence that is missing, empty, not a number or too thin, and a check that crashes, refuse the
candidate and say why. A refusal is a value, not an exception.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from training.evidence_reader import BlindSpot, EvidenceReader
from training.vocabulary import Evidence, GateResult, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """The thresholds; NDCG@10 is about 0.33 for a good ranker and 0.31 for the best simple baseline."""

    # A week has about 300 active customers. Below 100 the paired standard error nearly doubles, and hides any loss that
    # is worth seeing.
    min_users: int = 100

    # Non-inferiority, not superiority: a weekly candidate is mostly equal to the champion, and the reason to take it is
    # freshness, worth 1 to 3 % here. The interval must rule out a loss of 0.015 (5 % of 0.3): "not measurably worse".
    max_plausible_loss: float = 0.015
    # And the mean may lose 0.003 (1 %): "not probably worse". Tighter than the line above, because small losses, each
    # accepted, would otherwise add up week after week.
    max_mean_loss: float = 0.003

    # Simple rules that need no training. A model which does not beat them is not worth its upkeep.
    baselines: tuple[str, ...] = ("popularity_4w", "repeat_x_popularity")

    # Of the items that ten places for each judged customer could show. Ten bestsellers for everyone show 0.3 %; below
    # 5 % the model has stopped being personal.
    min_coverage: float = 0.05

    # The first model replaces a rule that costs nothing, so it must gain something: 0.005 is where noise ends over eight
    # weeks. It need not be significant in one week: with 200 customers the interval is 0.017 wide on either side, and
    # would refuse two true gains in three, each for a week of the poorer lists. That it is not much worse, must be.
    min_first_gain: float = 0.005

    # Who must not pay for the average. Each is compared with the champion; for the first model, with the best baseline.
    slices: tuple[str, ...] = ("new_customers", "home_country", "other_countries", "heavy_buyers", "light_buyers")
    # Thirty users give a standard error of about 0.02: enough to see a loss as large as the next line.
    min_slice_users: int = 30
    # A slice refuses if its loss is both measurable (interval below zero) and material. Measurable alone would refuse
    # one good candidate in eight by chance: five slices at 2.5 % each.
    max_slice_loss: float = 0.02

    # All 4,300 customers inside two minutes on one core.
    max_scoring_ms_per_user: float = 25.0
    # The item-item matrix of 4,619 items is 85 MB in float32. More means a float64 copy, or data left in the artefact.
    max_artefact_mb: float = 100.0
    # The same float32 arithmetic on both sides; a larger gap is another definition of a feature, not rounding.
    max_parity_gap: float = 1e-6
    # One weekly arrival: an older snapshot means that a delivery was skipped.
    max_snapshot_age_days: float = 7.0


def judge(evidence: Mapping[str, Evidence], policy: GatePolicy, *, first_model: bool) -> Verdict:
    """Decide whether a candidate may become champion; `first_model` says that there is no champion to compare with."""
    gates = FIRST_MODEL_GATES if first_model else GATES
    return Verdict.of(tuple(pass_through(name, check, evidence, policy) for name, check in gates.items()))


class Ruling(NamedTuple):
    """What one check found: whether the candidate may pass, and the sentence for the record."""

    passed: bool
    reason: str


Policy = TypeVar("Policy")
Check = Callable[[EvidenceReader, Policy], Ruling]


def sample_size(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    users = read.number("users_judged")
    return Ruling(users >= policy.min_users, f"{users:.0f} users judged, {policy.min_users} needed")


def beats_champion(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    low, mean, _ = read.interval("ndcg_diff_vs_champion")
    passed = low >= -policy.max_plausible_loss and mean >= -policy.max_mean_loss
    return Ruling(
        passed,
        f"NDCG@10 {mean:+.4f} against the champion, at worst {low:+.4f}; "
        f"allowed {-policy.max_mean_loss:+.4f}, at worst {-policy.max_plausible_loss:+.4f}",
    )


def no_champion_yet(_read: EvidenceReader, _policy: GatePolicy) -> Ruling:
    return Ruling(True, "there is no champion yet; the first model must gain on the baselines instead")


def beats_baseline(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    means = {name: read.interval(f"ndcg_diff_vs_baseline:{name}")[1] for name in policy.baselines}
    hardest = min(means, key=lambda name: means[name])
    return Ruling(means[hardest] >= 0, f"NDCG@10 {means[hardest]:+.4f} against {hardest}; it may not be below zero")


def first_beats_baseline(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    gains = {name: read.interval(f"ndcg_diff_vs_baseline:{name}") for name in policy.baselines}
    hardest = min(gains, key=lambda name: gains[name][1])
    low, mean, _ = gains[hardest]
    return Ruling(
        mean >= policy.min_first_gain and low >= -policy.max_plausible_loss,
        f"NDCG@10 {mean:+.4f} against {hardest}, at worst {low:+.4f}; "
        f"the first model needs {policy.min_first_gain:+.4f}, at worst {-policy.max_plausible_loss:+.4f}",
    )


def recall(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    """Twenty places must find at least what a simple rule finds; how much that is depends on the shop, not on us."""
    means = {name: read.interval(f"recall_diff_vs_baseline:{name}")[1] for name in policy.baselines}
    hardest = min(means, key=lambda name: means[name])
    return Ruling(means[hardest] >= 0, f"recall@20 {means[hardest]:+.4f} against {hardest}; it may not be below zero")


def coverage(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    share = read.number("catalogue_coverage")
    return Ruling(
        share >= policy.min_coverage, f"{share:.1%} of what could be shown is shown, at least {policy.min_coverage:.1%}"
    )


def new_item_quality(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    """Items never bought before are what a recommender is for; repeats alone would hide their loss in the average."""
    means = {name: read.interval(f"ndcg_new_diff_vs_baseline:{name}")[1] for name in policy.baselines}
    hardest = min(means, key=lambda name: means[name])
    return Ruling(
        means[hardest] >= 0, f"new items: NDCG@10 {means[hardest]:+.4f} against {hardest}; it may not be below zero"
    )


def slices(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    users = {name: read.sample(f"slice_ndcg_diff:{name}") for name in policy.slices}
    judged = [name for name in users if users[name] >= policy.min_slice_users]
    thin = ", ".join(f"{name} ({users[name]} users)" for name in users if name not in judged)
    not_judged = f"; too few users to judge: {thin}" if thin else ""
    if not judged:
        return Ruling(False, f"no slice has {policy.min_slice_users} users{not_judged}")
    losing = [name for name in judged if _loses(read, name, policy)]
    finding = f"measurable loss for {', '.join(losing)}" if losing else f"no measurable loss for {', '.join(judged)}"
    return Ruling(not losing, finding + not_judged)


def _loses(read: EvidenceReader, name: str, policy: GatePolicy) -> bool:
    _, mean, high = read.interval(f"slice_ndcg_diff:{name}")
    return high < 0 and mean < -policy.max_slice_loss


def scoring_time(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    ms = read.number("scoring_ms_per_user")
    return Ruling(
        0 <= ms <= policy.max_scoring_ms_per_user, f"{ms:.2f} ms per user, at most {policy.max_scoring_ms_per_user:g}"
    )


def artefact_size(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    size = read.number("artefact_size_mb")
    return Ruling(0 < size <= policy.max_artefact_mb, f"{size:.1f} MB, at most {policy.max_artefact_mb:g}")


def train_serve_parity(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    gap = read.number("train_serve_max_abs_diff")
    return Ruling(
        0 <= gap <= policy.max_parity_gap,
        f"training and serving differ by {gap:.1e} at most, {policy.max_parity_gap:.0e} allowed",
    )


def snapshot_age(read: EvidenceReader, policy: GatePolicy) -> Ruling:
    days = read.number("snapshot_age_days")
    # A negative age is a snapshot from the future, that is, a leak.
    return Ruling(
        0 <= days <= policy.max_snapshot_age_days, f"snapshot {days:g} days old, 0 to {policy.max_snapshot_age_days:g}"
    )


def data_contract(read: EvidenceReader, _policy: GatePolicy) -> Ruling:
    state = read.text("contract_state")
    return Ruling(state == "accepted", f"the data contract is {state}, accepted is needed")


# Cheap and fundamental first: this is the order in which a person reads the verdict.
GATES: dict[str, Check[GatePolicy]] = {
    "data_contract": data_contract,
    "snapshot_age": snapshot_age,
    "sample_size": sample_size,
    "beats_champion": beats_champion,
    "beats_baseline": beats_baseline,
    "new_item_quality": new_item_quality,
    "recall": recall,
    "coverage": coverage,
    "slices": slices,
    "train_serve_parity": train_serve_parity,
    "scoring_time": scoring_time,
    "artefact_size": artefact_size,
}
FIRST_MODEL_GATES: dict[str, Check[GatePolicy]] = {
    **GATES,
    "beats_champion": no_champion_yet,
    "beats_baseline": first_beats_baseline,
}


def pass_through(name: str, check: Check[Policy], evidence: Mapping[str, Evidence], policy: Policy) -> GateResult:
    """Run one check; without the evidence that it asks for, or when it crashes, the gate is not passed and says why."""
    read = EvidenceReader(evidence)
    try:
        passed, reason = check(read, policy)
    except BlindSpot as gap:
        passed, reason = False, f"no evidence: {gap}"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What a faulty check or malformed evidence raises. Others (out of memory, interrupted) are not about the model.
        passed, reason = False, f"the check crashed: {type(error).__name__}: {error}"
    return GateResult(name, bool(passed), reason, read.seen)

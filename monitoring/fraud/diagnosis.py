"""From evidence to the cause it speaks for: a table of rules, of which the first that applies is the diagnosis.

Direct evidence comes first: a batch, a replay, a release or a label source that is wrong shows it by itself, and explains
what is seen further down, never the other way round. What remains is read from payments, scores and labels together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from monitoring.fraud.figures import Standing
from training.fraud.label_book import CHARGEBACK

Cause = Literal[
    "none", "festival", "aftermath", "covariate_harmless", "covariate_harmful", "concept_new", "concept_mutated", "prior_shift",
    "label_flips", "missed_fraud", "biased_source", "label_delay", "skew", "bad_release", "poisoned_labels",
    "unit_change", "nulls", "stuck_column", "duplicated_batch", "time_zone", "retyped_column", "new_category",
    "missing_batch", "missing_column", "two_at_once", "unexplained",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = get_args(Cause)
Family = Literal["batch", "skew", "release", "labels", "payments", "fraud", "loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where evidence begins to speak. "Clean" is what 50 clean weeks of each of the ten tuned seeds showed at most (4,200 a day).

    Deviations are those of `figures.standing`. Sums of deviations are used where no figure is sure by itself.
    """

    # Batches: what is wrong there is wrong in whole files or at whole acquirers, while a clean day has nearly none of it.
    least_volume: float = 0.3  # of a weekday's usual payments; the quietest clean day had .8
    repeated: float = 0.01
    off_scale: float = 0.02  # of the amounts, three times beyond all but .2 %; doubled amounts move .001
    stuck: float = 0.05  # the most frequent amount of a clean day has .006
    new_category: float = 0.01
    nulls: float = 0.02
    clock: float = 0.1  # of the payments; the clean day that looked most shifted .06, acquirers five hours ahead .15

    # Features that are read twice must agree but for rounding; one in a hundred is no rounding.
    mismatch: float = 0.01

    # Two sound versions agree at .39 to .50 in rank at the top, a version with noise for two of eight columns at .2 or less.
    unlike: float = 0.22
    surely_worse: float = -3.0  # of its own noise: one in 700 by chance
    surely_better: float = 1.0  # then they may differ
    wrong_labels: float = 0.05  # an analyst errs in one of twenty

    # Labels that do not come: the queues' capacity is fixed, so their counts hardly vary (clean -.7).
    queue_short: float = -4.0
    chargebacks_short: float = -4.0
    chargebacks_late: float = 8.0  # missing ones look a little late, too (5.3)

    # The half of payments that scores call safest: clean 3.4, a new pattern up to 7.6, one label in 200 flipped 6.9 and more.
    safest_flipped: float = 9.0
    safest_and_gold: float = 6.5
    gold_doubts: float = 1.2
    gold_contradicts: float = 4.0  # clean 2.5
    fewest_surprising: int = 8  # audited, of what was charged back since chargebacks rose
    surprising_wrong: float = 0.5  # clean and a new pattern .2, one label in 200 flipped .57 and more
    surprising_right: float = 0.3  # a flood of chargebacks that gold confirms is fraud, however safe it looked
    fewest_confirmed: int = 16  # four of sixteen wrong by luck: one in a hundred where .57 are

    # Clears what others call fraud, less how much more fraud it finds: clean 3.8, a third of its frauds cleared 4.8 and more.
    queue_biased: float = 4.7
    fewest_doubles: int = 8  # of what others call fraud; fewer say nothing of a queue

    # Frauds found by analysts that are not charged back: clean -3.2 alone, -6.1 with chargebacks beside analysts, never both.
    not_charged_back: float = -2.6
    not_charged_back_and_behind: float = -6.0
    low_not_more: float = 0.5  # fraud that moved to low scores is another cause
    # What analysts find beside upset scores is other fraud, and less: then only this by itself, of enough of it (clean -3.6).
    surely_not_charged_back: float = -3.7
    fewest_called: int = 28

    # A classifier's AUC: three deviations are nothing unusual in a large sample, .025 is what a person would see in a chart.
    moved_auc: float = 0.025
    moved: float = 3.0
    moved_far: float = 6.0  # more fraud alone moves payments by 3
    # What analysts find and what is charged back, each and on average: harmless shifts -2.1, weak harmful ones -3.8.
    each_falls_short: float = -1.5
    fall_short: float = -3.75

    # More of the same fraud: alerts and, together with chargebacks and what analysts find (clean 5.5 where alerts rose).
    alerts_rose: float = 2.3
    fraud_rose: float = 5.7

    # Fraud that went to low scores; sums (clean 7.3 with young labels, 6.7 with older ones). It is named before it is acted on.
    hidden_young: float = 7.0
    hidden_older: float = 6.4
    surely_hidden_young: float = 8.0
    surely_hidden_older: float = 7.5
    low_more: float = 2.0  # analysts who find little after a festival made the sums 10 once, with 1.8 here
    alerts_not_more: float = 1.5
    corner: float = 2.6  # above the mean of all corners: patterns that moved everywhere reach 3.2, new ones 2.1 to 6

    quality_lost: float = -5.0  # clean -3.5


LIMITS = Limits()


@dataclass
class Reader:
    """Hands out figures, and remembers which were looked at and which were not to be had."""

    standings: Mapping[str, Standing]
    event: str | None
    seen: dict[str, Standing] = field(default_factory=dict)
    blind: set[str] = field(default_factory=set)

    def z(self, name: str) -> float:
        """How many usual deviations a figure is off; NaN, which no rule is met by, where it cannot be had."""
        return self._usual(name).z

    def value(self, name: str) -> float:
        return self._of(name).value

    def enough(self, name: str, fewest: int) -> bool:
        """Whether a figure's sample is large enough; one that is there at times only is no blind spot at others."""
        return name in self.standings and self.standings[name].n >= fewest

    def n(self, name: str) -> int:
        """The size of the sample of a figure."""
        return self._of(name).n

    def rise(self, name: str) -> float:
        """How far a figure is above what is usual."""
        standing = self._usual(name)
        return standing.value - standing.usual

    def above(self, name: str) -> float:
        """How far a figure is above what is usual, or above nothing where that is not known: a fault needs no history to show."""
        standing = self._of(name)
        return standing.value - standing.usual if math.isfinite(standing.usual) else standing.value

    def sure(self, name: str) -> float:
        """How far a figure is from zero, in the deviations that its sample gives it."""
        standing = self._of(name)
        return standing.value / standing.noise if standing.noise > 0 else math.nan

    def among(self, prefix: str) -> list[str]:
        """The figures whose names begin so."""
        return [name for name in self.standings if name.startswith(prefix)]

    def highest(self, prefix: str) -> tuple[str, float]:
        """Which figure of a group stands out most, and by how much."""
        found = [(self.standings[name].z, name) for name in self.among(prefix) if math.isfinite(self.standings[name].z)]
        z, name = max(found, default=(math.nan, prefix))
        if found:
            self.seen[name] = self.standings[name]
        else:
            self.blind.add(prefix)
        return name, z

    def _usual(self, name: str) -> Standing:
        """A figure that is of use only beside what is usual: without that it is a blind spot, too."""
        found = self._of(name)
        if math.isfinite(found.value) and not math.isfinite(found.z):
            self.blind.add(name)
        return found

    def _of(self, name: str) -> Standing:
        found = self.standings.get(name)
        if found is None or not math.isfinite(found.value):
            self.blind.add(name)
            return Standing(math.nan, math.nan, math.nan, math.nan, 0)
        self.seen[name] = found
        return found


def nowhere(_read: Reader) -> str:
    return ""


@dataclass(frozen=True)
class Rule:
    """One line of the table: the cause, the room it is in, when it applies, and the sentence that says why."""

    cause: Cause
    family: Family
    applies: Callable[[Reader], bool]
    reason: str
    where: Callable[[Reader], str] = nowhere
    """Which source, corner or column it is, where that can be told."""


def payments_moved(read: Reader, figure: str = "drift.domain_auc") -> bool:
    """A classifier tells the new payments from the old, beyond what it usually does."""
    return read.rise(figure) >= LIMITS.moved_auc and read.z(figure) >= LIMITS.moved


def harmed(read: Reader) -> bool:
    """What analysts find and chargebacks at high scores fall short of what the scores promised, each of them that is known.

    A queue that hides fraud lessens one and customers who do not complain the other, and neither is harm by a shift.
    """
    both = (read.z("analysts.over_expected"), read.z("charged.high"))
    known = [z for z in both if math.isfinite(z)]
    return bool(known) and max(known) <= LIMITS.each_falls_short and sum(known) / len(known) <= LIMITS.fall_short


def features_wrong(read: Reader) -> bool:
    return read.value("skew.mismatch") >= LIMITS.mismatch


def release_worse(read: Reader) -> bool:
    """The version before ranks the same payments better; or they hardly agree, and nothing says that the new one is better."""
    gain = read.sure("release.gain")
    unlike = read.value("release.agreement") < LIMITS.unlike and not gain >= LIMITS.surely_better
    return gain <= LIMITS.surely_worse or unlike


def scores_upset(read: Reader) -> bool:
    """Whether the scores are wrong for a reason already seen: then labels beside scores say nothing about the labels."""
    direct = (rule for rule in RULES if rule.family in ("batch", "skew", "release"))
    return any(rule.applies(read) for rule in direct)


def labels_missing(read: Reader) -> bool:
    """A queue falls short of its capacity, or fewer chargebacks come, and late."""
    few = read.z("arrived.chargeback") <= LIMITS.chargebacks_short
    late = read.z("lag.chargeback") >= LIMITS.chargebacks_late
    return read.z("arrived.analysts") <= LIMITS.queue_short or (few and late)


#: Of the low scores that were charged back since more of them are, the audited share that was good.
SURPRISING = "gold.surprising_since_two"


def labels_flipped(read: Reader) -> bool:
    """Gold does not confirm what is called fraud, above all what is since it is more; or, unless it does, what is looked safe."""
    audited = read.enough(SURPRISING, LIMITS.fewest_surprising)
    unlikely, wrong = read.z("charged.least_likely"), read.z("gold.accused_wrong")
    if wrong >= LIMITS.gold_contradicts or (audited and read.value(SURPRISING) >= LIMITS.surprising_wrong):
        return True
    if read.enough(SURPRISING, LIMITS.fewest_confirmed) and read.value(SURPRISING) <= LIMITS.surprising_right:
        return False
    both = unlikely >= LIMITS.safest_and_gold and wrong >= LIMITS.gold_doubts
    return (unlikely >= LIMITS.safest_flipped or both) and not scores_upset(read)


def source_biased(read: Reader) -> bool:
    """A queue finds less fraud than the others do, and clears what they call fraud."""
    return bool(biased_queue(read))


def biased_queue(read: Reader) -> str:
    """The queue that does so most, of those of which enough is known."""
    hides = {name: hidden_by(read, name) for name in queues(read) if enough_doubles(read, name)}
    return max((name for name in hides if hides[name] >= LIMITS.queue_biased), key=lambda name: hides[name], default="")


def queues(read: Reader) -> list[str]:
    """The analyst queues that can be compared with another."""
    return [name.rsplit(".", 1)[1] for name in read.among("sources.gap.")]


def enough_doubles(read: Reader, queue: str) -> bool:
    return read.n(f"sources.clears.{queue}") >= LIMITS.fewest_doubles


def hidden_by(read: Reader, queue: str) -> float:
    """How much a queue clears of what others call fraud, less how much more fraud than they it finds, in deviations."""
    return read.z(f"sources.clears.{queue}") - read.z(f"sources.gap.{queue}")


def chargebacks_missing(read: Reader) -> bool:
    """What analysts called fraud is not charged back at the ages at which it was, and chargebacks fall behind analysts."""
    back, beside = read.z("charged.back"), read.z("charged.beside_analysts")
    if not back <= LIMITS.not_charged_back:
        return False
    if scores_upset(read):
        return read.enough("charged.back", LIMITS.fewest_called) and back <= LIMITS.surely_not_charged_back
    behind = back + beside <= LIMITS.not_charged_back_and_behind
    return behind and read.z("charged.low") <= LIMITS.low_not_more and not payments_moved(read)


#: What a calendar calls the days of a batch that was quarantined: what is seen of them is known to be wrong.
QUARANTINED = "quarantined batch"


def in_calendar(read: Reader) -> bool:
    return read.event is not None


def after_quarantine(read: Reader) -> bool:
    return read.event == QUARANTINED


def prior_rose(read: Reader) -> bool:
    """More alerts, more chargebacks, and analysts find what the scores promise."""
    alerts, moved = read.z("score.alerts"), read.z("drift.domain_auc") >= LIMITS.moved_far
    together = alerts + read.z("arrived.chargeback") + read.z("analysts.over_expected")
    return not moved and alerts >= LIMITS.alerts_rose and together >= LIMITS.fraud_rose


def fraud_hidden(
    read: Reader, young_from: float = LIMITS.hidden_young, older_from: float = LIMITS.hidden_older
) -> bool:
    """Fraud went from high scores to low ones: labels rose there, while average precision, recall and alerts fell.

    None of them is sure by itself; together they are, with young labels or with older ones.
    """
    alerts = read.z("score.alerts")
    moved = read.z("charged.hidden") - alerts
    precision, recall = read.z("middle.average_precision"), read.z("middle.recall_at_capacity")
    young = moved - precision - 0.5 * read.z("young.recall_at_capacity")
    older = moved - 0.5 * (precision + recall + read.z("mature.recall_at_capacity"))
    return alerts < LIMITS.alerts_not_more and (young >= young_from or older >= older_from)


def fraud_surely_hidden(read: Reader) -> bool:
    """The same by more than clean years show, and customers report it, whatever analysts find: what is named so may be acted on."""
    surely = fraud_hidden(read, LIMITS.surely_hidden_young, LIMITS.surely_hidden_older)
    return surely and read.z("charged.low") >= LIMITS.low_more


def new_pattern(read: Reader) -> bool:
    """It went to one corner of what is paid for."""
    return fraud_hidden(read) and concentration(read) >= LIMITS.corner


def fullest_corner(read: Reader) -> str:
    """Where the most unexpected fraud is: what is paid for, and how."""
    return read.highest("cell.")[0].removeprefix("cell.").replace(".", ", ")


def concentration(read: Reader) -> float:
    """By how much the corner with the most unexpected fraud stands out from the others."""
    _, corner = read.highest("cell.")
    every = [read.standings[name].z for name in read.among("cell.") if math.isfinite(read.standings[name].z)]
    return corner - sum(every) / len(every) if every else math.nan


def quality_lost(read: Reader) -> bool:
    return read.z("young.average_precision") <= LIMITS.quality_lost


RULES: tuple[Rule, ...] = (
    Rule(
        "missing_batch",
        "batch",
        lambda r: r.value("batch.volume") < LIMITS.least_volume,
        "a day's batch is empty or nearly so",
    ),
    Rule("missing_column", "batch", lambda r: r.value("batch.missing_columns") >= 1, "a column was not delivered"),
    Rule("retyped_column", "batch", lambda r: r.value("batch.retyped_columns") >= 1, "a column came in another type"),
    Rule(
        "duplicated_batch",
        "batch",
        lambda r: r.above("batch.repeated") >= LIMITS.repeated,
        "payments were delivered twice under other ids",
    ),
    Rule("unit_change", "batch", lambda r: r.rise("batch.scale") >= LIMITS.off_scale, "amounts are on another scale"),
    Rule("stuck_column", "batch", lambda r: r.rise("batch.stuck") >= LIMITS.stuck, "one value fills a column"),
    Rule(
        "new_category",
        "batch",
        lambda r: r.above("batch.new_category") >= LIMITS.new_category,
        "payments of a category nobody announced",
    ),
    Rule(
        "nulls", "batch", lambda r: r.above("batch.nulls") >= LIMITS.nulls, "values are missing that used to be there"
    ),
    Rule("time_zone", "batch", lambda r: r.above("batch.clock") >= LIMITS.clock, "hours of the day are shifted"),
    Rule("skew", "skew", features_wrong, "the service reads other features than the lake gives"),
    Rule(
        "poisoned_labels",
        "release",
        lambda r: r.value("release.wrong_labels") >= LIMITS.wrong_labels,
        "the new version learned from other labels than are known",
    ),
    Rule("bad_release", "release", release_worse, "the version before was better on the same payments"),
    Rule("label_delay", "labels", labels_missing, "labels do not arrive"),
    Rule("biased_source", "labels", source_biased, "one analyst queue clears what others call fraud", biased_queue),
    Rule("label_flips", "labels", labels_flipped, "gold contradicts what was called fraud"),
    Rule("missed_fraud", "labels", chargebacks_missing, "chargebacks do not follow what analysts find"),
    Rule("aftermath", "payments", after_quarantine, "days of a batch that was quarantined are still looked at"),
    Rule("festival", "payments", in_calendar, "the calendar explains the shift"),
    Rule(
        "covariate_harmful",
        "payments",
        lambda r: payments_moved(r) and harmed(r),
        "payments moved, and scores promise too much",
    ),
    Rule("prior_shift", "fraud", prior_rose, "more fraud of the known kinds"),
    Rule("covariate_harmless", "payments", payments_moved, "payments moved, quality held"),
    Rule("concept_new", "fraud", new_pattern, "fraud at low scores where little was before", fullest_corner),
    Rule("concept_mutated", "fraud", fraud_hidden, "fraud moved from high scores to low ones"),
    Rule("unexplained", "loss", quality_lost, "quality fell and nothing explains it"),
)


@dataclass(frozen=True)
class Tried:
    """A rule that was tried: whether it applies, what it looked at, and what it could not see."""

    cause: Cause
    family: Family
    applies: bool
    reason: str
    seen: Mapping[str, Standing]
    blind: tuple[str, ...]
    where: str = ""
    """Which source, corner or column it is, where that can be told."""


@dataclass(frozen=True)
class Diagnosis:
    """The most likely cause with its reason, and every rule that was tried, in order."""

    cause: Cause
    reason: str
    tried: tuple[Tried, ...]
    parts: tuple[Cause, ...] = ()
    """The causes that apply together, where they are two."""

    @property
    def rivals(self) -> tuple[Cause, ...]:
        """Other causes whose rules apply as well."""
        named = {self.cause, *self.parts}
        return tuple(rule.cause for rule in self.tried if rule.applies and rule.cause not in named)

    @property
    def sources_in_doubt(self) -> tuple[str, ...]:
        """The label sources that are at fault: what looks safe is accused by customers, and a queue errs by name."""
        named = {
            rule.cause: rule.where
            for rule in self.tried
            if rule.applies and rule.cause in (self.parts or (self.cause,))
        }
        flipped = (CHARGEBACK,) if "label_flips" in named else ()
        return (*flipped, *filter(None, [named.get("biased_source")]))

    @property
    def seen(self) -> dict[str, Standing]:
        """The figures that speak for the cause."""
        causes = self.parts or (self.cause,)
        return {name: figure for rule in self.tried if rule.cause in causes for name, figure in rule.seen.items()}

    @property
    def blind(self) -> tuple[str, ...]:
        """Figures that rules asked for and could not have."""
        return tuple(sorted({name for rule in self.tried for name in rule.blind}))


#: These show what is wrong by themselves. Two of different rooms are two causes, for neither brings the other about.
DIRECT: frozenset[Family] = frozenset({"batch", "skew", "release", "labels"})


def diagnose(standings: Mapping[str, Standing], event: str | None) -> Diagnosis:
    """The cause of the first rule that applies; two, if direct evidence of different rooms applies at once.

    `event` is the festival or season that the calendar has for these days: what it explains is no cause of its own.
    """
    tried = tuple(_try(rule, Reader(standings, event)) for rule in RULES)
    found = [rule for rule in tried if rule.applies]
    together = {rule.family: rule for rule in reversed(found) if rule.family in DIRECT}
    moved = next((rule for rule in found if rule.family == "payments"), None)
    if moved and moved.cause not in ("festival", "aftermath") and together and "batch" not in together:
        together["payments"] = moved  # a wrong batch moves payments by itself; labels and releases do not
    if len(together) >= 2:
        both = sorted(together.values(), key=tried.index)
        return Diagnosis(
            "two_at_once", "; ".join(rule.reason for rule in both), tried, tuple(rule.cause for rule in both)
        )
    if not found:
        return Diagnosis("none", "no rule applies", tried)
    return Diagnosis(found[0].cause, found[0].reason, tried)


def _try(rule: Rule, read: Reader) -> Tried:
    applies = bool(rule.applies(read))
    where = rule.where(Reader(read.standings, read.event)) if applies else ""
    reason = f"{rule.reason}: {where}" if where else rule.reason
    return Tried(rule.cause, rule.family, applies, reason, dict(read.seen), tuple(sorted(read.blind)), where)

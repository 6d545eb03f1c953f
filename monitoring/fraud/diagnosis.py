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

Cause = Literal[
    "none", "festival", "covariate_harmless", "covariate_harmful", "concept_new", "concept_mutated", "prior_shift",
    "label_flips", "missed_fraud", "biased_source", "label_delay", "skew", "bad_release", "poisoned_labels",
    "unit_change", "nulls", "stuck_column", "duplicated_batch", "time_zone", "retyped_column", "new_category",
    "missing_batch", "missing_column", "two_at_once", "unexplained",
]  # fmt: skip
CAUSES: tuple[Cause, ...] = get_args(Cause)
Family = Literal["batch", "skew", "release", "labels", "payments", "fraud", "loss"]


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

    def n(self, name: str) -> int:
        """The size of the sample of a figure."""
        return self._of(name).n

    def rise(self, name: str) -> float:
        """How far a figure is above what is usual."""
        standing = self._usual(name)
        return standing.value - standing.usual

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


def payments_moved(read: Reader) -> bool:
    """A classifier tells the new payments from the old, beyond what it usually does."""
    return read.rise("drift.domain_auc") >= 0.025 and read.z("drift.domain_auc") >= 3


def harmed(read: Reader) -> bool:
    """What analysts find, or chargebacks at high scores, fall short of what the scores promised."""
    return read.z("analysts.over_expected") <= -3 or read.z("charged.high") <= -3.5


def features_wrong(read: Reader) -> bool:
    return read.value("skew.mismatch") >= 0.01


def release_worse(read: Reader) -> bool:
    """The version before ranks the same payments better; or they hardly agree, and nothing says that the new one is better."""
    unlike = read.value("release.agreement") < 0.22 and not read.sure("release.gain") >= 1
    return read.sure("release.gain") <= -3 or unlike


def scores_upset(read: Reader) -> bool:
    """Whether the scores are wrong for a reason already seen: then labels beside scores say nothing about the labels."""
    direct = (rule for rule in RULES if rule.family in ("batch", "skew", "release"))
    return any(rule.applies(read) for rule in direct)


def labels_missing(read: Reader) -> bool:
    return read.z("arrived.analysts") <= -4 or (read.z("arrived.chargeback") <= -4 and read.z("lag.chargeback") >= 8)


def labels_flipped(read: Reader) -> bool:
    """Gold does not confirm what is called fraud; or payments that looked as safe as any are, and gold rather doubts it."""
    unlikely, wrong = read.z("charged.least_likely"), read.z("gold.accused_wrong")
    safest = unlikely >= 9 or (unlikely >= 6.5 and wrong >= 1.2)
    return wrong >= 4 or (safest and not scores_upset(read))


def source_biased(read: Reader) -> bool:
    """A queue finds less fraud than the others do, and clears what they call fraud."""
    names = [name.rsplit(".", 1)[1] for name in read.among("sources.gap.")]
    return any(clears_what_others_call(read, name) for name in names)


def clears_what_others_call(read: Reader, name: str) -> bool:
    clears, gap = f"sources.clears.{name}", f"sources.gap.{name}"
    return read.n(clears) >= 8 and read.z(clears) - read.z(gap) >= 4.7


def biased_queue(read: Reader) -> str:
    """A queue whose rule is met."""
    names = [name.rsplit(".", 1)[1] for name in read.among("sources.gap.")]
    return max((name for name in names if clears_what_others_call(read, name)), default="")


def chargebacks_missing(read: Reader) -> bool:
    """What analysts called fraud is not charged back at the ages at which it was, and chargebacks fall behind analysts."""
    back = read.z("charged.back")
    behind = back <= -2.8 and back + read.z("charged.beside_analysts") <= -6.4
    return behind and read.z("charged.low") <= 0.5 and not payments_moved(read) and not scores_upset(read)


def in_calendar(read: Reader) -> bool:
    return read.event is not None


def prior_rose(read: Reader) -> bool:
    """More alerts, more chargebacks, and analysts find what the scores promise."""
    alerts, moved = read.z("score.alerts"), read.z("drift.domain_auc") >= 6
    return (
        not moved and alerts >= 2.3 and alerts + read.z("arrived.chargeback") + read.z("analysts.over_expected") >= 5.2
    )


def fraud_hidden(read: Reader) -> bool:
    """Fraud went from high scores to low ones: labels rose there, while average precision, recall and alerts fell.

    None of them is sure by itself; together they are, with young labels or with older ones.
    """
    alerts = read.z("score.alerts")
    moved = read.z("charged.hidden") - alerts
    precision, recall = read.z("middle.average_precision"), read.z("middle.recall_at_capacity")
    young = moved - precision - 0.5 * read.z("young.recall_at_capacity")
    older = moved - 0.5 * (precision + recall + read.z("mature.recall_at_capacity"))
    return alerts < 1.5 and (young >= 7 or older >= 6.4)


def new_pattern(read: Reader) -> bool:
    """It went to one corner of what is paid for."""
    return fraud_hidden(read) and concentration(read) >= 2.6


def fullest_corner(read: Reader) -> str:
    """Where the most unexpected fraud is: what is paid for, and how."""
    return read.highest("cell.")[0].removeprefix("cell.").replace(".", ", ")


def concentration(read: Reader) -> float:
    """By how much the corner with the most unexpected fraud stands out from the others."""
    _, corner = read.highest("cell.")
    every = [read.standings[name].z for name in read.among("cell.") if math.isfinite(read.standings[name].z)]
    return corner - sum(every) / len(every) if every else math.nan


def quality_lost(read: Reader) -> bool:
    return read.z("young.average_precision") <= -5


RULES: tuple[Rule, ...] = (
    Rule("missing_batch", "batch", lambda r: r.value("batch.volume") < 0.3, "a day's batch is empty or nearly so"),
    Rule("missing_column", "batch", lambda r: r.value("batch.missing_columns") >= 1, "a column was not delivered"),
    Rule("retyped_column", "batch", lambda r: r.value("batch.retyped_columns") >= 1, "a column came in another type"),
    Rule(
        "duplicated_batch",
        "batch",
        lambda r: r.value("batch.repeated") >= 0.01,
        "payments were delivered twice under other ids",
    ),
    Rule("unit_change", "batch", lambda r: r.rise("batch.scale") >= 0.02, "amounts are on another scale"),
    Rule("stuck_column", "batch", lambda r: r.rise("batch.stuck") >= 0.05, "one value fills a column"),
    Rule(
        "new_category",
        "batch",
        lambda r: r.value("batch.new_category") >= 0.01,
        "payments of a category nobody announced",
    ),
    Rule("nulls", "batch", lambda r: r.value("batch.nulls") >= 0.02, "values are missing that used to be there"),
    Rule("time_zone", "batch", lambda r: r.value("batch.clock") >= 0.08, "hours of the day are shifted"),
    Rule("skew", "skew", features_wrong, "the service reads other features than the lake gives"),
    Rule(
        "poisoned_labels",
        "release",
        lambda r: r.value("release.wrong_labels") >= 0.05,
        "the new version learned from other labels than are known",
    ),
    Rule("bad_release", "release", release_worse, "the version before was better on the same payments"),
    Rule("label_delay", "labels", labels_missing, "labels do not arrive"),
    Rule("biased_source", "labels", source_biased, "one analyst queue clears what others call fraud", biased_queue),
    Rule("label_flips", "labels", labels_flipped, "gold contradicts what was called fraud"),
    Rule("missed_fraud", "labels", chargebacks_missing, "chargebacks do not follow what analysts find"),
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
        return tuple(rule.cause for rule in self.tried if rule.applies and rule.cause != self.cause)

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
    if moved and moved.cause != "festival" and together and "batch" not in together:
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
    return Tried(rule.cause, rule.family, applies, reason, dict(read.seen), tuple(sorted(read.blind)))

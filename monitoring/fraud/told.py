"""Tell what was seen on a day: as a record for JSON, and as lines and tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal

from rich.console import Group
from rich.table import Table

from monitoring.fraud.battery import REHEARSED, REPORTED_DAYS, Clean, in_order
from monitoring.fraud.diagnosis import Tried
from monitoring.fraud.figures import Standing
from monitoring.fraud.ledger import EPOCH
from monitoring.fraud.policy import RESPONSES, needed_but_unseen
from monitoring.fraud.tables import BLIND_WITHOUT
from monitoring.fraud.watch import Watched

Confidence = Literal["high", "medium", "low"]
ENOUGH_DAYS, FEW_DAYS = 28, 14


def confidence(watched: Watched, missing: Sequence[str] = ()) -> Confidence:
    """How far a diagnosis can be trusted: by how much of what it needs was there, not by how sure its rule sounds."""
    if watched.diagnosis.cause != "none" and _direct(watched):
        return "high" if "labels" not in missing else "medium"
    if watched.days_of_history < FEW_DAYS or "labels" in missing:
        return "low"
    gaps = bool(missing) or needed_but_unseen(watched.diagnosis) or watched.days_of_history < ENOUGH_DAYS
    return "medium" if gaps else "high"


def _direct(watched: Watched) -> bool:
    families = {rule.family for rule in watched.diagnosis.tried if rule.cause == watched.diagnosis.cause}
    return bool(families & {"batch", "skew"})


def as_record(watched: Watched, missing: Sequence[str] = (), remarks: Sequence[str] = ()) -> dict[str, Any]:
    """All of it, for a file or another program; what is no number is null."""
    diagnosis, response = watched.diagnosis, watched.response
    return {
        "as_of": str(day_of(watched.day)),
        "cause": diagnosis.cause,
        "parts": list(diagnosis.parts),
        "reason": diagnosis.reason,
        "confidence": confidence(watched, missing),
        "action": response.action,
        "owner": response.owner,
        "why": response.why,
        "runbook": response.runbook,
        "training_frozen": response.training_frozen,
        "rivals": list(diagnosis.rivals),
        "evidence": {name: _numbers(figure) for name, figure in diagnosis.seen.items()},
        "ruled_out": {
            rule.cause: {name: _numbers(figure) for name, figure in rule.seen.items()}
            for rule in diagnosis.tried
            if not rule.applies
        },
        "figures": {name: _numbers(figure) for name, figure in watched.standings.items()},
        "calendar": watched.event,
        "days_of_history": watched.days_of_history,
        "missing_tables": {name: BLIND_WITHOUT[name] for name in missing},
        "blind_spots": list(diagnosis.blind),
        "remarks": list(remarks),
    }


def day_of(number: int) -> date:
    """The date of a day counted since 1970."""
    return EPOCH + timedelta(days=number)


def _numbers(figure: Standing) -> dict[str, float | int | None]:
    return {name: value if math.isfinite(value) else None for name, value in figure._asdict().items()}


def as_page(watched: Watched, missing: Sequence[str] = (), remarks: Sequence[str] = ()) -> Group:
    """The answer first, then what speaks for it, what was ruled out, and what could not be seen."""
    diagnosis, response = watched.diagnosis, watched.response
    parts = f" ({' and '.join(diagnosis.parts)})" if diagnosis.parts else ""
    lines: list[Any] = [
        f"[bold]{day_of(watched.day)}[/bold]  cause [bold]{diagnosis.cause}[/bold]{parts}: {diagnosis.reason}",
        f"action [bold]{response.action}[/bold], owner {response.owner}: {response.why}  ({response.runbook})",
        f"confidence {confidence(watched, missing)}, {watched.days_of_history} days of history"
        + (f", calendar: {watched.event}" if watched.event else ""),
    ]
    if diagnosis.seen:
        lines.append(_evidence(diagnosis.seen.items()))
    out = [rule for rule in diagnosis.tried if not rule.applies and rule.seen]
    lines.append(_ruled_out(out))
    lines += [f"blind: no {name}, so nothing is known of {BLIND_WITHOUT[name]}" for name in missing]
    if diagnosis.blind:
        lines.append(f"could not be measured: {', '.join(diagnosis.blind)}")
    lines += [f"remark: {remark}" for remark in remarks]
    return Group(*lines)


def _evidence(figures: Iterable[tuple[str, Standing]]) -> Table:
    table = Table("speaks for it", "value", "usual", "deviations", "sample")
    for name, figure in figures:
        table.add_row(name, _number(figure.value), _number(figure.usual), _number(figure.z, "+.1f"), f"{figure.n:,}")
    return table


def _ruled_out(rules: Iterable[Tried]) -> Table:
    table = Table("ruled out", "because its rule was not met by")
    for rule in rules:
        table.add_row(rule.cause, ", ".join(f"{name} {_standing(figure)}" for name, figure in rule.seen.items()))
    return table


def _standing(figure: Standing) -> str:
    return _number(figure.value) if math.isnan(figure.z) else f"{figure.z:+.1f}"


def _number(value: float, form: str = ".4g") -> str:
    return format(value, form) if math.isfinite(value) else "-"


def battery_tables(found: Mapping[str, Any], clean: Sequence[Clean] = ()) -> list[Table]:
    """The battery's figures: accuracy by day, what was done, false alarms, money, confusion."""
    accuracy = Table(
        "cause right, balanced over causes", *(f"day {day}" for day in REPORTED_DAYS), title=f"{found['drills']} drills"
    )
    for name, by_day in found["accuracy"].items():
        accuracy.add_row(name, *(_share(by_day.get(day)) for day in REPORTED_DAYS))
    others = Table("on day 14, mid and strong", "share (95 % over seeds)", "drills")
    for name in (
        "action right on day 14",
        "drift against label fault on day 14",
        "concept drift named by day 12, of those with a fall of .13",
        "concept drift named by day 19, of those with a fall of .13",
    ):
        others.add_row(name, _share(found[name]), str(found[name]["n"]))
    others.add_row("retrained in doubt", str(found["retrained in doubt"]), str(found["drills"]))
    return [accuracy, others, *([_clean(clean)] if clean else []), _money(found), _confusion(found)]


def _share(interval: Mapping[str, float] | None) -> str:
    if interval is None or not math.isfinite(interval["share"]):
        return "-"
    return f"{interval['share']:.1%} ({interval['low']:.1%} to {interval['high']:.1%})"


def _clean(clean: Sequence[Clean]) -> Table:
    table = Table("clean weeks", "weeks", "with an action", "of them festival weeks", "with an action", "which")
    for calendar in (True, False):
        runs = [run for run in clean if run.calendar == calendar]
        if not runs:
            continue
        named: dict[str, int] = {}
        for run in runs:
            for cause, days in run.named.items():
                named[cause] = named.get(cause, 0) + days
        sums = [
            sum(getattr(run, name) for run in runs) for name in ("weeks", "alarms", "festival_weeks", "festival_alarms")
        ]
        which = ", ".join(f"{cause} on {days} days" for cause, days in named.items())
        table.add_row("with a calendar" if calendar else "without", *map(str, sums), which or "-")
    return table


def _money(found: Mapping[str, Any]) -> Table:
    table = Table(
        "lost a day", "nothing done", "our answers", "retrain on PSI > 0.2", "it retrained", "days to the cause"
    )
    for cause, lost in found["lost a day"].items():
        days = found["days to cause"].get(cause)
        table.add_row(
            cause, f"{lost['nothing']:,.0f}", f"{lost['ours']:,.0f}", f"{lost['retrain_on_drift']:,.0f}",
            f"{lost['retrained_on_drift']:.1f}x", "-" if days is None else f"{days:g}",
        )  # fmt: skip
    return table


def _confusion(found: Mapping[str, Any]) -> Table:
    table = Table("injected", "weak", "mid", "strong", title="Named on day 14")
    by_strength = found["confusion on day 14"]
    for cause in in_order(cause for named in by_strength.values() for cause in named):
        cells = [", ".join(f"{name} {n}" for name, n in by_strength[s].get(cause, {}).items()) for s in by_strength]
        if any(cells):
            table.add_row(cause, *cells)
    return table


def causes_table() -> Table:
    """What can be rehearsed, and what should be done about it."""
    table = Table("cause", "action", "owner", "why")
    for cause in REHEARSED:
        response = RESPONSES["none" if cause == "good_release" else cause]  # type: ignore[index]
        table.add_row(cause, response.action, response.owner, response.why)
    return table

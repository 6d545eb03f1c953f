"""Write an incident as one page: cause and action first, then the days, the evidence that fired, and what was ruled out and why.

One file without scripts or addresses to load, like the report of the weeks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ingest.whole_files import write_whole
from monitoring.charts import minus
from monitoring.fraud.figures import Standing
from monitoring.fraud.tables import BLIND_WITHOUT
from monitoring.fraud.told import confidence, day_of
from monitoring.fraud.watch import Watched
from monitoring.pages import templates

#: How an action is drawn: something is done, is in doubt, is taken back, or a person is asked.
KINDS: Mapping[str, str] = {
    "hold": "hold", "retrain_in_shadow": "act", "recalibrate": "act", "quarantine_batch": "doubt",
    "quarantine_labels": "doubt", "freeze_retraining": "doubt", "roll_back": "back", "ask_a_person": "person",
}  # fmt: skip
WIDTH, HEIGHT = 270.0, 72.0


def write_incident(
    days: Sequence[Watched],
    out: Path,
    *,
    title: str,
    command: str,
    missing: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> None:
    """Write the page of an incident from its days, whole or not at all. Raises ValueError without a day."""
    if not days:
        raise ValueError("There is no day to tell of: watch one at least, then write the page.")
    text = templates().get_template("incident.html.j2").render(page=_page(days, title, command, missing, remarks))
    write_whole(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _page(
    days: Sequence[Watched], title: str, command: str, missing: Sequence[str], remarks: Sequence[str]
) -> dict[str, Any]:
    last = days[-1]
    diagnosis, response = last.diagnosis, last.response
    cause = " and ".join(diagnosis.parts) or diagnosis.cause
    return {
        "title": title,
        "headline": f"{_plain(cause).capitalize()}: {_plain(response.action)}",
        "cause": _plain(cause),
        "reason": diagnosis.reason,
        "action": _plain(response.action),
        "owner": response.owner,
        "why": response.why,
        "runbook": response.runbook,
        "frozen": response.training_frozen,
        "confidence": confidence(last, missing),
        "history": last.days_of_history,
        "calendar": f", calendar: {last.event}" if last.event else "",
        "days": [
            {"number": n, "date": day_of(d.day), "cause": _plain(d.diagnosis.cause), "action": _plain(d.response.action),
             "kind": KINDS[d.response.action]}
            for n, d in enumerate(days, start=1)
        ],
        "spans": _spans(days),
        "sparks": [_spark(name, figure, days) for name, figure in diagnosis.seen.items() if math.isfinite(figure.value)],
        "others": [
            {"cause": _plain(rule.cause), "standing": "rival" if rule.applies else "ruled out",
             "figures": ", ".join(f"{name} {_z(figure)}" for name, figure in rule.seen.items())
                or "nothing of it was there to look at"}
            for rule in diagnosis.tried
            if rule.cause != diagnosis.cause and rule.cause not in diagnosis.parts
        ],
        "blind": [f"No {name}: nothing is known of {BLIND_WITHOUT[name]}." for name in missing]
        + [f"{name} could not be measured." for name in diagnosis.blind]
        + [f"{remark}." for remark in remarks],
        "command": command,
    }  # fmt: skip


def _spans(days: Sequence[Watched]) -> list[dict[str, Any]]:
    """Days in a row on which the same was named and done."""
    found = []
    for (cause, action), group in groupby(days, key=lambda d: (d.diagnosis.cause, d.response.action)):
        part = list(group)
        found.append(
            {"first": day_of(part[0].day), "days": len(part), "cause": _plain(cause), "action": _plain(action),
             "reason": part[0].diagnosis.reason}
        )  # fmt: skip
    return found


def _spark(name: str, figure: Standing, days: Sequence[Watched]) -> dict[str, Any]:
    values = [day.standings[name].value if name in day.standings else math.nan for day in days]
    return {
        "name": name, "value": _figure(figure.value), "usual": _figure(figure.usual), "z": _deviations(figure),
        "chart": _chart(values, figure),
    }  # fmt: skip


def _chart(values: Sequence[float], figure: Standing) -> Markup:
    """The values of the days as a line over the band of what is usual."""
    known = [value for value in values if math.isfinite(value)]
    band = [figure.usual - 2 * figure.spread, figure.usual + 2 * figure.spread] if math.isfinite(figure.z) else []
    low, high = min([*known, *band]), max([*known, *band])
    height = (high - low) or 1.0

    def y(value: float) -> float:
        return HEIGHT - 6 - (value - low) / height * (HEIGHT - 12)

    step = (WIDTH - 12) / max(len(values) - 1, 1)
    at = [(6 + n * step, y(value)) for n, value in enumerate(values) if math.isfinite(value)]
    line = " ".join(f"{'L' if n else 'M'}{x:.1f} {top:.1f}" for n, (x, top) in enumerate(at))
    shade = (
        f'<rect class="usual" x="0" y="{y(band[1]):.1f}" width="{WIDTH:g}" height="{max(y(band[0]) - y(band[1]), 1):.1f}"/>'
        if band
        else ""
    )
    dot = f'<circle class="fill" cx="{at[-1][0]:.1f}" cy="{at[-1][1]:.1f}" r="3.2"/>' if at else ""
    return Markup(
        f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img">{shade}<path class="line" d="{line}"/>{dot}</svg>'
    )  # numbers only


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _figure(value: float) -> str:
    return minus(f"{value:.3g}") if math.isfinite(value) else "not known"


def _z(figure: Standing) -> str:
    return minus(f"{figure.z:+.1f}") if math.isfinite(figure.z) else _figure(figure.value)


def _deviations(figure: Standing) -> str:
    return f"{_z(figure)} deviations" if math.isfinite(figure.z) else "nothing to compare with"

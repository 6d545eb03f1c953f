"""Live the simulated issuer in a workspace: a day's payments, what the service made of them, and what will be said about them.

It stands where feeds, service, customers and analysts stand elsewhere. It knows the truth, and writes none of it down.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.card_incidents import Incident, incident
from ingest.card_world import CardSettings, CardWorld
from ingest.errors import SettingsError
from ingest.whole_files import write_json, write_whole
from monitoring.fraud.diagnosis import QUARANTINED
from monitoring.fraud.kept_days import KeptDays
from monitoring.fraud.stream import Stream, spoiled_examples
from training.carry_out import record_and_carry_out
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.model import fingerprint
from training.fraud.orders import orders_after
from training.mlflow_registry import MlflowRegistry
from training.promotion import aliases_after
from training.vocabulary import Decision

MENDED_DAYS = 2
"""What the owners of a feed or of the service need, once the watch has told them."""
AUDITED_FROM = 28
"""Before there is a model: its gates let nothing through that gold has not verified."""
HELD_DAYS = 24
"""Labels that are held back arrive so long after the incident began."""


@dataclass(frozen=True)
class Rehearsed:
    """An incident that was ordered, and the first day on which it acts."""

    cause: str
    strength: float
    first_day: date

    def incident(self, seed: int) -> Incident:
        ends = datetime.combine(self.first_day + timedelta(days=HELD_DAYS), time())
        return incident(self.cause, self.strength, seed=seed, ends=ends)


def live_day(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Live the day that ended at `as_of`, once. Raises SettingsError when a day before it was not lived."""

    def work() -> dict[str, Any]:
        stream, number = stream_of(cards), (as_of.date() - CardSettings().start).days - 1
        if number > len(stream.days):
            raise SettingsError(
                f"{as_of:%Y-%m-%d} cannot be lived: the issuer's last day is {stream.world.date_of(len(stream.days) - 1)}. "
                "Days come one after the other."
            )
        if number == len(stream.days):  # else it was lived by a run that died before it could say so
            harm, first = _under_way(cards, stream)
            _redeliver(cards, stream)
            _take_over(stream)
            stream.live_day(harm, first)
            write_registers(cards, stream)
        lived = stream.days[number]
        return {
            "as_of": f"{as_of:%Y-%m-%d}",
            "payments": len(lived.delivered),
            "blocked": int((lived.decided.blocked & ~lived.decided.explored).sum()),
            "live": lived.live,
        }

    return cards.parts.once(as_of, "live", work)


def order_incident(cards: CardDays, cause: str, strength: float) -> Rehearsed:
    """Let an incident begin on the next day. Raises SettingsError for what is not rehearsed.

    A bad release is put live past the gates, as the record says: the gates are there to make that impossible.
    """
    stream = stream_of(cards)
    ordered = Rehearsed(cause, strength, stream.world.date_of(len(stream.days)))
    harm = ordered.incident(cards.ws.settings.seed)
    if harm.release:
        _put_live(cards, stream, harm)
    write_json(_orders_path(cards), [_as_json(r) for r in (*_ordered(cards), ordered)])
    return ordered


def _put_live(cards: CardDays, stream: Stream, harm: Incident) -> None:
    """Fit a third version as the incident leaves it, and promote it as somebody would who goes around the gates."""
    at, rows = stream.midnight(len(stream.days)), spoiled_examples(stream, harm)
    model = rows.fitted(seed=stream.world.settings.seed)
    version = MlflowRegistry(cards.ws.settings, FRAUD).register(
        model,
        golden=FRAUD.golden(model, rows.features),
        params={},
        metrics={},
        tags={"as_of": f"{at:%Y-%m-%d}", "fingerprint": fingerprint(model), "rehearsed": harm.cause},
        run_name=f"rehearsed {harm.cause}",
    )
    learned = pa.table(
        {"model_version": [version.version] * len(rows.ids), "transaction_id": rows.ids, "is_fraud": rows.fraud}
    )
    write_whole(cards.learned_path(version.version), partial(pq.write_table, learned))
    record_and_carry_out(
        cards.ws,
        Decision(
            at=at.isoformat(),
            actor="person:rehearsal",
            kind="promotion",
            subject=f"{FRAUD.model} version {version.version}",
            action="promote",
            reason=f"rehearsal of {harm.cause}: put live past the gates",
            model_version=version.version,
            previous_version=stream.live,
            run_id=version.run_id,
        ),
    )


def stream_of(cards: CardDays) -> Stream:
    """The issuer with its days as they lie in the workspace, and the versions that the registry's aliases name."""
    settings = cards.ws.settings
    world = CardWorld(CardSettings(seed=settings.seed, per_day=settings.card_payments))
    decisions = cards.ws.decisions.read(FRAUD.model)
    releases = [
        (new, (datetime.fromisoformat(at).date() - world.settings.start).days, before or "rule")
        for new, at, before in _promotions(decisions)
    ]
    live = aliases_after(decisions, FRAUD.model)
    versions = {
        live.champion,
        live.previous,
        live.challenger,
        *(before for name, _, before in releases if name == live.champion),
    }
    registry = MlflowRegistry(settings, FRAUD)
    models = {version: registry.load(version) for version in versions if version and version != "rule"}
    return Stream(
        world,
        models,
        live.champion or "rule",
        releases,
        days=KeptDays(cards, world),
        audited_from=AUDITED_FROM,
        challenger=live.challenger,
    )


def _promotions(decisions: Sequence[Decision]) -> list[tuple[str, str, str | None]]:
    """Each version that was put live, when, and what was live before."""
    return [
        (decision.model_version or "", decision.at, aliases_after(decisions[:number], FRAUD.model).champion)
        for number, decision in enumerate(decisions)
        if decision.kind == "promotion"
    ]


def _take_over(stream: Stream) -> None:
    """Let a version that has just become live score the days before it, if it did not in its shadow."""
    if stream.live != "rule" and len(stream.days) and stream.live not in stream.days[-1].scores:
        stream.score_back(stream.live)


def write_registers(cards: CardDays, stream: Stream) -> None:
    """The two tables that are no day's: what was released; festivals up to four weeks ahead, and days that were quarantined."""
    releases = pd.DataFrame(
        [(name, stream.midnight(day), replaced) for name, day, replaced in stream.releases],
        columns=["model_version", "released_at", "replaces"],
    )
    days = (stream.world.date_of(n) for n in range(len(stream.days) + 28))
    festive = [(day, day, found.name) for n, day in enumerate(days) if (found := stream.world.festival_on(n))]
    orders = orders_after(cards.ws.decisions.read(FRAUD.model), stream.midnight(len(stream.days)))
    wrong = [(day, day, QUARANTINED) for day in sorted(orders.quarantined_days)]
    calendar = pd.DataFrame([*wrong, *festive], columns=["first_day", "last_day", "name"])
    for name, frame in (("releases", releases), ("calendar", calendar)):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        write_whole(cards.tables / f"{name}.parquet", partial(pq.write_table, table))


def _under_way(cards: CardDays, stream: Stream) -> tuple[Incident, int]:
    """What acts on the next day, and the day on which it began; what an owner was told of is mended after a while."""
    number = len(stream.days)
    day = stream.world.date_of(number)
    begun = [ordered for ordered in _ordered(cards) if ordered.first_day <= day]
    if not begun:
        return Incident(), number
    harm, first = begun[-1].incident(stream.world.settings.seed), begun[-1].first_day
    if _mended(cards, "quarantine_batch", first) <= day:
        harm = replace(harm, feed=())
    if _mended(cards, "roll_back", first) <= day:
        harm = replace(harm, skew=None)
    return harm, number - (day - first).days


def _redeliver(cards: CardDays, stream: Stream) -> None:
    """The days of a feed that is mended come again, as they should have been: what is computed from them later is right."""
    days, zero = stream.days, stream.world.settings.start
    assert isinstance(days, KeptDays)
    for ordered in _ordered(cards):
        harm, first = ordered.incident(stream.world.settings.seed), (ordered.first_day - zero).days
        ends = (_mended(cards, "quarantine_batch", ordered.first_day) - zero).days
        for number in range(first, ends) if harm.feed and ends <= len(days) else ():
            right = stream.world.day(number, harm.world(first)).transactions
            if not days[number].delivered.equals(right):
                days.redeliver(number, right)


def _mended(cards: CardDays, action: str, since: date) -> date:
    """The day from which on what was wrong is right, a while after its owner was told by that answer; none yet is never."""
    told = [
        datetime.fromisoformat(decision.at).date()
        for decision in cards.ws.decisions.read(FRAUD.model)
        if decision.kind in ("watch", "human_approval") and decision.action == action
    ]
    return min((at + timedelta(days=MENDED_DAYS) for at in told if at >= since), default=date.max)


def _orders_path(cards: CardDays) -> Path:
    return cards.home / "rehearsed.json"


def _ordered(cards: CardDays) -> list[Rehearsed]:
    path = _orders_path(cards)
    records = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return [Rehearsed(**{**record, "first_day": date.fromisoformat(record["first_day"])}) for record in records]


def _as_json(ordered: Rehearsed) -> dict[str, Any]:
    return {**asdict(ordered), "first_day": str(ordered.first_day)}

"""Live the simulated issuer in a workspace: a day's payments, what the service made of them, and what will be said about them.

It stands where feeds, service, customers and analysts stand elsewhere. It knows the truth, and writes none of it down.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.card_incidents import Incident, incident
from ingest.card_world import CardSettings, CardWorld, ChangeOn
from ingest.errors import SettingsError
from ingest.whole_files import write_json, write_whole
from monitoring.fraud.diagnosis import QUARANTINED
from monitoring.fraud.kept_days import KeptDays
from monitoring.fraud.stream import Stream, spoiled_examples
from training.carry_out import record_and_carry_out
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.model import FraudModel, fingerprint
from training.fraud.orders import days_quarantined
from training.mlflow_registry import MlflowRegistry, Version
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


def order_incident(cards: CardDays, cause: str, strength: float, *, within: int = 0) -> Rehearsed:
    """Let an incident begin on the next day; the same one that was ordered `within` so many days goes on.

    A bad release is put live past the gates, as the record says: the gates are there to make that impossible.
    Raises SettingsError for what is not rehearsed.
    """
    stream, orders = stream_of(cards), _ordered(cards)
    ordered = Rehearsed(cause, strength, stream.world.date_of(len(stream.days)))
    harm = ordered.incident(cards.ws.settings.seed)
    if orders and _goes_on(orders[-1], ordered, within):
        ordered = orders[-1]
    else:
        write_json(_orders_path(cards), [_as_json(r) for r in (*orders, ordered)])
    if harm.release:
        _put_live(cards, stream, harm, ordered)
    return ordered


def _goes_on(before: Rehearsed, now: Rehearsed, within: int) -> bool:
    same = (before.cause, before.strength) == (now.cause, now.strength)
    return same and before.first_day > now.first_day - timedelta(days=within)


def _put_live(cards: CardDays, stream: Stream, harm: Incident, ordered: Rehearsed) -> None:
    """Fit a third version as the incident leaves it, and promote it as somebody would who goes around the gates; once."""
    registry, key = MlflowRegistry(cards.ws.settings, FRAUD), f"rehearsed {harm.cause} {ordered.first_day}"
    version = registry.find(key) or _fit_badly(cards, registry, stream, harm, key)
    promoted = [
        d for d in cards.ws.decisions.read(FRAUD.model) if d.kind == "promotion" and d.model_version == version.version
    ]
    if promoted:
        return
    record_and_carry_out(
        cards.ws,
        Decision(
            at=datetime.combine(ordered.first_day, time()).isoformat(),
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


def _fit_badly(
    cards: CardDays, registry: MlflowRegistry[FraudModel], stream: Stream, harm: Incident, key: str
) -> Version:
    rows = spoiled_examples(stream, harm)
    model = rows.fitted(seed=stream.world.settings.seed)
    tags = {"key": key, "as_of": str(stream.world.date_of(len(stream.days))), "fingerprint": fingerprint(model)}
    version = registry.register(
        model, golden=FRAUD.golden(model, rows.features), params={}, metrics={}, tags=tags, run_name=key
    )
    learned = pa.table(
        {"model_version": [version.version] * len(rows.ids), "transaction_id": rows.ids, "is_fraud": rows.fraud}
    )
    write_whole(cards.learned_path(version.version), partial(pq.write_table, learned))
    return version


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
        days=KeptDays(cards, world, partial(_world_on, cards, world)),
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
    wrong = [(day, day, QUARANTINED) for day in sorted(days_quarantined(cards.ws.decisions.read(FRAUD.model)))]
    seasons = [
        (ordered.first_day, ordered.first_day + timedelta(days=HELD_DAYS), "season")
        for ordered in _ordered(cards)
        if ordered.incident(stream.world.settings.seed).in_calendar
    ]
    calendar = pd.DataFrame([*wrong, *seasons, *festive], columns=["first_day", "last_day", "name"])
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
    days, zero, orders = stream.days, stream.world.settings.start, _ordered(cards)
    assert isinstance(days, KeptDays)
    for ordered, next_one in zip_longest(orders, orders[1:]):
        harm, first = ordered.incident(stream.world.settings.seed), (ordered.first_day - zero).days
        mended = _mended(cards, "quarantine_batch", ordered.first_day)
        until = min(mended, next_one.first_day) if next_one else mended
        for number in range(first, (until - zero).days) if harm.feed and (mended - zero).days <= len(days) else ():
            right = stream.world.day(number, harm.world(first)).transactions
            if not days[number].delivered.equals(right):
                days.redeliver(number, right)


def _world_on(cards: CardDays, world: CardWorld, number: int) -> ChangeOn:
    """How the world was otherwise than usual on a day, by the incident that was under way on it."""
    day = world.date_of(number)
    begun = [ordered for ordered in _ordered(cards) if ordered.first_day <= day]
    if not begun:
        return Incident().world(0)
    return begun[-1].incident(world.settings.seed).world((begun[-1].first_day - world.settings.start).days)


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

"""Live the weeks before anything can be diagnosed: a rule, a first model and its successor, and the evidence of clean days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta

from ingest.card_incidents import Incident
from ingest.card_world import CardSettings
from ingest.errors import ReplayError
from monitoring.fraud.folder import read_folder
from monitoring.fraud.issuer import stream_of, write_registers
from monitoring.fraud.ledger import EPOCH, Ledger
from monitoring.fraud.stream import INCIDENT_DAY, Stream
from monitoring.fraud.watch import STRIDE, past_evidence
from monitoring.fraud.watch_day import keep
from training.fraud.card_days import CardDays
from training.fraud.daily import fit_candidate, judge_candidate, promote_or_refuse

#: By the first of these days an audit of eleven weeks has seen enough fraud for the gates, mostly. A candidate comes every other
#: week, until there is a version to go back to.
TRAINED_ON = range(105, 176, 14)
SETTLED_DAYS = 56
"""After the last release: evidence looks so far back."""


def history_ends() -> datetime:
    """The midnight that ends the history: the first day that is watched begins there."""
    return datetime.combine(CardSettings().start + timedelta(days=INCIDENT_DAY), time())


def begin(cards: CardDays, said: Callable[[str], None] = lambda _: None) -> None:
    """Live the issuer's history where it is not lived yet: a minute or two, once a workspace.

    Raises ReplayError when no model passes its gates, so that there would be nothing to watch.
    """
    stream = stream_of(cards)
    if len(stream.days) > INCIDENT_DAY:
        return
    for number in range(len(stream.days), INCIDENT_DAY):
        if number in TRAINED_ON and len(stream.releases) < 2:
            said(f"day {number} of {INCIDENT_DAY}: training")
            write_registers(cards, stream)
            _train(cards, stream.midnight(number))
            stream = _gone_on(cards, stream)
        stream.live_day(Incident(), INCIDENT_DAY)
        said(f"day {number + 1} of {INCIDENT_DAY}")
    if len(stream.releases) < 2:
        raise ReplayError(
            f"Of the {len(TRAINED_ON)} candidates of the history fewer than two passed their gates; see "
            f"{cards.ws.decisions.path}, then choose another seed."
        )
    write_registers(cards, stream)
    _keep_evidence(cards, stream, said)


def _train(cards: CardDays, as_of: datetime) -> None:
    fit_candidate(cards, as_of)
    judge_candidate(cards, as_of)
    promote_or_refuse(cards, as_of)


def _gone_on(cards: CardDays, stream: Stream) -> Stream:
    """The stream with what is live now, and the days that it has read already."""
    now = stream_of(cards)
    now.days = stream.days
    if now.live != stream.live:
        now.score_back(now.live)
    return now


def _keep_evidence(cards: CardDays, stream: Stream, said: Callable[[str], None]) -> None:
    """What is usual on clean days, every other one since the last release has settled."""
    first = stream.releases[-1][1] + SETTLED_DAYS
    moments = [stream.midnight(number) for number in range(first, INCIDENT_DAY)]
    wanted = [at for at in moments if at.toordinal() % STRIDE == EPOCH.toordinal() % STRIDE]
    missing = [at for at in wanted if cards.parts.read(at, "evidence") is None]
    if not missing:
        return
    ledger = Ledger.of(read_folder(cards.tables, since=(wanted[0] - timedelta(days=SETTLED_DAYS)).date()).tables)
    for done, at in enumerate(missing, start=1):
        said(f"what is usual: {done} of {len(missing)} days")
        day = at.toordinal() - EPOCH.toordinal()
        keep(cards, at, past_evidence(ledger, [day])[day])

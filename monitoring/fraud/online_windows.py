"""Write what is known of customers and terminals at a midnight to the feature store, for the service to read until the next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from feature_repo.card_features import CUSTOMER_WINDOWS, TERMINAL_WINDOWS
from feature_repo.definitions import CARDS, PAST_DAYS
from feature_repo.feast_store import FeastStore
from monitoring.fraud.issuer import stream_of
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.promotion import aliases_after


def write_windows(cards: CardDays, as_of: datetime) -> dict[str, Any]:
    """Compute the windows from the payments before `as_of` and the labels that had arrived, and copy them online, once."""

    def work() -> dict[str, Any]:
        stream = stream_of(cards)
        number = (as_of.date() - stream.world.settings.start).days
        store = FeastStore(cards.features, cards.ws.settings.feast_online, CARDS)
        live = aliases_after(cards.ws.decisions.read(FRAUD.model), FRAUD.model).champion
        store.apply(read_by_live_models={*CUSTOMER_WINDOWS, *TERMINAL_WINDOWS} if live else ())
        past = stream.past(number, PAST_DAYS)
        counts = store.write_rows(past, as_of) if past is not None else {}
        return {"as_of": f"{as_of:%Y-%m-%d}", "rows": counts, "online": store.materialise(as_of)}

    return cards.parts.once(as_of, "windows", work)

"""Two small made-up worlds: a shop whose customers restock, and a news site whose articles live for about a week."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

START = datetime(2020, 1, 6)
WEEK = timedelta(days=7)
COLOURS = ("red", "blue", "green", "amber")
TOPICS = ("sport goal match", "money bank market", "space rocket orbit", "music band concert", "food chef kitchen")


def monday(week: int) -> datetime:
    return START + week * WEEK


def shop_log(*, customers: int = 60, items: int = 80, weeks: int = 16, seed: int = 0) -> pd.DataFrame:
    """Customers who mostly buy again what they bought before."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(customers):
        favourites = rng.choice(items, size=min(8, items), replace=False)
        for week in range(weeks):
            if rng.random() < 0.6:
                wanted = np.unique([*rng.choice(favourites, 4), rng.integers(items)])
                moment = monday(week) + timedelta(hours=float(rng.uniform(0, 160)))
                rows += [
                    (f"u{customer}", f"i{item}", moment, 2.0, 1.0 + item, f"{COLOURS[item % 4]} mug {item}")
                    for item in wanted
                ]
    return _as_log(rows)


def news_log(*, readers: int = 150, weeks: int = 12, articles_a_day: int = 15, seed: int = 0) -> pd.DataFrame:
    """Readers with a favourite topic, articles that fade within days, and nobody who reads an article twice."""
    rng = np.random.default_rng(seed)
    days = weeks * 7
    topic = rng.integers(0, len(TOPICS), days * articles_a_day)
    published = np.repeat(np.arange(days), articles_a_day)
    appeal = rng.lognormal(0, 0.8, len(topic))
    favourite = rng.integers(0, len(TOPICS), readers)
    words = [rng.choice(TOPICS[t].split(), 2) for t in topic]
    rows = []
    for reader in range(readers):
        read: set[int] = set()
        for day in range(days):
            if rng.random() < 0.35:
                age = day - published
                interest = appeal * np.exp(-age / 3.0) * (age >= 0) * np.where(topic == favourite[reader], 12.0, 1.0)
                interest[list(read)] = 0
                chosen = rng.choice(len(topic), 3, replace=False, p=interest / interest.sum())
                read |= set(chosen.tolist())
                moment = START + timedelta(days=day, hours=float(rng.uniform(1, 23)))
                rows += [(f"u{reader}", f"a{c}", moment, 1.0, None, f"{' '.join(words[c])} {c}") for c in chosen]
    return _as_log(rows)


def _as_log(rows: list[tuple]) -> pd.DataFrame:
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "event_time", "quantity", "price", "item_text"])
    log["event_time"] = log["event_time"].astype("datetime64[us]")
    log["price"] = log["price"].astype("float64")
    return (
        log.assign(event="purchase", country=None)
        .astype({"country": "string"})
        .sort_values("event_time", ignore_index=True)
    )

"""Open a source by its name, as commands and DAGs know it."""

from collections.abc import Collection
from datetime import date
from pathlib import Path

from ingest.errors import SettingsError, SourceError
from ingest.schema import PURCHASE
from ingest.source import Source
from ingest.staging import PLAIN, Reading

SOURCES = ("shop", "online-retail", "interactions")
# A Monday, so that a replay of the shop reads the same in every year.
SHOP_START = date(2024, 1, 1)
# Ten years: longer than anybody replays, and weeks are only made when they are asked for.
SHOP_WEEKS = 520


def open_source(
    name: str,
    data: Path | None = None,
    seed: int = 0,
    *,
    start: date = SHOP_START,
    scale: int = 1,
    staging: Path = Path("runs/staging"),
    reading: Reading = PLAIN,
    purchase_events: Collection[str] = (PURCHASE,),
) -> Source:
    """Open `shop` (simulated, from `seed`), `online-retail` or `interactions` (both from the file or folder `data`).

    The shop needs no data; a file of incidents takes the place of its usual story.
    """
    if name not in SOURCES:
        raise SettingsError(f"There is no source {name!r}; choose one of {', '.join(SOURCES)}.")
    if name == "shop":
        from ingest.shop import Shop  # late: a real log needs no simulator
        from ingest.shop_incidents import DEFAULT_INCIDENTS, read_incidents

        incidents = DEFAULT_INCIDENTS if data is None else read_incidents(data)
        return Shop(seed, start, weeks=SHOP_WEEKS, rows_scale=scale, incidents=incidents)
    if data is None:
        raise SourceError(f"The source {name} reads files: say where they are with --data.")
    if name == "online-retail":
        from ingest.online_retail import open_online_retail

        return open_online_retail(data, staging, reading=reading)
    from ingest.interactions import open_interactions

    return open_interactions(data, staging, purchase_events=purchase_events, reading=reading)

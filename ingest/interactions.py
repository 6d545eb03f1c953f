"""Take any log of interactions: files with `user_id`, `item_id` and `timestamp`.

`event`, `quantity`, `price`, `item_text` and `country` are used where they are there; other columns are noted and kept
out of the lake.
"""

from collections.abc import Collection
from pathlib import Path

from ingest.contract import event_log_contract
from ingest.errors import SourceError
from ingest.file_source import FileSource, common_date_order, stacked
from ingest.published import published_files
from ingest.schema import PURCHASE
from ingest.staging import PLAIN, Reading, StagedFile, stage

NAME = "interactions"
REQUIRED = (("user_id",), ("item_id",), ("timestamp",))


def open_interactions(
    path: Path, staging: Path, *, purchase_events: Collection[str] = (PURCHASE,), reading: Reading = PLAIN
) -> FileSource:
    """Open a log, file or folder; `purchase_events` are the values of `event` that mean a purchase.

    Raises SourceError when the log cannot be read, or when nothing in it is a purchase.
    """
    files = tuple(
        stage(file, staging, required=REQUIRED, time_column="timestamp", reading=reading)
        for file in published_files(path)
    )
    _require_purchases(path, files, purchase_events)
    contract = event_log_contract(
        NAME,
        carried=set.intersection(*(set(file.columns) for file in files)),
        purchase_events=purchase_events,
        unreadable_times_tolerated=1.0,  # staging has judged the whole column, and sends all strays with the first week
        date_order=common_date_order(files, path),
    )
    return FileSource(NAME, contract, files, merge=stacked)


def _require_purchases(path: Path, files: tuple[StagedFile, ...], purchase_events: Collection[str]) -> None:
    if any("event" not in file.columns for file in files):
        return
    found = sorted({event for file in files for event in file.distinct("event")})
    if set(found).isdisjoint(purchase_events):
        raise SourceError(
            f"{path} has no event named {' or '.join(purchase_events)}, so there is nothing to recommend from. "
            f"Its events are {', '.join(found[:10]) or 'all blank'}: "
            f"say which of them mean a purchase, such as --purchase-events {(found or ['NAME'])[0]}."
        )

"""Fetch Online Retail II from where it is published, and turn its workbook into one Parquet file.

Chen, D. (2012), doi 10.24432/C5CG6D, licence CC BY 4.0: keep this attribution wherever the data is shown.
"""

import http.client
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from ingest.errors import SourceError
from ingest.published import literal
from ingest.timestamps import connect
from ingest.workbook import SHEET, workbook_to_parquet

PUBLISHED_URL = "https://archive.ics.uci.edu/static/public/502/online+retail+ii.zip"
PUBLISHED_ROWS = 1_067_371  # in both sheets together
FILE_NAME = "online_retail_ii.parquet"

COLUMNS = {
    "Invoice": "VARCHAR",
    "StockCode": "VARCHAR",
    "Description": "VARCHAR",
    "Quantity": "INTEGER",
    "InvoiceDate": "TIMESTAMP",
    "Price": "DOUBLE",
    "Customer ID": "INTEGER",
    "Country": "VARCHAR",
}

_BLOCK_BYTES = 1 << 16
_ATTEMPTS = 5

Progress = Callable[[str, int, int | None], object]


def silent(*_: object) -> None:
    """Report no progress."""


def fetch_online_retail(
    destination: Path,
    url: str = PUBLISHED_URL,
    *,
    published_rows: int = PUBLISHED_ROWS,
    progress: Progress = silent,
) -> Path:
    """Download, unpack, convert and check; give the Parquet file's path, at once if it is already there.

    An interrupted download goes on where it stopped. `progress` is told the stage ("download" in bytes, "convert" in
    rows), how much is done, and the total where it is known. Raises SourceError, saying what is wrong and what to do.
    """
    parquet = destination / FILE_NAME
    if parquet.exists():
        return parquet
    destination.mkdir(parents=True, exist_ok=True)
    archive = download(url, destination / "online_retail_ii.zip", progress)
    workbook = _unpack(archive, destination)
    _convert(workbook, parquet, published_rows, progress)
    workbook.unlink()
    archive.unlink()
    return parquet


def download(url: str, file: Path, progress: Progress) -> Path:
    """Download a file, trying again from where a broken connection left off."""
    if file.exists():
        return file
    part = file.with_name(file.name + ".part")
    failure: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            if _continue_download(url, part, progress):
                return part.rename(file)
        except urllib.error.HTTPError as error:
            failure = error
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                break  # asking again will not change the answer
            part.unlink(missing_ok=True)  # what we hold is not a beginning of what is published now
        except (OSError, http.client.HTTPException) as error:
            failure = error
    raise SourceError(
        f"{url} could not be downloaded ({failure or 'the connection was cut'}). What has arrived is kept in {part}: "
        "run the command again to go on, or download the file by hand and give its path as data."
    ) from failure


def _continue_download(url: str, part: Path, progress: Progress) -> bool:
    """Append what is still missing; True when the whole file is there."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # this server cannot resume
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if have else "wb") as file:
            while block := answer.read(_BLOCK_BYTES):
                file.write(block)
                have += len(block)
                progress("download", have, total)
    return total is None or have >= total


def _unpack(archive: Path, destination: Path) -> Path:
    try:
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if name.lower().endswith(".xlsx")]
            if not names:
                raise SourceError(f"{archive} holds no .xlsx but {', '.join(packed.namelist())}. Is it the right file?")
            return Path(packed.extract(names[0], destination))
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise SourceError(
            f"What was downloaded as {archive.name} is not a zip archive ({error}); it has been removed. Try again; "
            "if it happens twice, open the address in a browser and see what it answers."
        ) from error


def _convert(workbook: Path, parquet: Path, published_rows: int, progress: Progress) -> None:
    """Write both sheets as one typed Parquet file; lines of the second that the first already holds are left out."""
    text, partial = parquet.with_suffix(".text"), parquet.with_suffix(".partial")
    workbook_to_parquet(workbook, text, lambda rows: progress("convert", rows, published_rows))
    _require_published(workbook, text, published_rows)
    same = " AND ".join(f'later."{name}" IS NOT DISTINCT FROM earlier."{name}"' for name in COLUMNS)
    typed = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in COLUMNS.items())
    lines = (
        f"SELECT {typed} FROM published AS later WHERE NOT EXISTS "
        f"(FROM published AS earlier WHERE earlier.{SHEET} < later.{SHEET} AND {same})"
    )
    try:
        with connect("1GB") as connection:
            connection.execute(f"CREATE VIEW published AS SELECT * FROM read_parquet({literal(text)})")
            connection.execute(f"COPY ({lines}) TO {literal(partial)} (FORMAT parquet, COMPRESSION zstd)")
    except duckdb.Error as error:
        what = str(error).splitlines()[0]
        raise SourceError(f"{workbook} could not be converted: {what}. Fetch it again, or free some space.") from error
    text.unlink()
    partial.replace(parquet)


def _require_published(workbook: Path, text: Path, published_rows: int) -> None:
    found = pq.read_schema(text).names
    if absent := [name for name in COLUMNS if name not in found]:
        raise SourceError(
            f"{workbook} lacks {', '.join(absent)}; it has {', '.join(found)}. The published file changed."
        )
    rows = pq.read_metadata(text).num_rows
    if rows != published_rows:
        raise SourceError(
            f"{workbook} holds {rows:,} rows instead of the published {published_rows:,}. Delete it and fetch again; "
            "if the number stays, the publication has changed: check it, then give the file itself as data."
        )

"""Look into a published file: which files there are, whether they can be read, and what columns they hold.

CSV is read as text only, so that a bad cell is still visible when the contract looks for it.
"""

import codecs
import csv
import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb

from ingest.errors import SourceError
from ingest.workbook import SHEET, workbook_to_parquet

PART, PLACE = "__part", "__place"  # of a row: its sheet in a workbook, and its number in the file
SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx")
ENCODINGS = ("utf-8", "latin-1")

_DELIMITERS = ",;\t|"


def published_files(path: Path, preferred: str = "*") -> list[Path]:
    """List the data files at a path: the file itself, or a folder's, all of one format.

    In a folder that holds more than this source's data, files matching `preferred` are taken before any others.
    """
    if not path.exists():
        raise SourceError(f"There is no file or folder {path}. Check the path that was given as data.")
    if path.is_file():
        return [path]
    every = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    files = [file for file in every if file.match(preferred)] or every
    if not files:
        raise SourceError(f"The folder {path} holds no data file; one of {', '.join(SUFFIXES)} is needed.")
    formats = sorted({file.suffix.lower() for file in files})
    if len(formats) > 1:
        raise SourceError(
            f"The folder {path} mixes {' and '.join(formats)} files, which may hold the same rows twice. "
            "Give the one file that counts, or a folder with a single format."
        )
    return files


def published_sql(path: Path, scratch: Path, encoding: str) -> str:
    """Write the query that streams a file's published columns, with PART and PLACE beside them."""
    if path.suffix.lower() not in SUFFIXES:
        raise SourceError(
            f"{path} has the format {path.suffix or 'unknown'}; one of {', '.join(SUFFIXES)} can be read."
        )
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes). Export or download it again.")
    match path.suffix.lower():
        case ".parquet":
            return f"SELECT *, 0 AS {PART}, row_number() OVER () AS {PLACE} FROM read_parquet({_one_file(path)})"
        case ".xlsx":
            copy = scratch / "workbook.parquet"
            workbook_to_parquet(path, copy)
            rows = f"SELECT * RENAME ({SHEET} AS {PART}), row_number() OVER () AS {PLACE}"
            return f"{rows} FROM read_parquet({_one_file(copy)})"
        case _:
            delimiter, header = _header(path, encoding)
            columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header)
            return (
                f"SELECT *, 0 AS {PART}, row_number() OVER () AS {PLACE} FROM read_csv({_one_file(path)}, "
                f"auto_detect = false, header = true, columns = {{{columns}}}, delim = {literal(delimiter)}, "
                f"quote = '\"', escape = '\"', null_padding = true, encoding = {literal(encoding)})"
            )


def require_columns(
    connection: duckdb.DuckDBPyConnection, path: Path, required: Collection[Sequence[str]]
) -> dict[str, str]:
    """Give the published columns with their DuckDB types, once those required are there."""
    described = connection.sql("SELECT * FROM published LIMIT 0")
    types = dict(zip(described.columns, map(str, described.types), strict=True))
    columns = {name: kind for name, kind in types.items() if name not in (PART, PLACE)}
    absent = [names for names in required if not any(name in columns for name in names)]
    if absent:
        wanted = "; ".join(f"{' or '.join(names)}{_nearest(names, columns)}" for names in absent)
        raise SourceError(f"{path} lacks {wanted}. Columns found: {', '.join(columns)}. Rename them in the file.")
    return columns


def _header(path: Path, encoding: str) -> tuple[str, list[str]]:
    """Read the delimiter and the column names, after making sure that the text is what it claims to be."""
    _require_encoding(path, encoding)
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline="") as file:
        first_line = file.readline()
        delimiter = max(_DELIMITERS, key=first_line.count)
        file.seek(0)
        names = [name.strip() for name in next(csv.reader(file, delimiter=delimiter))]
    if not any(names):
        raise SourceError(f"{path} begins with a blank line. Put the column names into the first line.")
    # Exports of indexed tables begin with a column that has no name.
    header = [name or f"unnamed_{n}" for n, name in enumerate(names)]
    plain = [name.casefold() for name in header]
    if doubled := sorted({name for name in header if plain.count(name.casefold()) > 1}):
        raise SourceError(f"{path} has several columns named {', '.join(doubled)}. Rename all but the one that counts.")
    return delimiter, header


def _require_encoding(path: Path, encoding: str) -> None:
    if encoding not in ENCODINGS:
        raise SourceError(f"The encoding {encoding!r} cannot be read; choose one of {', '.join(ENCODINGS)}.")
    decoder, offset = codecs.getincrementaldecoder(encoding)(), 0
    with path.open("rb") as file:
        while True:
            block = file.read(1 << 22)
            held = len(decoder.getstate()[0])  # bytes of a character that the last block cut in two
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                place, byte = offset - held + error.start, error.object[error.start]
                raise SourceError(
                    f"{path} is not {encoding}: byte {place:,} is {byte:#04x}. "
                    "If an older Windows or Excel wrote it, try --encoding latin-1."
                ) from error
            if not block:
                return
            offset += len(block)


def _nearest(names: Sequence[str], columns: Collection[str]) -> str:
    """Hint at the column that was probably meant."""
    plain = {column.lower().replace(" ", "").replace("_", ""): column for column in columns}
    close = [
        plain[match] for name in names for match in difflib.get_close_matches(name.lower().replace("_", ""), plain, 1)
    ]
    return f" (is it {close[0]!r}?)" if close else ""


def _one_file(path: Path) -> str:
    """Name a file to DuckDB, which would take sales[1].csv for a pattern."""
    return literal("".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path)))


def literal(text: object) -> str:
    """Quote a text for SQL."""
    return "'" + str(text).replace("'", "''") + "'"

"""The published archive is fetched over a bad line, converted once, and checked against what was published."""

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from ingest.errors import SourceError
from ingest.fetch import COLUMNS, fetch_online_retail

DAY = datetime(2010, 12, 1, 8, 26)
LAMP = (489434, "85123A", "WHITE LAMP", 6, DAY, 2.55, 17850, "United Kingdom")
BOX = (489435, 22632, "RED BOX", 2, DAY, 1.25, None, "France")
RETURN = ("C489440", "85123A", None, -2, DAY, 2.55, 17850, "United Kingdom")


def archive(
    *sheets: list[tuple[object, ...]], header: tuple[str, ...] = tuple(COLUMNS), name: str = "or.xlsx"
) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for lines in sheets:
        sheet = book.create_sheet()
        for line in [header, *lines]:
            sheet.append(line)
    workbook, packed = io.BytesIO(), io.BytesIO()
    book.save(workbook)
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr(name, workbook.getvalue())
    return packed.getvalue()


PUBLISHED = archive([LAMP, LAMP, BOX], [BOX, RETURN])  # five rows; the sheets share one


@contextmanager
def serving(
    content: bytes, *, cuts: int = 0, resumes: bool = True, status: int = 200
) -> Iterator[tuple[str, list[str]]]:
    """Serve an archive, cutting the first `cuts` answers half-way; give its address and the ranges asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if resumes else 0
            body = content[start:]
            self.send_response(206 if wanted and resumes else status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if len(asked) <= cuts else body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/or.zip", asked
    finally:
        server.shutdown()
        server.server_close()


def test_both_sheets_become_one_typed_table(tmp_path: Path) -> None:
    """Lines of both sheets are kept once, cells get their kinds, and only the result stays on the disk."""
    seen: list[tuple[str, int, int | None]] = []
    with serving(PUBLISHED) as (url, _):
        file = fetch_online_retail(tmp_path, url, published_rows=5, progress=lambda *step: seen.append(step))

    table = pq.read_table(file)
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("489434", "85123A", "WHITE LAMP", 6, DAY, 2.55, 17850, "United Kingdom"),
        ("489434", "85123A", "WHITE LAMP", 6, DAY, 2.55, 17850, "United Kingdom"),
        ("489435", "22632", "RED BOX", 2, DAY, 1.25, None, "France"),
        ("C489440", "85123A", None, -2, DAY, 2.55, 17850, "United Kingdom"),
    ]
    assert table.column_names == list(COLUMNS)
    assert list(tmp_path.iterdir()) == [file]
    assert seen[0] == ("download", len(PUBLISHED), len(PUBLISHED))
    assert seen[-1] == ("convert", 5, 5)


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    """A second call needs no network."""
    with serving(PUBLISHED) as (url, asked):
        first = fetch_online_retail(tmp_path, url, published_rows=5)
        assert fetch_online_retail(tmp_path, url, published_rows=5) == first

    assert len(asked) == 1


def test_a_cut_connection_is_resumed_where_it_broke(tmp_path: Path) -> None:
    """Only the missing bytes are asked for again."""
    with serving(PUBLISHED, cuts=2) as (url, asked):
        file = fetch_online_retail(tmp_path, url, published_rows=5)

    half = len(PUBLISHED) // 2
    assert asked == ["", f"bytes={half}-", f"bytes={half + (len(PUBLISHED) - half) // 2}-"]
    assert pq.read_metadata(file).num_rows == 4


def test_a_server_that_cannot_resume_is_asked_for_everything(tmp_path: Path) -> None:
    """An answer that ignores the range replaces what was there, instead of being appended to it."""
    with serving(PUBLISHED, cuts=1, resumes=False) as (url, _):
        assert pq.read_metadata(fetch_online_retail(tmp_path, url, published_rows=5)).num_rows == 4


def test_a_line_that_never_holds_keeps_what_arrived(tmp_path: Path) -> None:
    """After five attempts the user is told that calling again will go on from here; and it does."""
    with serving(PUBLISHED, cuts=5) as (url, _):
        with pytest.raises(SourceError, match=r"is kept in .*\.zip\.part: run the command again"):
            fetch_online_retail(tmp_path, url, published_rows=5)
        assert 0 < (tmp_path / "online_retail_ii.zip.part").stat().st_size < len(PUBLISHED)

        assert fetch_online_retail(tmp_path, url, published_rows=5).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>Sorry, we moved</html>", "is not a zip archive"),
        (archive([LAMP], name="readme.txt"), r"holds no \.xlsx but readme\.txt"),
        (archive([LAMP[:4]], header=tuple(COLUMNS)[:4]), "lacks InvoiceDate, Price, Customer ID, Country"),
        (archive([LAMP, BOX]), "holds 2 rows instead of the published 5"),
        (archive([(*LAMP[:3], "six", *LAMP[4:])] * 5), "could not be converted.*six"),
    ],
)
def test_anything_else_than_the_published_data_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """An error page, another archive or a changed publication is not taken for the data, and leaves no result."""
    with serving(content) as (url, _), pytest.raises(SourceError, match=message):
        fetch_online_retail(tmp_path, url, published_rows=5)

    assert not (tmp_path / "online_retail_ii.parquet").exists()


def test_a_refusal_by_the_server_is_final(tmp_path: Path) -> None:
    """A page that is gone is asked for once, and the address is in the message."""
    with serving(b"gone", status=404) as (url, asked), pytest.raises(SourceError, match=r"or\.zip.*404"):
        fetch_online_retail(tmp_path, url)

    assert len(asked) == 1

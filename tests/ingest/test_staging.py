"""A file is cut into weeks once, in its own order, and within bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ingest.staging import PLAIN, StagedFile, stage

REQUIRED = (("user_id",), ("item_id",), ("timestamp",))
MEGABYTE = 1_000_000

#: Measured: 730 MB for a file of 1 GB. DuckDB may take 512 MB, and 150 MB are imports.
MOST_HELD_MB = 800

# Opens a log, ingests its first two weeks, and prints its rows and the most memory that it ever held, in MB. VmHWM
# rather than ru_maxrss, which starts from the memory of the process that started this one.
_MEASURED = """
import re, sys
from pathlib import Path
from ingest.interactions import open_interactions
from ingest.lake import Lake

source, lake = open_interactions(Path(sys.argv[1]), Path(sys.argv[2])), Lake(Path(sys.argv[3]))
for arrived in source.arrivals()[:2]:
    for delivery in source.deliveries(arrived):
        assert lake.ingest(delivery, source.contract).status == "accepted"
held_kb = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(sum(file.rows for file in source.files), held_kb // 1024)
"""


def staged(path: Path, staging: Path) -> StagedFile:
    return stage(path, staging, required=REQUIRED, time_column="timestamp", reading=PLAIN)


def write_log(path: Path, megabytes: int, weeks: int) -> int:
    """Write a log in random order, which is the hardest to cut into weeks; give its number of rows."""
    rng, block = np.random.default_rng(7), 50_000
    moments = np.datetime64("2020-01-06T00:00:00") + rng.integers(0, weeks * 7 * 86_400, block).astype("timedelta64[s]")
    users, items = rng.integers(0, 100_000, block), rng.integers(0, 5_000, block)
    lines = "".join(
        f"{user},{item},{moment},purchase,1,2.50,a fine thing of kind {item},United Kingdom\n"
        for user, item, moment in zip(users, items, moments.astype(str), strict=True)
    )
    times = megabytes * MEGABYTE // len(lines) + 1
    with path.open("w") as file:
        file.write("user_id,item_id,timestamp,event,quantity,price,item_text,country\n")
        for _ in range(times):
            file.write(lines)
    return times * block


def test_a_staged_file_is_used_again_and_a_changed_one_is_not(tmp_path: Path) -> None:
    """The folder's name holds the file's size, time and ends: an appended line makes another folder."""
    log, staging = tmp_path / "log.csv", tmp_path / "staging"
    log.write_text("user_id,item_id,timestamp\na,x,2024-01-02\n")
    first = staged(log, staging)
    marker = first.folder / "staged.json"
    stamp = marker.stat().st_mtime_ns

    assert staged(log, staging) == first
    assert marker.stat().st_mtime_ns == stamp
    with log.open("a") as file:
        file.write("b,x,2024-01-03\n")
    assert staged(log, staging).folder != first.folder
    assert staged(log, staging).rows == 2


def test_an_unfinished_folder_is_built_again(tmp_path: Path) -> None:
    """Only the marker, written last, makes a staged folder count."""
    log, staging = tmp_path / "log.csv", tmp_path / "staging"
    log.write_text("user_id,item_id,timestamp\na,x,2024-01-02\n")
    first = staged(log, staging)
    (first.folder / "staged.json").unlink()

    again = staged(log, staging)

    assert again == first
    assert [path.name for path in staging.iterdir()] == [first.folder.name]


def test_weeks_hold_all_rows_in_the_order_of_the_file(tmp_path: Path) -> None:
    """However the rows of several weeks are interleaved, each week comes back complete and in order."""
    days = np.random.default_rng(3).integers(1, 29, 5_000)
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,timestamp\n" + "".join(f"{n},x,2024-01-{day:02}\n" for n, day in enumerate(days)))

    file = staged(log, tmp_path / "staging")
    weeks = [[int(user) for user in file.week(week)["user_id"].to_pylist()] for week in file.weeks]

    assert len(weeks) == 4
    assert all(week == sorted(week) for week in weeks)
    assert sorted(user for week in weeks for user in week) == list(range(5_000))


@pytest.mark.parametrize("name", ["sales[1].csv", "it's.csv", "what?*.csv"])
def test_a_name_with_signs_is_still_a_file(tmp_path: Path, name: str) -> None:
    """Brackets and quotes in a file's name are not patterns or SQL."""
    log = tmp_path / name
    log.write_text("user_id,item_id,timestamp\na,x,2024-01-02\n")

    assert staged(log, tmp_path / "staging").rows == 1


def measured(log: Path, tmp_path: Path) -> tuple[int, int]:
    command = [sys.executable, "-c", _MEASURED, *map(str, (log, tmp_path / "staging", tmp_path / "lake"))]
    root = Path(__file__).parents[2]
    rows, megabytes = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout.split()
    return int(rows), int(megabytes)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize(
    "megabytes", [pytest.param(20, id="20 MB"), pytest.param(1_000, id="1 GB", marks=pytest.mark.slow)]
)
def test_a_large_file_is_never_held_whole(tmp_path: Path, megabytes: int) -> None:
    """Peak memory stays below one bound, however large the file."""
    written = write_log(tmp_path / "log.csv", megabytes, weeks=52)

    rows, held_mb = measured(tmp_path / "log.csv", tmp_path)

    assert rows == written
    assert held_mb < MOST_HELD_MB

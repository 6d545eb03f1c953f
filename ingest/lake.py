"""Keep every batch for ever: append-only Parquet by arrival, quarantine beside it, a manifest that makes it visible.

    <root>/interactions/arrived=2011-01-24/<batch_id>.parquet   canonical rows that kept the contract
    <root>/quarantine/arrived=2011-01-24/<batch_id>.parquet     rows that did not, as published, each with its rule
    <root>/manifests/<batch_id>.json                            the batch report, written last

Readers trust only files that a manifest names, and a manifest appears in one atomic step after its files are on the
disk. A process that is killed therefore leaves nothing half-visible, and running it again completes the same bytes.
One writer at a time is assumed; two that ingest the same delivery write the same bytes.
"""

import hashlib
import io
import json
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ingest.check import Inspection, content_hash, inspect
from ingest.contract import Contract
from ingest.errors import LakeError
from ingest.schema import INTERACTIONS, WEEK, week_of
from ingest.source import Delivery
from ingest.whole_files import replace_whole

# A quarter of a year shows nearly every item that is on sale, and bounds the cost of a check however old the lake is.
PRICE_MEMORY_ARRIVALS = 13

_QUARANTINE = pa.schema([("rule", pa.string()), ("row", pa.int64()), ("published", pa.string())])


@dataclass(frozen=True)
class LakeFile:
    """A Parquet file of the lake: its path from the lake's root, the hash of its bytes, and its rows."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class BatchReport:
    """What became of one delivery."""

    batch_id: str
    source: str
    week: date
    arrived: datetime
    status: Literal["accepted", "quarantined", "already_known"]
    rows_in: int
    rows_accepted: int
    rows_quarantined: int
    rules: dict[str, int]  # broken rule -> rows; each row counts under the first rule that it breaks
    notes: tuple[str, ...]
    files: tuple[LakeFile, ...]
    quarantine: tuple[LakeFile, ...]
    content: str  # hash of the rows alone: the same rows under another week's name have the same

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON holds it."""
        return {**asdict(self), "week": self.week.isoformat(), "arrived": self.arrived.isoformat()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "BatchReport":
        """Read what `to_dict` gave."""
        return cls(
            **{
                **fields,
                "week": date.fromisoformat(fields["week"]),
                "arrived": datetime.fromisoformat(fields["arrived"]),
                "notes": tuple(fields["notes"]),
                "files": tuple(LakeFile(**file) for file in fields["files"]),
                "quarantine": tuple(LakeFile(**file) for file in fields["quarantine"]),
            }
        )


@dataclass(frozen=True)
class Snapshot:
    """What was known as of a moment; the same id means the same bytes."""

    id: str
    as_of: datetime
    files: tuple[LakeFile, ...]
    rows: int
    contract_state: Literal["accepted", "held"]
    hold_reason: str | None
    missing_weeks: tuple[date, ...]  # weeks that should have arrived by as_of, and of which no batch was accepted


class Lake:
    """The append-only lake under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def ingest(self, delivery: Delivery, contract: Contract) -> BatchReport:
        """Take in a delivery once: good rows to the lake, the others to quarantine; a repetition changes nothing.

        Raises LakeError when the disk refuses; the lake then holds what it held before.
        """
        content = content_hash(delivery.rows)
        batch_id = _batch_id(delivery, content)
        if known := self._report(batch_id):
            return replace(known, status="already_known")

        inspection = inspect(delivery, contract, _LakeHistory(self, delivery))
        partition = f"arrived={delivery.arrived:%Y-%m-%d}/{batch_id}.parquet"
        tables = {
            f"interactions/{partition}": _canonical(inspection, delivery, batch_id),
            f"quarantine/{partition}": _quarantined(inspection, delivery),
        }
        written: list[Path] = []
        try:
            files = {path: self._write_table(path, table, written) for path, table in tables.items() if table.num_rows}
            report = _report(delivery, inspection, batch_id, content, files)
            self._write(f"manifests/{batch_id}.json", _json(report), written)
        except OSError as error:
            for path in written:
                path.unlink(missing_ok=True)
            raise LakeError(
                f"The batch of week {delivery.week} from {delivery.source} could not be written to {self.root}: "
                f"{error.strerror or error}. Nothing of it was kept: free some space or mend the folder, then retry."
            ) from error
        return report

    def reports(self, as_of: datetime) -> list[BatchReport]:
        """List the reports of all batches that had arrived by then, oldest first."""
        arrived = [report for report in self._reports() if report.arrived <= as_of]
        return sorted(arrived, key=lambda report: (report.arrived, report.week, report.source, report.batch_id))

    def snapshot(self, as_of: datetime) -> Snapshot:
        """Name everything known as of a moment, and say whether the week that just ended can be built upon."""
        reports = self.reports(as_of)
        files = tuple(sorted((file for report in reports for file in report.files), key=lambda file: file.path))
        missing = _missing_weeks(reports, as_of)
        hold_reason = _hold_reason(reports, newest=week_of(as_of) - WEEK, missing=missing)
        return Snapshot(
            id=hashlib.sha256("\n".join(f"{file.sha256} {file.path}" for file in files).encode()).hexdigest(),
            as_of=as_of,
            files=files,
            rows=sum(file.rows for file in files),
            contract_state="held" if hold_reason else "accepted",
            hold_reason=hold_reason,
            missing_weeks=missing,
        )

    def _report(self, batch_id: str) -> BatchReport | None:
        path = self.root / "manifests" / f"{batch_id}.json"
        return _read_manifest(path) if path.exists() else None

    def _reports(self) -> list[BatchReport]:
        return [_read_manifest(path) for path in sorted((self.root / "manifests").glob("*.json"))]

    def _write_table(self, path: str, table: pa.Table, written: list[Path]) -> LakeFile:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", version="2.6")
        data = buffer.getvalue()
        self._write(path, data, written)
        return LakeFile(path, hashlib.sha256(data).hexdigest(), table.num_rows)

    def _write(self, path: str, data: bytes, written: list[Path]) -> None:
        final = self.root / path
        written.append(final)
        for left in final.parent.glob(f"{final.name}.*.tmp"):  # by a process that was killed just here
            left.unlink(missing_ok=True)
        replace_whole(final, lambda temporary: temporary.write_bytes(data))


def what_is_new(reports: list[BatchReport], delivery: Delivery, arrived: datetime) -> Delivery | None:
    """Cut a week that was delivered before, as `reports` tell, down to what it has gained since: a delivery of the day found.

    Logs grow at their end, so these are the last rows; all of them, where the week was quarantined whole and is another one
    now. None when there is nothing new.
    """
    known = [report for report in reports if (report.source, report.week) == (delivery.source, delivery.week)]
    if all(report.status == "quarantined" for report in known):
        tried = {report.content for report in known}
        return replace(delivery, arrived=arrived) if content_hash(delivery.rows) not in tried else None
    rows = delivery.rows.slice(sum(report.rows_in for report in known if report.status == "accepted"))
    return replace(delivery, arrived=arrived, rows=rows) if rows.num_rows else None


def read_interactions(lake_root: Path, snapshot: Snapshot) -> pa.Table:
    """Read a snapshot's canonical rows, in the order of its files; LakeError if any file is not what it was."""
    tables = [_read_file(Path(lake_root), file) for file in snapshot.files]
    return pa.concat_tables([INTERACTIONS.empty_table(), *tables])


def read_quarantine(lake_root: Path, report: BatchReport) -> pa.Table:
    """Read what a batch left in quarantine: rule, row number in the delivery, and the row as published, in JSON."""
    return pa.concat_tables(
        [_QUARANTINE.empty_table(), *(_read_file(Path(lake_root), file) for file in report.quarantine)]
    )


class _LakeHistory:
    """Answers the questions of a check from what the same source had delivered by that arrival."""

    def __init__(self, lake: Lake, delivery: Delivery) -> None:
        self.root = lake.root
        self.reports = [report for report in lake.reports(delivery.arrived) if report.source == delivery.source]

    def weeks_with(self, content: str) -> list[date]:
        return [report.week for report in self.reports if report.content == content]

    def rows_between(self, first: datetime, last: datetime) -> pd.DataFrame:
        within = (pc.field("event_time") >= pa.scalar(first, pa.timestamp("us"))) & (
            pc.field("event_time") <= pa.scalar(last, pa.timestamp("us"))
        )
        return self._read(self.reports, INTERACTIONS.names, within)

    def usual_prices(self) -> "pd.Series[float]":
        lately = sorted({report.arrived for report in self.reports if report.files})[-PRICE_MEMORY_ARRIVALS:]
        reports = [report for report in self.reports if report.arrived in lately]
        prices = self._read(reports, ["item_id", "price"])
        return prices.groupby("item_id")["price"].median()

    def _read(
        self, reports: list[BatchReport], columns: list[str], within: pc.Expression | None = None
    ) -> pd.DataFrame:
        paths = [str(self.root / file.path) for report in reports for file in report.files]
        rows: pd.DataFrame = ds.dataset(paths, INTERACTIONS, "parquet").to_table(columns, within).to_pandas()
        return rows


def _canonical(inspection: Inspection, delivery: Delivery, batch_id: str) -> pa.Table:
    if inspection.accepted.empty:
        return INTERACTIONS.empty_table()
    frame = inspection.accepted.assign(available_at=pd.Timestamp(delivery.arrived), batch_id=batch_id)
    return pa.Table.from_pandas(
        frame[INTERACTIONS.names], schema=INTERACTIONS, preserve_index=False
    ).replace_schema_metadata()


def _quarantined(inspection: Inspection, delivery: Delivery) -> pa.Table:
    broken = inspection.broken.dropna()
    published = delivery.rows.take(pa.array(broken.index, pa.int64())).to_pylist()
    return pa.table(
        {
            "rule": pa.array(broken, pa.string()),
            "row": pa.array(broken.index, pa.int64()),
            "published": pa.array([json.dumps(row, default=str, ensure_ascii=False) for row in published], pa.string()),
        },
        schema=_QUARANTINE,
    )


def _report(
    delivery: Delivery, inspection: Inspection, batch_id: str, content: str, files: dict[str, LakeFile]
) -> BatchReport:
    counts = inspection.broken.value_counts()
    return BatchReport(
        batch_id=batch_id,
        source=delivery.source,
        week=delivery.week,
        arrived=delivery.arrived,
        status="quarantined" if inspection.faults else "accepted",
        rows_in=delivery.rows.num_rows,
        rows_accepted=len(inspection.accepted),
        rows_quarantined=int(counts.sum()),
        rules={str(rule): int(count) for rule, count in sorted(counts.items())},
        notes=inspection.notes,
        files=tuple(file for path, file in files.items() if path.startswith("interactions/")),
        quarantine=tuple(file for path, file in files.items() if path.startswith("quarantine/")),
        content=content,
    )


def _batch_id(delivery: Delivery, content: str) -> str:
    # 16 hex digits: a collision among a million batches has a chance below one in ten million.
    return hashlib.sha256(f"{delivery.source}\n{delivery.week}\n{content}".encode()).hexdigest()[:16]


def _hold_reason(reports: list[BatchReport], *, newest: date, missing: tuple[date, ...]) -> str | None:
    """Say what is wrong with the latest arrival, unless the same week has been accepted in a redelivery since.

    A delivery that never came is as bad as a broken one: without it the newest week looks as if nobody had bought anything.
    """
    latest = max((report.arrived for report in reports), default=None)
    accepted = {(report.source, report.week) for report in reports if report.status == "accepted"}
    doubted = [
        report
        for report in reports
        if report.arrived == latest and report.status == "quarantined" and (report.source, report.week) not in accepted
    ]
    reasons = [f"week {report.week} of {report.source}: {'; '.join(report.notes)}" for report in doubted]
    if not reasons and newest in missing:
        reasons = [f"nothing has arrived of the week of {newest}"]
    return " | ".join(reasons) or None


def _missing_weeks(reports: list[BatchReport], as_of: datetime) -> tuple[date, ...]:
    if not reports:
        return ()
    accepted = {report.week for report in reports if report.status == "accepted"}
    first, last = min(report.week for report in reports), week_of(as_of) - WEEK
    expected = [first + n * WEEK for n in range((last - first) // WEEK + 1)]
    return tuple(week for week in expected if week not in accepted)


def _read_file(root: Path, file: LakeFile) -> pa.Table:
    path = root / file.path
    try:
        stat = path.stat()
        return _read_whole(path, file.sha256, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise LakeError(
            f"{path} is named by a manifest but cannot be read: {error.strerror}. "
            "Restore it from a backup, or rebuild the lake from its sources."
        ) from error


@lru_cache(maxsize=4096)
def _read_whole(path: Path, sha256: str, _mtime_ns: int, _size: int) -> pa.Table:
    """Read and check a file once per process while its time and size stay: each step of a week asks for most of the lake."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise LakeError(
            f"{path} has changed since it was written (its hash is no longer {sha256[:12]}…). "
            "The lake is append-only: restore the file from a backup, or rebuild the lake from its sources."
        )
    return pq.read_table(io.BytesIO(data))


def _read_manifest(path: Path) -> BatchReport:
    try:
        return BatchReport.from_dict(json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise LakeError(
            f"The manifest {path} cannot be understood ({error}); restore it, or delete it and ingest again."
        ) from error


def _json(report: BatchReport) -> bytes:
    return (json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n").encode()

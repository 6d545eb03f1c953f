"""Read the weeks' records as a story: what became of each week, and what all of them come to.

Records are plain JSON with gaps: the first week has no champion, a held week no candidate, and purchases come late.
What is missing stays missing here; nothing is filled in.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from statistics import fmean
from typing import Any

from monitoring.charts import MARKS, CandidateMark, Moment, Point, WatchMark, Week

Record = Mapping[str, Any]
Reader = Callable[[Record], Point | None]

BASELINES = {
    "repeat_x_popularity": "repeats \N{MULTIPLICATION SIGN} popularity",
    "popularity_4w": "popularity, 4 weeks",
}


@dataclass(frozen=True, slots=True)
class Story:
    """One week, with what became of it."""

    record: Record
    column: Week
    moment: Moment
    decisions: tuple[Record, ...]

    @property
    def marks(self) -> tuple[CandidateMark | WatchMark, ...]:
        return tuple(kind for kind in (self.moment.candidate, self.moment.watch) if kind)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Mean realised quality against a rival's on the same weeks."""

    ours: float
    theirs: float
    weeks: int

    @property
    def gain(self) -> float:
        return self.ours - self.theirs

    @property
    def share(self) -> float:
        return self.gain / self.theirs if self.theirs else math.nan


@dataclass(frozen=True, slots=True)
class Summary:
    """All weeks in figures; None where nothing was measured yet."""

    weeks: int
    happened: Mapping[str, int]
    refused_by: Sequence[tuple[str, int]]
    live: str | None
    over_baselines: Mapping[str, Comparison]
    over_first: Comparison | None
    over_frozen: Comparison | None
    drifted_weeks: int
    rows_quarantined: int
    seconds_a_week: float

    @property
    def best_baseline(self) -> Comparison | None:
        return max(self.over_baselines.values(), key=lambda comparison: comparison.theirs, default=None)


def tell(record: Record, log: Mapping[str, Record]) -> Story:
    """The story of one week; `log` holds the decisions by their ids."""
    decisions = tuple(log[key] for key in record["decisions"] if key in log)
    monday = date.fromisoformat(record["as_of"][:10])
    moment = Moment(
        live=record["champion"]["version"] if record["champion"] else None,
        candidate=_candidate_mark(record),
        watch=_watch_mark(record, decisions),
        told="",
    )
    column = Week(f"week-{monday.isoformat()}", f"{monday.day} {monday:%b}", str(monday.year))
    return Story(record, column, moment._replace(told=_told(column, moment, record)), decisions)


def summarise(stories: Sequence[Story]) -> Summary:
    """What all weeks come to."""
    records = [story.record for story in stories]
    happened: Counter[str] = Counter(kind for story in stories for kind in story.marks)
    verdicts = [story.record["verdict"] for story in stories if story.moment.candidate == "refusal"]
    refused = Counter(gate["gate"] for verdict in verdicts for gate in verdict["gates"] if not gate["passed"])
    against = {name: compare(records, quality_of(model)) for model, name in BASELINES.items()}
    return Summary(
        weeks=len(stories),
        happened={kind: happened[kind] for kind in MARKS},
        refused_by=refused.most_common(),
        live=stories[-1].moment.live,
        over_baselines={name: comparison for name, comparison in against.items() if comparison},
        over_first=compare(records, quality_of("first")),
        over_frozen=compare(records, frozen),
        drifted_weeks=sum(_drifted(record) for record in records),
        rows_quarantined=sum(quarantined(record).total() for record in records),
        seconds_a_week=fmean(sum(record["seconds"].values()) for record in records),
    )


def compare(records: Iterable[Record], rival: Reader) -> Comparison | None:
    """On the weeks that have both, and no others: a mean over different weeks compares seasons, not models."""
    pairs = [(a.value, b.value) for record in records if (a := realised(record)) and (b := rival(record))]
    return Comparison(fmean(a for a, _ in pairs), fmean(b for _, b in pairs), len(pairs)) if pairs else None


def quality_of(model: str) -> Reader:
    """Reads a model's NDCG@10 on the fresh week; what the gates refused is hollow."""

    def read(record: Record) -> Point | None:
        measured = record["metrics"]["models"].get(model) if record["metrics"] else None
        point = point_of(measured["ndcg_at_10_all"]) if measured else None
        return point._replace(hollow=model == "candidate" and _refused(record)) if point else None

    return read


def difference(record: Record) -> Point | None:
    """Candidate minus champion as the gate saw it: paired, with its own interval."""
    evidence = (item for gate in record["verdict"]["gates"] for item in gate["evidence"]) if record["verdict"] else ()
    found = next((item for item in evidence if item["name"] == "ndcg_diff_vs_champion"), None)
    point = point_of(found) if found else None
    return point._replace(hollow=_refused(record)) if point else None


def realised(record: Record) -> Point | None:
    return point_of(record["realised"]["ndcg_at_10_all"]) if record["realised"] else None


def frozen(record: Record) -> Point | None:
    lists = record["realised"]["frozen_lists"] if record["realised"] else None
    return point_of(lists["ndcg_at_10_all"]) if lists else None


def quarantined(record: Record) -> Counter[str]:
    """Rows set aside, by rule."""
    found: Counter[str] = Counter()
    for delivery in record["contract"]["deliveries"]:
        found.update(delivery["rules"])
    return +found


def point_of(figure: Any) -> Point | None:
    """A figure with or without an interval, as a point; None where it is missing or not a number."""
    parts = figure if isinstance(figure, Mapping) else {"value": figure}
    value = number_of(parts.get("value"))
    return None if value is None else Point(value, number_of(parts.get("low")), number_of(parts.get("high")))


def number_of(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def _candidate_mark(record: Record) -> CandidateMark | None:
    # A held week may carry a verdict for want of evidence; without a candidate nothing was refused.
    if record["contract"]["state"] == "held" and not record["candidate"]:
        return "held"
    if not record["verdict"]:
        return None
    return "promotion" if record["verdict"]["outcome"] == "promote" else "refusal"


def _watch_mark(record: Record, decisions: Iterable[Record]) -> WatchMark | None:
    name = record["action"]["name"] if record["action"] else "hold"
    # A person who was asked may also have answered with a rollback; what was done outweighs how it came about.
    if name == "roll_back" or any(decision["kind"] == "rollback" for decision in decisions):
        return "rollback"
    others: dict[str, WatchMark] = {"ask_a_person": "ask", "retrain": "retrain"}
    return others.get(name)


def _told(column: Week, moment: Moment, record: Record) -> str:
    doings = [MARKS[kind][0] for kind in (moment.candidate, moment.watch) if kind] or ["nothing changed"]
    cause = f": {record['action']['cause']}" if record["action"] else ""
    return f"{column.label} {column.year}, {', '.join(doings)}{cause}"


def _refused(record: Record) -> bool:
    return bool(record["verdict"]) and record["verdict"]["outcome"] != "promote"


def _drifted(record: Record) -> bool:
    scores = [*record["drift"]["columns"], record["drift"]["prediction"]] if record["drift"] else []
    return any(score["drifted"] for score in scores if score)

"""Choose what the report's charts show: from the stories of the weeks to named drawings."""

import math
from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from monitoring.charts import Cell, Point, Series, Shape, Strip, heat_strip, line_chart, stacked_bars, timeline
from monitoring.story import (
    BASELINES,
    Reader,
    Record,
    Story,
    difference,
    frozen,
    number_of,
    point_of,
    quality_of,
    quarantined,
    realised,
)

STEP_COLOURS = 8  # classes step0 to step7 in the style sheet


def draw_charts(stories: Sequence[Story]) -> dict[str, Markup]:
    """Every chart of the report by name; empty where there is nothing to draw yet."""
    weeks = [story.column for story in stories]
    records = [story.record for story in stories]

    def series(name: str, css: str, read: Reader, shape: Shape = "line") -> Series:
        return Series(name, css, [read(record) for record in records], shape)

    baselines = [
        series(BASELINES["repeat_x_popularity"], "baseline", _bare(quality_of("repeat_x_popularity"))),
        series(BASELINES["popularity_4w"], "baseline second", _bare(quality_of("popularity_4w"))),
    ]
    return {
        "timeline": timeline(weeks, [story.moment for story in stories], "Live version and decisions, week by week"),
        "quality": line_chart(
            weeks,
            [
                *baselines,
                series("champion", "champion", quality_of("champion"), "dots"),
                series("candidate", "candidate", quality_of("candidate"), "dots"),
            ],
            "NDCG@10 of candidate, champion and baselines on each fresh week",
            height=310,
        ),
        "difference": line_chart(
            weeks,
            [series("", "candidate", difference, "dots")],
            "NDCG@10 of the candidate minus the champion, same customers",
            height=180,
            rules={"equal": 0.0},
        ),
        "realised": line_chart(
            weeks,
            [*baselines, series("realised", "realised", realised)],
            "Realised NDCG@10 of the recommendations that customers were given",
            height=290,
        ),
        "cost": line_chart(
            weeks,
            [
                series("realised", "realised", _bare(realised)),
                series("first ranker", "first", _bare(quality_of("first"))),
                series("first week's lists", "frozen", _bare(frozen)),
            ],
            "Realised quality, and what it would have been without retraining",
        ),
        "drift": heat_strip(weeks, _drift_strips(records), "Drift by column and week", "weeks drifted"),
        "quarantine": heat_strip(weeks, _quarantine_strips(records), "Quarantined rows by rule and week", "rows"),
        "seconds": stacked_bars(weeks, _seconds(records), "Seconds a week, by step", "s"),
    }


def _bare(read: Reader) -> Reader:
    """Without the interval, where several would cover each other."""
    return lambda record: Point(point.value) if (point := read(record)) else None


def _drift_strips(records: Sequence[Record]) -> list[Strip]:
    found: dict[str, dict[int, Record]] = {}
    predictions: dict[int, Record] = {}
    for n, record in enumerate(records):
        drift = record["drift"] or {"columns": (), "prediction": None}
        for column in drift["columns"]:
            found.setdefault(column["column"], {})[n] = column
        if drift["prediction"]:
            predictions[n] = drift["prediction"]
    rows = [*sorted(found.items()), *([("predictions", predictions)] if predictions else [])]
    return [
        Strip(
            name,
            [_drift_cell(name, scores.get(n)) for n in range(len(records))],
            str(sum(bool(score["drifted"]) for score in scores.values())),
        )
        for name, scores in rows
    ]


def _drift_cell(name: str, score: Record | None) -> Cell | None:
    distance = number_of(score["score"]) if score else None
    if score is None or distance is None:
        return None
    threshold = number_of(score["threshold"]) or 1.0
    told = f"{name}: {distance:.3f}, threshold {threshold:.3f}"
    return Cell(distance / threshold / 2, told, marked=bool(score["drifted"]))  # full at twice the threshold


def _quarantine_strips(records: Sequence[Record]) -> list[Strip]:
    counts = [quarantined(record) for record in records]
    most = max((count for week in counts for count in week.values()), default=1)
    return [
        Strip(
            rule,
            # By the logarithm: one whole refused delivery must not bleach the daily trickle.
            [
                Cell(math.log1p(week[rule]) / math.log1p(most), f"{rule}: {week[rule]:,} rows") if week[rule] else None
                for week in counts
            ],
            f"{total:,}",
        )
        for rule, total in sum(counts, Counter()).most_common()
    ]


def _seconds(records: Sequence[Record]) -> list[Series]:
    """The longest steps in the order they run, and the rest as one: more colours could not be told apart."""
    totals: Counter[str] = Counter()
    for record in records:
        totals.update(record["seconds"])
    named = totals.keys() if len(totals) <= STEP_COLOURS else {step for step, _ in totals.most_common(STEP_COLOURS - 1)}
    parts = {step: [record["seconds"].get(step) for record in records] for step in totals if step in named}
    if len(parts) < len(totals):
        parts["other steps"] = [sum(s for step, s in r["seconds"].items() if step not in named) for r in records]
    return [
        Series(step, f"step{n}", [point_of(seconds) for seconds in figures])
        for n, (step, figures) in enumerate(parts.items())
    ]

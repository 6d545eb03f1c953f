"""Write the history of the live recommender as one page: what was decided each week, on which evidence, and its worth.

The page reads the weeks' records and the decision log and nothing else. It is one file without scripts, fonts or
addresses to load, so it opens from a mail, an artefact store or an archive ten years from now.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Template

from ingest.whole_files import write_whole
from monitoring.charts import MARKS, mark, minus
from monitoring.pages import templates
from monitoring.report_charts import draw_charts
from monitoring.story import BASELINES, Record, number_of, point_of, summarise, tell

MODELS = {
    "candidate": "candidate",
    "champion": "champion",
    "previous": "previous",
    "first": "first ranker, fresh features",
    **BASELINES,
}


def write_report(
    weeks: list[dict[str, Any]], decisions: list[dict[str, Any]], meta: Mapping[str, str], out: Path
) -> None:
    """Write the page for these weeks, whole or not at all.

    `meta` may hold `title`, `subtitle`, `mlflow_run_url` (with `{run_id}`), and anything else to be listed at the end.
    Raises ValueError without a week: an empty report would look like a quiet one.
    """
    page = render(weeks, decisions, meta)
    write_whole(out, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def render(weeks: Sequence[Record], decisions: Sequence[Record], meta: Mapping[str, str]) -> str:
    """The page as text; everything that comes from records is escaped."""
    if not weeks:
        raise ValueError("There is no week to report on. Run at least one week, then write the report.")
    log = {record["decision_id"]: record for record in decisions}
    stories = [tell(week, log) for week in weeks]
    told = {decision["decision_id"] for story in stories for decision in story.decisions}
    return _page().render(
        meta=meta,
        stories=stories,
        summary=summarise(stories),
        charts=draw_charts(stories),
        elsewhere=[record for record in decisions if record["decision_id"] not in told],
    )


def _page() -> Template:
    page = templates()
    page.filters.update(
        figure=_figure,
        interval=_interval,
        signed=_signed,
        percent=_percent,
        sentence=_sentence,
        long_date=_long_date,
    )
    page.globals.update(mark=mark, marks=MARKS, models=MODELS, is_local=_is_local)
    return page.get_template("report.html.j2")


def _figure(value: Any) -> str:
    """A figure as a reader wants it: four decimals, whole numbers whole, absence named."""
    bare = value.get("value") if isinstance(value, Mapping) else value
    if isinstance(bare, bool):
        return "yes" if bare else "no"
    if isinstance(bare, str):
        return bare
    number = number_of(bare)
    if number is None:
        return "none"
    if number == round(number) and abs(number) < 1e9:
        return minus(f"{number:,.0f}")
    return minus(f"{number:.4f}" if 0.0005 <= abs(number) < 10 else f"{number:,.4g}")


def _interval(value: Any) -> str:
    point = point_of(value)
    return " to ".join(map(_figure, point.interval)) if point and point.interval else ""


def _signed(value: float) -> str:
    return minus(f"{value:+.3f}")


def _percent(share: float) -> str:
    return minus(f"{share:+.1%}")


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."


def _long_date(as_of: str) -> str:
    day = date.fromisoformat(as_of[:10])
    return f"{day.day} {day:%B %Y}"


def _is_local(path: str) -> bool:
    """Whether a path is relative to the page: a record must not smuggle in an address, let alone `javascript:`."""
    parts = urlsplit(path)
    return not (parts.scheme or parts.netloc or path.startswith(("/", "\\")))

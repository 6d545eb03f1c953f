"""The report is one page that says what the records say, whatever they contain."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from monitoring.report import render, write_report
from monitoring.story import compare, quality_of, summarise, tell
from tests.monitoring.example_weeks import example_weeks

HOSTILE = '<script>alert("1")</script>&\'"'


@pytest.fixture(scope="module")
def page() -> str:
    return render(*example_weeks(12))


def anchors(page: str) -> tuple[set[str], list[str]]:
    return set(re.findall(r'href="#([^"]*)"', page)), re.findall(r' id="([^"]*)"', page)


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())


def test_the_headline_counts_what_happened(page: str) -> None:
    """The first sentences hold the season's outcome in words and figures."""
    assert (
        "In 12 weeks the loop promoted 9 candidates and refused 2. It rolled back once. It asked a person once. "
        "It held training once, because the data contract was not met."
    ) in text_of(page)


def test_every_week_and_every_mark_leads_somewhere(page: str) -> None:
    """All links inside the page resolve, no anchor exists twice, and every week has a section."""
    linked, anchored = anchors(page)
    assert linked <= set(anchored)
    assert len(anchored) == len(set(anchored))
    assert [name for name in anchored if name.startswith("week-")] == [
        f"week-{week['as_of']}" for week in example_weeks(12)[0]
    ]


def test_every_decision_is_on_the_page(page: str) -> None:
    """Nothing that was decided is left out."""
    _, anchored = anchors(page)
    assert {f"decision-{decision['decision_id']}" for decision in example_weeks(12)[1]} <= set(anchored)


def test_decisions_of_no_week_are_shown_apart() -> None:
    """A decision that the weeks do not mention is not swallowed."""
    weeks, decisions, meta = example_weeks(3)
    weeks[1]["decisions"] = []
    assert "Other decisions on record" in render(weeks, decisions, meta)
    assert "Other decisions on record" not in render(*example_weeks(3))


def test_the_page_loads_nothing(page: str) -> None:
    """No script, no font, no image and no address: it opens offline and in ten years."""
    assert not re.search(r"<(script|link|img|iframe|object)\b|https?://|@import|url\(", page)
    assert set(re.findall(r'href="([^#"][^"]*)"', page)) == {
        f"drift/{week['as_of']}.html" for week in example_weeks(12)[0][1:]
    }


@pytest.mark.parametrize(("weeks", "limit_kb"), [(1, 50), (18, 500), (100, 2500)])
def test_any_number_of_weeks_makes_a_page_of_bearable_size(weeks: int, limit_kb: int) -> None:
    """The first week has hardly any figures, and two years have many."""
    page = render(*example_weeks(weeks))
    assert len(page.encode()) < limit_kb * 1000
    assert page.count('class="week"') == weeks


def test_the_first_week_says_what_is_not_known_yet() -> None:
    """Without champion, purchases and drift nothing is drawn as if it were measured."""
    text = text_of(render(*example_weeks(1)))
    assert "No purchases have come back yet" in text
    assert "Not measured yet: the first realised week is still to come." in text
    assert "Nothing to draw yet." in text


def test_without_a_week_there_is_no_report(tmp_path: Path) -> None:
    """An empty page would look like a quiet season."""
    with pytest.raises(ValueError, match="no week to report"):
        write_report([], [], {}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_made_leaves_the_last_one(tmp_path: Path) -> None:
    """Readers see the old page or the new one, never a part."""
    out = tmp_path / "reports" / "report.html"
    weeks, decisions, meta = example_weeks(2)
    write_report(weeks, decisions, meta, out)
    before = out.read_bytes()
    with pytest.raises(KeyError):
        write_report([{**weeks[0], "as_of": "2011-01-03"}, {}], decisions, meta, out)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


# Texts that the platform itself writes from a fixed list, and that steer the page; all other texts come from outside.
FIXED = {"as_of", "state", "outcome", "status", "decisions", "decision_id", "kind", "trigger"}
NAMES_FROM_DATA = {"customer_known", "price_positive", "item_is_a_product", "fit", "popularity_4w"}


def poisoned(record: Any) -> None:
    """The record with every text from outside made hostile, names of rules, steps and models included."""
    if isinstance(record, dict):
        return {
            f"{key}{HOSTILE}" if key in NAMES_FROM_DATA else key: value if key in FIXED else poisoned(value)
            for key, value in record.items()
        }
    if isinstance(record, list):
        return [poisoned(item) for item in record]
    return record + HOSTILE if isinstance(record, str) else record


def test_hostile_text_stays_text() -> None:
    """Item names, reasons, rules, people and versions come from outside; none of them becomes markup."""
    weeks, decisions, _ = example_weeks(12)
    page = render(poisoned(weeks), poisoned(decisions), {"title": HOSTILE, "subtitle": HOSTILE, "who": HOSTILE})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 500


@pytest.mark.parametrize("source", ["usual", "hostile"])
def test_every_drawing_is_well_formed(source: str) -> None:
    """Also with hostile names in it, an SVG parses as XML and has a name for screen readers."""
    weeks, decisions, meta = example_weeks(12)
    page = render(weeks, decisions, meta) if source == "usual" else render(poisoned(weeks), poisoned(decisions), meta)
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        drawing = ElementTree.fromstring(svg)
        assert drawing.get("role") in ("img", "group")
        assert drawing.get("aria-label")


@pytest.mark.parametrize("path", ["javascript:alert(1)", "https://elsewhere.example/", "//elsewhere.example/", "/etc"])
def test_only_reports_beside_the_page_are_linked(path: str) -> None:
    """A record cannot send the reader to another place."""
    weeks, decisions, meta = example_weeks(2)
    weeks[1]["drift"]["report"] = path
    page = render(weeks, decisions, meta)
    assert path in page
    assert f'href="{path}"' not in page


def test_runs_are_linked_when_the_tracking_store_has_an_address() -> None:
    """With an address the run id leads to its run."""
    weeks, decisions, meta = example_weeks(1)
    page = render(weeks, decisions, {**meta, "mlflow_run_url": "http://localhost:5000/#/runs/{run_id}"})
    assert f'href="http://localhost:5000/#/runs/{weeks[0]["candidate"]["run_id"]}"' in page


def test_a_comparison_uses_only_weeks_that_have_both_figures() -> None:
    """A mean over different weeks would compare seasons, not models."""
    weeks = example_weeks(4)[0]
    for week, ours, theirs in zip(weeks[1:], (0.30, 0.34, 0.10), (0.29, 0.31, None), strict=True):
        week["realised"]["ndcg_at_10_all"]["value"] = ours
        week["metrics"]["models"]["first"]["ndcg_at_10_all"] = theirs
    found = compare(weeks, quality_of("first"))
    assert found is not None
    assert (found.weeks, round(found.ours, 3), round(found.theirs, 3)) == (2, 0.32, 0.3)


def test_a_rollback_chosen_by_a_person_is_a_rollback() -> None:
    """What was done outweighs that somebody was asked first."""
    weeks, decisions, _ = example_weeks(11)
    asked = weeks[10]
    assert tell(asked, {}).moment.watch == "ask"
    rollback = {**decisions[-1], "kind": "rollback"}
    assert tell(asked, {asked["decisions"][-1]: rollback}).moment.watch == "rollback"


def test_the_summary_names_the_gates_that_refused() -> None:
    """Why candidates fail is the first question about refusals."""
    summary = summarise([tell(week, {}) for week in example_weeks(12)[0]])
    assert summary.refused_by[0] == ("beats_champion", 2)


def test_many_steps_share_eight_colours_without_losing_a_second() -> None:
    """The shortest steps are drawn as one, so that no colour stands for two."""
    weeks, decisions, meta = example_weeks(2)
    for week in weeks:
        week["seconds"] = {f"step {n}": float(n) for n in range(1, 12)}
    page = render(weeks, decisions, meta)
    assert "other steps 10.0" in page  # 1 + 2 + 3 + 4
    assert "together 66.0" in page
    assert "step8" not in page


def test_a_held_week_is_held_and_not_refused() -> None:
    """A verdict for want of a candidate says nothing about any model, and counts as no refusal."""
    weeks, _, _ = example_weeks(6)
    weeks[5]["verdict"] = {
        "outcome": "refuse",
        "gates": [{"gate": "recall", "passed": False, "reason": "", "evidence": []}],
    }
    summary = summarise([tell(week, {}) for week in weeks])
    assert (summary.happened["held"], summary.happened["refusal"]) == (1, 1)
    assert "recall" not in dict(summary.refused_by)

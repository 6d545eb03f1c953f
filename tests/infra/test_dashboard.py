"""The dashboard asks Prometheus for what there is, in panels that do not cover each other."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.test_alerts import objections, promtool

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "infra" / "grafana" / "recommender.json").read_text(encoding="utf-8")
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
EXPRESSIONS = {
    f"{panel['id']}{target['refId']}": target["expr"].replace("$__rate_interval", "1m")
    for panel in GRAPHS
    for target in panel["targets"]
}


def covers(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two rectangles of the grid share a cell."""
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_every_expression_can_be_parsed(tmp_path: Path) -> None:
    """Prometheus takes each panel's expression as a rule, which is how promtool can be made to read one."""
    rules = [{"record": f"panel:{name}", "expr": expression} for name, expression in EXPRESSIONS.items()]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = promtool("check", "rules", str(file))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(EXPRESSIONS)} rules found" in checked.stdout


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_panel_is_about_what_the_service_exports(name: str) -> None:
    """Names, labels and buckets in a panel are among those that the service has."""
    assert objections(EXPRESSIONS[name]) == []


def test_panels_have_ids_of_their_own() -> None:
    """Grafana knows a panel by its id, in links and in alerts."""
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))


def test_panels_do_not_cover_each_other() -> None:
    """Every panel has its place, inside the 24 columns that there are."""
    covered = [(a["title"], b["title"]) for a, b in combinations(PANELS, 2) if covers(a["gridPos"], b["gridPos"])]
    assert covered == []
    assert max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in PANELS) == 24


def test_panels_stand_in_reading_order() -> None:
    """Who reads the file from top to bottom reads the page from top left to bottom right."""
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in PANELS]
    assert places == sorted(places)


def test_the_rows_are_the_questions() -> None:
    """The page answers six questions, in the order in which they are asked."""
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == [
        "Are customers answered?",
        "How fast?",
        "What is live?",
        "How fresh?",
        "Is what was answered recorded?",
        "Are payments scored?",
    ]


@pytest.mark.parametrize("panel", GRAPHS, ids=lambda panel: panel["title"])
def test_every_panel_answers_a_question(panel: dict[str, Any]) -> None:
    """A title is a question, and the answer comes from the Prometheus that the reader chose."""
    assert "?" in panel["title"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))

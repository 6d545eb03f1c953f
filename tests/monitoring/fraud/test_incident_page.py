"""The page of an incident says what was done and why within one screen, and what was ruled out below."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from monitoring.fraud.diagnosis import diagnose
from monitoring.fraud.figures import Standing
from monitoring.fraud.incident_page import write_incident
from monitoring.fraud.policy import respond
from monitoring.fraud.watch import Watched
from tests.monitoring.conftest import Browse

FIRST = 20_000  # 2024-10-04, counted since 1970


def watched(day: int, clears: float) -> Watched:
    """A day on which queue b clears what queue a calls fraud, by so many deviations."""
    standings = {
        "batch.scale": Standing(0.001, 0.001, 0.001, 0.0, 12_000),
        "sources.clears.analyst_b": Standing(0.1 + clears / 20, 0.1, 0.05, clears, 30),
        "sources.gap.analyst_b": Standing(-clears / 10, 0.0, 0.1, -clears, 60),
        "drift.domain_auc": Standing(0.5, 0.5, 0.01, 0.0, 3_000),
    }
    diagnosis = diagnose(standings, None)
    return Watched(FIRST + day, {}, standings, diagnosis, respond(diagnosis, standings, 0.0), None, 60)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    out = tmp_path / "incident.html"
    days = [watched(day, clears) for day, clears in enumerate([0.1, 0.4, 3.0, 4.0, 4.5])]
    write_incident(days, out, title="A <drill>", command="mlops drill run biased_source", missing=("audits",))
    return out


def test_it_says_what_was_done_why_and_what_it_was_not(page: Path) -> None:
    """Cause, action, owner and runbook first; the days; each figure with its usual value; the rules that were not met."""
    text = page.read_text()
    headline = re.search(r"<h1>(.*?)</h1>", text)
    assert headline
    assert headline[1] == "Biased source: quarantine labels"
    assert "one analyst queue clears what others call fraud: analyst_b" in text
    assert "docs/runbooks/quarantine_labels.md" in text
    assert re.findall(r'<li class="(\w+)"', text) == ["hold", "hold", "doubt", "doubt", "doubt"]
    assert re.search(r"<b>sources.gap.analyst_b</b> −0.45, usually 0: −4.5 deviations", text)
    assert re.search(r'unit change</td><td class="name">ruled out</td><td>batch.scale \+0.0', text)
    assert "No audits: nothing is known of whether labels are right." in text


def test_text_from_outside_cannot_become_markup(page: Path) -> None:
    """A title is text, whatever it holds."""
    assert "A &lt;drill&gt;" in page.read_text()
    assert "<drill>" not in page.read_text()


def test_a_page_of_no_day_is_refused(tmp_path: Path) -> None:
    """An empty page would look like a quiet day."""
    with pytest.raises(ValueError, match="watch one at least"):
        write_incident([], tmp_path / "page.html", title="", command="")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_a_browser_draws_it(page: Path, browse: Browse, tmp_path: Path) -> None:
    """The answer is drawn, the figures' lines are drawn, and nothing makes it scroll sideways."""
    picture = tmp_path / "page.png"
    browse(page.as_uri(), f"--screenshot={picture}", "--window-size=900,1400")
    pixels = imread(picture)[:, :, :3]
    for part in (pixels[:300], pixels[300:700], pixels[700:1100]):
        assert (abs(part - pixels[5, 5]).max(axis=2) > 0.3).mean() > 0.005
    measure = "<script>document.body.dataset.width = document.documentElement.scrollWidth</script></body>"
    page.write_text(page.read_text().replace("</body>", measure))
    document = browse(page.as_uri(), "--dump-dom", "--window-size=700,1000")
    width = re.search(r'data-width="(\d+)"', document)
    assert width
    assert int(width[1]) <= 700

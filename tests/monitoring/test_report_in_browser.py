"""A real browser shows the report: light, dark, narrow, and with a week opened by its link."""

import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from monitoring.report import write_report
from tests.monitoring.conftest import Browse
from tests.monitoring.example_weeks import example_weeks

pytestmark = pytest.mark.slow

# Asks the browser itself; the report has no script of its own.
MEASURE = """<script>addEventListener("load", () => setTimeout(() => {
  const shown = document.querySelector(":target .inside");
  document.body.dataset.width = document.documentElement.scrollWidth;
  document.body.dataset.open = shown && shown.checkVisibility({contentVisibilityAuto: true}) ? "yes" : "no";
}, 100))</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(*example_weeks(12), out)
    return out


def test_all_text_and_links_arrive_in_the_browser(report: Path, browse: Browse) -> None:
    """The parsed document has every section, and every link inside it leads to an element."""
    document = browse(report.as_uri(), "--dump-dom")
    anchored = set(re.findall(r'\bid="([^"]+)"', document))
    linked = set(re.findall(r'href="#([^"]+)"', document))
    assert linked
    assert linked <= anchored
    for heading in ("What was live, and what was decided", "What not retraining would have cost", "Week by week"):
        assert f"<h2>{heading}</h2>" in document


@pytest.mark.parametrize(("scheme", "paper"), [("light", (0.95, 1.0)), ("dark", (0.0, 0.15))])
def test_it_is_drawn_in_light_and_in_dark(
    report: Path, browse: Browse, tmp_path: Path, scheme: str, paper: tuple[float, float]
) -> None:
    """The page follows the reader's colour scheme, and is not blank in either."""
    picture = tmp_path / "page.png"
    setting = {"light": 1, "dark": 0}[scheme]
    browse(
        report.as_uri(),
        f"--screenshot={picture}",
        "--window-size=1200,3200",
        f"--blink-settings=preferredColorScheme={setting}",
    )
    pixels = imread(picture)[:, :, :3]
    assert pixels.shape[:2] == (3200, 1200)
    assert paper[0] <= pixels[5, 5].mean() <= paper[1]
    # Each third of the page, from headline to the last charts, has strokes that differ clearly from the paper.
    for third in (pixels[:1000], pixels[1000:2000], pixels[2000:3000]):
        assert (abs(third - pixels[5, 5]).max(axis=2) > 0.3).mean() > 0.005


@pytest.mark.parametrize("width", [700, 1200])
def test_it_fits_the_window_with_a_week_opened_by_its_link(report: Path, browse: Browse, width: int) -> None:
    """Nothing makes the page scroll sideways, and a link to a week opens that week without a script."""
    measured = report.with_name(f"measured-{width}.html")
    measured.write_text(report.read_text().replace("</body>", f"{MEASURE}</body>"))
    document = browse(f"{measured.as_uri()}#week-2010-11-22", "--dump-dom", f"--window-size={width},1000")
    assert 'data-open="yes"' in document
    assert int(re.search(r'data-width="(\d+)"', document)[1]) <= width

"""Draw the report's charts as inline SVG: pure functions from figures to markup, without a script or a font to load.

Shapes carry classes and no colours; the page's style sheet colours them, for light and for dark. Every chart has a
title for screen readers and a tooltip per week. No plotting library: its output would outweigh the page.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from markupsafe import Markup, escape

WIDTH = 880.0
LEFT, RIGHT = 46.0, 196.0  # room for ticks, and for the names: those of lines, rows and parts all stand on the right
PLOT = WIDTH - LEFT - RIGHT
NAMES = WIDTH - RIGHT + 12
WIDEST = 90.0  # one week alone is not a poster
LABEL_PX = 50.0  # a date needs this much
WEEKS_PER_ROW = 20  # of the timeline; more would crush the names of versions, so longer histories wrap
ROW_HEIGHT = 150.0


CandidateMark = Literal["promotion", "refusal", "held"]
WatchMark = Literal["rollback", "ask", "retrain"]
Shape = Literal["line", "dots"]
Height = Callable[[float], float]  # from a figure to its height on the chart


class Week(NamedTuple):
    """One column of every chart: its anchor on the page and its name on the axis."""

    anchor: str
    label: str
    year: str


class Point(NamedTuple):
    """A measured figure, with its interval where there is one; hollow marks what was refused."""

    value: float
    low: float | None = None
    high: float | None = None
    hollow: bool = False

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one row of dots, a point or a gap per week; `css` names its colour."""

    name: str
    css: str
    points: Sequence[Point | None]
    shape: Shape = "line"


class Moment(NamedTuple):
    """One week of the timeline: what was live, what became of the candidate, what the watch did."""

    live: str | None
    candidate: CandidateMark | None
    watch: WatchMark | None
    told: str


class Cell(NamedTuple):
    """One square of a heat strip: strength 0 to 1, and a mark for what crossed its threshold."""

    strength: float
    told: str
    marked: bool = False


class Strip(NamedTuple):
    """One row of a heat strip, with a sum at its end."""

    name: str
    cells: Sequence[Cell | None]
    total: str


def timeline(weeks: Sequence[Week], moments: Sequence[Moment], title: str) -> Markup:
    """Which version was live when, and what was decided; each mark links to its week."""
    step = _step(min(len(weeks), WEEKS_PER_ROW))
    shades = {version: n % 8 for n, version in enumerate(dict.fromkeys(m.live for m in moments if m.live))}
    rows = range(0, len(weeks), WEEKS_PER_ROW)
    body = [
        _timeline_row(
            weeks[start : start + WEEKS_PER_ROW],
            moments[start : start + WEEKS_PER_ROW],
            top=row * ROW_HEIGHT,
            step=step,
            shades=shades,
        )
        for row, start in enumerate(rows)
    ]
    # A group and not an image: an image would hide its links from a screen reader.
    return _svg(ROW_HEIGHT * len(rows) - 10, title, *body, role="group")


def line_chart(
    weeks: Sequence[Week],
    series: Sequence[Series],
    title: str,
    *,
    height: float = 250.0,
    decimals: int = 3,
    rules: Mapping[str, float] | None = None,
) -> Markup:
    """Series over the weeks, named where they end; `rules` are fixed levels such as a threshold.

    Empty if there is no point: bare axes would suggest that something was measured.
    """
    figures, levels = _extent(series), rules or {}
    if not figures:
        return Markup()
    lowest, highest, ticks = _scale([*figures, *levels.values()])
    base = height - 34

    def y(value: float) -> float:
        return base - (value - lowest) / (highest - lowest) * (base - 12)

    step = _step(len(weeks))
    parts = [_tick(y(tick), minus(f"{tick:.{decimals}f}")) for tick in ticks]
    parts += [_dates(weeks, step, base + 18)]
    parts += [_level(y(value), name) for name, value in levels.items()]
    dotted = [item for item in series if item.shape == "dots"]
    for item in series:
        shift = _dodge(dotted, item, step)
        at = [(LEFT + step * (n + 0.5) + shift, point) for n, point in enumerate(item.points)]
        draw = _dots if item.shape == "dots" else _line
        parts.append(_group(item.css, *draw(at, y, many=len(weeks) > 40)))
    parts += _end_names(series, y)
    parts += [
        _hover(LEFT + step * n, step, base, f"{week.label} {week.year}", _told(series, n, decimals))
        for n, week in enumerate(weeks)
    ]
    return _svg(height, title, *parts)


def heat_strip(weeks: Sequence[Week], strips: Sequence[Strip], title: str, total_name: str) -> Markup:
    """A row per column or rule, a square per week; a dot marks what crossed its threshold. Empty without a row."""
    if not strips:
        return Markup()
    row, step = 22.0, _step(len(weeks))
    end = LEFT + step * len(weeks) + 12
    parts = [_text(end + 50, 12, total_name, "axis", anchor="end")]
    for n, strip in enumerate(strips):
        top = 20 + n * row
        parts += [_cell(LEFT + step * k, top, step, row, cell) for k, cell in enumerate(strip.cells)]
        parts.append(_text(end + 50, top + 15, strip.total, "row-name", anchor="end"))
        parts.append(_text(end + 62, top + 15, strip.name, "row-name", limit=20))
    bottom = 20 + row * len(strips)
    return _svg(bottom + 38, title, *parts, _dates(weeks, step, bottom + 18))


def stacked_bars(weeks: Sequence[Week], series: Sequence[Series], title: str, unit: str) -> Markup:
    """What each part adds to the whole of each week."""
    height, base = 220.0, 186.0
    sums = [sum(point.value for s in series if (point := s.points[n])) for n in range(len(weeks))]
    _, highest, ticks = _scale([0.0, *sums])
    step = _step(len(weeks))
    width = min(step * 0.7, 34.0)
    parts = [_tick(base - tick / highest * (base - 12), f"{tick:g} {unit}") for tick in ticks if tick >= 0]
    for n, week in enumerate(weeks):
        floor = base
        for item in series:
            point = item.points[n]
            tall = point.value / highest * (base - 12) if point else 0.0
            floor -= tall
            if tall > 0.1:
                parts.append(
                    f'<rect class="{item.css} fill" x="{_n(LEFT + step * (n + 0.5) - width / 2)}" y="{_n(floor)}" '
                    f'width="{_n(width)}" height="{_n(tall)}"/>'
                )
        told = [*_told(series, n, 1), f"together {sums[n]:.1f}"]
        parts.append(_hover(LEFT + step * n, step, base, f"{week.label} {week.year}", told))
    names = [
        f'<g class="{item.css}"><rect class="fill" x="{_n(NAMES)}" y="{_n(14 + k * 18)}" width="10" height="10"/>'
        f"{_text(NAMES + 18, 23 + k * 18, item.name, 'row-name', limit=24)}</g>"
        for k, item in enumerate(reversed(series))
    ]
    return _svg(max(height, 24 + 18 * len(series)), title, *parts, *names, _dates(weeks, step, base + 18))


MARKS: dict[str, tuple[str, str]] = {
    # name: (what it means, shape around 0,0); shapes differ, so that colour is never the only difference
    "promotion": ("promoted", '<path d="M0-7.5 7.5 6H-7.5Z" class="fill"/>'),
    "refusal": ("refused", '<path d="M-5.5-5.5 5.5 5.5M5.5-5.5-5.5 5.5" class="stroke"/>'),
    "held": ("training held", '<rect x="-3.5" y="-8" width="7" height="16" rx="1" class="fill"/>'),
    "rollback": ("rolled back", '<path d="M-1.5-8-6.5-3.5-1.5 1M-6-3.5H1.5A4.75 4.75 0 0 1 1.5 6H-3" class="stroke"/>'),
    "ask": (
        "a person asked",
        '<circle r="8.5" class="ring"/><path d="M-2.7-2.2A2.8 2.8 0 1 1 1.2.5Q0 1 0 2.2M0 5v.1" class="stroke thin"/>',
    ),
    "retrain": ("retraining requested", '<path d="M5.3-3A6 6 0 1 0 6 1.5M6.5-7.5V-2.5H1.5" class="stroke"/>'),
}


def mark(kind: str) -> Markup:
    """One mark on its own, for the legend and for the week's heading."""
    meaning, shape = MARKS[kind]
    return Markup(
        f'<svg class="mark {kind}" viewBox="-10 -10 20 20" role="img" aria-label="{escape(meaning)}">{shape}</svg>'
    )


def minus(number: str) -> str:
    """Set a number with a true minus, as wide as the digits around it."""
    return number.replace("-", "\N{MINUS SIGN}")


def _timeline_row(
    weeks: Sequence[Week], moments: Sequence[Moment], *, top: float, step: float, shades: Mapping[str, int]
) -> str:
    end = LEFT + step * len(weeks) + 12
    lanes = ((21, "candidate"), (56, "live version"), (90, "watch"))
    parts = [_text(end, top + y, name, "row-name") for y, name in lanes]
    parts.append(f'<path class="grid" d="M{_n(LEFT)} {_n(top + 104)}h{_n(step * len(weeks))}"/>')
    at = 0
    for live, run in groupby(moment.live for moment in moments):
        span = len(list(run))
        x, width = LEFT + step * at + 1, step * span - 2
        css = f"version v{shades[live]}" if live else "version none"
        name = f"v{live}" if live else "none"
        parts.append(
            f'<g class="{css}"><rect x="{_n(x)}" y="{_n(top + 38)}" width="{_n(width)}" height="28" rx="4"/>'
            f"{_text(x + width / 2, top + 56, name, 'version-name', anchor='middle')}</g>"
        )
        at += span
    for n, (week, moment) in enumerate(zip(weeks, moments, strict=True)):
        x = LEFT + step * (n + 0.5)
        marks = [(kind, y) for kind, y in ((moment.candidate, 17), (moment.watch, 86)) if kind]
        parts += [_linked_mark(week, kind, x, top + y, moment.told) for kind, y in marks]
        if not moment.watch:
            parts.append(f'<circle class="quiet" cx="{_n(x)}" cy="{_n(top + 86)}" r="1.5"/>')
    return "".join([*parts, _dates(weeks, step, top + 119)])


def _linked_mark(week: Week, kind: str, x: float, y: float, told: str) -> str:
    meaning, shape = MARKS[kind]
    return (
        f'<a href="#{escape(week.anchor)}" class="{kind}" aria-label="{escape(week.label)}: {escape(meaning)}" '
        f'transform="translate({_n(x)} {_n(y)})"><title>{escape(told)}</title>'
        f'<rect class="touch" x="-13" y="-15" width="26" height="30"/>{shape}</a>'
    )


def _step(weeks: int) -> float:
    """All charts share their columns, so that a week can be followed down the page."""
    return min(PLOT / weeks, WIDEST)


def _svg(height: float, title: str, *parts: str, role: str = "img") -> Markup:
    name = escape(title)
    return Markup(
        f'<svg viewBox="0 0 {_n(WIDTH)} {_n(height)}" role="{role}" aria-label="{name}">'
        f"<title>{name}</title>{''.join(parts)}</svg>"
    )


def _group(css: str, *parts: str) -> str:
    return f'<g class="{css}">{"".join(parts)}</g>'


def _text(x: float, y: float, text: str, css: str, *, anchor: str = "start", limit: int = 60) -> str:
    shown = (
        escape(text) if len(text) <= limit else escape(text[: limit - 1]) + Markup("…<title>{}</title>").format(text)
    )
    return f'<text x="{_n(x)}" y="{_n(y)}" class="{css}" text-anchor="{anchor}">{shown}</text>'


def _tick(y: float, label: str) -> str:
    line = f'<path class="grid" d="M{_n(LEFT)} {_n(y)}h{_n(PLOT)}"/>'
    return line + _text(LEFT - 10, y + 4, label, "axis figure", anchor="end")


def _level(y: float, name: str) -> str:
    line = f'<path class="level" d="M{_n(LEFT)} {_n(y)}h{_n(PLOT)}"/>'
    return line + _text(NAMES, y + 4, name, "axis")


def _dates(weeks: Sequence[Week], step: float, y: float) -> str:
    every = max(1, math.ceil(LABEL_PX / step))
    parts: list[str] = []
    year = ""
    for n in range(0, len(weeks), every):
        x = LEFT + step * (n + 0.5)
        parts.append(_text(x, y, weeks[n].label, "axis", anchor="middle"))
        if weeks[n].year != year:
            year = weeks[n].year
            parts.append(_text(x, y + 15, year, "axis", anchor="middle"))
    return "".join(parts)


def _hover(x: float, width: float, height: float, name: str, told: Sequence[str]) -> str:
    text = "\n".join([name, *told])
    return (
        f'<rect class="hover" x="{_n(x)}" y="4" width="{_n(width)}" height="{_n(height - 4)}">'
        f"<title>{escape(text)}</title></rect>"
    )


def _told(series: Sequence[Series], n: int, decimals: int) -> list[str]:
    told = []
    for item in series:
        if point := item.points[n]:
            around = " ({:.{d}f} to {:.{d}f})".format(*point.interval, d=decimals) if point.interval else ""
            told.append(f"{item.name} {point.value:.{decimals}f}{around}".strip())
    return told


def _line(at: Sequence[tuple[float, Point | None]], y: Height, *, many: bool) -> Iterator[str]:
    for known, run in groupby(at, key=lambda pair: pair[1] is not None):
        if not known:
            continue
        points = [(x, point) for x, point in run if point]
        banded = [(x, point.interval) for x, point in points if point.interval]
        if banded:
            upper = [f"{_n(x)} {_n(y(high))}" for x, (_, high) in banded]
            lower = [f"{_n(x)} {_n(y(low))}" for x, (low, _) in reversed(banded)]
            yield f'<path class="band" d="M{"L".join(upper + lower)}Z"/>'
        yield f'<path class="line" d="M{"L".join(f"{_n(x)} {_n(y(point.value))}" for x, point in points)}"/>'
        alone = " alone" if len(points) == 1 else ""  # a line of one point is invisible
        if alone or not many:
            yield from (f'<circle class="fill{alone}" cx="{_n(x)}" cy="{_n(y(p.value))}" r="2.2"/>' for x, p in points)


def _dots(at: Sequence[tuple[float, Point | None]], y: Height, *, many: bool) -> Iterator[str]:
    radius = 2.0 if many else 3.6
    for x, point in at:
        if point is None:
            continue
        if point.interval:
            low, high = point.interval
            yield f'<path class="whisker" d="M{_n(x)} {_n(y(low))}V{_n(y(high))}"/>'
        css = "hollow" if point.hollow else "fill"
        yield f'<circle class="{css}" cx="{_n(x)}" cy="{_n(y(point.value))}" r="{radius}"/>'


def _dodge(dotted: Sequence[Series], item: Series, step: float) -> float:
    """Side by side, or one interval would hide the other."""
    if item not in dotted:
        return 0.0
    return (dotted.index(item) - (len(dotted) - 1) / 2) * min(step * 0.3, 11.0)


def _end_names(series: Sequence[Series], y: Height) -> list[str]:
    last = [
        (y(points[-1].value), item)
        for item in series
        if (points := [point for point in item.points if point is not None])
    ]
    names: list[str] = []
    floor = -math.inf
    for wanted, item in sorted(last, key=lambda pair: pair[0]):
        floor = max(wanted, floor + 15)  # names of lines that end close to each other move apart
        names.append(_group(item.css, _text(NAMES, floor + 4, item.name, "line-name")))
    return names


def _cell(x: float, top: float, step: float, row: float, cell: Cell | None) -> str:
    if cell is None:
        return f'<path class="grid" d="M{_n(x + 2)} {_n(top + row / 2)}h{_n(step - 4)}"/>'
    mark = f'<circle class="crossed" cx="{_n(x + step / 2)}" cy="{_n(top + row / 2)}" r="2.4"/>' if cell.marked else ""
    strength = 0.06 + 0.94 * min(max(cell.strength, 0.0), 1.0)
    return (
        f'<g><title>{escape(cell.told)}</title><rect class="heat" x="{_n(x + 0.5)}" y="{_n(top + 1)}" '
        f'width="{_n(step - 1)}" height="{_n(row - 2)}" fill-opacity="{strength:.2f}"/>{mark}</g>'
    )


def _extent(series: Sequence[Series]) -> list[float]:
    points = [point for item in series for point in item.points if point]
    return [figure for point in points for figure in (point.low, point.value, point.high) if figure is not None]


def _scale(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Lowest, highest and round ticks between them; about four ticks."""
    low, high = min(values), max(values)
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= span / 4 * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return first * step, last * step, [n * step for n in range(first, last + 1)]


def _n(value: float) -> str:
    """A coordinate with one decimal: a tenth of a pixel is enough, and the page stays small."""
    return f"{value:.1f}".removesuffix(".0")

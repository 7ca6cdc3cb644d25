"""The report as one page of HTML that one keeps: what a terminal shows, and pictures of what failed."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping, Sequence

from bncheck.case import Verdict
from bncheck.faults.diagnosis import Finding
from bncheck.gradients.comparison import Comparison
from bncheck.report import Run
from bncheck.reporters import table
from bncheck.reporters.table import Story, stories
from bncheck.terminal import escaped

DRAWN = 12
"""Stories that have pictures; the rest are told in words."""

SIDE = 100.0
"""The width and the height of a picture, in its own units."""

ROUTES = {"direct": ("#2f6fd6", 3.6), "through var": ("#d9822b", 2.4), "through mean": ("#2a9d5c", 1.2)}
"""The colour of each route and the size of its dots: all are seen, on a light and a dark page and on one another."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem; }}
figure {{ display: inline-block; margin: 0 1.5rem 1rem 0; max-width: 100%; vertical-align: top; width: 21rem; }}
svg {{ display: block; height: auto; overflow: visible; width: 100%; }}
h2 {{ font-size: 1rem; overflow-wrap: anywhere; }}
figcaption {{ font-size: 0.875rem; }}
</style>
</head>
<body>
<h1>bncheck: {title}</h1>
{pictures}
{terminal}
</body>
</html>
"""


def render(report: Run) -> str:
    """The page as text. It needs no network and runs no script; what users wrote is text in it."""
    unhappy = (found for found in report.cases if found.verdict not in (Verdict.PASS, Verdict.SKIPPED))
    pictures = "\n".join(part for story in stories(unhappy)[:DRAWN] for part in _story(story))
    title = html.escape(table.last_line(report).plain)
    return PAGE.format(title=title, pictures=pictures, terminal=table.html(report, table.Detail.USUAL))


def _story(story: Story) -> Iterator[str]:
    """The pictures of a story, under its label; nothing where there is nothing to draw."""
    figures = [figure for trouble in story.troubles if trouble.finding for figure in _of_finding(trouble.finding)]
    figures += [_values(row) for trouble in story.troubles for row in trouble.rows if row.points and not row.implied]
    if figures:
        yield f"<h2>{html.escape(escaped(f'{story.cases[0].verdict.value.upper()} {story.label}'))}</h2>"
        yield from figures


def _of_finding(finding: Finding) -> Iterator[str]:
    """The pictures of a finding: where it is wrong, and by what factor on each route."""
    if finding.picture:
        yield _figure(f"Where {finding.row} is wrong: rows downwards, features to the right", _map(finding.picture))
    drawn = {each.route: each.features for each in finding.coefficients if each.route in ROUTES}
    if drawn:
        names = ", ".join(f'<span style="color: {ROUTES[route][0]}">{route}</span>' for route in drawn)
        finite = [0.0, 2.0, *(value for features in drawn.values() for value in features if math.isfinite(value))]
        low, high = min(finite), max(finite)
        span = f"from {low:.3g} to {high:.3g}; the line is 1"
        told = f"Factor on each route of {finding.row}, feature by feature, {span}: {names}"
        yield _figure(told, _factors(drawn, low, high))


def _figure(caption: str, drawing: str) -> str:
    """A picture with its caption, which is HTML."""
    square = f"0 0 {SIDE:g} {SIDE:g}"
    frame = f'<rect width="{SIDE:g}" height="{SIDE:g}" fill="none" stroke="currentColor" stroke-width=".3"/>'
    svg = f'<svg viewBox="{square}" role="img">{frame}{drawing}</svg>'
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _map(picture: Sequence[Sequence[float]]) -> str:
    """Rectangles, as dark as the fraction of their elements that is wrong."""
    height, width = SIDE / len(picture), SIDE / len(picture[0])
    drawn = []
    for row, line in enumerate(picture):
        start = 0
        for column in range(1, len(line) + 1):
            if column < len(line) and line[column] == line[start]:
                continue  # neighbours of one shade are one rectangle
            if line[start]:
                place = f'x="{start * width:.4g}" y="{row * height:.4g}"'
                size = f'width="{(column - start) * width:.4g}" height="{height:.4g}"'
                drawn.append(f'<rect {place} {size} fill="#d43d3d" opacity="{max(0.35, line[start]):.2g}"/>')
            start = column
    return "".join(drawn)


def _factors(routes: Mapping[str, Sequence[float]], low: float, high: float) -> str:
    """Dots, a colour each route: the features to the right, the factor upwards."""
    drawn = [f'<path d="M0 {_scaled(1.0, high, low)}H{SIDE:g}" stroke="currentColor" stroke-width=".3"/>']
    for route, features in routes.items():
        kept = list(enumerate(features))[:: math.ceil(len(features) / 100)]
        points = [(_scaled(place + 0.5, 0, len(features)), _scaled(value, high, low)) for place, value in kept]
        drawn.append(_dots(points, *ROUTES[route]))
    return "".join(drawn)


def _values(row: Comparison) -> str:
    """A picture of what was given against the numeric gradient; on the line they are equal."""
    points = [(given, found) for given, found in row.points if math.isfinite(given) and math.isfinite(found)]
    largest = max((max(abs(given), abs(found)) for given, found in points), default=0.0) or 1.0
    drawn = [(_scaled(found, -largest, largest), _scaled(given, largest, -largest)) for given, found in points]
    line = f'<path d="M0 {SIDE:g}L{SIDE:g} 0" stroke="currentColor" stroke-width=".3"/>'
    told = f"{row.node}: yours upwards, numeric to the right, up to {largest:.2g}; what is right is on the line"
    return _figure(told, line + _dots(drawn, "#d43d3d", 1.6))


def _dots(points: Sequence[tuple[str, str]], color: str, size: float) -> str:
    """Round dots of one colour. One that is not finite is left out."""
    path = "".join(f"M{x} {y}h0" for x, y in points if "nan" not in (x, y))
    return f'<path d="{path}" stroke="{color}" stroke-width="{size}" stroke-linecap="round" fill="none"/>'


def _scaled(value: float, low: float, high: float) -> str:
    """A place in the picture, of a value between two that are its edges; `nan` where it has none."""
    return f"{SIDE * (value - low) / (high - low):.4g}" if math.isfinite(value) else "nan"

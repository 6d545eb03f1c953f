"""Read what a running service tells Prometheus, for drills and the bench."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def scraped(url: str) -> str:
    """The figures of the service at an address, as Prometheus gets them. Raises URLError when it does not tell."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def samples(text: str, name: str) -> list[Sample]:
    """Every sample of that name, with its labels and its value."""
    return [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]

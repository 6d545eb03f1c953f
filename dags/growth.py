"""Measure how one week's time and memory grow with the rows: the same replay of the shop at several sizes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import ReplayError

WEEKS = 2  # the first builds the label weeks too; the second is the ordinary one, and is reported


@dataclass(frozen=True, slots=True)
class WeekCost:
    """What an ordinary week cost at one size."""

    scale: int
    rows: int
    seconds: dict[str, float]
    peak_mb: float

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def measure_growth(scales: Sequence[int] = (1, 4, 16)) -> list[WeekCost]:
    """Replay two weeks at each scale, each in a process of its own, so that peak memory is that of the size measured."""
    with tempfile.TemporaryDirectory(prefix="mlops-growth-") as folder:
        return [_measure(scale, Path(folder) / str(scale)) for scale in scales]


def _measure(scale: int, out: Path) -> WeekCost:
    options = {"--scale": scale, "--weeks": WEEKS, "--out": out}
    arguments = [str(part) for option in options.items() for part in option]
    command = [str(Path(sys.executable).with_name("mlops")), "replay", "--source", "shop", "--json", *arguments]
    finished = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if finished.returncode:
        raise ReplayError(
            f"The replay at scale {scale} ended with code {finished.returncode}; run it by itself: {' '.join(command)}"
        )
    week = json.loads((out / "weeks.json").read_text())[-1]
    return WeekCost(scale, week["snapshot"]["rows"], week["seconds"], json.loads(finished.stdout)["peak_mb"])

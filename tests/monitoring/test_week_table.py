"""The figures of a replay are this replay's own."""

import subprocess
import sys

import numpy as np

from monitoring.week_table import peak_mb


def test_what_the_starting_process_held_is_not_counted() -> None:
    """Linux hands ru_maxrss down to the child; a test process of 2 GB once failed a replay that took 1.6."""
    held = np.ones(60_000_000)  # 480 MB
    asked = "from monitoring.week_table import peak_mb; print(peak_mb())"
    child = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert peak_mb() > held.nbytes / 1e6 > 400
    assert 5 < int(child.stdout) < 200

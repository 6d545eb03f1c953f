"""A live platform is harmed by what is known to harm it, and only after somebody is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import ReplayError, SettingsError
from monitoring.inject import inject
from training.settings import build_settings
from training.workspace import Workspace


def test_only_what_can_be_done_to_a_running_platform(tmp_path: Path) -> None:
    """The message lists what can."""
    with pytest.raises(SettingsError, match="bad_release"):
        inject(Workspace(build_settings(tmp_path)), "broken_feed", 1.0)


def test_somebody_must_meet_it(tmp_path: Path) -> None:
    """Before the first week nobody does."""
    with pytest.raises(ReplayError, match="No week was run"):
        inject(Workspace(build_settings(tmp_path)), "bad_release", 1.0)

"""Settings are built once, frozen, and refuse what they do not know."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from ingest.errors import SettingsError
from training.settings import build_settings, settings_from_environment, store_settings


def test_environment_wins_over_file_and_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting comes from the environment, else the workspace's file, else its default."""
    store_settings(build_settings(tmp_path, seed=3, label_weeks=9))
    monkeypatch.setenv("MLOPS_SEED", "5")
    built = build_settings(tmp_path)
    assert (built.seed, built.label_weeks, built.source) == (5, 9, "shop")


def test_unknown_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt setting is an error that names the known ones, not a default."""
    monkeypatch.setenv("MLOPS_LABEL_WEEK", "5")
    with pytest.raises(SettingsError, match=r"label_week.*Known names:.*label_weeks"):
        build_settings(tmp_path)


def test_start_must_be_a_monday(tmp_path: Path) -> None:
    """A start that is no Monday is refused with the Monday before it."""
    with pytest.raises(SettingsError, match=r"2011-01-26 is a Wednesday.*2011-01-24"):
        build_settings(tmp_path, start="2011-01-26")


def test_settings_are_frozen(tmp_path: Path) -> None:
    """Nobody changes a setting after it was built."""
    with pytest.raises(ValidationError):
        build_settings(tmp_path).seed = 1  # type: ignore[misc]


def test_a_workspace_keeps_its_world(tmp_path: Path) -> None:
    """Going on with another seed would mix two worlds in one workspace."""
    store_settings(build_settings(tmp_path, seed=1))
    with pytest.raises(SettingsError, match=r"seed was 1, now 2.*another --out"):
        store_settings(build_settings(tmp_path, seed=2))


def test_tasks_need_to_know_their_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MLOPS_HOME a task stops with what to set, instead of working in some default folder."""
    monkeypatch.delenv("MLOPS_HOME", raising=False)
    with pytest.raises(SettingsError, match="MLOPS_HOME is not set"):
        settings_from_environment()


def test_a_workspace_that_is_older_than_a_setting_has_its_default(tmp_path: Path) -> None:
    """Nobody's workspace is refused because the platform has learned to ask for more."""
    store_settings(build_settings(tmp_path))
    path = tmp_path / "settings.json"
    older = {name: value for name, value in json.loads(path.read_text()).items() if name != "card_payments"}
    path.write_text(json.dumps(older))
    store_settings(build_settings(tmp_path))
    path.write_text(json.dumps(older))
    with pytest.raises(SettingsError, match="card_payments was 4200, now 900"):
        store_settings(build_settings(tmp_path, card_payments=900))

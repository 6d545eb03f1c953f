"""The recommender's incidents: five of them, each with the action that the watch's own table gives its cause."""

import pytest
from typer.testing import CliRunner

from cli import app
from ingest.errors import SettingsError
from monitoring.drill_harm import HARMS
from monitoring.rehearsals import REHEARSALS, action_of, rehearsal


def test_each_cause_has_the_action_of_the_table() -> None:
    """What a drill calls for is the watch's policy and no second one; nothing that is served wrong is learned from."""
    assert {name: [action_of(cause) for cause in it.causes] for name, it in REHEARSALS.items()} == {
        "skewed_features": ["ask_a_person"],
        "stale_features": ["ask_a_person"],
        "catalogue_change": ["ask_a_person", "retrain", "hold"],
        "broken_feed": ["hold"],
        "bad_release": ["roll_back"],
    }


def test_each_incident_really_happens() -> None:
    """In the shop or to the platform, and never in neither."""
    assert {name for name, it in REHEARSALS.items() if it.happens is None} == set(HARMS)


@pytest.mark.parametrize(
    ("name", "strength", "said"),
    [
        ("skew", 0.5, "choose one of skewed_features"),
        ("bad_release", 0.0, "0 cannot"),
        ("bad_release", 1.1, "1.1 cannot"),
    ],
)
def test_what_is_not_rehearsed_is_refused(name: str, strength: float, said: str) -> None:
    """Before anything is lived, with what can be."""
    with pytest.raises(SettingsError, match=said):
        rehearsal(name, strength)


def test_the_list_shows_both_models() -> None:
    """A bad release is a drill of either, and of serving."""
    shown = CliRunner().invoke(app, ["drill", "list"]).output
    assert all(name in shown for name in (*REHEARSALS, "skew", "label_flips", "registry-killed"))
    assert shown.count("bad_release") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["stale_features"], "add --model recommender"),
        (["skew", "--model", "recommender"], "no drill 'skew'"),
        (["bad_release", "--model", "recommender", "--strength", "much"], "--strength 'much'"),
        (["bad_release", "--model", "recommender", "--page", "incident.html"], "--page"),
    ],
)
def test_the_command_explains_what_it_refuses(options: list[str], said: str) -> None:
    """Whoever mixes the models up is told which option sorts them out."""
    ran = CliRunner().invoke(app, ["drill", "run", *options])
    assert isinstance(ran.exception, SettingsError)
    assert said in str(ran.exception)

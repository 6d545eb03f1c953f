"""A source is opened by its name, and a wrong name or a missing path is explained."""

from pathlib import Path

import pytest

from ingest.errors import SettingsError, SourceError
from ingest.open import open_source
from ingest.shop_incidents import Incident, write_incidents


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    """Whoever mistypes a source sees the choice."""
    with pytest.raises(SettingsError, match="'online_retail'; choose one of shop, online-retail, interactions"):
        open_source("online_retail", tmp_path)


@pytest.mark.parametrize("name", ["online-retail", "interactions"])
def test_a_source_of_files_needs_a_path(name: str) -> None:
    """Only the simulated shop has no data of its own."""
    with pytest.raises(SourceError, match="--data"):
        open_source(name)


def test_the_shop_needs_nothing() -> None:
    """The simulator opens without files, and the same seed publishes the same rows."""
    first, again = (open_source("shop", seed=3) for _ in range(2))
    arrived = first.arrivals()[0]

    assert first.deliveries(arrived)[0].rows.equals(again.deliveries(arrived)[0].rows)


def test_a_file_of_incidents_takes_the_place_of_the_shops_story(tmp_path: Path) -> None:
    """A drill says what goes wrong and when; until then the shop is the same."""
    write_incidents(tmp_path / "none.json", [])
    write_incidents(tmp_path / "pence.json", [Incident("pence_feed", first_week=0, strength=0.5)])
    quiet, pence = (open_source("shop", tmp_path / name, seed=3) for name in ("none.json", "pence.json"))
    before, first = quiet.arrivals()[19:21]

    assert quiet.deliveries(before)[0].rows.equals(pence.deliveries(before)[0].rows)
    assert not quiet.deliveries(first)[0].rows.equals(pence.deliveries(first)[0].rows)


@pytest.mark.parametrize(
    "text", ["", '{"kind": "fire"}', "[1]", '[{"kind": "fire", "first_week": 1}]', '[{"kind": "bot_orders"}]']
)
def test_a_file_that_is_no_list_of_incidents_is_refused(tmp_path: Path, text: str) -> None:
    """Whoever wrote it by hand learns what is wrong with it."""
    (tmp_path / "incidents.json").write_text(text)
    with pytest.raises(SettingsError):
        open_source("shop", tmp_path / "incidents.json")


def test_a_log_is_opened_with_its_options(tmp_path: Path) -> None:
    """What the command line says reaches the source."""
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp,event\na,b,2024-01-01,order\n")

    source = open_source("interactions", tmp_path / "log.csv", staging=tmp_path / "s", purchase_events=("order",))

    assert source.name == "interactions"
    assert len(source.arrivals()) == 1

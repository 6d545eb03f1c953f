"""Whatever a stranger's folder holds: a finding, a remark, or an error that says what, which and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.errors import SourceError
from monitoring.fraud.diagnose_folder import diagnose_folder
from monitoring.fraud.diagnosis import RULES
from monitoring.fraud.folder import Read, read_folder, write_folder
from monitoring.fraud.ledger import Ledger
from monitoring.fraud.tables import BLIND_WITHOUT, OPTIONAL, Tables
from monitoring.fraud.told import as_record, confidence
from monitoring.fraud.watch import Watched
from tests.monitoring.fraud.small_issuer import IDS_A_DAY, date_of, known_on, midnight, tables

DAYS = 88
AS_OF = date_of(DAYS)
LAST = [f"transactions/{date_of(number)}.parquet" for number in range(DAYS - 3, DAYS)]
"""The batches that are new on the day of the diagnosis."""


@cache
def known() -> Tables:
    return known_on(tables(), DAYS)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that nothing is wrong with, in few files, which is quick; never changed by a test."""
    folder = tmp_path_factory.mktemp("clean")
    days = list(known().batches)
    before = pa.concat_tables([known().batches[day] for day in days[:-3]])
    write_folder(replace(known(), batches={day: known().batches[day] for day in days[-3:]}), folder)
    pq.write_table(before, folder / "transactions" / "before.parquet")
    return folder


@pytest.fixture
def folder(clean: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    shutil.copytree(clean, tmp_path / "tables")
    return tmp_path / "tables"


@pytest.fixture(scope="module")
def usual(clean: Path) -> Watched:
    """What is seen in the folder that nothing is wrong with."""
    watched, read = diagnose_folder(clean, AS_OF)
    assert (read.missing, read.remarks) == ((), ())
    return watched


def spoil(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Write a table anew with something else in it."""
    pq.write_table(pa.Table.from_pandas(change(pq.read_table(path).to_pandas()), preserve_index=False), path)


def diagnosed(folder: Path) -> tuple[Watched, Read]:
    """A diagnosis that tries every rule, and that a record can be made of."""
    watched, read = diagnose_folder(folder, AS_OF)
    assert len(watched.diagnosis.tried) == len(RULES)
    assert as_record(watched, read.missing, read.remarks)["cause"] == watched.diagnosis.cause
    return watched, read


def seen_as_usual(watched: Watched, usual: Watched, *prefixes: str) -> bool:
    """Whether the figures whose names begin so are those of the folder that nothing is wrong with."""
    names = [name for name in usual.figures if name.startswith(prefixes)]
    return bool(names) and all(repr(watched.figures.get(name)) == repr(usual.figures[name]) for name in names)


def test_a_folder_that_nothing_is_wrong_with_has_no_finding(usual: Watched) -> None:
    """What the other tests find is what they spoilt."""
    assert usual.diagnosis.cause == "none"
    assert usual.days_of_history == 3


# Batches


def test_an_empty_day_is_a_missing_batch(folder: Path, usual: Watched) -> None:
    """A file with its columns and no row in it."""
    spoil(folder / LAST[1], lambda rows: rows.iloc[:0])
    watched, _ = diagnosed(folder)
    assert watched.diagnosis.cause == "missing_batch"
    assert seen_as_usual(watched, usual, "gold.", "release.wrong_labels")


def test_a_day_without_a_file_is_a_missing_batch(folder: Path) -> None:
    """As an empty one is."""
    (folder / LAST[1]).unlink()
    assert diagnosed(folder)[0].diagnosis.cause == "missing_batch"


def test_days_at_the_end_that_were_not_delivered_are_missing_batches(folder: Path) -> None:
    """All three of the new ones."""
    for name in LAST:
        (folder / name).unlink()
    assert diagnosed(folder)[0].diagnosis.cause == "missing_batch"


def filled(value: float | str) -> Callable[[str], Callable[[pd.DataFrame], pd.DataFrame]]:
    return lambda column: lambda rows: rows.assign(**{column: value})


#: what is done to a column of the new batches, which column, and the cause that is named
SPOILT_COLUMNS = [
    pytest.param(filled(np.nan), "amount", "nulls", id="amount is all null"),
    pytest.param(filled(np.nan), "distance_km", "nulls", id="distance is all null"),
    pytest.param(filled("n/a"), "amount", "retyped_column", id="amount is text that is no number"),
    pytest.param(filled("12.50"), "distance_km", "retyped_column", id="distance is text that is one"),
    pytest.param(filled("vouchers"), "category", "new_category", id="category is new"),
    *(
        pytest.param(lambda column: lambda rows: rows.drop(columns=column), column, "missing_column", id=f"no {column}")
        for column in ("customer_id", "terminal_id", "amount", "category", "channel", "distance_km")
    ),
]


@pytest.mark.parametrize(("change", "column", "cause"), SPOILT_COLUMNS)
def test_a_spoilt_column_is_a_finding(
    folder: Path,
    usual: Watched,
    change: Callable[[str], Callable[[pd.DataFrame], pd.DataFrame]],
    column: str,
    cause: str,
) -> None:
    """Of the new batches; labels, scores and releases are read as if nothing were wrong."""
    for name in LAST:
        spoil(folder / name, change(column))
    watched, _ = diagnosed(folder)
    assert watched.diagnosis.cause == cause
    assert set(watched.diagnosis.rivals) <= {"nulls"}
    assert seen_as_usual(watched, usual, "arrived.", "skew.", "release.", "gold.")


def test_a_column_that_was_never_there_is_a_finding(folder: Path) -> None:
    """Ninety days without a channel are no reason to say nothing of the rest."""
    for path in sorted((folder / "transactions").iterdir()):
        spoil(path, lambda rows: rows.drop(columns="channel"))
    assert diagnosed(folder)[0].diagnosis.cause == "missing_column"


@pytest.mark.parametrize("column", ["transaction_id", "timestamp"])
def test_a_batch_that_cannot_be_placed_is_an_error(folder: Path, column: str) -> None:
    """Without an id or a time nothing joins: the message says which column, and which there are."""
    spoil(folder / LAST[0], lambda rows: rows.drop(columns=column))
    with pytest.raises(SourceError, match=rf"transactions has no column {column}; it has .*customer_id.*Columns of"):
        diagnose_folder(folder, AS_OF)


def test_a_file_that_came_twice_counts_once(folder: Path, usual: Watched) -> None:
    """It is remarked on, and everything else is as it was."""
    shutil.copy(folder / LAST[1], folder / "transactions" / "again.parquet")
    watched, read = diagnosed(folder)
    rows = pq.read_table(folder / LAST[1]).num_rows
    assert read.remarks == (f"{rows} transactions came again under the same id and were left out",)
    assert seen_as_usual(watched, usual, "")


def test_a_clock_that_goes_backwards_within_a_file_is_put_in_order(folder: Path, usual: Watched) -> None:
    """Its payments are all read, and nothing else changes."""
    spoil(folder / LAST[1], lambda rows: rows.iloc[::-1])
    assert seen_as_usual(diagnosed(folder)[0], usual, "")


def test_a_clock_that_goes_backwards_within_a_file_is_remarked_on(folder: Path) -> None:
    """Whoever writes the feed would want to know."""
    spoil(folder / LAST[1], lambda rows: rows.iloc[::-1])
    assert any("order" in remark or "backwards" in remark for remark in read_folder(folder).remarks)


def test_payments_without_a_readable_time_are_counted(folder: Path) -> None:
    """And left out."""
    spoil(
        folder / LAST[1],
        lambda rows: rows.assign(timestamp=["never"] * 5 + rows["timestamp"].astype(str).tolist()[5:]),
    )
    assert diagnosed(folder)[1].remarks == ("5 transactions have no readable timestamp and were left out",)


def test_two_files_of_one_day_may_differ_in_a_type(folder: Path) -> None:
    """The late payments of a day came with amounts as text: that is a finding, too."""
    rows = pq.read_table(folder / LAST[1]).to_pandas()
    early, late = rows.iloc[:400], rows.iloc[400:].assign(amount=lambda part: part["amount"].astype(str))
    spoil(folder / LAST[1], lambda _: early)
    pq.write_table(pa.Table.from_pandas(late, preserve_index=False), folder / "transactions" / "late.parquet")
    assert diagnosed(folder)[0].diagnosis.cause == "retyped_column"


def test_payments_without_an_id_are_remarked_on(folder: Path, usual: Watched) -> None:
    """They join to nothing, and the others are read."""
    spoil(folder / LAST[1], lambda rows: rows.assign(transaction_id=rows["transaction_id"].where(rows.index >= 5)))
    watched, read = diagnosed(folder)
    assert any(remark.startswith("5 ") for remark in read.remarks)
    assert seen_as_usual(watched, usual, "arrived.")


# Tables and files that are missing or cannot be read


@pytest.mark.parametrize("name", ["transactions", "scores"])
def test_nothing_can_be_said_without_transactions_or_scores(folder: Path, name: str) -> None:
    """The message names the table, where it was looked for, and its columns."""
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.with_suffix(".parquet").unlink()
    with pytest.raises(SourceError, match=rf"{folder} holds no {name}.parquet.*Columns: transaction_id"):
        diagnose_folder(folder, AS_OF)


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    """It says where to look up what a folder holds."""
    with pytest.raises(SourceError, match=r"nowhere is no folder.*--help"):
        diagnose_folder(tmp_path / "nowhere", AS_OF)


@pytest.mark.parametrize("name", OPTIONAL)
def test_any_other_table_may_be_missing(folder: Path, usual: Watched, name: str) -> None:
    """It is told what cannot be seen without it; batches are judged all the same, and nothing is found that is not there."""
    (folder / f"{name}.parquet").unlink()
    watched, read = diagnosed(folder)
    assert read.missing == (name,)
    assert as_record(watched, read.missing)["missing_tables"] == {name: BLIND_WITHOUT[name]}
    assert watched.diagnosis.cause == "none"
    assert seen_as_usual(watched, usual, "batch.")


def test_two_tables_are_enough(folder: Path, usual: Watched) -> None:
    """Transactions and scores alone give a diagnosis of low confidence."""
    for name in OPTIONAL:
        (folder / f"{name}.parquet").unlink()
    watched, read = diagnosed(folder)
    assert read.missing == OPTIONAL
    assert confidence(watched, read.missing) == "low"
    assert seen_as_usual(watched, usual, "batch.", "score.")


@pytest.mark.parametrize("name", [LAST[0], "scores.parquet", "labels.parquet"])
def test_a_file_that_cannot_be_read_is_an_error(folder: Path, name: str) -> None:
    """The message says which, and what to do."""
    (folder / name).write_bytes(b"PAR1, or so they say")
    with pytest.raises(SourceError, match=rf"{folder / name} cannot be read: .*Write it anew, or leave it out"):
        diagnose_folder(folder, AS_OF)


def test_scores_of_which_none_can_be_used_are_an_error(folder: Path) -> None:
    """A table without rows, and one that counts to a thousand, must not look like a quiet day."""
    spoil(folder / "scores.parquet", lambda rows: rows.assign(score=rows["score"] * 1000 + 2))
    with pytest.raises(SourceError, match="a number from 0 to 1"):
        diagnose_folder(folder, date_of(40))


def test_tables_are_not_written_over_others(folder: Path) -> None:
    """Two drills in one folder are none."""
    with pytest.raises(SourceError, match="is not empty"):
        write_folder(known(), folder)


@pytest.mark.parametrize("name", ["labels", "audits", "features_online"])
def test_a_table_without_its_rows_is_as_good_as_none(folder: Path, usual: Watched, name: str) -> None:
    """Nothing is known of what it would say, and batches are judged all the same."""
    spoil(folder / f"{name}.parquet", lambda rows: rows.iloc[:0])
    watched, _ = diagnosed(folder)
    assert seen_as_usual(watched, usual, "batch.")
    assert watched.diagnosis.cause == "none"


@pytest.mark.parametrize("as_of", [date_of(0), date_of(0) - timedelta(days=1), AS_OF + timedelta(days=29)])
def test_a_day_outside_of_the_data_is_an_error(clean: Path, as_of: date) -> None:
    """The message says which days there are."""
    found = rf"from {date_of(0)} to {date_of(DAYS - 1)}; --as-of {as_of} must lie after"
    with pytest.raises(SourceError, match=found):
        diagnose_folder(clean, as_of)


@pytest.mark.parametrize("days", [1, 8, 40])
def test_a_day_with_little_before_it_is_diagnosed_with_low_confidence(clean: Path, days: int) -> None:
    """There is nothing yet to compare with."""
    watched, read = diagnose_folder(clean, date_of(days))
    assert (watched.diagnosis.cause, watched.days_of_history) == ("none", 0)
    assert confidence(watched, read.missing) == "low"


# Labels


@pytest.mark.parametrize("fraud", [False, True])
def test_labels_of_one_class_are_diagnosed(folder: Path, usual: Watched, fraud: bool) -> None:
    """No fraud at all, or nothing but fraud: quality has no meaning, and everything else is read."""
    spoil(folder / "labels.parquet", lambda rows: rows.assign(is_fraud=fraud))
    watched, _ = diagnosed(folder)
    assert seen_as_usual(watched, usual, "batch.", "arrived.", "skew.")


def test_labels_of_transactions_that_nobody_knows_change_nothing(folder: Path, usual: Watched) -> None:
    """They join to nothing, and those that do are read."""
    spoil(folder / "labels.parquet", with_unknown)
    watched, read = diagnosed(folder)
    assert seen_as_usual(watched, usual, "")
    assert Ledger.of(read.tables).book.unknown == 100


def test_labels_of_transactions_that_nobody_knows_are_remarked_on(folder: Path) -> None:
    """A join that loses labels is what a stranger should hear of first."""
    spoil(folder / "labels.parquet", with_unknown)
    assert any("100" in remark and "label" in remark for remark in diagnose_folder(folder, date_of(40))[1].remarks)


def with_unknown(rows: pd.DataFrame) -> pd.DataFrame:
    strangers = rows.tail(100).assign(transaction_id=lambda part: part["transaction_id"] + 700_000)
    return pd.concat([rows, strangers])


def contradicted(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a hundred chargebacks, each is said not to be one at the same moment."""
    chosen = rows[rows["source"] == "chargeback"].head(100)
    return pd.concat([rows, chosen.assign(is_fraud=~chosen["is_fraud"])])


def test_what_a_source_contradicts_is_not_believed(folder: Path, usual: Watched) -> None:
    """The contradicted chargebacks are counted and left out; analysts are read as ever."""
    spoil(folder / "labels.parquet", contradicted)
    watched, read = diagnosed(folder)
    assert Ledger.of(read.tables).book.contradictory == 100
    assert seen_as_usual(watched, usual, "batch.", "arrived.analyst", "sources.")


def test_what_a_source_contradicts_is_remarked_on(folder: Path) -> None:
    """A source that says both has a fault that somebody should look for."""
    spoil(folder / "labels.parquet", contradicted)
    assert any("100" in r and "contradict" in r for r in diagnose_folder(folder, date_of(40))[1].remarks)


def test_labels_from_the_future_are_not_read(folder: Path, usual: Watched) -> None:
    """What arrives on the day of the diagnosis or later has not arrived."""
    late = tables().labels[lambda rows: rows["arrived_at"] >= midnight(DAYS)]
    late = late[late["transaction_id"] < DAYS * IDS_A_DAY]
    assert len(late) > 20
    spoil(folder / "labels.parquet", lambda rows: pd.concat([rows, late]))
    assert seen_as_usual(diagnosed(folder)[0], usual, "")


def test_labels_that_say_neither_are_counted(folder: Path) -> None:
    """Truth as text is read; a maybe is not, nor a date that is none."""

    def neither(rows: pd.DataFrame) -> pd.DataFrame:
        said = rows["is_fraud"].map({True: "true", False: "false"})
        said.iloc[:10] = "maybe"
        when = rows["arrived_at"].astype(str)
        when.iloc[10:15] = "soon"
        return rows.assign(is_fraud=said, arrived_at=when)

    spoil(folder / "labels.parquet", neither)
    assert diagnosed(folder)[1].remarks == ("15 rows of labels cannot be read and were left out",)


def test_labels_without_an_id_do_not_cost_the_others_theirs(folder: Path, usual: Watched) -> None:
    """One missing id turns the column into floats in pandas; the other labels join all the same."""
    spoil(
        folder / "labels.parquet", lambda rows: rows.assign(transaction_id=rows["transaction_id"].where(rows.index > 0))
    )
    watched, read = diagnosed(folder)
    assert Ledger.of(read.tables).book.unknown <= 1
    assert seen_as_usual(watched, usual, "batch.", "skew.", "arrived.", "gold.random_fraud")


# Scores, features, releases and ids


def test_scores_that_are_no_probabilities_are_counted(folder: Path) -> None:
    """They are left out, and the others are read."""
    spoil(folder / "scores.parquet", lambda rows: rows.assign(score=rows["score"].where(rows.index >= 50, 1.5)))
    assert diagnosed(folder)[1].remarks == ("50 rows of scores cannot be read and were left out",)


def test_scores_need_no_role(folder: Path, usual: Watched) -> None:
    """One version a payment, and nothing said of what was blocked: it was live, and paid."""
    spoil(
        folder / "scores.parquet",
        lambda rows: rows.loc[rows["role"] == "live", ["transaction_id", "model_version", "score"]],
    )
    watched, _ = diagnosed(folder)
    assert seen_as_usual(watched, usual, "batch.", "score.alerts", "arrived.")


def test_scores_of_no_known_role_are_remarked_on(folder: Path) -> None:
    """Where nothing was live nothing is judged: that must not look like a quiet day."""
    spoil(folder / "scores.parquet", lambda rows: rows.assign(role="champion"))
    try:
        read = read_folder(folder)
    except SourceError as error:
        assert "champion" in str(error) and "live" in str(error)
    else:
        assert any("champion" in remark or "role" in remark for remark in read.remarks)


@pytest.mark.parametrize(
    "no",
    [pytest.param("false", id="text"), pytest.param(None, id="null beside 1")],
)
def test_what_was_not_blocked_is_not_blocked_however_it_is_written(folder: Path, no: str | None) -> None:
    """A text that says false, or nothing at all where others have a one, is no block."""
    yes = "true" if no else 1.0
    spoil(folder / "scores.parquet", lambda rows: rows.assign(blocked=rows["blocked"].map({True: yes, False: no})))
    assert read_folder(folder).tables.scores["blocked"].sum() == known().scores["blocked"].sum() > 100


def test_a_feature_that_is_text_is_found_or_refused(folder: Path) -> None:
    """Text where the service should have read a number is something that is told, not a stack trace."""
    spoil(folder / "features_online.parquet", lambda rows: rows.assign(amount=rows["amount"].astype(str) + " EUR"))
    try:
        watched, read = diagnosed(folder)
    except SourceError as error:
        assert "features_online" in str(error) and "amount" in str(error)
    else:
        assert watched.diagnosis.cause == "skew" or any("features_online" in remark for remark in read.remarks)


def test_files_of_one_table_that_do_not_fit_together_are_an_error(folder: Path) -> None:
    """The message names the table and what does not fit."""
    (folder / "labels").mkdir()
    rows = pq.read_table(folder / "labels.parquet").to_pandas()
    other = pa.Table.from_pandas(rows.head(5).assign(arrived_at=7), preserve_index=False)
    pq.write_table(other, folder / "labels" / "other.parquet")
    with pytest.raises(SourceError, match=r"labels.*arrived_at"):
        read_folder(folder)


def test_versions_may_be_numbers(folder: Path, usual: Watched) -> None:
    """The first of them replaced nothing, which makes floats of the others in pandas; they are the same versions."""
    spoil(folder / "scores.parquet", lambda rows: rows.assign(model_version=rows["model_version"].astype(int)))
    spoil(
        folder / "releases.parquet",
        lambda rows: rows.assign(
            model_version=rows["model_version"].astype(int),
            replaces=pd.to_numeric(rows["replaces"], errors="coerce"),
        ),
    )
    spoil(folder / "training_labels.parquet", lambda rows: rows.assign(model_version=rows["model_version"].astype(int)))
    assert seen_as_usual(diagnosed(folder)[0], usual, "release.")


def test_ids_may_be_text(folder: Path, usual: Watched) -> None:
    """They are numbered, the same text with the same number in every table, and nothing else changes."""
    shutil.rmtree(folder)
    write_folder(with_text_ids(known()), folder)
    watched, read = diagnosed(folder)
    assert [remark.split(";")[0] for remark in read.remarks] == [
        "transaction_id is text", "customer_id is text", "terminal_id is text",
    ]  # fmt: skip
    assert seen_as_usual(watched, usual, "batch.", "arrived.", "skew.", "gold.", "score.", "charged.")


def with_text_ids(known: Tables) -> Tables:
    def text(table: pa.Table) -> pa.Table:
        for column in {"transaction_id", "customer_id", "terminal_id"} & set(table.column_names):
            named = pa.array([f"{column[0]}-{value}" for value in table[column].to_pylist()])
            table = table.set_column(table.schema.get_field_index(column), column, named)
        return table

    def framed(frame: pd.DataFrame | None) -> pd.DataFrame:
        assert frame is not None
        return frame.assign(transaction_id="t-" + frame["transaction_id"].astype(str))

    assert known.features_offline is not None
    features = text(known.features_offline)
    return replace(
        known,
        batches={day: text(batch) for day, batch in known.batches.items()},
        scores=framed(known.scores),
        labels=framed(known.labels),
        audits=framed(known.audits),
        training_labels=framed(known.training_labels),
        features_offline=features,
        features_online=features,
    )

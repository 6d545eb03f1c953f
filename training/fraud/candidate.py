"""Make a day's candidate and register it with the record that it can be rebuilt from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from feature_repo.definitions import CARDS, service_version
from ingest.whole_files import write_whole
from training.candidate import git_commit
from training.fraud.artefact import FRAUD
from training.fraud.card_days import CardDays
from training.fraud.day_split import days_before
from training.fraud.day_tables import arrived_by, moment_of, read_audits, read_labels, read_payments
from training.fraud.examples import Examples, examples_of
from training.fraud.model import FraudModel, FraudParams, fingerprint, need_both_classes
from training.fraud.operation import OPERATION
from training.mlflow_registry import MlflowRegistry, Version


class Recipe(NamedTuple):
    """How a candidate is made of examples: in words, for the record, and in code, which raises OneClassError."""

    words: Mapping[str, Any]
    make: Callable[[Examples], FraudModel]
    made_of: str | None = None
    """The version whose trees it takes over, and with them what these learned."""


class Lesson(NamedTuple):
    """What a candidate learns: the payments of some days, without what untrusted sources say of them."""

    days: tuple[date, ...]
    untrusted: frozenset[str]
    rows: Examples


def fitting(seed: int) -> Recipe:
    """New trees with their calibration."""
    params = FraudParams()
    return Recipe({**asdict(params), "seed": seed}, partial(Examples.fitted, seed=seed, params=params))


def recalibrating(version: str, model: FraudModel) -> Recipe:
    """The trees of a version with a new calibration: the answer to more fraud, or less, of the known kind."""

    def make(rows: Examples) -> FraudModel:
        need_both_classes("calibration", rows.fraud)
        return model.recalibrated(rows.features, rows.fraud, rows.weights)

    return Recipe({"trees_of_version": version}, make, version)


def learnable(cards: CardDays, days: Sequence[date], as_of: datetime, untrusted: frozenset[str]) -> Examples:
    """What can be learned from some days as of a midnight, without what untrusted sources say.

    The audit's random part is left out, arrived or not: candidates are judged by it, and it is too small to be spent twice.
    """
    audits = read_audits(cards, days_before(as_of, (as_of.date() - min(days)).days))
    return examples_of(
        read_payments(cards, days, "features_offline"),
        read_labels(cards, days, as_of),
        arrived_by(audits, as_of),
        moment_of(as_of),
        explored_share=OPERATION.explored_share,
        untrusted=untrusted,
        held_out=audits.loc[audits["reason"] == "random", "transaction_id"].to_numpy(np.int64),
    )


def register_candidate(cards: CardDays, as_of: datetime, lesson: Lesson, recipe: Recipe) -> dict[str, Any]:
    """Make a candidate and register it; the same inputs find the version that was made from them before.

    It is the registry's challenger until it is promoted or refused. Raises OneClassError when nothing can be learned.
    """
    registry, rows = MlflowRegistry(cards.ws.settings, FRAUD), lesson.rows
    record = {
        "as_of": f"{as_of:%Y-%m-%d}",
        "snapshot_id": _digest(rows),
        "feature_service": service_version(CARDS),
        "days": json.dumps([str(day) for day in lesson.days]),
        "untrusted": json.dumps(sorted(lesson.untrusted)),
        "params": json.dumps(dict(recipe.words)),
    }
    key = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
    found = registry.find(key) or _registered(registry, {**record, "key": key}, rows, recipe)
    _write_learned(cards, found.version, rows, recipe.made_of)
    registry.challenge(found.version)
    return {
        "version": found.version,
        "run_id": found.run_id,
        **{name: found.tags[name] for name in ("fingerprint", "snapshot_id")},
    }


def learned_by(cards: CardDays, version: str) -> pd.DataFrame:
    """The labels that a version learned from, as a table `training_labels`; no rows for a version that left none."""
    path = cards.learned_path(version)
    return pd.read_parquet(path) if path.exists() else _labels_of(version, np.empty(0, np.int64), np.empty(0, bool))


def _registered(
    registry: MlflowRegistry[FraudModel], record: Mapping[str, str], rows: Examples, recipe: Recipe
) -> Version:
    model = recipe.make(rows)
    return registry.register(
        model,
        golden=FRAUD.golden(model, rows.features),
        params=recipe.words,
        metrics={"training_rows": float(len(rows.ids)), "training_frauds": float(rows.fraud.sum())},
        tags={**record, "fingerprint": fingerprint(model), "git_commit": git_commit(), "reads": " ".join(model.names)},
        run_name=f"day {record['as_of']}",
    )


def _digest(rows: Examples) -> str:
    """A hash over all that is learned: two days with the same would give the same model."""
    digest = hashlib.sha256()
    for column in rows:
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _write_learned(cards: CardDays, version: str, rows: Examples, made_of: str | None) -> None:
    """What the trees that it took over had learned was learned by it, too."""
    own = _labels_of(version, rows.ids, rows.fraud)
    before = learned_by(cards, made_of).assign(model_version=version) if made_of else own.iloc[:0]
    every = pd.concat([before, own], ignore_index=True).drop_duplicates("transaction_id", keep="last")
    write_whole(cards.learned_path(version), partial(every.to_parquet, index=False))


def _labels_of(version: str, ids: np.ndarray, fraud: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"model_version": version, "transaction_id": ids, "is_fraud": fraud})

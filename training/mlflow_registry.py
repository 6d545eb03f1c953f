"""Keep models in MLflow: log a candidate with what it was made from, load it checked, move aliases."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from sklearn.ensemble import VotingClassifier

from ingest.errors import ArtefactError, RegistryError
from training.promotion import Aliases
from training.recommender.rank import Scorer
from training.recommender.ranker import score_pairs
from training.settings import Settings

MODEL = "recommender"
EXPERIMENT = "recommender-weekly"

# It announces the making of its tables in the middle of our progress display.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)

#: The types in a ranker that skops does not trust by itself: scikit-learn's own tree, and the dictionary in which the vote names its fits.
TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", "sklearn.utils._bunch.Bunch"]


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model version and the record it can be rebuilt from."""

    version: str
    run_id: str
    tags: Mapping[str, str]


class MlflowRegistry:
    """The registry of one model. All of MLflow's own errors leave here as RegistryError."""

    def __init__(self, settings: Settings, model: str = MODEL) -> None:
        self._model = model
        mlflow.set_tracking_uri(settings.mlflow_uri)
        self._client = mlflow.MlflowClient(settings.mlflow_uri)
        try:
            experiment = self._client.get_experiment_by_name(EXPERIMENT)
            self._experiment_id = experiment.experiment_id if experiment else self._create_experiment(settings)
        except MlflowException as error:
            raise RegistryError(
                f"MLflow at {settings.mlflow_uri} cannot be used: {error}. Check the tracking_uri setting."
            ) from error

    def _create_experiment(self, settings: Settings) -> str:
        # A server serves its own artefacts; an embedded store keeps them beside its database.
        location = None if settings.tracking_uri else (settings.home / "artefacts").as_uri()
        return self._client.create_experiment(EXPERIMENT, artifact_location=location)

    def find(self, key: str) -> Version | None:
        """The version made from exactly these inputs, if there is one: a retried week finds its own candidate."""
        found = self._client.search_model_versions(f"name = '{self._model}' and tags.key = '{key}'")
        return _as_version(found[0]) if found else None

    def register(
        self,
        ranker: VotingClassifier,
        *,
        feature_names: tuple[str, ...],
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        run_name: str,
    ) -> Version:
        """Log a run and its model with signature, hash and record, and register it as a new version.

        `tags` are the record to rebuild from (key, as_of, snapshot_id, feature_service, git_commit, fingerprint).
        """
        with mlflow.start_run(experiment_id=self._experiment_id, run_name=run_name, tags=dict(tags)) as run:
            mlflow.log_params(dict(params))
            mlflow.log_metrics(dict(metrics))
            logged = mlflow.sklearn.log_model(
                ranker,
                name="ranker",
                signature=_signature(feature_names),
                skops_trusted_types=TRUSTED,
                # Named, because MLflow would otherwise find them out in a subprocess for half a minute.
                pip_requirements=[f"{p}=={installed(p)}" for p in ("scikit-learn", "skops", "numpy")],
            )
            sha256 = _sha256(self._model_file(logged.model_uri))
            created = self._client.create_model_version(
                self._ensure_model(),
                source=logged.model_uri,
                run_id=run.info.run_id,
                model_id=logged.model_id,
                tags={**tags, "sha256": sha256},
            )
        return self.version(created.version)

    def _ensure_model(self) -> str:
        try:
            self._client.create_registered_model(self._model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise RegistryError(f"The model {self._model!r} cannot be registered: {error}") from error
        return self._model

    def version(self, version: str) -> Version:
        """One version with its record. Raises RegistryError when there is no such version."""
        try:
            return _as_version(self._client.get_model_version(self._model, version))
        except MlflowException as error:
            raise RegistryError(
                f"There is no version {version!r} of {self._model!r}: {error}. `mlops status` lists what there is."
            ) from error

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        found = self._client.search_model_versions(f"name = '{self._model}'")
        return sorted((_as_version(v) for v in found), key=lambda v: int(v.version))

    def load(self, version: str) -> VotingClassifier:
        """The ranker of a version, after its file's hash was checked against the record.

        Raises ArtefactError when the file was altered; nothing of an altered file is ever unpacked.
        """
        record = self.version(version)
        uri = f"models:/{self._model}/{version}"
        file = self._model_file(uri)
        if (found := _sha256(file)) != record.tags["sha256"]:
            raise ArtefactError(
                f"Version {version} of {self._model!r} was altered: {file} has sha256 {found[:12]}…, its record says "
                f"{record.tags['sha256'][:12]}…. Roll back, or rebuild it with `mlops reproduce {version}`."
            )
        return _unpack(uri, found)

    def scorer(self, version: str) -> Scorer:
        """How a version scores pairs; raises like `load`."""
        return partial(score_pairs, self.load(version))

    def log_evaluation(
        self, run_id: str, metrics: Mapping[str, float], documents: Mapping[str, Any], plots: Mapping[str, Any]
    ) -> None:
        """Add what was found out about a candidate to its run: figures, JSON documents, Matplotlib figures."""
        now = int(time.time() * 1000)
        self._client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])
        for name, document in documents.items():
            self._client.log_dict(run_id, document, name)
        for name, plot in plots.items():
            self._client.log_figure(run_id, plot, name)

    def size_bytes(self, version: str) -> int:
        """How large a version's stored model is."""
        return self._model_file(f"models:/{self._model}/{version}").stat().st_size

    def aliases(self) -> Aliases:
        """What the registry says is live now."""
        try:
            set_now = self._client.get_registered_model(self._model).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return Aliases()
            raise RegistryError(f"The aliases of {self._model!r} cannot be read: {error}") from error
        return Aliases(
            **{name: str(set_now[name]) for name in ("champion", "challenger", "previous") if name in set_now}
        )

    def set_aliases(self, wanted: Aliases) -> None:
        """Move the aliases. The champion moves last, so that whoever sees it also sees its way back."""
        now = self.aliases()
        for name in ("previous", "challenger", "champion"):
            version = getattr(wanted, name)
            if version == getattr(now, name):
                continue
            if version is None:
                self._client.delete_registered_model_alias(self._model, name)
            else:
                self._client.set_registered_model_alias(self._model, name, version)

    def _model_file(self, uri: str) -> Path:
        folder = mlflow.artifacts.download_artifacts(uri)
        return Path(folder) / "model.skops"


@lru_cache(maxsize=4)
def _unpack(uri: str, sha256: str) -> VotingClassifier:  # noqa: ARG001 - the hash is what makes it the same
    """Unpack a checked model; champion, previous and first are asked for every week, and unpacking takes half a second."""
    return mlflow.sklearn.load_model(uri)


def _as_version(found: Any) -> Version:
    return Version(version=str(found.version), run_id=found.run_id, tags=dict(found.tags))


def _signature(feature_names: tuple[str, ...]) -> ModelSignature:
    inputs = Schema([ColSpec(DataType.float, name) for name in feature_names])
    return ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType.long, "bought")]))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

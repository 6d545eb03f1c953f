"""Keep models in MLflow: log a candidate with what it was made from, load it checked, move aliases."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic

import mlflow
import mlflow.xgboost
import numpy as np
import xgboost
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from ingest.errors import ArtefactError, RegistryError
from training.artefact import Contents, FloatArray, Golden, Kind, Model
from training.promotion import Aliases
from training.settings import Settings

# It announces the making of its tables in the middle of our progress display, and logs with a stack trace what it raises anyway.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

#: What MLflow raises; while it opens its database, it lets the errors of that through as they are.
MLFLOW_ERRORS = (MlflowException, SQLAlchemyError)

#: What to do about a version whose files are not what its record says; `mlops reproduce` compares with these very files.
REMEDY = "Restore its files from a backup, put another version live with `mlops rollback`, or let the next week train a new one."


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model version and the record it can be rebuilt from."""

    version: str
    run_id: str
    tags: Mapping[str, str]


@contextmanager
def _as_registry_error(what: str) -> Iterator[None]:
    """Let MLflow's errors leave as RegistryError, with what could not be done."""
    try:
        yield
    except MLFLOW_ERRORS as error:
        raise RegistryError(
            f"{what}: {error}. See what there is with `mlops status`, and whether the store of tracking_uri is up and has room."
        ) from error


class MlflowRegistry(Generic[Model]):
    """The registry of one kind of model; several kinds may share a store.

    All of MLflow's own errors leave here as RegistryError, those of its database too.
    """

    def __init__(self, settings: Settings, kind: Kind[Model]) -> None:
        self._kind, self._model = kind, kind.model
        mlflow.set_tracking_uri(settings.mlflow_uri)
        try:
            self._client = mlflow.MlflowClient(settings.mlflow_uri)
            experiment = self._client.get_experiment_by_name(kind.experiment)
            self._experiment_id = experiment.experiment_id if experiment else self._create_experiment(settings)
        except MLFLOW_ERRORS as error:
            raise RegistryError(
                f"MLflow at {settings.mlflow_uri} cannot be used: {error}. Check the tracking_uri setting."
            ) from error

    def _create_experiment(self, settings: Settings) -> str:
        # A server serves its own artefacts; an embedded store keeps them beside its database.
        location = None if settings.tracking_uri else (settings.home / "artefacts").as_uri()
        return self._client.create_experiment(self._kind.experiment, artifact_location=location)

    @_as_registry_error("Versions cannot be searched")
    def find(self, key: str) -> Version | None:
        """The version made from exactly these inputs, if there is one: a retried week finds its own candidate."""
        found = self._client.search_model_versions(f"name = '{self._model}' and tags.key = '{key}'")
        return _as_version(found[0]) if found else None

    @_as_registry_error("A version cannot be registered")
    def register(
        self,
        model: Model,
        *,
        golden: Golden,
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
            logged = _log_model(self._kind, model, golden)
            sha256 = self._kind.sha256_of(self._contents(logged.model_uri))
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

    @_as_registry_error("A version cannot be read")
    def version(self, version: str) -> Version:
        """One version with its record. Raises RegistryError when there is no such version."""
        try:
            return _as_version(self._client.get_model_version(self._model, version))
        except MlflowException as error:
            raise RegistryError(
                f"There is no version {version!r} of {self._model!r}: {error}. `mlops status` lists what there is."
            ) from error

    @_as_registry_error("Versions cannot be listed")
    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        found = self._client.search_model_versions(f"name = '{self._model}'")
        return sorted((_as_version(v) for v in found), key=lambda v: int(v.version))

    def files(self, version: str) -> Contents:
        """The files of a version, after their hash was checked against the record.

        Raises ArtefactError when they were altered, or have no recorded hash; nothing of such a file is ever unpacked.
        """
        recorded = self.version(version).tags.get("sha256")
        if recorded is None:
            raise ArtefactError(
                f"Version {version} of {self._model!r} has no record of its hash: it was not registered here. "
                "Register it with its record, or put another version live with `mlops rollback`."
            )
        contents = self._contents(f"models:/{self._model}/{version}")
        if (found := self._kind.sha256_of(contents)) != recorded:
            raise ArtefactError(
                f"Version {version} of {self._model!r} was altered: its files have sha256 {found[:12]}…, its record says "
                f"{recorded[:12]}…. {REMEDY}"
            )
        return contents

    def load(self, version: str) -> Model:
        """The model of a version: what is unpacked are the very bytes that were checked, and it gives its golden scores again.

        Raises ArtefactError when the files were altered, hold no such model, or one that answers differently.
        """
        contents = self.files(version)
        try:
            return self._kind.opened(contents)
        except ArtefactError as error:
            raise ArtefactError(f"Version {version} of {self._model!r} cannot be loaded. {error} {REMEDY}") from error

    def scorer(self, version: str) -> Callable[[FloatArray], NDArray[Any]]:
        """How a version scores rows; raises like `load`."""
        return partial(self._kind.score, self.load(version))

    @_as_registry_error("An evaluation cannot be logged")
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
        return sum(map(len, self._contents(f"models:/{self._model}/{version}").values()))

    @_as_registry_error("Aliases cannot be read")
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

    @_as_registry_error("The challenger cannot be named")
    def challenge(self, version: str) -> None:
        """Call a version the challenger until it is decided about: `set_aliases` takes the name away again."""
        self._client.set_registered_model_alias(self._model, "challenger", version)

    @_as_registry_error("Aliases cannot be moved")
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

    @_as_registry_error("A version's files cannot be fetched")
    def _contents(self, uri: str) -> Contents:
        """The files of a version, by the names of the kind's files."""
        with tempfile.TemporaryDirectory(
            prefix="mlops-version-"
        ) as place:  # what comes from a server would else stay there for ever
            folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
            try:
                return self._kind.contents_of(folder)
            except OSError as error:
                raise ArtefactError(f"{uri} is not whole ({error}). {REMEDY}") from error


def _log_model(kind: Kind[Model], model: Model, golden: Golden) -> Any:
    trees, beside = kind.pack(model)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, content in {**beside, "golden": golden.to_json().encode()}.items():
            paths.append(Path(folder) / Path(kind.files[name]).name)
            paths[-1].write_bytes(content)
        return mlflow.xgboost.log_model(
            trees,
            name=kind.logged_as,
            signature=_signature(kind.features),
            extra_files=[str(path) for path in paths],
            # Named, because MLflow would otherwise find them out in a subprocess for half a minute.
            pip_requirements=[f"xgboost=={xgboost.__version__}", f"numpy=={np.__version__}"],
        )


def _as_version(found: Any) -> Version:
    return Version(version=str(found.version), run_id=found.run_id, tags=dict(found.tags))


def _signature(feature_names: tuple[str, ...]) -> ModelSignature:
    inputs = Schema([ColSpec(DataType.float, name) for name in feature_names])
    return ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType.float, "score")]))

"""Render an overlay, and say what is not valid in it.

python -m infra.k8s.manifests infra/k8s/overlays/dev
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml

from infra.errors import InfraError, ToolError
from infra.k8s.errors import ManifestError
from infra.k8s.outputs import FILE

Manifest = Mapping[str, Any]

#: As infra/terraform/environments say it.
KUBERNETES: Final = "1.35"
PLACEHOLDER: Final = "from-outputs"
SCHEMAS: Final = Path(__file__).parent / "schemas"
#: Custom resources, for which Kubernetes' own schemas have nothing; ours hold the fields that we use, and refuse all others.
CUSTOM: Final = {
    ("serving.kserve.io/v1beta1", "InferenceService"): "inferenceservice.json",
    ("external-secrets.io/v1", "ExternalSecret"): "externalsecret.json",
    ("external-secrets.io/v1", "ClusterSecretStore"): "clustersecretstore.json",
}
#: What a predictor has beside the fields of a pod.
PREDICTOR_ONLY: Final = frozenset({"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "deploymentStrategy"})
POD_TEMPLATE: Final = "pod.yaml"
RENDER_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that the manifests start, by whichever kind: where it is written, its labels, its spec, and how many there may be."""

    owner: str
    kind: str
    namespace: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    fewest: int
    most: int

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        return [*self.spec.get("initContainers", ()), *self.spec["containers"]]


def render(overlay: Path) -> list[Manifest]:
    """Every manifest of an overlay, filled.

    Raises ManifestError when its outputs were not written or leave a placeholder, ToolError when kustomize is missing or fails.
    """
    if not (overlay / FILE).exists():
        raise ManifestError(
            f"{overlay / FILE} is missing; write it: terraform output -json | python -m infra.k8s.outputs {overlay.name} …"
        )
    command = [*_kustomize(), str(overlay)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RENDER_TIMEOUT_S)
    if ended.returncode != 0:
        raise ToolError(f"`{' '.join(command)}` failed: {ended.stderr.strip()}. Mend what it names.")
    manifests = [one for one in yaml.safe_load_all(ended.stdout) if one]
    if left := [f"{name(one)}: {path}" for one in manifests for path in unfilled(one)]:
        raise ManifestError(
            f"No output fills {'; '.join(left)}. Give each a target in infra/k8s/components/outputs/replacements.yaml."
        )
    return manifests


def validate(manifests: Sequence[Manifest]) -> list[str]:
    """What the API server of `KUBERNETES` would refuse, or drop without a word: fields that are wrong or unknown."""
    return [f"{name(one)}: {problem}" for one in manifests for problem in _problems(one)]


def unfilled(value: Any, path: str = "") -> list[str]:
    """Paths below which a placeholder was left."""
    if isinstance(value, Mapping):
        return [found for key, below in value.items() for found in unfilled(below, f"{path}.{key}".lstrip("."))]
    if isinstance(value, list):
        return [found for at, below in enumerate(value) for found in unfilled(below, f"{path}.{at}")]
    return [path] if isinstance(value, str) and PLACEHOLDER in value else []


def name(manifest: Manifest) -> str:
    """`Kind namespace/name`."""
    metadata = manifest.get("metadata", {})
    return f"{manifest.get('kind')} {metadata.get('namespace', '-')}/{metadata.get('name')}"


def of(manifests: Sequence[Manifest], *kinds: str, namespace: str | None = None) -> list[Manifest]:
    """The manifests of these kinds."""
    return [
        one
        for one in manifests
        if one["kind"] in kinds and namespace in {None, one.get("metadata", {}).get("namespace")}
    ]


def pods(manifests: Sequence[Manifest]) -> Iterator[Pod]:
    """Every pod that these manifests start, tasks of Airflow included; an InferenceService's as KServe starts it.

    KServe's Standard mode has no scaling to zero: it takes `minReplicas: 0` for 1. A task counts as many as may run at once.
    """
    scaled = {
        (one["metadata"]["namespace"], one["spec"]["scaleTargetRef"]["name"]): one["spec"]
        for one in of(manifests, "HorizontalPodAutoscaler")
    }
    for one in manifests:
        space, spec = one.get("metadata", {}).get("namespace", ""), one.get("spec", {})
        if one["kind"] == "Deployment":
            count, template = spec.get("replicas", 1), spec["template"]
            scaler = scaled.get((space, one["metadata"]["name"]), {})
            fewest, most = scaler.get("minReplicas", count), scaler.get("maxReplicas", count)
            yield Pod(name(one), one["kind"], space, template["metadata"]["labels"], template["spec"], fewest, most)
        elif one["kind"] == "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
            yield Pod(name(one), one["kind"], space, template["metadata"]["labels"], template["spec"], 0, 1)
        elif one["kind"] == "InferenceService":
            predictor = spec["predictor"]
            fewest, labels = max(1, predictor.get("minReplicas", 1)), one["metadata"].get("labels", {})
            most = max(fewest, predictor.get("maxReplicas", fewest))
            yield Pod(name(one), one["kind"], space, labels, _pod_of(predictor), fewest, most)
        elif one["kind"] == "ConfigMap" and POD_TEMPLATE in one.get("data", {}):
            pod = yaml.safe_load(one["data"][POD_TEMPLATE])
            yield Pod(name(one), "Pod", space, pod["metadata"]["labels"], pod["spec"], 0, _parallel_tasks(manifests))


def surge(manifest: Manifest) -> int:
    """Pods that a Deployment starts beyond its number while it is changed; we write numbers, and Kubernetes' default is a quarter."""
    strategy = manifest["spec"].get("strategy", {})
    return 0 if strategy.get("type") == "Recreate" else int(strategy.get("rollingUpdate", {}).get("maxSurge", 1))


def _parallel_tasks(manifests: Sequence[Manifest]) -> int:
    schedulers = [one for one in of(manifests, "Deployment") if one["metadata"]["name"] == "airflow-scheduler"]
    settings = [one["data"] for one in of(manifests, "ConfigMap") if "AIRFLOW__CORE__PARALLELISM" in one["data"]]
    each = int(settings[0]["AIRFLOW__CORE__PARALLELISM"]) if settings else 0
    return each * sum(one["spec"].get("replicas", 1) for one in schedulers)


def _problems(manifest: Manifest) -> list[str]:
    kind = (manifest.get("apiVersion", ""), manifest.get("kind", ""))
    if kind in CUSTOM:
        problems = [
            f"{error.json_path}: {error.message}" for error in _schema(CUSTOM[kind]).iter_errors(dict(manifest))
        ]
    else:
        problems = _built_in_problems(manifest)
    if kind[1] == "InferenceService" and not problems:
        problems = _built_in_problems(_as_pod(_pod_of(manifest["spec"]["predictor"])))
    if kind[1] == "ConfigMap" and POD_TEMPLATE in manifest.get("data", {}):
        problems += _built_in_problems(yaml.safe_load(manifest["data"][POD_TEMPLATE]))
    return problems


def _built_in_problems(manifest: Manifest) -> list[str]:
    import kubernetes_validate  # a tool of development: the image does without

    try:
        used = kubernetes_validate.validate(dict(manifest), KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError:
        return ["nothing validates this kind; write a schema in infra/k8s/schemas, and name it in CUSTOM"]
    if used != KUBERNETES:
        return [
            f"validated against Kubernetes {used}, while clusters run {KUBERNETES}; bring kubernetes-validate up to date"
        ]
    return []


def _pod_of(predictor: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in predictor.items() if key not in PREDICTOR_ONLY}


def _as_pod(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": spec}


@cache
def _schema(file: str) -> Any:
    schema = json.loads((SCHEMAS / file).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def _kustomize() -> list[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    raise ToolError(
        "Neither kubectl nor kustomize is here, and without one nothing is rendered; install kubectl 1.32 or later."
    )


def main() -> None:
    """Print what is wrong with a rendered overlay, and end with 1 if anything is."""
    from infra.k8s.policies import complaints

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overlay", type=Path)
    try:
        manifests = render(parser.parse_args().overlay)
    except InfraError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    wrong = [*validate(manifests), *complaints(manifests)]
    print("\n".join(wrong) or f"{len(manifests)} manifests, nothing wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

"""Do the manifests and Terraform's outputs speak of the same things?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from infra.k8s.errors import OutputsError
from infra.k8s.manifests import Manifest, Pod, name, of, pods
from infra.k8s.outputs import look_up
from infra.plan import UNKNOWN

ROLE: Final = "eks.amazonaws.com/role-arn"
LOAD_BALANCER: Final = "service.beta.kubernetes.io/aws-load-balancer"
#: Service accounts that Terraform has a role for and others' charts bring: each with what brings it.
ELSEWHERE: Final[Mapping[tuple[str, str], str]] = {
    ("kube-system", "aws-load-balancer-controller"): "the load balancer controller's own chart",
    ("kube-system", "cluster-autoscaler"): "the cluster autoscaler's own chart",
    ("kube-system", "aws-node-termination-handler"): "the handler's own chart",
    ("external-secrets", "external-secrets"): "External Secrets' own chart; it must be there before our manifests",
    ("monitoring", "grafana"): "Grafana's own chart, where it is wanted",
}


def disagreements(manifests: Sequence[Manifest], outputs: Mapping[str, Any]) -> list[str]:
    """Where they differ, a sentence each; empty when they agree.

    `outputs` are the values of `infra/terraform/outputs.tf`, from an apply or from a plan. What a plan does not know yet agrees with
    anything. Raises OutputsError when an output is missing.
    """
    return [
        *_accounts(manifests, outputs),
        *_pools(manifests, look_up(outputs, "node_pools")),
        *_autoscalers(manifests, look_up(outputs, "serving.pods")),
        *_names(manifests, outputs),
    ]


def _accounts(manifests: Sequence[Manifest], outputs: Mapping[str, Any]) -> Iterator[str]:
    ours = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one["metadata"]["annotations"][ROLE]
        for one in of(manifests, "ServiceAccount")
        if ROLE in one["metadata"].get("annotations", {})
    }
    theirs = {(one["namespace"], one["name"]): one["role_arn"] for one in look_up(outputs, "service_accounts").values()}
    for account in sorted(ours.keys() - theirs.keys()):
        yield f"{'/'.join(account)} has a role in the manifests, and none in Terraform's output service_accounts"
    for account in sorted(theirs.keys() - ours.keys() - ELSEWHERE.keys()):
        yield f"{'/'.join(account)} has a role in Terraform, and no manifest makes it; if a chart does, say so in ELSEWHERE"
    for account in sorted(ELSEWHERE.keys() - theirs.keys()):
        yield f"{'/'.join(account)} is in ELSEWHERE, and Terraform has no role for it"
    for account in sorted(ELSEWHERE.keys() & ours.keys()):
        yield f"{'/'.join(account)} is made here and in ELSEWHERE; take it out of one of them"
    for account in sorted(ours.keys() & theirs.keys()):
        yield from _differ(f"role of {'/'.join(account)}", ours[account], theirs[account])


def _pools(manifests: Sequence[Manifest], pools: Mapping[str, Any]) -> Iterator[str]:
    known = {(key, value) for pool in pools.values() for key, value in pool["labels"].items()}
    taints = {(key, value) for pool in pools.values() for key, value in pool["taints"].items()}
    for pod in pods(manifests):
        for label in sorted(_asked_for(pod) - known):
            yield f"{pod.owner} wants nodes with {'='.join(label)}, which no pool has"
        for toleration in pod.spec.get("tolerations", ()):
            if (toleration.get("key"), toleration.get("value")) not in taints:
                yield f"{pod.owner} tolerates {toleration.get('key')}={toleration.get('value')}, which taints no pool"
        fits = {pool for pool, its in pools.items() if _fits(pod, its)}
        if not fits:
            yield f"{pod.owner} fits no pool: by its labels, or by a taint that it does not tolerate"
        for pool in sorted(fits):
            fallback = pools[pool]["fallback"]
            if fallback and fallback not in fits:
                yield f"{pod.owner} fits {pool} and not {fallback}, so it waits for as long as there is no spot"
            if fallback and pod.kind in {"Deployment", "InferenceService"}:
                yield f"{pod.owner} always runs, and may land on {pool}, whose machines are reclaimed"


def _fits(pod: Pod, pool: Mapping[str, Any]) -> bool:
    tolerated = {(one.get("key"), one.get("value")) for one in pod.spec.get("tolerations", ())}
    selected = pod.spec.get("nodeSelector", {}).items() <= pool["labels"].items()
    terms = _required(pod)
    wanted = not terms or any(all(pool["labels"].get(key) in values for key, values in term) for term in terms)
    return selected and wanted and set(pool["taints"].items()) <= tolerated


def _required(pod: Pod) -> list[list[tuple[str, list[str]]]]:
    affinity = pod.spec.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", ())
    return [_expressions(term) for term in terms]


def _asked_for(pod: Pod) -> set[tuple[str, str]]:
    affinity = pod.spec.get("affinity", {}).get("nodeAffinity", {})
    preferred = [
        _expressions(one["preference"]) for one in affinity.get("preferredDuringSchedulingIgnoredDuringExecution", ())
    ]
    listed = {(key, value) for term in [*_required(pod), *preferred] for key, values in term for value in values}
    return set(pod.spec.get("nodeSelector", {}).items()) | listed


def _expressions(term: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    if any(one["operator"] != "In" for one in term["matchExpressions"]):
        raise OutputsError(f"{term} is more than `In`, which is all that is compared with node_pools; say it with In.")
    return [(one["key"], one["values"]) for one in term["matchExpressions"]]


def _autoscalers(manifests: Sequence[Manifest], wanted: Mapping[str, Any]) -> Iterator[str]:
    scaled = [
        *((name(one), one["spec"]) for one in of(manifests, "HorizontalPodAutoscaler")),
        *((name(one), one["spec"]["predictor"]) for one in of(manifests, "InferenceService")),
    ]
    if not scaled:
        yield "nothing scales the service; Terraform's alarms go by an autoscaler's fewest and most pods"
    for owner, spec in scaled:
        yield from _differ(f"minReplicas of {owner}", spec.get("minReplicas"), wanted["min"])
        yield from _differ(f"maxReplicas of {owner}", spec.get("maxReplicas"), wanted["max"])


def _names(manifests: Sequence[Manifest], outputs: Mapping[str, Any]) -> Iterator[str]:
    """Whatever else has a name at AWS; each is looked for wherever it may stand, and has to stand somewhere."""
    stores = [one["spec"]["provider"]["aws"] for one in of(manifests, "ClusterSecretStore")]
    databases, caches = _secrets(manifests, "database"), _secrets(manifests, "online-store")
    external = [one["spec"]["externalName"] for one in of(manifests, "Service") if "externalName" in one["spec"]]
    volumes = [one["spec"]["csi"]["volumeHandle"] for one in of(manifests, "PersistentVolume")]
    found = {
        "region": [one["region"] for one in stores],
        "image_repository": _repositories(manifests),
        "tracking.database_secret_arn": [_remote(one) for one in databases],
        "tracking.database_address": [f"{host}:5432" for host in external],
        "tracking.artefact_bucket": _variables(manifests, "ARTEFACT_BUCKET"),
        "online_store.secret_arn": [_remote(one) for one in caches],
        "online_store.address": [_redis(one) for one in caches],
        "workspace.file_system_id": [volume.partition("::")[0] for volume in volumes],
        "workspace.access_point_id": [volume.partition("::")[2] for volume in volumes],
        "serving.subnet_ids": [names.split(",") for names in _annotations(manifests, "subnets")],
        "serving.security_group_id": _annotations(manifests, "security-groups"),
        "monitoring.prometheus_endpoint": [
            url.removesuffix("api/v1/remote_write") for url in _remote_writes(manifests)
        ],
    }
    for path, ours in found.items():
        if not ours:
            yield f"{path} of Terraform is nowhere in the manifests"
        for one in ours:
            yield from _differ(path, one, look_up(outputs, path))


def _differ(what: str, ours: Any, theirs: Any) -> Iterator[str]:
    unknown = theirs is UNKNOWN or (isinstance(theirs, list) and UNKNOWN in theirs)
    if not unknown and ours != theirs:
        yield f"{what} is {ours!r} in the manifests and {theirs!r} in Terraform"


def _secrets(manifests: Sequence[Manifest], called: str) -> list[Manifest]:
    return [one for one in of(manifests, "ExternalSecret") if one["metadata"]["name"] == called]


def _repositories(manifests: Sequence[Manifest]) -> list[str]:
    """Of every image that is neither a vendor's nor named by the scheduler, and the scheduler's own word for tasks."""
    images = [c["image"] for pod in pods(manifests) if pod.kind != "Pod" for c in pod.containers]
    ours = [image.rpartition(":")[0] for image in images if not image.startswith("prom/")]
    return [*ours, *_variables(manifests, "AIRFLOW__KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY")]


def _variables(manifests: Sequence[Manifest], wanted: str) -> list[str]:
    containers = [container for pod in pods(manifests) for container in pod.containers]
    return [one["value"] for container in containers for one in container.get("env", ()) if one["name"] == wanted]


def _annotations(manifests: Sequence[Manifest], suffix: str) -> list[str]:
    found = (
        one["metadata"].get("annotations", {}).get(f"{LOAD_BALANCER}-{suffix}") for one in of(manifests, "Service")
    )
    return [one for one in found if one is not None]


def _remote_writes(manifests: Sequence[Manifest]) -> list[str]:
    files = [text for one in of(manifests, "ConfigMap") for key, text in one["data"].items() if key == "prometheus.yml"]
    return [target["url"] for text in files for target in yaml.safe_load(text).get("remote_write", ())]


def _remote(secret: Manifest) -> Any:
    return secret["spec"]["data"][0]["remoteRef"]["key"]


def _redis(secret: Manifest) -> str:
    address: str = secret["spec"]["target"]["template"]["data"]["MLOPS_REDIS_URL"].partition(",")[0]
    return address

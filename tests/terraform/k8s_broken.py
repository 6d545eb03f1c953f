"""Manifests with one thing wrong each, and what is then to be said: a check that is never seen to fail may check nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from infra.k8s import policies
from infra.k8s.manifests import of

Change = Callable[[list[Any]], object]
KSERVE = "with KServe"
ROLE = "eks.amazonaws.com/role-arn"


def find(manifests: list[Any], kind: str, name: str) -> Any:
    """The manifest of that kind and name, without the ending of a generated one."""
    [one] = [
        m for m in manifests if m["kind"] == kind and re.fullmatch(rf"{name}(-[a-z0-9]{{10}})?", m["metadata"]["name"])
    ]
    return one


def remove(manifests: list[Any], kind: str, name: str) -> None:
    manifests.remove(find(manifests, kind, name))


def pod_of(manifests: list[Any], name: str) -> Any:
    return find(manifests, "Deployment", name)["spec"]["template"]["spec"]


def container_of(manifests: list[Any], name: str) -> Any:
    return pod_of(manifests, name)["containers"][0]


def change_task(manifests: list[Any], old: str, new: str) -> None:
    template = find(manifests, "ConfigMap", "pod-template")
    assert old in template["data"]["pod.yaml"]
    template["data"]["pod.yaml"] = template["data"]["pod.yaml"].replace(old, new)


def put(where: Any, key: Any, value: Any) -> None:
    where[key] = value


def of_policies(manifests: list[Any], name: str) -> None:
    manifests[:] = [m for m in manifests if not (m["kind"] == "NetworkPolicy" and m["metadata"]["name"] == name)]


#: With KServe or without, what is done, and what the one problem says.
INVALID: dict[str, tuple[str, Change, str]] = {
    "a field of a Deployment that there is not": (
        "",
        lambda ms: put(find(ms, "Deployment", "mlflow")["spec"], "replica", 2),
        "replica",
    ),
    "a field deep in a pod": (
        "",
        lambda ms: put(container_of(ms, "mlflow"), "imagePullpolicy", "Always"),
        "imagePullpolicy",
    ),
    "a number that is a text": (
        "",
        lambda ms: put(find(ms, "HorizontalPodAutoscaler", "recommender")["spec"], "maxReplicas", "9"),
        "maxReplicas",
    ),
    "a field of the template of tasks": (
        "",
        lambda ms: change_task(ms, "restartPolicy:", "restartpolicy:"),
        "restartpolicy",
    ),
    "a field of an ExternalSecret": (
        "",
        lambda ms: put(of(ms, "ExternalSecret")[0]["spec"]["data"][0]["remoteRef"], "properties", "x"),
        "properties",
    ),
    "a field of the store": (
        "",
        lambda ms: put(find(ms, "ClusterSecretStore", "aws")["spec"]["provider"]["aws"], "rgion", "x"),
        "rgion",
    ),
    "an older version of a kind": (
        "",
        lambda ms: put(of(ms, "ExternalSecret")[0], "apiVersion", "external-secrets.io/v1beta1"),
        "nothing validates",
    ),
    "a field of a predictor": (
        KSERVE,
        lambda ms: put(find(ms, "InferenceService", "recommender")["spec"]["predictor"], "minReplica", 2),
        "minReplica",
    ),
    "a field of a predictor's container": (
        KSERVE,
        lambda ms: put(find(ms, "InferenceService", "recommender")["spec"]["predictor"]["containers"][0], "comand", []),
        "comand",
    ),
    "a mode in which KServe scales by something else": (
        KSERVE,
        lambda ms: put(
            find(ms, "InferenceService", "recommender")["metadata"]["annotations"],
            "serving.kserve.io/deploymentMode",
            "RawDeployment",
        ),
        "Standard",
    ),
}


#: The rule, what is done, and what it complains of.
BROKEN: dict[str, tuple[Callable[..., list[str]], Change, str]] = {
    "a namespace that restricts nothing": (
        policies.namespaces_are_closed,
        lambda ms: put(find(ms, "Namespace", "serving")["metadata"]["labels"], policies.PSS, "baseline"),
        "serving is not restricted",
    ),
    "no quota": (
        policies.namespaces_are_closed,
        lambda ms: remove(ms, "ResourceQuota", "mlflow"),
        "mlflow has no ResourceQuota",
    ),
    "no limits": (
        policies.namespaces_are_closed,
        lambda ms: remove(ms, "LimitRange", "mlflow"),
        "mlflow has no LimitRange",
    ),
    "no default": (
        policies.namespaces_are_closed,
        lambda ms: of_policies(ms, "deny-all"),
        "serving does not deny by default",
    ),
    "a default for one direction": (
        policies.namespaces_are_closed,
        lambda ms: put(of(ms, "NetworkPolicy", namespace="serving")[0]["spec"], "policyTypes", ["Ingress"]),
        "serving does not deny by default",
    ),
    "a default that allows": (
        policies.namespaces_are_closed,
        lambda ms: [
            put(m["spec"], "egress", [{}]) for m in of(ms, "NetworkPolicy") if m["metadata"]["name"] == "deny-all"
        ],
        "airflow does not deny by default",
    ),
    "tasks that are expendable": (
        policies.priorities_make_nodes,
        lambda ms: put(find(ms, "PriorityClass", "tasks"), "value", -100),
        "no node is ever made",
    ),
    "no DNS": (policies.namespaces_are_closed, lambda ms: of_policies(ms, "dns"), "airflow asks no DNS"),
    "a namespace that nobody makes": (
        policies.namespaces_are_closed,
        lambda ms: put(find(ms, "Deployment", "mlflow")["metadata"], "namespace", "default"),
        "default is used",
    ),
    "a policy for everybody": (
        policies.nothing_is_opened_wide,
        lambda ms: find(ms, "NetworkPolicy", "recommender")["spec"]["ingress"][0].pop("from"),
        "opens ingress",
    ),
    "a policy for every port": (
        policies.nothing_is_opened_wide,
        lambda ms: find(ms, "NetworkPolicy", "tasks")["spec"]["egress"][0].pop("ports"),
        "opens egress",
    ),
    "root": (
        policies.pods_are_restricted,
        lambda ms: put(pod_of(ms, "mlflow")["securityContext"], "runAsNonRoot", False),
        "may run as root",
    ),
    "root in one container": (
        policies.pods_are_restricted,
        lambda ms: put(container_of(ms, "mlflow")["securityContext"], "runAsUser", 0),
        "may run as root",
    ),
    "no seccomp": (
        policies.pods_are_restricted,
        lambda ms: pod_of(ms, "mlflow")["securityContext"].pop("seccompProfile"),
        "no seccomp",
    ),
    "the node's network": (
        policies.pods_are_restricted,
        lambda ms: put(pod_of(ms, "mlflow"), "hostNetwork", True),
        "shares something",
    ),
    "the node's disk": (
        policies.pods_are_restricted,
        lambda ms: pod_of(ms, "mlflow")["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "kind hostPath",
    ),
    "privileges to be gained": (
        policies.pods_are_restricted,
        lambda ms: container_of(ms, "evidently")["securityContext"].pop("allowPrivilegeEscalation"),
        "gain privileges",
    ),
    "privileges": (
        policies.pods_are_restricted,
        lambda ms: put(container_of(ms, "evidently")["securityContext"], "privileged", True),
        "is privileged",
    ),
    "capabilities kept": (
        policies.pods_are_restricted,
        lambda ms: put(container_of(ms, "evidently")["securityContext"], "capabilities", {"drop": ["NET_RAW"]}),
        "keeps capabilities",
    ),
    "a writable root": (
        policies.pods_are_restricted,
        lambda ms: put(container_of(ms, "prometheus")["securityContext"], "readOnlyRootFilesystem", False),
        "writes to its root",
    ),
    "an init container that may do more": (
        policies.pods_are_restricted,
        lambda ms: pod_of(ms, "mlflow")["initContainers"][0].pop("securityContext"),
        "container database may gain",
    ),
    "a task that may do more": (
        policies.pods_are_restricted,
        lambda ms: change_task(ms, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
        "container base may gain",
    ),
    "a token that nobody asked for": (
        policies.pods_are_restricted,
        lambda ms: pod_of(ms, "mlflow").pop("automountServiceAccountToken"),
        "which service account",
    ),
    "variables of Kubernetes' own": (
        policies.pods_are_restricted,
        lambda ms: pod_of(ms, "mlflow").pop("enableServiceLinks"),
        "service links",
    ),
    "no limits of a container": (
        policies.containers_are_bounded_and_pinned,
        lambda ms: container_of(ms, "mlflow")["resources"].pop("limits"),
        "no limits",
    ),
    "no memory asked for": (
        policies.containers_are_bounded_and_pinned,
        lambda ms: container_of(ms, "mlflow")["resources"]["requests"].pop("memory"),
        "no requests",
    ),
    "latest": (
        policies.containers_are_bounded_and_pinned,
        lambda ms: put(container_of(ms, "mlflow"), "image", "prom/prometheus:latest"),
        "no tag that stays",
    ),
    "no tag": (
        policies.containers_are_bounded_and_pinned,
        lambda ms: put(container_of(ms, "mlflow"), "image", "registry:5000/platform"),
        "no tag that stays",
    ),
    "no readiness": (
        policies.containers_are_bounded_and_pinned,
        lambda ms: container_of(ms, "recommender").pop("readinessProbe"),
        "no readiness probe",
    ),
    "no spread": (
        policies.several_are_spread_and_budgeted,
        lambda ms: pod_of(ms, "recommender").pop("topologySpreadConstraints"),
        "does not spread",
    ),
    "a spread of somebody else": (
        policies.several_are_spread_and_budgeted,
        lambda ms: put(
            pod_of(ms, "recommender")["topologySpreadConstraints"][0]["labelSelector"], "matchLabels", {"app": "x"}
        ),
        "does not spread",
    ),
    "no budget": (
        policies.several_are_spread_and_budgeted,
        lambda ms: remove(ms, "PodDisruptionBudget", "recommender"),
        "no disruption budget",
    ),
    "two of what has no budget": (
        policies.several_are_spread_and_budgeted,
        lambda ms: put(find(ms, "Deployment", "mlflow")["spec"], "replicas", 2),
        "mlflow has up to 2 pods",
    ),
    "a budget that lets nobody go": (
        policies.budgets_leave_a_disruption,
        lambda ms: put(find(ms, "PodDisruptionBudget", "recommender")["spec"], "maxUnavailable", 0),
        "allows no disruption",
    ),
    "a budget of all that there are": (
        policies.budgets_leave_a_disruption,
        lambda ms: put(
            find(ms, "PodDisruptionBudget", "recommender"),
            "spec",
            {"minAvailable": 2, "selector": {"matchLabels": {"app.kubernetes.io/name": "recommender"}}},
        ),
        "allows no disruption of 2",
    ),
    "a budget of nobody": (
        policies.budgets_leave_a_disruption,
        lambda ms: put(find(ms, "PodDisruptionBudget", "recommender")["spec"]["selector"], "matchLabels", {"app": "x"}),
        "selects no pod",
    ),
    "more pods than the quota": (
        policies.quotas_admit_what_is_asked_for,
        lambda ms: put(find(ms, "HorizontalPodAutoscaler", "recommender")["spec"], "maxReplicas", 20),
        "ResourceQuota serving/serving has pods",
    ),
    "more tasks than the quota": (
        policies.quotas_admit_what_is_asked_for,
        lambda ms: put(find(ms, "ConfigMap", "airflow-servers")["data"], "AIRFLOW__CORE__PARALLELISM", "32"),
        "ResourceQuota airflow/airflow has requests.cpu",
    ),
    "a service account that is not there": (
        policies.what_is_named_is_there,
        lambda ms: remove(ms, "ServiceAccount", "recommender"),
        "ServiceAccount recommender",
    ),
    "a configuration that is not there": (
        policies.what_is_named_is_there,
        lambda ms: remove(ms, "ConfigMap", "task-settings"),
        "ConfigMap task-settings",
    ),
    "a claim that is not there": (
        policies.what_is_named_is_there,
        lambda ms: put(pod_of(ms, "evidently")["volumes"][0]["persistentVolumeClaim"], "claimName", "x"),
        "PersistentVolumeClaim x",
    ),
    "a priority that is not there": (
        policies.what_is_named_is_there,
        lambda ms: remove(ms, "PriorityClass", "tasks"),
        "PriorityClass tasks",
    ),
    "a key that nobody makes": (
        policies.what_is_named_is_there,
        lambda ms: change_task(ms, "mlflow-credentials", "mlflow_credentials"),
        "mlflow_credentials of secret keys",
    ),
    "a secret that nobody brings": (
        policies.what_is_named_is_there,
        lambda ms: [ms.remove(m) for m in of(ms, "ExternalSecret", namespace="serving")],
        "MLOPS_REDIS_URL of secret online-store",
    ),
    "a service of nobody": (
        policies.services_reach_somebody,
        lambda ms: put(find(ms, "Service", "evidently")["spec"], "selector", {"app": "x"}),
        "reaches 0 kinds",
    ),
    "a port on which nobody listens": (
        policies.services_reach_somebody,
        lambda ms: put(find(ms, "Service", "recommender")["spec"]["ports"][0], "targetPort", 3001),
        "port 3001",
    ),
    "a network policy of nobody": (
        policies.services_reach_somebody,
        lambda ms: put(find(ms, "NetworkPolicy", "tasks")["spec"]["podSelector"], "matchLabels", {"app": "x"}),
        "NetworkPolicy airflow/tasks selects no pod",
    ),
}


#: What is done to manifests or outputs, and what is told.
APART: dict[str, tuple[Callable[[list[Any], dict[str, Any]], object], str]] = {
    "a role that Terraform lacks": (
        lambda ms, out: out["service_accounts"].pop("mlflow"),
        "mlflow/mlflow has a role in the manifests",
    ),
    "a role that no manifest has": (
        lambda ms, out: remove(ms, "ServiceAccount", "mlflow"),
        "mlflow/mlflow has a role in Terraform",
    ),
    "another name": (
        lambda ms, out: put(find(ms, "ServiceAccount", "airflow-worker")["metadata"], "name", "worker"),
        "airflow/airflow-worker has a role in Terraform",
    ),
    "another role": (
        lambda ms, out: put(find(ms, "ServiceAccount", "mlflow")["metadata"]["annotations"], ROLE, "arn:x"),
        "role of mlflow/mlflow is 'arn:x'",
    ),
    "a chart's account that is gone": (lambda ms, out: out["service_accounts"].pop("grafana"), "is in ELSEWHERE"),
    "a chart's account that we make": (
        lambda ms, out: ms.append(
            {
                "kind": "ServiceAccount",
                "metadata": {"namespace": "monitoring", "name": "grafana", "annotations": {ROLE: "arn:x"}},
            }
        ),
        "made here and in ELSEWHERE",
    ),
    "a pool of another name": (
        lambda ms, out: put(out["node_pools"]["system"]["labels"], "mlops/pool", "core"),
        "mlops/pool=system, which no pool has",
    ),
    "a pool that is tainted": (
        lambda ms, out: put(out["node_pools"]["system"]["taints"], "dedicated", "system"),
        "evidently fits no pool",
    ),
    "a taint of another name": (
        lambda ms, out: [put(out["node_pools"][p], "taints", {"spot": "true"}) for p in ("cpu-spot", "gpu-spot")],
        "tolerates mlops/capacity=spot",
    ),
    "tasks that wait for spot": (
        lambda ms, out: change_task(ms, "[cpu-spot, cpu-fallback]", "[cpu-spot]"),
        "fits cpu-spot and not cpu-fallback",
    ),
    "customers on spot": (
        lambda ms, out: [
            put(pod_of(ms, "recommender"), "nodeSelector", {"mlops/accelerator": "none"}),
            put(pod_of(ms, "recommender"), "tolerations", [{"key": "mlops/capacity", "value": "spot"}]),
        ],
        "may land on cpu-spot",
    ),
    "fewer pods": (
        lambda ms, out: put(out["serving"]["pods"], "min", 3),
        "minReplicas of HorizontalPodAutoscaler serving/recommender is 2",
    ),
    "more pods": (lambda ms, out: put(out["serving"]["pods"], "max", 9), "maxReplicas"),
    "no autoscaler": (
        lambda ms, out: remove(ms, "HorizontalPodAutoscaler", "recommender"),
        "nothing scales the service",
    ),
    "another region": (lambda ms, out: put(out, "region", "eu-west-1"), "region is 'us-east-1'"),
    "another registry": (
        lambda ms, out: put(container_of(ms, "evidently"), "image", "docker.io/x:1"),
        "image_repository is 'docker.io/x'",
    ),
    "tasks of another registry": (
        lambda ms, out: put(container_of(ms, "airflow-scheduler")["env"][0], "value", "x"),
        "image_repository is 'x'",
    ),
    "another database": (
        lambda ms, out: put(out["tracking"], "database_address", "x:5432"),
        "tracking.database_address",
    ),
    "another login of the database": (
        lambda ms, out: put(out["tracking"], "database_secret_arn", "x"),
        "tracking.database_secret_arn",
    ),
    "another bucket": (lambda ms, out: put(out["tracking"], "artefact_bucket", "x"), "tracking.artefact_bucket"),
    "another Redis": (lambda ms, out: put(out["online_store"], "address", "x:6379"), "online_store.address"),
    "another login of Redis": (lambda ms, out: put(out["online_store"], "secret_arn", "x"), "online_store.secret_arn"),
    "another file system": (lambda ms, out: put(out["workspace"], "file_system_id", "x"), "workspace.file_system_id"),
    "another access point": (
        lambda ms, out: put(out["workspace"], "access_point_id", "x"),
        "workspace.access_point_id",
    ),
    "other subnets": (lambda ms, out: out["serving"]["subnet_ids"].pop(), "serving.subnet_ids"),
    "another security group": (
        lambda ms, out: put(out["serving"], "security_group_id", "x"),
        "serving.security_group_id",
    ),
    "metrics written elsewhere": (
        lambda ms, out: put(out["monitoring"], "prometheus_endpoint", "https://x/"),
        "monitoring.prometheus_endpoint",
    ),
    "metrics written nowhere": (
        lambda ms, out: remove(ms, "ConfigMap", "prometheus"),
        "monitoring.prometheus_endpoint of Terraform is nowhere",
    ),
}

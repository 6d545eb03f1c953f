"""What every rendered overlay must hold to, beyond being valid: each rule is a function that returns its complaints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from infra.k8s.keys import READ_BY, SECRET
from infra.k8s.manifests import Manifest, Pod, name, of, pods, surge

PSS: Final = "pod-security.kubernetes.io/enforce"
ZONE: Final = "topology.kubernetes.io/zone"
BOTH: Final = {"Ingress", "Egress"}
#: What pod security's level `restricted` lets a volume be.
VOLUMES: Final = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
#: Of Kubernetes' quantities, those that we write.
UNITS: Final[Mapping[str, Decimal]] = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
}
#: `--expendable-pods-priority-cutoff` of the cluster autoscaler, as it comes.
EXPENDABLE: Final = -10
LASTING: Final = {"Deployment", "InferenceService"}


def complaints(manifests: Sequence[Manifest]) -> list[str]:
    """What breaks a rule, a sentence each; empty when nothing does."""
    return [complaint for rule in RULES for complaint in rule(manifests)]


def namespaces_are_closed(manifests: Sequence[Manifest]) -> list[str]:
    """Each namespace holds pods to `restricted`, bounds them, and lets nobody talk to anybody unless a policy says so; DNS is said."""
    spaces = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in of(manifests, "Namespace")}
    wrong = [
        f"namespace {space} is not restricted" for space, labels in spaces.items() if labels.get(PSS) != "restricted"
    ]
    for space in spaces:
        for kind in ("ResourceQuota", "LimitRange"):
            if not of(manifests, kind, namespace=space):
                wrong.append(f"namespace {space} has no {kind}")
        policies = [one["spec"] for one in of(manifests, "NetworkPolicy", namespace=space)]
        if not any(_denies_all(spec) for spec in policies):
            wrong.append(f"namespace {space} does not deny by default")
        if not any(_opens_dns(spec) for spec in policies):
            wrong.append(f"namespace {space} asks no DNS, so nothing in it finds anything")
    used = {one["metadata"]["namespace"] for one in manifests if "namespace" in one.get("metadata", {})}
    return [*wrong, *(f"namespace {space} is used, and not made here" for space in sorted(used - spaces.keys()))]


def nothing_is_opened_wide(manifests: Sequence[Manifest]) -> list[str]:
    """No rule of a network policy is without ports or without peers: that would open everything, or to everybody."""
    wrong = []
    for one in of(manifests, "NetworkPolicy"):
        for rules, peers in (("ingress", "from"), ("egress", "to")):
            for rule in one["spec"].get(rules, ()):
                if not rule.get("ports") or not rule.get(peers):
                    wrong.append(f"{name(one)} opens {rules} without saying both which ports and who")
    return wrong


def pods_are_restricted(manifests: Sequence[Manifest]) -> list[str]:
    """What pod security's `restricted` asks for, a root filesystem that nobody writes to, and no token that nobody uses."""
    wrong = []
    for pod in pods(manifests):
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            wrong.append(f"{pod.owner} may run as root; say runAsNonRoot, and which user")
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            wrong.append(f"{pod.owner} has no seccomp profile")
        if any(pod.spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")):
            wrong.append(f"{pod.owner} shares something with its node")
        kinds = {kind for volume in pod.spec.get("volumes", ()) for kind in volume if kind != "name"}
        wrong += [f"{pod.owner} mounts a volume of kind {kind}" for kind in sorted(kinds - VOLUMES)]
        if "automountServiceAccountToken" not in pod.spec or "serviceAccountName" not in pod.spec:
            wrong.append(f"{pod.owner} does not say which service account it has, or whether it uses its token")
        if pod.spec.get("enableServiceLinks", True):
            wrong.append(f"{pod.owner} has service links, whose variables MLflow and Airflow take for settings")
        for container in pod.containers:
            wrong += [f"{pod.owner}: container {container['name']} {what}" for what in _unsafe(container)]
    return wrong


def containers_are_bounded_and_pinned(manifests: Sequence[Manifest]) -> list[str]:
    """Requests and limits of processor and memory, an image by a tag that does not move; what lasts has a readiness probe."""
    wrong = []
    for pod in pods(manifests):
        for container in pod.containers:
            where = f"{pod.owner}: container {container['name']}"
            resources = container.get("resources", {})
            for kind in ("requests", "limits"):
                if not {"cpu", "memory"} <= resources.get(kind, {}).keys():
                    wrong.append(f"{where} has no {kind} of cpu and memory")
            if not re.fullmatch(r"(.+/)?[^/:]+:(?!latest$)[\w.-]+", container["image"]):
                wrong.append(f"{where} runs {container['image']}, which is no tag that stays")
        if pod.kind in LASTING:
            unasked = [c["name"] for c in pod.spec["containers"] if "readinessProbe" not in c]
            wrong += [f"{pod.owner}: container {one} has no readiness probe" for one in unasked]
    return wrong


def several_are_spread_and_budgeted(manifests: Sequence[Manifest]) -> list[str]:
    """Where there is more than one pod, zones share them and a drain takes them one after another."""
    wrong = []
    for pod in pods(manifests):
        if pod.kind not in LASTING or pod.most < 2:
            continue
        spreads = pod.spec.get("topologySpreadConstraints", ())
        if not any(one["topologyKey"] == ZONE and _selects(one.get("labelSelector"), pod) for one in spreads):
            wrong.append(f"{pod.owner} has up to {pod.most} pods, and does not spread them over zones")
        budgets = of(manifests, "PodDisruptionBudget", namespace=pod.namespace)
        if not any(_selects(one["spec"]["selector"], pod) for one in budgets):
            wrong.append(f"{pod.owner} has up to {pod.most} pods, and no disruption budget")
    return wrong


def budgets_leave_a_disruption(manifests: Sequence[Manifest]) -> list[str]:
    """A budget that allows none stops every upgrade of a node; one that selects nothing protects nothing."""
    wrong = []
    for one in of(manifests, "PodDisruptionBudget"):
        spec = one["spec"]
        chosen = [
            pod
            for pod in pods(manifests)
            if pod.namespace == one["metadata"]["namespace"] and _selects(spec["selector"], pod)
        ]
        if not chosen:
            wrong.append(f"{name(one)} selects no pod")
        fewest = sum(pod.fewest for pod in chosen)
        if chosen and _disruptions(spec, fewest) < 1:
            wrong.append(f"{name(one)} allows no disruption of {fewest} pods")
    return wrong


def quotas_admit_what_is_asked_for(manifests: Sequence[Manifest]) -> list[str]:
    """The most pods there may be, with what a change starts beside them, fit their namespace."""
    wrong = []
    beside = {name(one): surge(one) for one in of(manifests, "Deployment")}
    for quota in of(manifests, "ResourceQuota"):
        space, hard = quota["metadata"]["namespace"], quota["spec"]["hard"]
        counted = [(pod, pod.most + beside.get(pod.owner, 1)) for pod in pods(manifests) if pod.namespace == space]
        need: dict[str, Decimal] = {"pods": Decimal(sum(count for _, count in counted))}
        for kind in ("requests", "limits"):
            for what in ("cpu", "memory"):
                need[f"{kind}.{what}"] = sum((_size(pod, kind, what) * count for pod, count in counted), Decimal())
        for what, size in need.items():
            if what not in hard or size > _quantity(hard[what]):
                wrong.append(f"{name(quota)} has {what} {hard.get(what)}, and up to {size} is asked for")
    return wrong


def priorities_make_nodes(manifests: Sequence[Manifest]) -> list[str]:
    """The cluster autoscaler adds no node for a pod whose priority is below its cutoff; where pools start at zero, it never runs."""
    return [
        f"{name(one)} has {one['value']}, below {EXPENDABLE}: no node is ever made for it"
        for one in of(manifests, "PriorityClass")
        if one["value"] < EXPENDABLE
    ]


def what_is_named_is_there(manifests: Sequence[Manifest]) -> list[str]:
    """Service accounts, configuration, secrets, claims, priorities: a pod that names what is not there never starts."""
    made = {(one["kind"], one.get("metadata", {}).get("namespace"), one["metadata"]["name"]) for one in manifests}
    secrets = _secrets(manifests)
    wrong = []
    for pod in pods(manifests):
        named = {("ServiceAccount", pod.spec.get("serviceAccountName")), *_named(pod)}
        wrong += [
            f"{pod.owner} names {kind} {one}, which is not made here"
            for kind, one in sorted(named, key=str)
            if (kind, None if kind == "PriorityClass" else pod.namespace, one) not in made
        ]
        wrong += [
            f"{pod.owner} reads {key} of secret {one}, which nobody makes"
            for one, key in sorted(secrets_read(pod))
            if key not in secrets.get((pod.namespace, one), ())
        ]
    return wrong


def services_reach_somebody(manifests: Sequence[Manifest]) -> list[str]:
    """A service's selector and port are those of a pod; a network policy's pods are there."""
    wrong = []
    started = list(pods(manifests))
    for one in of(manifests, "Service"):
        selector = one["spec"].get("selector")
        if selector is None:
            continue
        behind = [
            pod
            for pod in started
            if pod.namespace == one["metadata"]["namespace"] and selector.items() <= pod.labels.items()
        ]
        if len(behind) != 1:
            wrong.append(f"{name(one)} reaches {len(behind)} kinds of pods, not one")
        ports = {
            port
            for pod in behind
            for c in pod.containers
            for p in c.get("ports", ())
            for port in (p["name"], p["containerPort"])
        }
        wrong += [
            f"{name(one)} goes to port {p['targetPort']}, on which nobody listens"
            for p in one["spec"]["ports"]
            if p["targetPort"] not in ports
        ]
    for one in of(manifests, "NetworkPolicy"):
        if not any(
            pod.namespace == one["metadata"]["namespace"] and _selects(one["spec"]["podSelector"], pod)
            for pod in started
        ):
            wrong.append(f"{name(one)} selects no pod")
    return wrong


RULES: Final[tuple[Callable[[Sequence[Manifest]], list[str]], ...]] = (
    namespaces_are_closed,
    nothing_is_opened_wide,
    pods_are_restricted,
    containers_are_bounded_and_pinned,
    several_are_spread_and_budgeted,
    budgets_leave_a_disruption,
    quotas_admit_what_is_asked_for,
    priorities_make_nodes,
    what_is_named_is_there,
    services_reach_somebody,
)


def _denies_all(spec: Mapping[str, Any]) -> bool:
    opens = spec.get("ingress") or spec.get("egress")
    return spec["podSelector"] == {} and set(spec.get("policyTypes", ())) == BOTH and not opens


def _opens_dns(spec: Mapping[str, Any]) -> bool:
    ports = {(port["protocol"], port["port"]) for rule in spec.get("egress", ()) for port in rule.get("ports", ())}
    return spec["podSelector"] == {} and {("UDP", 53), ("TCP", 53)} <= ports


def _unsafe(container: Mapping[str, Any]) -> list[str]:
    context = container.get("securityContext", {})
    capabilities = context.get("capabilities", {})
    asked = {
        "may gain privileges": context.get("allowPrivilegeEscalation") is not False,
        "is privileged": bool(context.get("privileged")),
        "keeps capabilities": capabilities.get("drop") != ["ALL"] or bool(capabilities.get("add")),
        "writes to its root filesystem": context.get("readOnlyRootFilesystem") is not True,
        "may run as root": context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False,
    }
    return [what for what, is_so in asked.items() if is_so]


def _selects(selector: Mapping[str, Any] | None, pod: Pod) -> bool:
    if selector is None:
        return False
    expressions = selector.get("matchExpressions", ())
    assert all(one["operator"] == "In" for one in expressions), "no other operator is used here"
    listed = all(pod.labels.get(one["key"]) in one["values"] for one in expressions)
    return listed and selector.get("matchLabels", {}).items() <= pod.labels.items()


def _disruptions(spec: Mapping[str, Any], fewest: int) -> int:
    """How many of `fewest` healthy pods may go; percentages are not understood, since we use none."""
    if "maxUnavailable" in spec:
        return int(spec["maxUnavailable"])
    return fewest - int(spec["minAvailable"])


def _size(pod: Pod, kind: str, what: str) -> Decimal:
    """As the scheduler counts: all containers together, or the largest of those that run before them."""
    together = sum((_asked(one, kind, what) for one in pod.spec["containers"]), Decimal())
    return max([together, *(_asked(one, kind, what) for one in pod.spec.get("initContainers", ()))])


def _asked(container: Mapping[str, Any], kind: str, what: str) -> Decimal:
    return _quantity(container.get("resources", {}).get(kind, {}).get(what, 0))


def _quantity(text: str | int) -> Decimal:
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", str(text)).groups()  # type: ignore[union-attr]
    return Decimal(number) * UNITS[unit]


def _secrets(manifests: Sequence[Manifest]) -> dict[tuple[str, str], set[str]]:
    """The keys of each secret that there will be: those of infra/k8s/keys.py, and those that External Secrets brings."""
    found = {(space, SECRET): set(keys) for space, keys in READ_BY.items()}
    for one in of(manifests, "ExternalSecret"):
        target = one["spec"]["target"]
        keys = target["template"]["data"] if "template" in target else [d["secretKey"] for d in one["spec"]["data"]]
        found[one["metadata"]["namespace"], target.get("name", one["metadata"]["name"])] = set(keys)
    return found


def _sources(pod: Pod) -> list[Mapping[str, Any]]:
    volumes = [volume for volume in pod.spec.get("volumes", ()) if "projected" not in volume]
    return [*volumes, *(s for v in pod.spec.get("volumes", ()) for s in v.get("projected", {}).get("sources", ()))]


def _named(pod: Pod) -> set[tuple[str, str]]:
    environments = [one for container in pod.containers for one in container.get("envFrom", ())]
    return {
        *(("ConfigMap", one["configMapRef"]["name"]) for one in environments if "configMapRef" in one),
        *(("ConfigMap", one["configMap"]["name"]) for one in _sources(pod) if "configMap" in one),
        *(
            ("PersistentVolumeClaim", one["persistentVolumeClaim"]["claimName"])
            for one in _sources(pod)
            if "persistentVolumeClaim" in one
        ),
    } | ({("PriorityClass", pod.spec["priorityClassName"])} if "priorityClassName" in pod.spec else set())


def secrets_read(pod: Pod) -> set[tuple[str, str]]:
    """Secrets and keys that it reads; what is mounted whole is refused, for nobody could say what that is."""
    mounted = [one["secret"] for one in _sources(pod) if "secret" in one]
    variables = [v["valueFrom"]["secretKeyRef"] for c in pod.containers for v in c.get("env", ()) if "valueFrom" in v]
    return {
        *(
            (one.get("secretName", one.get("name")), item["key"])
            for one in mounted
            for item in one.get("items", [{"key": "*"}])
        ),
        *((one["name"], one["key"]) for one in variables),
    }

"""The manifests render, are valid, keep the rules, and agree with compose and with Terraform; and each check can fail."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.errors import ToolError
from infra.k8s import keys, policies
from infra.k8s.agree import ELSEWHERE, disagreements
from infra.k8s.errors import ManifestError, OutputsError
from infra.k8s.manifests import KUBERNETES, Manifest, of, pods, render, validate
from infra.k8s.outputs import FILE, read, values, write
from infra.k8s.policies import complaints
from infra.plan import UNKNOWN
from tests.terraform.conftest import copied
from tests.terraform.k8s_broken import APART, BROKEN, INVALID, KSERVE, container_of, find, put
from tests.terraform.k8s_outputs import CERTIFICATE, ENVIRONMENTS, TERRAFORM, filled, made

ROOT = Path(__file__).parents[2]
K8S = ROOT / "infra" / "k8s"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

Render = Callable[[str, str], list[Manifest]]

#: What stands for each service of compose: kind, namespace, name. Empty: why there is nothing.
STANDS_FOR = {
    "secrets": "infra/k8s/keys.py, once",
    "postgres": "RDS",
    "redis": "ElastiCache",
    "airflow-init": "an init container of airflow-api",
    "page": "its addresses are those of one machine's ports",
    "traffic": "simulated; nobody simulates customers of a cluster",
    "grafana": "its own chart",
    "mlflow": ("Deployment", "mlflow", "mlflow"),
    "airflow-api": ("Deployment", "airflow", "airflow-api"),
    "scheduler": ("Deployment", "airflow", "airflow-scheduler"),
    "dag-processor": ("Deployment", "airflow", "airflow-dag-processor"),
    "triggerer": ("Deployment", "airflow", "airflow-triggerer"),
    "begin": ("CronJob", "airflow", "begin"),
    "service": ("Deployment", "serving", "recommender"),
    "evidently": ("Deployment", "monitoring", "evidently"),
    "prometheus": ("Deployment", "monitoring", "prometheus"),
}
OURS = {service: place for service, place in STANDS_FOR.items() if isinstance(place, tuple)}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Render:
    """An environment rendered from made outputs, once each, with the Deployment or with KServe."""
    known: dict[tuple[str, str], list[Manifest]] = {}

    def rendered(environment: str, served: str = "") -> list[Manifest]:
        if (environment, served) not in known:
            overlay = copied(tmp_path_factory.mktemp("k8s")) / "overlays" / environment
            write(made(environment), overlay, tag="abc1234", certificate=CERTIFICATE)
            if served == KSERVE:
                file = overlay / "kustomization.yaml"
                first = "components:\n"
                file.write_text(file.read_text().replace(first, f"{first}  - ../../components/kserve\n"))
            known[environment, served] = render(overlay)
        return known[environment, served]

    return rendered


@pytest.mark.parametrize("served", ["", KSERVE])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_is_valid_keeps_the_rules_and_agrees_with_terraform(
    environment: str, served: str, rendered: Render
) -> None:
    """Strictly, custom resources included."""
    manifests = rendered(environment, served)
    assert validate(manifests) == []
    assert complaints(manifests) == []
    assert disagreements(manifests, made(environment)) == []


@pytest.mark.parametrize("served", ["", KSERVE])
def test_environments_have_the_same_things(served: str, rendered: Render) -> None:
    """They differ in values only; a generated name ends with what it holds."""

    def things(environment: str) -> set[tuple[str, str | None, str]]:
        return {
            (m["kind"], m["metadata"].get("namespace"), re.sub(r"-[a-z0-9]{10}$", "", m["metadata"]["name"]))
            for m in rendered(environment, served)
        }

    assert things("dev") == things("staging") == things("prod")


def test_kserve_stands_instead_of_the_deployment(rendered: Render) -> None:
    """Never both; and its pod is the Deployment's but for the container's name."""
    [plain] = [pod for pod in pods(rendered("prod", "")) if pod.namespace == "serving"]
    [served] = [pod for pod in pods(rendered("prod", KSERVE)) if pod.namespace == "serving"]
    assert (plain.kind, served.kind) == ("Deployment", "InferenceService")
    assert (plain.fewest, plain.most) == (served.fewest, served.most) == (3, 20)
    expected = copy.deepcopy(dict(plain.spec))
    expected["containers"][0]["name"] = "kserve-container"
    assert served.spec == expected


def test_kserve_takes_no_replica_for_one(rendered: Render) -> None:
    """Its Standard mode, once RawDeployment, does not scale to zero, so a budget is reckoned with one."""
    manifests = copy.deepcopy(rendered("dev", KSERVE))
    find(manifests, "InferenceService", "recommender")["spec"]["predictor"]["minReplicas"] = 0
    assert [pod.fewest for pod in pods(manifests) if pod.kind == "InferenceService"] == [1]


# ── What goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", INVALID)
def test_what_the_api_would_refuse_or_drop_is_found(case: str, rendered: Render) -> None:
    """One problem each, naming the field."""
    served, change, said = INVALID[case]
    before = rendered("dev", served)
    manifests = copy.deepcopy(before)
    change(manifests)
    [problem] = validate([now for now, then in zip(manifests, before, strict=True) if now != then])
    assert said in problem


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_complained_of(case: str, rendered: Render) -> None:
    """By the rule that is meant."""
    rule, change, said = BROKEN[case]
    manifests = copy.deepcopy(rendered("dev", ""))
    change(manifests)
    assert any(said in complaint for complaint in rule(manifests))


def test_every_rule_is_seen_to_fail() -> None:
    """A rule without a case above could be one that never complains."""
    assert {rule for rule, _, _ in BROKEN.values()} == set(policies.RULES)


@pytest.mark.parametrize("case", APART)
def test_what_does_not_agree_is_told(case: str, rendered: Render) -> None:
    """With both sides' words for it."""
    change, said = APART[case]
    manifests, outputs = copy.deepcopy(rendered("dev", "")), made("dev")
    change(manifests, outputs)
    assert any(said in one for one in disagreements(manifests, outputs))


def test_what_a_plan_does_not_know_agrees_with_anything(rendered: Render) -> None:
    """A role, a subnet and an address come with the apply; names are known before."""
    planned = made("dev")
    planned["service_accounts"]["mlflow"]["role_arn"] = UNKNOWN
    planned["serving"]["subnet_ids"] = [UNKNOWN, UNKNOWN, UNKNOWN]
    planned["workspace"] = UNKNOWN
    assert disagreements(rendered("dev", ""), planned) == []
    assert filled(planned, "dev") == made("dev")


# ── Outputs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_made_outputs_are_those_of_terraform() -> None:
    """By name, with the accounts of access.tf; what lies below a name is for the emulator to say."""
    assert set(made("dev")) == set(re.findall(r'^output "(\w+)"', (TERRAFORM / "outputs.tf").read_text(), re.MULTILINE))
    written = re.findall(
        r'^\s+namespace = "([\w-]+)"\n\s+name\s+= "([\w-]+)"', (TERRAFORM / "access.tf").read_text(), re.MULTILINE
    )
    accounts = {(one["namespace"], one["name"]) for one in made("dev")["service_accounts"].values()}
    assert accounts == {*written, ("serving", "recommender")}
    assert set(ELSEWHERE) <= accounts


def test_manifests_are_validated_for_the_version_that_clusters_run() -> None:
    """And pod security is pinned to it."""
    pinned = set(re.findall(r"enforce-version: v([\d.]+)", (K8S / "base" / "namespaces.yaml").read_text()))
    for environment in ENVIRONMENTS:
        said = (TERRAFORM / "environments" / f"{environment}.tfvars").read_text()
        assert {KUBERNETES} == pinned == set(re.findall(r'^\s+version = "([\d.]+)"', said, re.MULTILINE))


def test_what_terraform_prints_is_read() -> None:
    """Each output stands below its name, beside its type."""
    printed = {name: {"sensitive": False, "type": "string", "value": value} for name, value in made("dev").items()}
    assert read(json.dumps(printed)) == made("dev")
    with pytest.raises(OutputsError, match="terraform output -json"):
        read("No outputs found")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda out: out.pop("workspace"), "no output workspace.file_system_id"),
        (lambda out: out["service_accounts"].pop("serving"), "no output service_accounts.serving.role_arn"),
        (lambda out: put(out["tracking"], "artefact_bucket", None), "no output tracking.artefact_bucket"),
        (lambda out: put(out, "monitoring", UNKNOWN), "monitoring.prometheus_endpoint is not known before the apply"),
        (lambda out: put(out["serving"], "subnet_ids", []), "serving.subnet_ids"),
        (lambda out: put(out, "region", "a\nb=c"), "one line"),
        (lambda out: put(out["tracking"], "database_address", "x:3306"), "host:5432"),
    ],
)
def test_an_output_that_is_missing_is_named(change: Callable[[dict[str, Any]], object], said: str) -> None:
    """Nothing is rendered from a half."""
    outputs = made("dev")
    change(outputs)
    with pytest.raises(OutputsError, match=said):
        values(outputs, tag="abc1234", certificate=CERTIFICATE)


@pytest.mark.parametrize(("tag", "certificate"), [("latest", CERTIFICATE), ("", CERTIFICATE), ("abc1234", "")])
def test_a_tag_that_moves_and_no_certificate_are_refused(tag: str, certificate: str) -> None:
    """A rollback gets the image that it was rolled back to, and keys do not travel in the clear."""
    with pytest.raises(OutputsError):
        values(made("dev"), tag=tag, certificate=certificate)


def test_nothing_is_rendered_without_outputs(tmp_path: Path) -> None:
    """The error says which command writes them."""
    with pytest.raises(ManifestError, match=r"python -m infra.k8s.outputs dev"):
        render(copied(tmp_path) / "overlays" / "dev")


def test_a_name_that_the_file_lacks_is_an_error(tmp_path: Path) -> None:
    """Kustomize says which."""
    overlay = copied(tmp_path) / "overlays" / "dev"
    file = write(made("dev"), overlay, tag="abc1234", certificate=CERTIFICATE)
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("region=")))
    with pytest.raises(ToolError, match=r"data\.region"):
        render(overlay)


def test_a_placeholder_that_nothing_fills_is_an_error(tmp_path: Path) -> None:
    """Kustomize passes over what is not selected; we do not."""
    tree = copied(tmp_path)
    write(made("dev"), tree / "overlays" / "dev", tag="abc1234", certificate=CERTIFICATE)
    account = tree / "base" / "mlflow.yaml"
    account.write_text(
        account.read_text().replace("Account\nmetadata:\n  name: mlflow", "Account\nmetadata:\n  name: other")
    )
    with pytest.raises(ManifestError, match=r"ServiceAccount mlflow/other: .*role-arn"):
        render(tree / "overlays" / "dev")


def test_without_a_tool_the_error_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is skipped for want of it."""
    overlay = copied(tmp_path) / "overlays" / "dev"
    write(made("dev"), overlay, tag="abc1234", certificate=CERTIFICATE)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="install kubectl"):
        render(overlay)


def test_no_name_of_an_account_is_in_the_repository() -> None:
    """Neither ARN nor account nor secret; those come with the outputs, and their file is ignored."""
    for file in [*K8S.rglob("*.yaml"), *K8S.rglob("*.yml"), *K8S.rglob("*.env")]:
        if file.name != FILE:
            assert not re.search(r"arn:aws|\b\d{12}\b|AKIA|\.amazonaws\.com/(?!role-arn)", file.read_text()), file
    assert FILE in (K8S / ".gitignore").read_text().splitlines()


# ── Compose ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_service_of_compose_has_its_place() -> None:
    """Or a reason for having none."""
    assert set(STANDS_FOR) == set(SERVICES)


@pytest.mark.parametrize("service", OURS)
def test_commands_are_those_of_compose(service: str, rendered: Render) -> None:
    """Word for word, but for where MLflow's files lie and what it is called, and for how long Prometheus keeps what it hands on."""
    [pod] = [p for p in pods(rendered("dev", "")) if p.owner == "{} {}/{}".format(*OURS[service])]
    container = pod.spec["containers"][0]
    theirs, ours = SERVICES[service]["command"], container.get("command", container.get("args"))
    for in_compose, here in (
        (r",(localhost|127\.0\.0\.1):\$\{MLFLOW_PORT:-5000\}", ""),
        ("mlflow,mlflow:5000,", "mlflow,mlflow:5000,mlflow.mlflow,mlflow.mlflow:5000,"),
        ("--artifacts-destination /mlflow", '--artifacts-destination "s3://${ARTEFACT_BUCKET}"'),
        ("^--config.file=.*", "--config.file=/etc/prometheus/prometheus.yml"),
        ("time=15d", "time=1d"),
    ):
        theirs = [re.sub(in_compose, here, word) for word in theirs]
    assert ours == theirs


@pytest.mark.parametrize("service", [s for s in OURS if "healthcheck" in SERVICES[s]])
def test_health_is_asked_as_in_compose(service: str, rendered: Render) -> None:
    """The same question, by the node or by the same script."""
    [pod] = [p for p in pods(rendered("dev", "")) if p.owner == "{} {}/{}".format(*OURS[service])]
    container, theirs = pod.spec["containers"][0], SERVICES[service]["healthcheck"]["test"]
    probe = container["readinessProbe"]
    if "exec" in probe:
        assert probe["exec"]["command"] == theirs[1:]
    else:
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        asked = f"http://127.0.0.1:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
        assert asked in theirs


def test_settings_are_those_of_compose(rendered: Render) -> None:
    """Only where the servers are differs; Redis's address and PostgreSQL's password come from secrets."""
    maps = [m["data"] for m in rendered("dev", "") if re.match("(task-)?settings", m["metadata"]["name"])]
    elsewhere = {
        "MLOPS_TRACKING_URI": "http://mlflow.mlflow:5000",
        "MLOPS_EVIDENTLY_URL": "http://evidently.monitoring:8001",
    }
    expected = {**COMPOSE["x-settings"], **elsewhere}
    del expected["MLOPS_REDIS_URL"], expected["PGPASSFILE"]
    assert maps == [expected] * 5


def test_airflow_is_set_as_in_compose(rendered: Render) -> None:
    """But for the executor; a task knows neither the database nor a key."""
    manifests = rendered("dev", "")
    tasks, servers = (find(manifests, "ConfigMap", name)["data"] for name in ("task-airflow", "airflow-servers"))
    theirs = {k: v for k, v in COMPOSE["x-airflow"]["environment"].items() if k not in COMPOSE["x-settings"]}
    ours = {k: v for k, v in {**tasks, **servers}.items() if "KUBERNETES_EXECUTOR" not in k and not k.startswith("PG")}
    assert {k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k)} == {
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW__CORE__PARALLELISM",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
    }
    assert not [name for name in tasks if re.search("SQL_ALCHEMY|FERNET|SECRET|PASSWORD", name)]


@pytest.mark.parametrize("service", OURS)
def test_nobody_has_less_time_or_memory_than_in_compose(service: str, rendered: Render) -> None:
    """Memory is what was measured there; the scheduler's is the tasks', which are pods of their own here."""
    [pod] = [p for p in pods(rendered("dev", "")) if p.owner == "{} {}/{}".format(*OURS[service])]
    size = SERVICES[service]["mem_limit"].replace("g", "Gi").replace("m", "Mi")
    if service == "scheduler":
        [pod_of_tasks] = [p for p in pods(rendered("dev", "")) if p.kind == "Pod"]
        assert pod_of_tasks.spec["containers"][0]["resources"]["limits"]["memory"] == size
    else:
        assert pod.spec["containers"][0]["resources"]["limits"]["memory"] == size
    given = int(SERVICES[service].get("stop_grace_period", "10s").removesuffix("s"))
    waits = pod.spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod.spec.get("terminationGracePeriodSeconds", 30) >= given + waits


def test_prometheus_asks_as_in_compose(rendered: Render) -> None:
    """Every pod, and not one address; rules are evaluated where the samples are written to."""
    here = yaml.safe_load(find(rendered("dev", ""), "ConfigMap", "prometheus")["data"]["prometheus.yml"])
    there = yaml.safe_load((ROOT / "infra/prometheus/compose.yml").read_text())
    [ours], [theirs] = here["scrape_configs"], there["scrape_configs"]
    assert ours.pop("dns_sd_configs")[0]["port"] == 3000
    del theirs["static_configs"], there["global"]["evaluation_interval"]
    assert (ours, here["global"]) == (theirs, there["global"])


def test_each_pod_of_the_service_has_its_own_release_and_shares_its_logs(rendered: Render) -> None:
    """Two release controllers in one folder would overwrite each other's; what the watch reads lies where Airflow looks."""
    mounts = {m["mountPath"]: m for m in container_of(rendered("dev", ""), "recommender")["volumeMounts"]}
    assert mounts["/workspace/serving"]["name"] == "serving"
    for log in ("predictions", "scored-payments"):
        assert mounts[f"/workspace/serving/{log}"]["name"] == "workspace"
        assert mounts[f"/workspace/serving/{log}"]["subPath"] == f"serving/{log}"


# ── Secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_keys_are_made_for_those_who_read_them(rendered: Render) -> None:
    """Each namespace gets what its pods read, and nothing else; what several read is the same."""
    made_keys = {one["metadata"]["namespace"]: one["stringData"] for one in keys.secrets()["items"]}
    read_keys: dict[str, set[str]] = {}
    for pod in pods(rendered("dev", "")):
        read_keys.setdefault(pod.namespace, set()).update(
            k for name, k in policies.secrets_read(pod) if name == keys.SECRET
        )
    assert {space: set(of_space) for space, of_space in made_keys.items()} == read_keys
    assert made_keys["serving"]["control_key"] == made_keys["monitoring"]["control_key"]
    assert made_keys["airflow"]["mlflow-credentials"] == made_keys["mlflow"]["mlflow-credentials"]
    assert "mlops@postgres/mlflow" in made_keys["mlflow"]["mlflow_auth.ini"]


def test_no_secret_is_in_a_manifest(rendered: Render) -> None:
    """Neither as a Secret, nor in a variable or a setting."""
    manifests = rendered("prod", "")
    assert of(manifests, "Secret") == []
    harmless = re.compile(r"^(cat )?/(secrets|airflow)/|mlops@postgres|^$")
    named = [(k, v) for m in of(manifests, "ConfigMap") for k, v in m["data"].items()]
    named += [(v["name"], v.get("value", "")) for p in pods(manifests) for c in p.containers for v in c.get("env", ())]
    secret = {k: v for k, v in named if re.search("PASSWORD|SECRET|FERNET|KEY|CONN$|REDIS", k)}
    assert {k for k, v in secret.items() if not harmless.search(v)} == set()

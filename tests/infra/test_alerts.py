"""The alerts fire when they should, only then, and on metrics that there are."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

import cli
from serving import metrics
from serving.read_payment import Lack
from serving.release import SLOTS
from serving.routing import Slice
from training.fraud.operation import PaymentDecision

PROMETHEUS = Path(__file__).parents[2] / "infra" / "prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"][0]["rules"]
CASES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]

#: Metrics that are rightly absent while nothing is wrong: each counts a kind of trouble, and begins with the first.
ABSENT_WHEN_WELL = {"recommender_degraded_total", "recommender_refused_requests_total", "fraud_degraded_total"}
#: Absent on a platform that scores no payments.
ABSENT_WITHOUT_FRAUD_MODEL = {"fraud_score_seconds", "fraud_version_info"}
#: Prometheus itself makes this one; where it is absent, RecommenderDown fires.
OF_PROMETHEUS = {"up"}
#: BentoML's own, of which nothing else is used.
OF_BENTOML = {"bentoml_service_request_total": {"endpoint", "http_response_code"}}

VALUES = {
    "slot": {*SLOTS, "none"}, "slice": set(get_args(Slice)), "outcome": {"ok", "error"},
    "decision": set(get_args(PaymentDecision)), "why": set(get_args(Lack)),
    "log": {"predictions", "payments"},
}  # fmt: skip
NAME = re.compile(r"\b(?:recommender|fraud|bentoml)_\w+|\bup\b")
SELECTOR = re.compile(r"\b((?:recommender|fraud|bentoml)_\w+)\{([^}]*)\}")
MATCHER = re.compile(r"(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Prometheus's own checker; these tests are worth nothing without it, so that they fail rather than being skipped."""
    if shutil.which("promtool") is None:
        pytest.fail("promtool is missing, and without it no alert is tested: apt-get install prometheus")
    return subprocess.run(
        ["promtool", *arguments], check=False, cwd=PROMETHEUS, capture_output=True, text=True, timeout=120
    )


def known_metrics() -> dict[str, set[str]]:
    """Every series that the service exports, with its labels."""
    known = {name: set(labels) for name, labels in OF_BENTOML.items()}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.describe()
            labels = set(metric._labelnames)
            if family.type == "counter":
                known[f"{family.name}_total"] = labels
            elif family.type == "histogram":
                known |= {f"{family.name}_count": labels, f"{family.name}_bucket": labels | {"le"}}
            else:
                known[family.name] = labels
    return known


def objections(expression: str) -> list[str]:
    """What an expression asks for that the service does not export: names, labels, and values of labels."""
    known = known_metrics()
    # What label_replace writes into a label is no series.
    bare = re.sub(r"\"(?:recommender|fraud|bentoml)_\w+\"", '""', expression)
    found = [f"there is no metric {name}" for name in set(NAME.findall(bare)) - OF_PROMETHEUS - set(known)]
    for name, matchers in SELECTOR.findall(bare):
        for label, kind, value in MATCHER.findall(matchers):
            if label not in known.get(name, {label}):
                found.append(f"{name} has no label {label}")
            values = value.split("|") if "~" in kind else [value]
            if not set(values) <= VALUES.get(label, set(values)):
                found.append(f"{name} has no {label}={value}")
            if label == "le" and value not in {str(bound) for bound in metrics.FAST}:
                found.append(f"{name} has no bucket le={value}")
    return found


def cases_of(alert: str) -> list[Any]:
    """What is expected of an alert, at each moment of its cases; empty where it must not fire."""
    asked = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    return [
        check["exp_samples"]
        for case in CASES
        if case["name"].startswith(f"{alert}: ")
        for check in case["promql_expr_test"]
        if check["expr"] == asked
    ]


def name_of(rule: dict[str, Any]) -> str:
    return str(rule["alert"])


def test_the_configuration_is_valid() -> None:
    """Prometheus starts with what is committed, and finds the rules through it."""
    checked = promtool("check", "config", "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


@pytest.mark.slow
def test_every_alert_does_what_its_cases_say() -> None:
    """Prometheus's own evaluation of every case agrees with what is expected."""
    tested = promtool("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_every_alert_has_cases_on_both_sides(rule: dict[str, Any]) -> None:
    """An alert is seen to fire, and seen not to."""
    expected = cases_of(rule["alert"])
    assert any(expected), "no case in which it fires"
    assert not all(expected), "no case in which it does not"


def test_every_case_is_of_an_alert() -> None:
    """A case whose name begins with no alert would be counted for none."""
    assert {case["name"].split(": ")[0] for case in CASES} == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_every_alert_is_about_what_the_service_exports(rule: dict[str, Any]) -> None:
    """Names, labels and buckets in an alert are among those that the service has."""
    assert objections(rule["expr"]) == []


@pytest.mark.parametrize(
    ("expression", "objection"),
    [
        ("recommender_request_total > 0", "there is no metric recommender_request_total"),
        ('recommender_requests_total{rung="none"}', "recommender_requests_total has no label rung"),
        ('recommender_requests_total{slice="canaries"}', "recommender_requests_total has no slice=canaries"),
        ('recommender_request_seconds_bucket{le="0.02"}', "recommender_request_seconds_bucket has no bucket le=0.02"),
    ],
)
def test_what_is_not_exported_is_noticed(expression: str, objection: str) -> None:
    """A mistake in a name, label, value or bucket is named."""
    assert objections(expression) == [objection]


def test_no_metric_can_vanish_unnoticed() -> None:
    """Every metric of an alert is watched for absence, unless its absence is good news."""
    watched = next(rule["expr"] for rule in RULES if rule["alert"] == "RecommenderMetricMissing")
    missing = {name.removesuffix("_count") for name in re.findall(r"absent\((\w+)\)", watched)}
    used = {name for rule in RULES for name in NAME.findall(re.sub(r"\"\w+\"", '""', rule["expr"]))}
    families = {re.sub(r"_(bucket|count)$", "", name) for name in used}
    assert families - missing == ABSENT_WHEN_WELL | ABSENT_WITHOUT_FRAUD_MODEL | OF_PROMETHEUS


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_every_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Who is woken reads how bad it is and a command to begin with."""
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.search(r"`[^`]+`", rule["annotations"]["description"])


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_commands_in_alerts_exist(rule: dict[str, Any]) -> None:
    """Each `mlops` command of a description is one, with the options that it takes and all that it requires."""
    from typer.main import get_command

    for command in re.findall(r"`(mlops [^`]+)`", rule["annotations"]["description"]):
        _, name, *arguments = shlex.split(command)
        found = get_command(cli.app).commands[name]  # type: ignore[attr-defined]
        arguments = ["." if argument == "$MLOPS_HOME" else argument for argument in arguments]
        found.make_context(name, arguments)

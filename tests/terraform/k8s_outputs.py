"""Made outputs of Terraform, in the shape of infra/terraform/outputs.tf, and what a plan does not know yet filled from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.plan import UNKNOWN

TERRAFORM = Path(__file__).parents[2] / "infra" / "terraform"
ENVIRONMENTS = ("dev", "staging", "prod")
ACCOUNT = "000000000000"
CERTIFICATE = f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/made-up"


def made(environment: str) -> dict[str, Any]:
    """Outputs as after an apply; fewest and most pods of the service are those of the environment's .tfvars."""
    name, secrets = f"mlops-{environment}", f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret"
    return {
        "region": "us-east-1",
        "cluster": {"name": name, "endpoint": "https://made-up.eks.amazonaws.com", "certificate_authority": "bWFkZQ=="},
        "node_pools": {
            "system": pool("system", "on_demand", "none"),
            "cpu-spot": pool("cpu-spot", "spot", "none", fallback="cpu-fallback"),
            "cpu-fallback": pool("cpu-fallback", "on_demand", "none"),
            "gpu-spot": pool("gpu-spot", "spot", "gpu", fallback="gpu-fallback"),
            "gpu-fallback": pool("gpu-fallback", "on_demand", "gpu"),
        },
        "service_accounts": {
            key: {"namespace": space, "name": account, "role_arn": f"arn:aws:iam::{ACCOUNT}:role/{name}-{key}"}
            for key, space, account in (
                ("airflow", "airflow", "airflow-worker"),
                ("mlflow", "mlflow", "mlflow"),
                ("prometheus", "monitoring", "prometheus"),
                ("grafana", "monitoring", "grafana"),
                ("external-secrets", "external-secrets", "external-secrets"),
                ("node-termination-handler", "kube-system", "aws-node-termination-handler"),
                ("cluster-autoscaler", "kube-system", "cluster-autoscaler"),
                ("load-balancer-controller", "kube-system", "aws-load-balancer-controller"),
                ("serving", "serving", "recommender"),
            )
        },
        "image_repository": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{name}/platform",
        "lake": {"bucket": f"{name}-lake-{ACCOUNT}", "database": f"{name}_lake".replace("-", "_"), "workgroup": name},
        "workspace": {"file_system_id": f"fs-{environment}", "access_point_id": f"fsap-{environment}"},
        "online_store": {
            "address": f"master.{name}-online-store.made-up.use1.cache.amazonaws.com:6379",
            "secret_arn": f"{secrets}:{name}/online-store-MadeUp",
        },
        "tracking": {
            "database_address": f"{name}-tracking.made-up.us-east-1.rds.amazonaws.com:5432",
            "database_secret_arn": f"{secrets}:rds!db-made-up-{environment}",
            "artefact_bucket": f"{name}-artefacts-{ACCOUNT}",
        },
        "training": {
            "queues": {model: f"{name}-{model}" for model in ("fraud", "recommender")},
            "job_definitions": {model: f"{name}-{model}" for model in ("fraud", "recommender")},
            "checkpoint_bucket": f"{name}-checkpoints-{ACCOUNT}",
        },
        "serving": {
            "subnet_ids": [f"subnet-{environment}-{zone}" for zone in "abc"],
            "security_group_id": f"sg-{environment}",
            "pods": serving_pods(environment),
        },
        "monitoring": {
            "prometheus_endpoint": f"https://aps-workspaces.us-east-1.amazonaws.com/workspaces/ws-{environment}/",
            "topic_arn": f"arn:aws:sns:us-east-1:{ACCOUNT}:{name}-alerts",
            "notices_queue_url": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/{name}-notices",
        },
    }


def filled(planned: Any, environment: str) -> Any:
    """The outputs of a plan, with made ones wherever the plan waits for the apply: enough to render."""
    return _fill(planned, made(environment))


def pool(name: str, capacity: str, accelerator: str, fallback: str | None = None) -> dict[str, Any]:
    """A pool as modules/node_pools puts it out."""
    return {
        "labels": {"mlops/pool": name, "mlops/capacity": capacity, "mlops/accelerator": accelerator},
        "taints": {
            **({"mlops/capacity": "spot"} if capacity == "spot" else {}),
            **({"nvidia.com/gpu": "present"} if accelerator == "gpu" else {}),
        },
        "fallback": fallback,
    }


def serving_pods(environment: str) -> dict[str, int]:
    """What the environment's .tfvars say of the service."""
    text = (TERRAFORM / "environments" / f"{environment}.tfvars").read_text()
    [block] = re.findall(r"^serving = \{(.*?)\}", text, re.MULTILINE | re.DOTALL)
    return {key: int(value) for key, value in re.findall(r"(\w+)\s*=\s*(\d+)", block)}


def _fill(planned: Any, known: Any) -> Any:
    if planned is UNKNOWN:
        return known
    if isinstance(planned, Mapping):
        return {key: _fill(value, known.get(key)) for key, value in planned.items()}
    if isinstance(planned, list):
        return [_fill(value, item) for value, item in zip(planned, known, strict=True)]
    return planned

"""Turn Terraform's outputs into the one file that an overlay lacks.

    terraform output -json | python -m infra.k8s.outputs dev --tag "$(git rev-parse --short HEAD)" --certificate arn:aws:acm:…

Base says `from-outputs` where a name or an ARN belongs; components/outputs puts there what this file, platform.env, holds.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.errors import InfraError
from infra.k8s.errors import OutputsError
from infra.plan import UNKNOWN

FILE = "platform.env"
OVERLAYS = Path(__file__).parent / "overlays"
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


def values(outputs: Mapping[str, Any], *, tag: str, certificate: str) -> dict[str, str]:
    """What the manifests are filled with, by the names that components/outputs/replacements.yaml uses.

    `tag` is that of the image, as Terraform's `image_tag`. `certificate` is the ACM certificate of the name that clients use;
    Terraform knows no domain, so makes none. Raises OutputsError for an output that is missing, or not known before an apply,
    and for a tag that moves.
    """
    if tag == "latest" or not TAG.fullmatch(tag):
        raise OutputsError(f"The image's tag is {tag!r}; give one that does not move, such as the commit.")
    if not certificate.startswith("arn:"):
        raise OutputsError(f"The certificate is {certificate!r}; give the ARN of one in ACM, for the name clients use.")
    repository = _text(outputs, "image_repository")
    return {
        "region": _text(outputs, "region"),
        "image": f"{repository}:{tag}",
        "image_repository": repository,
        "image_tag": tag,
        "airflow_role": _text(outputs, "service_accounts.airflow.role_arn"),
        "mlflow_role": _text(outputs, "service_accounts.mlflow.role_arn"),
        "prometheus_role": _text(outputs, "service_accounts.prometheus.role_arn"),
        "serving_role": _text(outputs, "service_accounts.serving.role_arn"),
        "workspace_volume": f"{_text(outputs, 'workspace.file_system_id')}::{_text(outputs, 'workspace.access_point_id')}",
        "redis_address": _text(outputs, "online_store.address"),
        "redis_secret": _text(outputs, "online_store.secret_arn"),
        "database_host": _host(_text(outputs, "tracking.database_address")),
        "database_secret": _text(outputs, "tracking.database_secret_arn"),
        "artefact_bucket": _text(outputs, "tracking.artefact_bucket"),
        "remote_write_url": f"{_text(outputs, 'monitoring.prometheus_endpoint').rstrip('/')}/api/v1/remote_write",
        "serving_min": _text(outputs, "serving.pods.min"),
        "serving_max": _text(outputs, "serving.pods.max"),
        "load_balancer_subnets": ",".join(_texts(outputs, "serving.subnet_ids")),
        "load_balancer_group": _text(outputs, "serving.security_group_id"),
        "certificate": certificate,
    }


def write(outputs: Mapping[str, Any], overlay: Path, *, tag: str, certificate: str) -> Path:
    """Write what `values` says into an overlay; returns the file."""
    if not (overlay / "kustomization.yaml").exists():
        raise OutputsError(f"{overlay} is no overlay; infra/k8s/overlays has those that there are.")
    lines = [f"{name}={value}\n" for name, value in values(outputs, tag=tag, certificate=certificate).items()]
    file = overlay / FILE
    file.write_text("".join(lines), encoding="utf-8")
    return file


def read(text: str) -> dict[str, Any]:
    """The values in what `terraform output -json` prints; raises OutputsError for anything else."""
    try:
        return {name: output["value"] for name, output in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError, KeyError):
        raise OutputsError(
            "This is not what `terraform output -json` prints; run it where the environment is initialised, and pipe it here."
        ) from None


def look_up(outputs: Mapping[str, Any], path: str) -> Any:
    """An output, or a part of one, by its path; UNKNOWN where it comes with the apply. Raises OutputsError when there is none."""
    value: Any = outputs
    for part in path.split("."):
        if value is UNKNOWN:
            return UNKNOWN
        if not isinstance(value, Mapping) or value.get(part) is None:
            raise OutputsError(
                f"Terraform has no output {path}; apply infra/terraform as it is now, and read its outputs anew."
            )
        value = value[part]
    return value


def _text(outputs: Mapping[str, Any], path: str) -> str:
    return _known(look_up(outputs, path), path)


def _texts(outputs: Mapping[str, Any], path: str) -> list[str]:
    found = look_up(outputs, path)
    if not isinstance(found, list) or not found:
        raise OutputsError(f"Output {path} is {found!r}; it should name at least one.")
    return [_known(item, path) for item in found]


def _known(value: Any, path: str) -> str:
    if value is UNKNOWN:
        raise OutputsError(f"Output {path} is not known before the apply; apply the plan first.")
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip() or "\n" in str(value):
        raise OutputsError(f"Output {path} is {value!r}; it should be one line of text.")
    return str(value)


def _host(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or port != "5432":
        raise OutputsError(f"Output tracking.database_address is {address!r}; the manifests expect host:5432.")
    return host


def main() -> None:
    """Write the overlay's file from the outputs on standard input."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("environment", choices=sorted(path.name for path in OVERLAYS.iterdir() if path.is_dir()))
    parser.add_argument("--tag", required=True, help="the image's tag, such as the commit")
    parser.add_argument("--certificate", required=True, help="ARN of the ACM certificate of the name that clients use")
    given = parser.parse_args()
    try:
        overlay = OVERLAYS / given.environment
        print(write(read(sys.stdin.read()), overlay, tag=given.tag, certificate=given.certificate))
    except InfraError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()

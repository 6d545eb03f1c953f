"""Make the keys of a new environment, once, as Kubernetes' secrets: what the platform makes for itself, and no file ever holds.

    python -m infra.k8s.keys | kubectl create --filename -

`create` refuses what is there already, so that nobody is locked out by a second run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from infra.compose.make_secrets import contents

SECRET: Final = "keys"
#: Which namespace gets which, as `key of the secret: file of infra/compose/make_secrets.py`; nobody gets what he does not read.
READ_BY: Final[Mapping[str, Mapping[str, str]]] = {
    "airflow": {
        "fernet": "fernet",
        "jwt": "jwt",
        "session": "session",
        "airflow.json": "airflow.json",
        "mlflow-credentials": "mlflow/credentials",
    },
    "mlflow": {
        "mlflow_auth.ini": "mlflow_auth.ini",
        "mlflow_session": "mlflow_session",
        "mlflow-credentials": "mlflow/credentials",
    },
    "serving": {"api_key": "api_key", "control_key": "control_key", "mlflow-credentials": "mlflow/credentials"},
    "monitoring": {"control_key": "control_key"},
}


def secrets() -> dict[str, Any]:
    """A list of secrets, new ones at each call."""
    made = contents()
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "namespace": namespace},
                "stringData": {key: made[file][0] for key, file in keys.items()},
            }
            for namespace, keys in READ_BY.items()
        ],
    }


def main() -> None:
    """Print them for `kubectl create`, and not for somebody's screen."""
    if sys.stdout.isatty():
        sys.exit("These are secrets; pipe them: python -m infra.k8s.keys | kubectl create --filename -")
    json.dump(secrets(), sys.stdout)


if __name__ == "__main__":
    main()

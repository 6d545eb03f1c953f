"""Make the secrets of a stack once, in a volume, and never again: each in the form that its reader takes.

They stand in files, so that none is in the compose file, in the image, in a log, or in what `docker inspect` shows.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

#: Users other than the image's own read these: PostgreSQL's, Prometheus' and Grafana's. Nobody outside of the stack sees the volume.
READ_BY_ALL = 0o444
OWN = 0o600  # libpq takes no password file that others may read

MLFLOW_AUTH = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = postgresql+psycopg://mlops@postgres/mlflow
admin_username = admin
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
MLFLOW_CREDENTIALS = """[mlflow]
mlflow_tracking_username = admin
mlflow_tracking_password = {password}
"""


def contents() -> Mapping[str, tuple[str, int]]:
    """Every file of a new stack with its mode: who made these up can only look."""
    database, airflow, mlflow = (secrets.token_urlsafe(18) for _ in range(3))
    return {
        "postgres": (database, READ_BY_ALL),
        "pgpass": (f"postgres:5432:*:mlops:{database}\n", OWN),
        "airflow.json": (json.dumps({"admin": airflow}) + "\n", OWN),
        "fernet": (base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(), OWN),
        "jwt": (secrets.token_hex(32), OWN),
        "session": (secrets.token_hex(32), OWN),
        "mlflow_auth.ini": (MLFLOW_AUTH.format(password=mlflow), OWN),
        "mlflow/credentials": (MLFLOW_CREDENTIALS.format(password=mlflow), OWN),
        "mlflow_session": (secrets.token_hex(32), OWN),
        "api_key": (secrets.token_hex(24), OWN),
        "control_key": (secrets.token_hex(24), READ_BY_ALL),
        "grafana": (secrets.token_urlsafe(18), READ_BY_ALL),
    }


def make(folder: Path) -> bool:
    """Write those that are missing; says whether the stack is new.

    The database keeps the password that it was made with: with its volume and without this one, nobody could log in any more.
    So all are made together, and the last file says that they are whole.
    """
    whole = folder / "whole"
    if whole.exists():
        return False
    for name, (text, mode) in contents().items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWN), "w", encoding="ascii") as file:
            file.write(text)
        path.chmod(mode)
    whole.touch()
    return True


def logins(folder: Path) -> str:
    """What a person needs to get in."""
    [(user, airflow)] = json.loads((folder / "airflow.json").read_text()).items()
    mlflow = (folder / "mlflow" / "credentials").read_text().split()[-1]
    rows = (
        ("Airflow", f"{user}   {airflow}"),
        ("MLflow", f"admin   {mlflow}"),
        ("Grafana", f"admin   {(folder / 'grafana').read_text()}   (profile observability)"),
        ("service", f"Authorization: Bearer {(folder / 'api_key').read_text()}"),
        ("/metrics, /explain", f"Authorization: Bearer {(folder / 'control_key').read_text()}"),
    )
    return "\n".join(f"{name:<20}{login}" for name, login in rows)


def main() -> None:
    """Make them, and show the logins when asked to: a log keeps what is printed, so `docker compose up` prints none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    show = parser.add_mutually_exclusive_group()
    show.add_argument("--show", action="store_true", help="print the logins")
    show.add_argument("--show-new", action="store_true", help="print the logins if they were made just now")
    given = parser.parse_args()
    new = make(given.folder)
    if given.show or (given.show_new and new):
        print(logins(given.folder))
    elif new:
        print("logins were made; see them with: docker compose run --rm secrets --show")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

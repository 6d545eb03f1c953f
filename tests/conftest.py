"""What every test needs before anything is imported: quiet vendors, and OpenMP threads that sleep instead of spin."""

import os

import pytest

os.environ.update(
    DO_NOT_TRACK="1", BENTOML_DO_NOT_TRACK="True", MLFLOW_DISABLE_TELEMETRY="true", OMP_WAIT_POLICY="PASSIVE"
)

#: Long stories that many tests read are told once, to one worker.
TOLD_ONCE = ("demo", "undisturbed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, or of a shared story, on one worker, and begin with the long ones."""
    for item in items:
        shared = next((name for name in TOLD_ONCE if name in getattr(item, "fixturenames", ())), item.path.name)
        item.add_marker(pytest.mark.xdist_group(shared))
    items.sort(key=lambda item: "slow" not in item.keywords)

"""What every test needs before anything is imported: quiet vendors, and OpenMP threads that sleep instead of spin."""

import os

os.environ.update(
    DO_NOT_TRACK="1", BENTOML_DO_NOT_TRACK="True", MLFLOW_DISABLE_TELEMETRY="true", OMP_WAIT_POLICY="PASSIVE"
)

"""Declare once what the DAGs exchange; an asset's event is what starts the next DAG."""

from airflow.sdk import Asset

LAKE = Asset("lake", uri="mlops://lake/interactions")
RETRAIN_REQUEST = Asset("retrain_request", uri="mlops://requests/retrain")
ROLLBACK_REQUEST = Asset("rollback_request", uri="mlops://requests/rollback")
RECOMMENDATIONS = Asset("recommendations", uri="mlops://recommendations")

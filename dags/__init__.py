"""Airflow only: when things run, and in what order."""

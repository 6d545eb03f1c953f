-- Run once, by the image, when the volume is new. Airflow's database is POSTGRES_DB.
CREATE DATABASE mlflow;

output "database_address" {
  description = "PostgreSQL, host:port; TLS only."
  value       = aws_db_instance.this.endpoint
}

output "database_secret_arn" {
  description = "User and password in Secrets Manager, kept and changed by RDS."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "artefact_bucket" {
  description = "Bucket of MLflow's artefacts."
  value       = module.artefacts.name
}

output "grants" {
  description = "What may be granted: `read` or `write` artefacts."
  value       = module.artefacts.grants
}

output "alarms" {
  description = "What somebody should hear of."
  value = {
    tracking-storage = {
      description = "PostgreSQL has under 4 GiB left: MLflow and Airflow are about to stop. Raise database.max_storage_gb."
      namespace   = "AWS/RDS"
      metric      = "FreeStorageSpace"
      dimensions  = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      comparison  = "LessThanThreshold"
      threshold   = 4 * pow(1024, 3)
    }
    tracking-processor = {
      description = "PostgreSQL has been busy for a quarter of an hour: DAGs are late. Raise database.instance_class."
      namespace   = "AWS/RDS"
      metric      = "CPUUtilization"
      dimensions  = { DBInstanceIdentifier = aws_db_instance.this.identifier }
      comparison  = "GreaterThanThreshold"
      threshold   = 85
    }
  }
}

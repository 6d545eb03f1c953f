# MLflow's and Airflow's metadata in PostgreSQL, and MLflow's artefacts in S3.

module "artefacts" {
  source = "../bucket"

  bucket          = "${var.name}-artefacts-${var.account_id}"
  force_destroy   = !var.deletion_protection
  kms_key_arn     = var.kms_key_arn
  noncurrent_days = var.noncurrent_days

  # A version that was once champion may be wanted again, so nothing expires.
  rules = { old = { infrequent_after_days = 90 } }
}

module "door" {
  source = "../door"

  name        = "${var.name}-tracking"
  description = "PostgreSQL of MLflow and Airflow"
  vpc_id      = var.vpc_id
  port        = 5432
  from        = var.clients
}

resource "aws_db_subnet_group" "this" {
  name        = "${var.name}-tracking"
  description = "Private subnets of ${var.name}"
  subnet_ids  = values(var.subnet_ids)
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-tracking-"
  description = "TLS only, and slow statements in the log"
  family      = "postgres${local.major}"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  # Another major version needs another group beside this one, which the database still uses.
  lifecycle {
    create_before_destroy = true
  }
}

locals {
  major = split(".", var.database.engine_version)[0]
}

# RDS would make them by itself, without encryption and for ever.
resource "aws_cloudwatch_log_group" "database" {
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.name}-tracking/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.log_key_arn
}

resource "aws_db_instance" "this" {
  identifier     = "${var.name}-tracking"
  engine         = "postgres"
  engine_version = var.database.engine_version
  instance_class = var.database.instance_class
  db_name        = "airflow" # mlflow's is made beside it, infra/compose/databases.sql
  username       = "mlops"

  manage_master_user_password   = true # RDS keeps it in Secrets Manager and changes it; no state knows it
  master_user_secret_kms_key_id = var.kms_key_arn

  storage_type          = "gp3"
  allocated_storage     = var.database.storage_gb
  max_allocated_storage = var.database.max_storage_gb
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  multi_az               = var.database.multi_az
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [module.door.id]
  publicly_accessible    = false
  parameter_group_name   = aws_db_parameter_group.this.name

  backup_retention_period   = var.database.backup_days
  copy_tags_to_snapshot     = true
  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = !var.deletion_protection
  final_snapshot_identifier = var.deletion_protection ? "${var.name}-tracking-final" : null

  auto_minor_version_upgrade      = true
  apply_immediately               = false
  enabled_cloudwatch_logs_exports = keys(aws_cloudwatch_log_group.database)
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.kms_key_arn
}

# The online store of features: Redis with a password, over TLS, with a replica in another zone where an outage costs.

locals {
  id = "${var.name}-online-store"
}

data "aws_secretsmanager_random_password" "auth" {
  password_length     = 64
  exclude_punctuation = true # Redis and its clients' addresses disagree about some
}

resource "aws_secretsmanager_secret" "auth" {
  name                    = "${var.name}/online-store"
  description             = "Password of the online store"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "auth" {
  secret_id     = aws_secretsmanager_secret.auth.id
  secret_string = data.aws_secretsmanager_random_password.auth.random_password

  lifecycle {
    ignore_changes = [secret_string] # each plan draws another; the first one stays
  }
}

module "door" {
  source = "../door"

  name        = "${var.name}-online-store"
  description = "The online store"
  vpc_id      = var.vpc_id
  port        = 6379
  from        = var.clients
}

resource "aws_elasticache_subnet_group" "this" {
  name        = "${var.name}-online-store"
  description = "Private subnets of ${var.name}"
  subnet_ids  = values(var.subnet_ids)
}

resource "aws_elasticache_replication_group" "this" {
  replication_group_id = local.id
  description          = "Features, read by each request"
  engine               = "redis"
  engine_version       = "7.1"
  parameter_group_name = "default.redis7"
  node_type            = var.node_type
  port                 = 6379

  num_cache_clusters         = 1 + var.replicas
  automatic_failover_enabled = var.replicas > 0
  multi_az_enabled           = var.replicas > 0

  subnet_group_name  = aws_elasticache_subnet_group.this.name
  security_group_ids = [module.door.id]

  at_rest_encryption_enabled = true
  kms_key_id                 = var.kms_key_arn
  transit_encryption_enabled = true
  auth_token                 = aws_secretsmanager_secret_version.auth.secret_string

  # What is lost can be materialised again from the lake; a snapshot is faster.
  snapshot_retention_limit = var.snapshot_days
  apply_immediately        = false
}

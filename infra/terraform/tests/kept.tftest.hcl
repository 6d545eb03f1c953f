# What is kept is encrypted, private, versioned, spoken to over TLS, and cannot be destroyed by a slip where it matters.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name        = "test"
  account_id  = "000000000000"
  vpc_id      = "vpc-0"
  subnet_ids  = { a = "subnet-a", b = "subnet-b", c = "subnet-c" }
  clients     = { nodes = "sg-nodes" }
  kms_key_arn = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
  log_days    = 30
  log_key_arn = "arn:aws:kms:us-east-1:000000000000:key/11111111-1111-1111-1111-111111111111"
}

run "bucket" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    bucket          = "test-lake-000000000000"
    force_destroy   = false
    noncurrent_days = 30
    rules           = { old = { infrequent_after_days = 180 }, results = { prefix = "tmp/", expire_after_days = 7 } }
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms" && one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).kms_master_key_id == var.kms_key_arn
    error_message = "objects are encrypted by our key"
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "what was overwritten can be had back"
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "nothing in it can be made public"
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "there are no access lists"
  }

  assert {
    condition     = data.aws_iam_policy_document.this.statement[0].effect == "Deny" && one(data.aws_iam_policy_document.this.statement[0].condition).variable == "aws:SecureTransport" && one(data.aws_iam_policy_document.this.statement[0].condition).values[0] == "false"
    error_message = "whoever does not speak TLS is refused"
  }

  assert {
    condition     = data.aws_iam_policy_document.this.statement[0].actions == toset(["s3:*"]) && one(data.aws_iam_policy_document.this.statement[0].principals).identifiers == toset(["*"])
    error_message = "everybody is refused everything without TLS"
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.noncurrent_version_expiration[0].noncurrent_days if rule.id == "tidy"] == [30]
    error_message = "old versions go when they may"
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : one(rule.transition).days if rule.id == "old"] == [180]
    error_message = "what is old gets cheaper"
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : length(rule.expiration) if rule.id == "old"] == [0]
    error_message = "what is old does not go"
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.this.rule : "${rule.filter[0].prefix} ${rule.expiration[0].days}" if rule.id == "results"] == ["tmp/ 7"]
    error_message = "what was made for once goes"
  }

  assert {
    condition     = !anytrue(flatten([for grant in output.grants.read : [for action in grant.actions : can(regex("Put|Delete|Generate", action))]]))
    error_message = "who may read may not write"
  }
}

run "bucket_with_capitals" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    bucket          = "Lake"
    force_destroy   = false
    noncurrent_days = 1
    rules           = { old = { infrequent_after_days = 5 } }
  }

  expect_failures = [var.bucket, var.noncurrent_days, var.rules]
}

run "lake" {
  command = plan

  module {
    source = "./modules/lake"
  }

  variables {
    force_destroy   = false
    noncurrent_days = 30
  }

  assert {
    condition     = output.bucket == "test-lake-000000000000"
    error_message = "the bucket's name is the account's own"
  }

  assert {
    condition     = aws_athena_workgroup.this.configuration[0].enforce_workgroup_configuration && aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_KMS"
    error_message = "results are encrypted, whatever a client asks for"
  }

  assert {
    condition     = aws_athena_workgroup.this.configuration[0].bytes_scanned_cutoff_per_query == 100 * 1024 * 1024 * 1024
    error_message = "a careless question is stopped"
  }

  assert {
    condition     = aws_glue_catalog_table.interactions.parameters["storage.location.template"] == "s3://test-lake-000000000000/interactions/arrived=$${arrived}/"
    error_message = "the catalogue looks where ingest/lake.py writes"
  }

  assert {
    condition     = aws_glue_catalog_table.interactions.parameters["projection.arrived.interval"] == "7" && aws_glue_catalog_table.interactions.partition_keys[0].name == "arrived"
    error_message = "partitions are Mondays"
  }

  assert {
    condition     = aws_glue_catalog_database.this.name == "test_lake"
    error_message = "the database's name needs no quotes in SQL"
  }
}

run "images" {
  command = plan

  module {
    source = "./modules/images"
  }

  variables {
    repositories = ["platform"]
    keep_images  = 50
    force_delete = false
  }

  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.image_tag_mutability == "IMMUTABLE" && !r.force_delete])
    error_message = "a tag never moves, and images are not destroyed by a slip"
  }

  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.image_scanning_configuration[0].scan_on_push])
    error_message = "images are scanned"
  }

  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.encryption_configuration[0].encryption_type == "KMS" && r.encryption_configuration[0].kms_key == var.kms_key_arn])
    error_message = "images are encrypted by our key"
  }

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.this["platform"].policy).rules : rule.selection.countNumber] == [7, 50]
    error_message = "untagged images go after a week, and the newest fifty stay"
  }
}

run "few_images" {
  command = plan

  module {
    source = "./modules/images"
  }

  variables {
    repositories = ["platform"]
    keep_images  = 2
    force_delete = false
  }

  expect_failures = [var.keep_images]
}

run "workspace" {
  command = plan

  module {
    source = "./modules/workspace"
  }

  variables {
    backups = true
  }

  assert {
    condition     = aws_efs_file_system.this.encrypted && aws_efs_file_system.this.kms_key_id == var.kms_key_arn
    error_message = "files are encrypted by our key"
  }

  assert {
    condition     = keys(aws_efs_mount_target.this) == ["a", "b", "c"]
    error_message = "the workspace is reached in each zone"
  }

  assert {
    condition     = aws_efs_access_point.this.posix_user[0].uid == 10001 && aws_efs_access_point.this.root_directory[0].path == "/workspace"
    error_message = "everybody is the image's user, in one folder"
  }

  assert {
    condition     = aws_efs_backup_policy.this.backup_policy[0].status == "ENABLED"
    error_message = "files are copied every night"
  }

  assert {
    condition     = [for s in data.aws_iam_policy_document.this.statement : s.sid if s.effect == "Deny"] == ["TlsOnly"]
    error_message = "whoever does not speak TLS is refused"
  }
}

run "online_store" {
  command = plan

  module {
    source = "./modules/online_store"
  }

  variables {
    node_type            = "cache.m7g.large"
    replicas             = 2
    snapshot_days        = 7
    secret_recovery_days = 30
  }

  assert {
    condition     = aws_elasticache_replication_group.this.transit_encryption_enabled && aws_elasticache_replication_group.this.at_rest_encryption_enabled == "true" && aws_elasticache_replication_group.this.kms_key_id == var.kms_key_arn
    error_message = "features are encrypted, on the way and at rest"
  }

  assert {
    condition     = aws_elasticache_replication_group.this.auth_token == "mockedmockedmockedmocked" && aws_secretsmanager_secret_version.auth.secret_string == aws_elasticache_replication_group.this.auth_token
    error_message = "the store asks for the password that is in Secrets Manager"
  }

  assert {
    condition     = data.aws_secretsmanager_random_password.auth.password_length >= 32 && aws_secretsmanager_secret.auth.kms_key_id == var.kms_key_arn && aws_secretsmanager_secret.auth.recovery_window_in_days == 30
    error_message = "the password is long, encrypted, and can be had back"
  }

  assert {
    condition     = aws_elasticache_replication_group.this.num_cache_clusters == 3 && aws_elasticache_replication_group.this.automatic_failover_enabled && aws_elasticache_replication_group.this.multi_az_enabled
    error_message = "a replica takes over when a zone fails"
  }

  assert {
    condition     = aws_elasticache_replication_group.this.snapshot_retention_limit == 7 && aws_elasticache_replication_group.this.parameter_group_name == "default.redis7"
    error_message = "snapshots are kept for a week"
  }

  assert {
    condition     = length(output.alarms) == 6 && output.alarms["test-online-store-003-memory"].dimensions.CacheClusterId == "test-online-store-003"
    error_message = "each member has its alarms"
  }
}

run "lone_store" {
  command = plan

  module {
    source = "./modules/online_store"
  }

  variables {
    node_type            = "cache.t4g.small"
    replicas             = 0
    snapshot_days        = 0
    secret_recovery_days = 0
  }

  assert {
    condition     = aws_elasticache_replication_group.this.num_cache_clusters == 1 && !aws_elasticache_replication_group.this.automatic_failover_enabled
    error_message = "without replicas there is nothing to fail over to"
  }
}

run "store_of_the_wrong_kind" {
  command = plan

  module {
    source = "./modules/online_store"
  }

  variables {
    node_type            = "m7g.large"
    replicas             = 6
    snapshot_days        = 0
    secret_recovery_days = 0
  }

  expect_failures = [var.node_type, var.replicas]
}

run "tracking_of_prod" {
  command = plan

  module {
    source = "./modules/tracking"
  }

  variables {
    database            = { engine_version = "17", instance_class = "db.m7g.large", multi_az = true, backup_days = 35 }
    deletion_protection = true
    noncurrent_days     = 90
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.kms_key_id == var.kms_key_arn && aws_db_instance.this.performance_insights_kms_key_id == var.kms_key_arn
    error_message = "the database is encrypted by our key"
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null && aws_db_instance.this.master_user_secret_kms_key_id == var.kms_key_arn
    error_message = "RDS keeps the password, and the state does not know it"
  }

  assert {
    condition     = !aws_db_instance.this.publicly_accessible
    error_message = "the database is private"
  }

  assert {
    condition     = aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.final_snapshot_identifier == "test-tracking-final"
    error_message = "in prod the database cannot be destroyed, and leaves a snapshot if it is"
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period == 35 && aws_db_instance.this.multi_az && aws_db_instance.this.copy_tags_to_snapshot
    error_message = "backups reach back as far as asked, and another zone stands by"
  }

  assert {
    condition     = [for p in aws_db_parameter_group.this.parameter : p.value if p.name == "rds.force_ssl"] == ["1"] && aws_db_parameter_group.this.family == "postgres17"
    error_message = "PostgreSQL refuses whoever does not speak TLS"
  }

  assert {
    condition = aws_db_instance.this.enabled_cloudwatch_logs_exports == toset(["postgresql", "upgrade"]) && alltrue([
      for log, group in aws_cloudwatch_log_group.database :
      group.name == "/aws/rds/instance/test-tracking/${log}" && group.kms_key_id == var.log_key_arn && group.retention_in_days == 30
    ])
    error_message = "the database's logs are encrypted, and not for ever"
  }
}

run "tracking_of_dev" {
  command = plan

  module {
    source = "./modules/tracking"
  }

  variables {
    database            = { engine_version = "17", instance_class = "db.t4g.medium", multi_az = false, backup_days = 1 }
    deletion_protection = false
    noncurrent_days     = 7
  }

  assert {
    condition     = !aws_db_instance.this.deletion_protection && aws_db_instance.this.skip_final_snapshot
    error_message = "dev can be taken down without leaving anything"
  }
}

run "tracking_without_backups" {
  command = plan

  module {
    source = "./modules/tracking"
  }

  variables {
    database            = { engine_version = "17", instance_class = "db.t4g.medium", multi_az = false, backup_days = 0 }
    deletion_protection = false
    noncurrent_days     = 7
  }

  expect_failures = [var.database]
}

# What would be a mistake is refused before anything is planned, with a message that says what to do.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  environment         = "prod"
  region              = "us-east-1"
  owner               = "ml-platform"
  cost_centre         = "ml-prod"
  image_tag           = "d46fc6b"
  deletion_protection = true
  log_days            = 365
  noncurrent_days     = 90
  network             = { cidr = "10.22.0.0/16", nat = "per_zone" }
  cluster             = { version = "1.35" }
  admin_role_arns     = ["arn:aws:iam::000000000000:role/platform"]
  redis               = { node_type = "cache.m7g.large", replicas = 1, snapshot_days = 7 }
  database            = { instance_class = "db.m7g.large", multi_az = true, backup_days = 35 }
  training            = { max_vcpus = 64 }
  serving             = { min = 2, max = 4 }
  alert_emails        = ["ml-platform@example.com"]
  budget              = { limit_usd = 1000 }

  pool_sizes = {
    system       = { min_nodes = 2, max_nodes = 3 }
    cpu-spot     = { max_nodes = 1 }
    cpu-fallback = { max_nodes = 1 }
    gpu-spot     = { max_nodes = 1 }
    gpu-fallback = { max_nodes = 1 }
  }
}

# Each of the variables must be refused by itself, or the run fails.
run "slips" {
  command = plan

  variables {
    environment = "test"
    region      = "us-east"
    account_id  = "0000-0000-0000"
    project     = "ML Ops"
    owner       = " "
    cost_centre = ""
    image_tag   = "latest"
    pool_sizes  = { system = { min_nodes = 2, max_nodes = 3 } }
  }

  expect_failures = [
    var.environment,
    var.region,
    var.account_id,
    var.project,
    var.owner,
    var.cost_centre,
    var.image_tag,
    var.pool_sizes,
  ]
}

run "slips_in_what_prod_looks_at" {
  command = plan

  variables {
    log_days = 100
    cluster  = { version = "v1.35.1" }
  }

  expect_failures = [var.log_days, var.cluster]
}

run "prod_without_any_of_its_safeguards" {
  command = plan

  variables {
    deletion_protection = false
    log_days            = 30
    network             = { cidr = "10.22.0.0/16", nat = "single" }
    cluster             = { version = "1.35", public_access_cidrs = ["203.0.113.0/24"] }
    redis               = { node_type = "cache.m7g.large", replicas = 0, snapshot_days = 7 }
    database            = { instance_class = "db.m7g.large", multi_az = false, backup_days = 35 }
  }

  expect_failures = [var.deletion_protection, var.log_days, var.network, var.cluster, var.redis, var.database]
}

run "prod_with_backups_of_a_week" {
  command = plan

  variables {
    database = { instance_class = "db.m7g.large", multi_az = true, backup_days = 7 }
  }

  expect_failures = [var.database]
}

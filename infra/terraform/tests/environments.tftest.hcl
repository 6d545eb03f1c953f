# Every environment can be planned as its .tfvars says, and they differ in nothing but values.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "dev_says" {
  command = apply

  module {
    source = "./tests/environment"
  }

  variables {
    name = "dev"
  }
}

run "dev" {
  command = plan

  variables {
    environment         = run.dev_says.values.environment
    region              = run.dev_says.values.region
    owner               = run.dev_says.values.owner
    cost_centre         = run.dev_says.values.cost_centre
    deletion_protection = run.dev_says.values.deletion_protection
    log_days            = run.dev_says.values.log_days
    noncurrent_days     = run.dev_says.values.noncurrent_days
    network             = run.dev_says.values.network
    cluster             = run.dev_says.values.cluster
    pool_sizes          = run.dev_says.values.pool_sizes
    redis               = run.dev_says.values.redis
    database            = run.dev_says.values.database
    training            = run.dev_says.values.training
    serving             = run.dev_says.values.serving
    alert_emails        = run.dev_says.values.alert_emails
    budget              = run.dev_says.values.budget
    admin_role_arns     = ["arn:aws:iam::000000000000:role/platform"]
    image_tag           = "d46fc6b"
  }

  assert {
    condition     = length(module.network.nat_gateway_ids) == 1
    error_message = "dev pays for one NAT gateway, not for three"
  }

  assert {
    condition     = length(output.service_accounts) == 9 && alltrue([for account in output.service_accounts : startswith(account.role_arn, "arn:")])
    error_message = "each service account has a role"
  }

  assert {
    condition     = toset(keys(output.training.job_definitions)) == toset(["recommender", "fraud"])
    error_message = "both models have a job"
  }

  assert {
    condition     = output.node_pools["gpu-spot"].fallback == "gpu-fallback"
    error_message = "manifests can tell where a pod goes when there is no spot"
  }

  # Only where IAM knows no resource: describing, listing, and what a condition narrows.
  assert {
    condition = alltrue(flatten([
      for account in local.service_accounts : [
        for grant in account.grants : [
          for action in grant.actions : can(regex(":(Describe|List)|^ec2:GetInstanceTypesFromInstanceRequirements$", action)) || try(length(grant.conditions) > 0, false)
        ] if contains(grant.resources, "*")
      ]
    ]))
    error_message = "no service account may change things that it does not name"
  }
}

run "staging_says" {
  command = apply

  module {
    source = "./tests/environment"
  }

  variables {
    name = "staging"
  }
}

run "staging" {
  command = plan

  variables {
    environment         = run.staging_says.values.environment
    region              = run.staging_says.values.region
    owner               = run.staging_says.values.owner
    cost_centre         = run.staging_says.values.cost_centre
    deletion_protection = run.staging_says.values.deletion_protection
    log_days            = run.staging_says.values.log_days
    noncurrent_days     = run.staging_says.values.noncurrent_days
    network             = run.staging_says.values.network
    cluster             = run.staging_says.values.cluster
    pool_sizes          = run.staging_says.values.pool_sizes
    redis               = run.staging_says.values.redis
    database            = run.staging_says.values.database
    training            = run.staging_says.values.training
    serving             = run.staging_says.values.serving
    alert_emails        = run.staging_says.values.alert_emails
    budget              = run.staging_says.values.budget
    admin_role_arns     = ["arn:aws:iam::000000000000:role/platform"]
    image_tag           = "d46fc6b"
  }
}

run "prod_says" {
  command = apply

  module {
    source = "./tests/environment"
  }

  variables {
    name = "prod"
  }
}

run "prod" {
  command = plan

  variables {
    environment         = run.prod_says.values.environment
    region              = run.prod_says.values.region
    owner               = run.prod_says.values.owner
    cost_centre         = run.prod_says.values.cost_centre
    deletion_protection = run.prod_says.values.deletion_protection
    log_days            = run.prod_says.values.log_days
    noncurrent_days     = run.prod_says.values.noncurrent_days
    network             = run.prod_says.values.network
    cluster             = run.prod_says.values.cluster
    pool_sizes          = run.prod_says.values.pool_sizes
    redis               = run.prod_says.values.redis
    database            = run.prod_says.values.database
    training            = run.prod_says.values.training
    serving             = run.prod_says.values.serving
    alert_emails        = run.prod_says.values.alert_emails
    budget              = run.prod_says.values.budget
    admin_role_arns     = ["arn:aws:iam::000000000000:role/platform"]
    image_tag           = "d46fc6b"
  }

  assert {
    condition     = length(module.network.nat_gateway_ids) == 3
    error_message = "prod has a way out in each zone"
  }

  assert {
    condition     = var.deletion_protection && var.database.multi_az && var.redis.replicas >= 1
    error_message = "prod survives a zone and a slip of the hand"
  }

  assert {
    condition     = keys(run.prod_says.values) == keys(run.dev_says.values) && keys(run.prod_says.values) == keys(run.staging_says.values)
    error_message = "environments set the same variables"
  }

  assert {
    condition     = length(distinct([for says in [run.dev_says, run.staging_says, run.prod_says] : says.values.network.cidr])) == 3
    error_message = "environments' addresses do not overlap, so that they can be joined"
  }
}


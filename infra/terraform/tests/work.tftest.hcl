# Training takes spot first and survives its loss; serving has one way in; what goes wrong, or costs too much, is told.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name       = "test"
  account_id = "000000000000"
  vpc_id     = "vpc-0"
  subnet_ids = { a = "subnet-a", b = "subnet-b", c = "subnet-c" }
  topic_arn  = "arn:aws:sns:us-east-1:000000000000:alerts"
}

run "training" {
  command = plan

  module {
    source = "./modules/training"
  }

  variables {
    instance_types = ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge"]
    max_vcpus      = 32
    image          = "000000000000.dkr.ecr.us-east-1.amazonaws.com/test/platform:d46fc6b"
    jobs           = { recommender = { command = ["mlops", "replay", "--weeks", "Ref::weeks"], parameters = { weeks = "12" }, vcpus = 8, memory_mb = 28000 } }
    grants         = []
    workspace      = { file_system_id = "fs-0", access_point_id = "fsap-0" }
    log_days       = 30
    kms_key_arn    = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_key_arn    = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
  }

  assert {
    condition     = aws_batch_job_definition.this["recommender"].retry_strategy[0].attempts >= 2
    error_message = "a job whose machine is reclaimed starts again"
  }

  assert {
    condition = [for e in aws_batch_job_definition.this["recommender"].retry_strategy[0].evaluate_on_exit : e.action] == ["RETRY", "EXIT"] && (
      aws_batch_job_definition.this["recommender"].retry_strategy[0].evaluate_on_exit[0].on_status_reason == "Host EC2*"
    )
    error_message = "only a reclaimed machine is retried"
  }

  assert {
    condition     = jsondecode(aws_batch_job_definition.this["recommender"].container_properties).readonlyRootFilesystem && !jsondecode(aws_batch_job_definition.this["recommender"].container_properties).privileged && jsondecode(aws_batch_job_definition.this["recommender"].container_properties).user == "10001"
    error_message = "jobs run as the image's user, without privileges, and write only where they should"
  }

  assert {
    condition     = jsondecode(aws_batch_job_definition.this["recommender"].container_properties).volumes[0].efsVolumeConfiguration.transitEncryption == "ENABLED" && jsondecode(aws_batch_job_definition.this["recommender"].container_properties).volumes[0].efsVolumeConfiguration.authorizationConfig.iam == "ENABLED"
    error_message = "the workspace is mounted over TLS, by the job's role"
  }

  assert {
    condition     = aws_batch_job_definition.this["recommender"].tags["model"] == "recommender"
    error_message = "a job is paid for by its model"
  }

  assert {
    condition     = aws_batch_job_definition.this["recommender"].timeout[0].attempt_duration_seconds == 12 * 3600
    error_message = "a job that hangs is ended"
  }

  assert {
    condition     = output.checkpoint_bucket == "test-checkpoints-000000000000"
    error_message = "checkpoints have a bucket"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.retention_in_days == 30 && aws_cloudwatch_log_group.this.kms_key_id == var.log_key_arn
    error_message = "jobs' logs are encrypted, and not for ever"
  }

  assert {
    condition     = output.queues == { recommender = "test-recommender" }
    error_message = "each model has a queue"
  }
}

run "queue" {
  command = plan

  override_resource {
    target          = aws_batch_compute_environment.this["spot"]
    override_during = plan
    values          = { arn = "arn:aws:batch:us-east-1:000000000000:compute-environment/spot" }
  }

  module {
    source = "./modules/queue"
  }

  variables {
    name              = "test-fraud"
    model             = "fraud"
    instance_types    = ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge"]
    max_vcpus         = 32
    subnet_ids        = ["subnet-a", "subnet-b", "subnet-c"]
    security_group_id = "sg-0"
    service_role_arn  = "arn:aws:iam::000000000000:role/batch"
    instance_role_arn = "arn:aws:iam::000000000000:instance-profile/machine"
  }

  assert {
    condition     = { for name, e in aws_batch_compute_environment.this : name => e.compute_resources[0].type } == { spot = "SPOT", on-demand = "EC2" }
    error_message = "there is spot, and on-demand behind it"
  }

  assert {
    condition     = aws_batch_compute_environment.this["spot"].compute_resources[0].allocation_strategy == "SPOT_PRICE_CAPACITY_OPTIMIZED"
    error_message = "spot is taken where it is cheap and least likely to be reclaimed"
  }

  assert {
    condition     = alltrue([for e in aws_batch_compute_environment.this : length(e.compute_resources[0].instance_type) >= 3 && e.compute_resources[0].min_vcpus == 0])
    error_message = "any of three types will do, and nothing runs while nothing is asked"
  }

  assert {
    condition     = [for o in aws_batch_job_queue.this.compute_environment_order : "${o.order} ${o.compute_environment}"] == ["1 arn:aws:batch:us-east-1:000000000000:compute-environment/spot", "2 arn:aws:batch:us-east-1:000000000000:compute-environment/mock"]
    error_message = "the queue tries spot first"
  }
}

run "training_on_one_leg" {
  command = plan

  module {
    source = "./modules/training"
  }

  variables {
    instance_types = ["m6i.2xlarge", "m6a.2xlarge"]
    max_vcpus      = 2
    attempts       = 1
    image          = "platform:latest"
    jobs           = {}
    grants         = []
    workspace      = { file_system_id = "fs-0", access_point_id = "fsap-0" }
    log_days       = 30
    kms_key_arn    = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_key_arn    = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
  }

  expect_failures = [var.instance_types, var.max_vcpus, var.attempts, var.image]
}

run "serving" {
  command = plan

  module {
    source = "./modules/serving"
  }

  variables {
    client_cidrs = ["10.0.0.0/16"]
    pods         = { min = 2, max = 4 }
    grants       = [{ actions = ["s3:GetObject"], resources = ["arn:aws:s3:::artefacts/*"] }]
    cluster = {
      name              = "test"
      security_group_id = "sg-nodes"
      oidc_provider     = { arn = "arn:aws:iam::000000000000:oidc-provider/oidc.example/id/0", issuer = "oidc.example/id/0" }
    }
  }

  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.clients) == ["10.0.0.0/16"] && alltrue([for r in aws_vpc_security_group_ingress_rule.clients : r.from_port == 443 && r.to_port == 443])
    error_message = "clients come by HTTPS, from where they are"
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.pods.referenced_security_group_id == "sg-nodes" && aws_vpc_security_group_ingress_rule.pods.security_group_id == "sg-nodes" && aws_vpc_security_group_ingress_rule.pods.from_port == 3000
    error_message = "the load balancer reaches the pods, and nothing else"
  }

  assert {
    condition     = output.alarms["serving-too-few-pods"].threshold == 2 && output.alarms["serving-too-few-pods"].missing == "breaching" && output.alarms["serving-cannot-grow"].threshold == 4
    error_message = "too few pods, none that can be counted, and no more to add are told"
  }

  assert {
    condition     = output.service_account.namespace == "serving" && output.service_account.name == "recommender"
    error_message = "manifests are told whose role it is"
  }
}

run "serving_everybody_from_one_pod" {
  command = plan

  module {
    source = "./modules/serving"
  }

  variables {
    client_cidrs = ["0.0.0.0/0"]
    pods         = { min = 1, max = 4 }
    grants       = []
    cluster = {
      name              = "test"
      security_group_id = "sg-nodes"
      oidc_provider     = { arn = "arn:aws:iam::000000000000:oidc-provider/oidc.example/id/0", issuer = "oidc.example/id/0" }
    }
  }

  expect_failures = [var.client_cidrs, var.pods]
}

run "monitoring" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  variables {
    region          = "us-east-1"
    emails          = ["ml-platform@example.com"]
    rules           = "groups: []"
    alarms          = { full = { description = "Full.", namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = { DBInstanceIdentifier = "test" }, comparison = "LessThanThreshold", threshold = 1 } }
    kms_key_arn     = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    metrics_key_arn = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
  }

  assert {
    condition     = aws_sns_topic.alerts.kms_master_key_id == var.kms_key_arn && aws_sqs_queue.notices.kms_master_key_id == var.kms_key_arn && aws_prometheus_workspace.this.kms_key_arn == var.metrics_key_arn
    error_message = "topic, queue and metrics are encrypted by our keys"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["full"].alarm_name == "test-full" && aws_cloudwatch_metric_alarm.this["full"].alarm_actions == toset([aws_sns_topic.alerts.arn])
    error_message = "an alarm is told by the topic"
  }

  assert {
    condition = toset(flatten([for rule in aws_cloudwatch_event_rule.notices : jsondecode(rule.event_pattern)["detail-type"]])) == toset([
      "EC2 Spot Instance Interruption Warning",
      "EC2 Instance Rebalance Recommendation",
      "EC2 Instance State-change Notification",
      "AWS Health Event",
    ])
    error_message = "every notice that a machine goes is heard"
  }

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.notices : target.arn == aws_sqs_queue.notices.arn])
    error_message = "notices reach the queue"
  }

  assert {
    condition     = one(data.aws_iam_policy_document.notices.statement[0].condition).variable == "aws:SourceArn" && one(data.aws_iam_policy_document.notices.statement[0].principals).identifiers == toset(["events.amazonaws.com"])
    error_message = "our rules, and nobody else, fill the queue"
  }

  assert {
    condition     = one(data.aws_iam_policy_document.alerts.statement[0].condition).values == tolist(["000000000000"]) && contains(one(data.aws_iam_policy_document.alerts.statement[0].principals).identifiers, "budgets.amazonaws.com")
    error_message = "alarms, budgets and Prometheus of this account may tell"
  }

  assert {
    condition     = yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this.definition).alertmanager_config).receivers[0].sns_configs[0].topic_arn == aws_sns_topic.alerts.arn
    error_message = "Prometheus's alerts are told by the same topic"
  }
}

run "told_to_nobody" {
  command = plan

  module {
    source = "./modules/monitoring"
  }

  variables {
    region          = "us-east-1"
    emails          = []
    rules           = "alerts: []"
    alarms          = {}
    kms_key_arn     = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    metrics_key_arn = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
  }

  expect_failures = [var.emails, var.rules]
}

run "budget" {
  command = plan

  module {
    source = "./modules/budget"
  }

  variables {
    environment      = "dev"
    limit_usd        = 900
    model_limits_usd = { recommender = 150 }
  }

  assert {
    condition     = { for name, budget in aws_budgets_budget.this : name => "${budget.limit_amount} ${budget.limit_unit} ${budget.time_unit}" } == { all = "900.0 USD MONTHLY", recommender = "150.0 USD MONTHLY" }
    error_message = "environment and model have a limit a month"
  }

  assert {
    condition     = alltrue([for b in aws_budgets_budget.this : toset([for n in b.notification : n.threshold if n.notification_type == "ACTUAL"]) == toset([50, 80, 100])])
    error_message = "spending is told at 50, 80 and 100 %"
  }

  assert {
    condition     = alltrue([for b in aws_budgets_budget.this : anytrue([for n in b.notification : n.notification_type == "FORECASTED"])])
    error_message = "a forecast beyond the limit is told before the money is gone"
  }

  assert {
    condition     = alltrue(flatten([for b in aws_budgets_budget.this : [for n in b.notification : n.subscriber_sns_topic_arns == toset([var.topic_arn])]]))
    error_message = "it is told by the topic"
  }

  assert {
    condition     = one(aws_budgets_budget.this["recommender"].cost_filter).values == tolist(["user:model$recommender"]) && one(aws_budgets_budget.this["all"].cost_filter).values == tolist(["user:environment$dev"])
    error_message = "costs are told apart by tag"
  }
}

run "models_that_exceed_the_whole" {
  command = plan

  module {
    source = "./modules/budget"
  }

  variables {
    environment      = "dev"
    limit_usd        = 100
    model_limits_usd = { recommender = 80, fraud = 30 }
  }

  expect_failures = [var.model_limits_usd]
}

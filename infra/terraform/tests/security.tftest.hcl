# Keys turn by themselves; a role has one taker, and is granted actions by name.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name = "test"
}

run "keys" {
  command = plan

  module {
    source = "./modules/security"
  }

  variables {
    deletion_window_days = 30
  }

  assert {
    condition     = keys(aws_kms_key.this) == ["cluster", "data", "logs"]
    error_message = "logs, data and Kubernetes secrets have a key each"
  }

  assert {
    condition     = alltrue([for key in aws_kms_key.this : key.enable_key_rotation && key.deletion_window_in_days == 30])
    error_message = "every key turns, and can be had back for a month"
  }

  assert {
    condition = alltrue(flatten([
      for document in data.aws_iam_policy_document.key : [
        for statement in document.statement : [for principal in statement.principals : !contains(principal.identifiers, "*")]
      ]
    ]))
    error_message = "no key is for everybody"
  }

  assert {
    condition     = [for key, document in data.aws_iam_policy_document.key : key if length(document.statement) > 1] == ["logs"]
    error_message = "services use the key of the logs by themselves, and no other"
  }
}

run "key_gone_in_a_day" {
  command = plan

  module {
    source = "./modules/security"
  }

  variables {
    deletion_window_days = 1
  }

  expect_failures = [var.deletion_window_days]
}

run "role_of_a_service_account" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    description = "Kubernetes service account serving/recommender"
    grants      = [{ actions = ["s3:GetObject"], resources = ["arn:aws:s3:::lake/*"] }]
    service_account = {
      namespace     = "serving"
      name          = "recommender"
      oidc_provider = { arn = "arn:aws:iam::000000000000:oidc-provider/oidc.example/id/0", issuer = "https://oidc.example/id/0" }
    }
  }

  assert {
    condition = {
      for condition in data.aws_iam_policy_document.trust.statement[0].condition : condition.variable => tolist(condition.values)[0]
    } == { "oidc.example/id/0:sub" = "system:serviceaccount:serving:recommender", "oidc.example/id/0:aud" = "sts.amazonaws.com" }
    error_message = "one service account may take the role, for STS"
  }

  assert {
    condition     = alltrue([for condition in data.aws_iam_policy_document.trust.statement[0].condition : condition.test == "StringEquals"])
    error_message = "the service account is matched whole"
  }

  assert {
    condition     = tolist(data.aws_iam_policy_document.trust.statement[0].principals)[0].type == "Federated"
    error_message = "the cluster vouches for the service account"
  }

  assert {
    condition     = data.aws_iam_policy_document.grants.statement[0].actions == toset(["s3:GetObject"]) && length(data.aws_iam_policy_document.grants.statement) == 1
    error_message = "what is granted is what was asked for"
  }
}

run "role_of_a_service" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    description      = "Nodes"
    service          = "ec2.amazonaws.com"
    managed_policies = ["AmazonEKSWorkerNodePolicy"]
  }

  assert {
    condition     = tolist(data.aws_iam_policy_document.trust.statement[0].principals)[0].identifiers == toset(["ec2.amazonaws.com"])
    error_message = "one service may take the role"
  }

  assert {
    condition     = aws_iam_role_policy_attachment.this["AmazonEKSWorkerNodePolicy"].policy_arn == "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy"
    error_message = "AWS's policy is attached"
  }

  assert {
    condition     = length(aws_iam_role_policy.this) == 0
    error_message = "without grants there is no policy of our own"
  }
}

run "every_action" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    description = "Too much"
    service     = "ec2.amazonaws.com"
    grants      = [{ actions = ["s3:*"], resources = ["arn:aws:s3:::lake/*"] }]
  }

  expect_failures = [var.grants]
}

run "two_takers" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    description     = "Two"
    service         = "ec2.amazonaws.com"
    service_account = { namespace = "a", name = "b", oidc_provider = { arn = "arn:aws:iam::000000000000:oidc-provider/x", issuer = "x" } }
  }

  expect_failures = [var.service_account]
}

run "any_service_account" {
  command = plan

  module {
    source = "./modules/role"
  }

  variables {
    description     = "Any"
    service_account = { namespace = "serving", name = "*", oidc_provider = { arn = "arn:aws:iam::000000000000:oidc-provider/x", issuer = "x" } }
  }

  expect_failures = [var.service_account]
}

run "door" {
  command = plan

  module {
    source = "./modules/door"
  }

  variables {
    description = "The online store"
    vpc_id      = "vpc-0"
    port        = 6379
    from        = { nodes = "sg-nodes" }
  }

  assert {
    condition = alltrue([
      for rule in aws_vpc_security_group_ingress_rule.this :
      rule.referenced_security_group_id == "sg-nodes" && rule.cidr_ipv4 == null && rule.from_port == 6379 && rule.to_port == 6379
    ])
    error_message = "one port is open, to security groups and to no addresses"
  }
}

run "machines" {
  command = plan

  module {
    source = "./modules/launch_template"
  }

  variables {
    description = "Machines"
    disk_gb     = 100
  }

  assert {
    condition     = aws_launch_template.this.metadata_options[0].http_tokens == "required" && aws_launch_template.this.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "metadata needs a token (IMDSv2), and containers do not reach it"
  }

  assert {
    condition     = aws_launch_template.this.block_device_mappings[0].ebs[0].encrypted == "true"
    error_message = "disks are encrypted"
  }

  assert {
    condition     = toset([for t in aws_launch_template.this.tag_specifications : t.resource_type]) == toset(["instance", "volume"])
    error_message = "machines and disks are tagged"
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.this.tag_specifications : t.tags["cost_centre"] == "ml" && t.tags["owner"] == "ml-platform" && t.tags["model"] == "shared"])
    error_message = "machines carry the provider's default tags, by which the bill is split"
  }
}

run "machines_of_one_model" {
  command = plan

  module {
    source = "./modules/launch_template"
  }

  variables {
    description = "Trainings"
    disk_gb     = 100
    tags        = { model = "fraud" }
  }

  assert {
    condition     = alltrue([for t in aws_launch_template.this.tag_specifications : t.tags["model"] == "fraud" && t.tags["owner"] == "ml-platform"])
    error_message = "machines and disks are paid for by their model, not by everybody"
  }
}

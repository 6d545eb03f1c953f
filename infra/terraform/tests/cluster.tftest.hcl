# The control plane is private, encrypted and logged; spot pools start at zero and have somewhere to fall back to.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name         = "test"
  cluster_name = "test"
  subnet_ids   = ["subnet-a", "subnet-b", "subnet-c"]
}

run "private" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    kubernetes_version  = "1.35"
    public_access_cidrs = []
    admin_role_arns     = ["arn:aws:iam::000000000000:role/admin"]
    secrets_key_arn     = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_key_arn         = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_days            = 30
  }

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "without addresses the API is reached from inside only"
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == var.secrets_key_arn && aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"])
    error_message = "Kubernetes secrets are encrypted by our key"
  }

  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5
    error_message = "the control plane logs all it can, audit included"
  }

  assert {
    condition     = aws_cloudwatch_log_group.control_plane.name == "/aws/eks/test/cluster" && aws_cloudwatch_log_group.control_plane.kms_key_id == var.log_key_arn && aws_cloudwatch_log_group.control_plane.retention_in_days == 30
    error_message = "the log group is the one that EKS writes to, encrypted and not for ever"
  }

  assert {
    condition = toset([for group in aws_cloudwatch_log_group.containers : group.name]) == toset([
      for log in ["application", "dataplane", "host", "performance"] : "/aws/containerinsights/test/${log}"
    ]) && alltrue([for group in aws_cloudwatch_log_group.containers : group.kms_key_id == var.log_key_arn && group.retention_in_days == 30])
    error_message = "so are those that the containers' logs go to"
  }

  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "who administers is in code; whoever created the cluster does not by that"
  }

  assert {
    condition     = aws_eks_access_policy_association.admin["arn:aws:iam::000000000000:role/admin"].policy_arn == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    error_message = "named roles administer"
  }

  assert {
    condition     = aws_eks_access_entry.admin["arn:aws:iam::000000000000:role/admin"].principal_arn == "arn:aws:iam::000000000000:role/admin"
    error_message = "so they are let in"
  }

  assert {
    condition     = aws_iam_openid_connect_provider.this.url == "https://oidc.example/id/0" && output.oidc_provider.issuer == "oidc.example/id/0"
    error_message = "service accounts are trusted by the cluster's own issuer"
  }
}

run "reached_from_an_office" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    kubernetes_version  = "1.35"
    public_access_cidrs = ["203.0.113.0/24"]
    admin_role_arns     = []
    secrets_key_arn     = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_key_arn         = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_days            = 30
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "the API is open to the named addresses and no others"
  }
}

run "reached_by_everybody" {
  command = plan

  module {
    source = "./modules/cluster"
  }

  variables {
    kubernetes_version  = "1.35"
    public_access_cidrs = ["0.0.0.0/0"]
    admin_role_arns     = []
    secrets_key_arn     = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_key_arn         = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
    log_days            = 30
  }

  expect_failures = [var.public_access_cidrs]
}

run "addons" {
  command = plan

  module {
    source = "./modules/addons"
  }

  variables {
    addons = { vpc-cni = { role_arn = "arn:aws:iam::000000000000:role/cni", configuration = "{\"enableNetworkPolicy\":\"true\"}" }, coredns = {} }
  }

  assert {
    condition     = aws_eks_addon.this["vpc-cni"].service_account_role_arn == "arn:aws:iam::000000000000:role/cni" && aws_eks_addon.this["vpc-cni"].configuration_values == "{\"enableNetworkPolicy\":\"true\"}"
    error_message = "an add-on gets its role and configuration"
  }

  assert {
    condition     = aws_eks_addon.this["coredns"].resolve_conflicts_on_create == "OVERWRITE"
    error_message = "an add-on takes over what EKS put there first"
  }
}

# ── Node pools ───────────────────────────────────────────────────────────────────────────────────────────────────────────

run "pools" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system       = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
      cpu-spot     = { max_nodes = 4, capacity = "spot", fallback = "cpu-fallback", instance_types = ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge"] }
      cpu-fallback = { max_nodes = 2, capacity = "on_demand", instance_types = ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge"] }
      gpu-spot     = { max_nodes = 1, capacity = "spot", accelerator = "gpu", fallback = "gpu-fallback", instance_types = ["g6.xlarge", "g5.xlarge", "g4dn.xlarge"] }
      gpu-fallback = { max_nodes = 1, capacity = "on_demand", accelerator = "gpu", instance_types = ["g6.xlarge", "g5.xlarge", "g4dn.xlarge"] }
    }
  }

  assert {
    condition     = { for name, group in aws_eks_node_group.this : name => group.capacity_type } == { system = "ON_DEMAND", cpu-spot = "SPOT", cpu-fallback = "ON_DEMAND", gpu-spot = "SPOT", gpu-fallback = "ON_DEMAND" }
    error_message = "spot is spot, and what it falls back to is not"
  }

  assert {
    condition     = alltrue([for name in ["cpu-spot", "cpu-fallback", "gpu-spot", "gpu-fallback"] : aws_eks_node_group.this[name].scaling_config[0].min_size == 0 && aws_eks_node_group.this[name].scaling_config[0].desired_size == 0])
    error_message = "what is for jobs costs nothing while there are none"
  }

  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : length(group.instance_types) >= 3])
    error_message = "every pool may take at least three instance types"
  }

  assert {
    condition     = { for name, group in aws_eks_node_group.this : name => join(" ", sort([for t in group.taint : t.key])) } == { system = "", cpu-spot = "mlops/capacity", cpu-fallback = "", gpu-spot = "mlops/capacity nvidia.com/gpu", gpu-fallback = "nvidia.com/gpu" }
    error_message = "spot and GPU nodes take only pods that ask for them"
  }

  assert {
    condition     = alltrue(flatten([for group in aws_eks_node_group.this : [for t in group.taint : t.effect == "NO_SCHEDULE"]]))
    error_message = "a taint keeps pods away"
  }

  assert {
    condition     = aws_eks_node_group.this["gpu-spot"].ami_type == "AL2023_x86_64_NVIDIA" && aws_eks_node_group.this["cpu-spot"].ami_type == "AL2023_x86_64_STANDARD"
    error_message = "GPU nodes have drivers"
  }

  assert {
    condition     = aws_eks_node_group.this["gpu-spot"].labels == tomap({ "mlops/pool" = "gpu-spot", "mlops/capacity" = "spot", "mlops/accelerator" = "gpu" })
    error_message = "pods can select a pool by label"
  }

  assert {
    condition     = alltrue([for group in aws_eks_node_group.this : group.launch_template[0].id == "lt-00000000000000000"])
    error_message = "every pool starts from a launch template"
  }

  assert {
    condition     = output.pools["cpu-spot"].fallback == "cpu-fallback" && output.pools["cpu-spot"].taints == tomap({ "mlops/capacity" = "spot" })
    error_message = "manifests are told what a pod must tolerate, and where it goes without spot"
  }
}

run "two_instance_types" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "the_same_type_thrice" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6i.large", "m6i.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "spot_without_fallback" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
      spot   = { max_nodes = 1, capacity = "spot", instance_types = ["a.large", "b.large", "c.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "spot_that_falls_back_to_spot" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
      one    = { max_nodes = 1, capacity = "spot", fallback = "two", instance_types = ["a.large", "b.large", "c.large"] }
      two    = { max_nodes = 1, capacity = "spot", fallback = "system", instance_types = ["a.large", "b.large", "c.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "gpu_that_falls_back_to_processors" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
      gpu    = { max_nodes = 1, capacity = "spot", accelerator = "gpu", fallback = "system", instance_types = ["a.large", "b.large", "c.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "spot_that_never_sleeps" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
      spot   = { min_nodes = 1, max_nodes = 1, capacity = "spot", fallback = "system", instance_types = ["a.large", "b.large", "c.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "nowhere_to_run_the_autoscaler" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 0, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "fewest_above_most" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 4, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
    }
  }

  expect_failures = [var.pools]
}

run "unknown_capacity" {
  command = plan

  module {
    source = "./modules/node_pools"
  }

  variables {
    pools = {
      system = { min_nodes = 2, max_nodes = 3, capacity = "on_demand", instance_types = ["m6i.large", "m6a.large", "m5.large"] }
      odd    = { max_nodes = 1, capacity = "reserved", instance_types = ["a.large", "b.large", "c.large"] }
    }
  }

  expect_failures = [var.pools]
}

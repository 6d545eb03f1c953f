# Managed node groups. Spot pools start at zero, are tainted so that only what can be killed goes there, and name the
# on-demand pool that takes the same pods when there is no spot to be had.

locals {
  # A pod tolerates what it can bear, so the same pod runs on a spot pool and on its fallback.
  taints = {
    for name, pool in var.pools : name => merge(
      pool.capacity == "spot" ? { "mlops/capacity" = "spot" } : {},
      pool.accelerator == "gpu" ? { "nvidia.com/gpu" = "present" } : {},
    )
  }

  labels = {
    for name, pool in var.pools : name => {
      "mlops/pool"        = name
      "mlops/capacity"    = pool.capacity
      "mlops/accelerator" = pool.accelerator
    }
  }
}

# What a pod could reach by way of its node, and so as little as a node needs; the network add-on has a role of its own.
module "role" {
  source = "../role"

  name             = "${var.name}-node"
  description      = "Nodes of ${var.name}"
  service          = "ec2.amazonaws.com"
  managed_policies = ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryReadOnly"]
}

module "launch_template" {
  source   = "../launch_template"
  for_each = var.pools

  name        = "${var.name}-${each.key}"
  description = "Nodes of ${each.key}"
  disk_gb     = each.value.disk_gb
}

resource "aws_eks_node_group" "this" {
  for_each = var.pools

  cluster_name    = var.cluster_name
  node_group_name = each.key
  node_role_arn   = module.role.arn
  subnet_ids      = var.subnet_ids
  capacity_type   = each.value.capacity == "spot" ? "SPOT" : "ON_DEMAND"
  instance_types  = each.value.instance_types
  ami_type        = each.value.accelerator == "gpu" ? "AL2023_x86_64_NVIDIA" : "AL2023_x86_64_STANDARD"
  labels          = local.labels[each.key]

  launch_template {
    id      = module.launch_template[each.key].id
    version = module.launch_template[each.key].version
  }

  scaling_config {
    min_size     = each.value.min_nodes
    desired_size = each.value.min_nodes
    max_size     = each.value.max_nodes
  }

  update_config {
    max_unavailable = 1
  }

  dynamic "taint" {
    for_each = local.taints[each.key]

    content {
      key    = taint.key
      value  = taint.value
      effect = "NO_SCHEDULE"
    }
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the autoscaler's
  }
}

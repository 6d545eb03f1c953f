# One model's queue of Batch, and its machines: spot first, on-demand behind it, none while nothing is asked.

locals {
  capacity = {
    spot      = { type = "SPOT", strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED" }
    on-demand = { type = "EC2", strategy = "BEST_FIT_PROGRESSIVE" }
  }
}

module "launch_template" {
  source = "../launch_template"

  name        = var.name
  description = "Machines of ${var.model}'s trainings"
  disk_gb     = 100
  tags        = { model = var.model }
}

resource "aws_batch_compute_environment" "this" {
  for_each = local.capacity

  # Not a whole name: what is replaced must stand before the old one goes, for the queue is never without.
  compute_environment_name_prefix = "${var.name}-${each.key}-"
  type                            = "MANAGED"
  service_role                    = var.service_role_arn

  compute_resources {
    type                = each.value.type
    allocation_strategy = each.value.strategy
    instance_type       = var.instance_types
    instance_role       = var.instance_role_arn
    min_vcpus           = 0
    max_vcpus           = var.max_vcpus
    subnets             = var.subnet_ids
    security_group_ids  = [var.security_group_id]

    launch_template {
      launch_template_id = module.launch_template.id
      version            = module.launch_template.version
    }
  }

  tags = { model = var.model }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [compute_resources[0].desired_vcpus] # Batch's
  }
}

resource "aws_batch_job_queue" "this" {
  name     = var.name
  state    = "ENABLED"
  priority = 1

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.this["spot"].arn
  }

  compute_environment_order {
    order               = 2
    compute_environment = aws_batch_compute_environment.this["on-demand"].arn
  }

  tags = { model = var.model }
}

# Long trainings on Batch: spot first, on-demand behind it. A machine that is reclaimed costs a retry; the job goes on in the
# workspace, where each finished step has left its part. What is too large for that goes to the checkpoint bucket.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

module "checkpoints" {
  source = "../bucket"

  bucket          = "${var.name}-checkpoints-${var.account_id}"
  force_destroy   = true # they are of jobs that run
  kms_key_arn     = var.kms_key_arn
  noncurrent_days = 7
  rules           = { finished = { expire_after_days = var.checkpoint_days } }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/training"
  retention_in_days = var.log_days
  kms_key_id        = var.log_key_arn
}

# ── Machines ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

module "machine_role" {
  source = "../role"

  name             = "${var.name}-training-machine"
  description      = "Machines of Batch"
  service          = "ec2.amazonaws.com"
  managed_policies = ["service-role/AmazonEC2ContainerServiceforEC2Role"]
}

resource "aws_iam_instance_profile" "machine" {
  name = module.machine_role.name
  role = module.machine_role.name
}

module "batch_role" {
  source = "../role"

  name             = "${var.name}-training-batch"
  description      = "Batch, which starts and stops the machines"
  service          = "batch.amazonaws.com"
  managed_policies = ["service-role/AWSBatchServiceRole"]
}

resource "aws_security_group" "machine" {
  name        = "${var.name}-training"
  description = "Machines of Batch: nothing comes in"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-training" }
}

resource "aws_vpc_security_group_egress_rule" "machine" {
  security_group_id = aws_security_group.machine.id
  description       = "Images, S3 and the workspace"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

# A queue for each model, with machines of its own: what a training costs is the tag of its machines.
module "queue" {
  source   = "../queue"
  for_each = var.jobs

  name              = "${var.name}-${each.key}"
  model             = each.key
  instance_types    = var.instance_types
  max_vcpus         = var.max_vcpus
  subnet_ids        = values(var.subnet_ids)
  security_group_id = aws_security_group.machine.id
  service_role_arn  = module.batch_role.arn
  instance_role_arn = aws_iam_instance_profile.machine.arn
}

# ── Jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

module "job_role" {
  source = "../role"

  name        = "${var.name}-training-job"
  description = "What a training may touch"
  service     = "ecs-tasks.amazonaws.com"
  grants      = concat(var.grants, module.checkpoints.grants.write)
}

resource "aws_batch_job_definition" "this" {
  for_each = var.jobs

  name                  = "${var.name}-${each.key}"
  type                  = "container"
  platform_capabilities = ["EC2"]
  propagate_tags        = true
  parameters            = each.value.parameters

  container_properties = jsonencode({
    image                  = var.image
    command                = each.value.command
    jobRoleArn             = module.job_role.arn
    user                   = "10001"
    privileged             = false
    readonlyRootFilesystem = true

    resourceRequirements = [
      { type = "VCPU", value = tostring(each.value.vcpus) },
      { type = "MEMORY", value = tostring(each.value.memory_mb) },
    ]

    environment = [
      { name = "AWS_DEFAULT_REGION", value = data.aws_region.current.name },
      { name = "CHECKPOINT_BUCKET", value = module.checkpoints.name },
    ]

    volumes = [
      {
        name = "workspace"
        efsVolumeConfiguration = {
          fileSystemId        = var.workspace.file_system_id
          transitEncryption   = "ENABLED"
          authorizationConfig = { accessPointId = var.workspace.access_point_id, iam = "ENABLED" }
        }
      },
    ]
    mountPoints = [{ sourceVolume = "workspace", containerPath = "/workspace", readOnly = false }]

    linuxParameters = { tmpfs = [{ containerPath = "/tmp", size = 2048, mountOptions = ["rw"] }] }

    logConfiguration = {
      logDriver = "awslogs"
      options   = { "awslogs-group" = aws_cloudwatch_log_group.this.name, "awslogs-stream-prefix" = each.key }
    }
  })

  # A reclaimed machine is nobody's fault; any other failure would only fail again.
  retry_strategy {
    attempts = var.attempts

    evaluate_on_exit {
      on_status_reason = "Host EC2*"
      action           = "RETRY"
    }

    evaluate_on_exit {
      on_reason = "*"
      action    = "EXIT"
    }
  }

  timeout {
    attempt_duration_seconds = each.value.timeout_hours * 3600
  }

  tags = { model = each.key }
}

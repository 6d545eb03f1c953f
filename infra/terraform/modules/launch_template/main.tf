# How any machine of ours starts: IMDSv2, encrypted disk, tagged like everything else.

data "aws_default_tags" "current" {}

resource "aws_launch_template" "this" {
  name                   = var.name
  description            = var.description
  update_default_version = true

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # containers do not reach the machine's credentials
  }

  # With AWS's key for disks: one of ours needs a grant to Auto Scaling's own role, which a new account does not have.
  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = var.disk_gb
      encrypted             = "true"
      delete_on_termination = "true"
    }
  }

  monitoring {
    enabled = true
  }

  # The provider's default tags do not reach what others start from here, and the bill goes by tags.
  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.key
      tags          = merge(data.aws_default_tags.current.tags, { Name = var.name }, var.tags)
    }
  }
}

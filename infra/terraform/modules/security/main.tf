# One key for each kind of secret, so that who may read logs may not therefore read data.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  keys = {
    data    = "Lake, artefacts, databases, caches and their secrets"
    cluster = "Kubernetes secrets"
    logs    = "Logs, alarms and notices"
  }

  # Services that use a key by themselves, and not in the name of whoever called them.
  services = {
    data    = []
    cluster = []
    logs = [
      "logs.${data.aws_region.current.name}.amazonaws.com",
      "cloudwatch.amazonaws.com",
      "events.amazonaws.com",
      "budgets.amazonaws.com",
      "aps.amazonaws.com",
    ]
  }
}

data "aws_iam_policy_document" "key" {
  for_each = local.keys

  # Lets IAM decide, as AWS's default key policy does. In a key policy "*" is this key and no other.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  dynamic "statement" {
    for_each = length(local.services[each.key]) > 0 ? [local.services[each.key]] : []

    content {
      sid       = "Services"
      actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"]
      resources = ["*"]

      principals {
        type        = "Service"
        identifiers = statement.value
      }
    }
  }
}

resource "aws_kms_key" "this" {
  for_each = local.keys

  description             = "${var.name}: ${each.value}"
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_window_days
  policy                  = data.aws_iam_policy_document.key[each.key].json
}

resource "aws_kms_alias" "this" {
  for_each = aws_kms_key.this

  name          = "alias/${var.name}-${each.key}"
  target_key_id = each.value.key_id
}

# Metrics and their rules in Prometheus, alarms of what AWS runs for us, notices of spot machines that are about to go,
# and one topic where all of it is told.

data "aws_caller_identity" "current" {}

locals {
  # Two minutes' notice is enough to drain a node, and rebalancing is told earlier.
  notices = {
    spot-interruption = { source = "aws.ec2", type = "EC2 Spot Instance Interruption Warning" }
    rebalance         = { source = "aws.ec2", type = "EC2 Instance Rebalance Recommendation" }
    state-change      = { source = "aws.ec2", type = "EC2 Instance State-change Notification" }
    scheduled-change  = { source = "aws.health", type = "AWS Health Event" }
  }

  tellers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com", "aps.amazonaws.com"]
}

# ── Where it is told ─────────────────────────────────────────────────────────────────────────────────────────────────────

resource "aws_sns_topic" "alerts" {
  name              = "${var.name}-alerts"
  kms_master_key_id = var.kms_key_arn
}

data "aws_iam_policy_document" "alerts" {
  statement {
    sid       = "OurTellers"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alerts.arn]

    principals {
      type        = "Service"
      identifiers = local.tellers
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_sns_topic_policy" "alerts" {
  arn    = aws_sns_topic.alerts.arn
  policy = data.aws_iam_policy_document.alerts.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = var.emails

  topic_arn = aws_sns_topic.alerts.arn
  protocol  = "email"
  endpoint  = each.value
}

# ── What we measure ourselves ────────────────────────────────────────────────────────────────────────────────────────────

resource "aws_prometheus_workspace" "this" {
  alias       = var.name
  kms_key_arn = var.metrics_key_arn
}

resource "aws_prometheus_rule_group_namespace" "alerts" {
  workspace_id = aws_prometheus_workspace.this.id
  name         = "alerts"
  data         = var.rules
}

resource "aws_prometheus_alert_manager_definition" "this" {
  workspace_id = aws_prometheus_workspace.this.id

  definition = yamlencode({
    alertmanager_config = yamlencode({
      route = { receiver = "alerts", group_by = ["alertname"] }
      receivers = [{
        name        = "alerts"
        sns_configs = [{ topic_arn = aws_sns_topic.alerts.arn, sigv4 = { region = var.region } }]
      }]
    })
  })
}

# ── What AWS measures ────────────────────────────────────────────────────────────────────────────────────────────────────

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = var.alarms

  alarm_name          = startswith(each.key, var.name) ? each.key : "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alerts.arn]
  ok_actions          = [aws_sns_topic.alerts.arn]
}

# ── Machines that are about to go ────────────────────────────────────────────────────────────────────────────────────────

resource "aws_sqs_queue" "notices" {
  name                      = "${var.name}-spot-notices"
  message_retention_seconds = 300 # an older notice is of a machine that has gone
  kms_master_key_id         = var.kms_key_arn
}

data "aws_iam_policy_document" "notices" {
  statement {
    sid       = "OurRules"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.notices.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [for rule in aws_cloudwatch_event_rule.notices : rule.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "notices" {
  queue_url = aws_sqs_queue.notices.url
  policy    = data.aws_iam_policy_document.notices.json
}

resource "aws_cloudwatch_event_rule" "notices" {
  for_each = local.notices

  name        = "${var.name}-${each.key}"
  description = each.value.type

  event_pattern = jsonencode({
    source        = [each.value.source]
    "detail-type" = [each.value.type]
  })
}

resource "aws_cloudwatch_event_target" "notices" {
  for_each = aws_cloudwatch_event_rule.notices

  rule      = each.value.name
  target_id = "queue"
  arn       = aws_sqs_queue.notices.arn
}

# What an environment may cost a month, and each of its models; told at 50, 80 and 100 %, and when the forecast exceeds it.

locals {
  budgets = merge(
    { all = { limit_usd = var.limit_usd, tag = "environment", value = var.environment } },
    { for model, limit in var.model_limits_usd : model => { limit_usd = limit, tag = "model", value = model } },
  )

  notifications = concat(
    [for percent in [50, 80, 100] : { type = "ACTUAL", percent = percent }],
    [{ type = "FORECASTED", percent = 100 }],
  )
}

resource "aws_budgets_budget" "this" {
  for_each = local.budgets

  name         = "${var.name}-${each.key}"
  budget_type  = "COST"
  limit_amount = format("%.1f", each.value.limit_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:%s$%s", each.value.tag, each.value.value)]
  }

  dynamic "notification" {
    for_each = local.notifications

    content {
      notification_type         = notification.value.type
      comparison_operator       = "GREATER_THAN"
      threshold_type            = "PERCENTAGE"
      threshold                 = notification.value.percent
      subscriber_sns_topic_arns = [var.topic_arn]
    }
  }
}

output "topic_arn" {
  description = "Topic where everything is told."
  value       = aws_sns_topic.alerts.arn

  depends_on = [aws_sns_topic_policy.alerts]
}

output "prometheus_endpoint" {
  description = "Prometheus's address; remote write is at `api/v1/remote_write` below it."
  value       = aws_prometheus_workspace.this.prometheus_endpoint
}

output "notices_queue_url" {
  description = "Queue that the node termination handler reads."
  value       = aws_sqs_queue.notices.url
}

output "grants" {
  description = "What may be granted: `write_metrics`, `read_metrics`, `hear_notices`."
  value = {
    write_metrics = [{
      actions   = ["aps:RemoteWrite"]
      resources = [aws_prometheus_workspace.this.arn]
    }]
    read_metrics = [{
      actions   = ["aps:QueryMetrics", "aps:GetLabels", "aps:GetSeries", "aps:GetMetricMetadata"]
      resources = [aws_prometheus_workspace.this.arn]
    }]
    hear_notices = [
      { actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"], resources = [aws_sqs_queue.notices.arn] },
      { actions = ["kms:Decrypt"], resources = [var.kms_key_arn] },
    ]
  }
}

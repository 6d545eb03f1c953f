output "service_account" {
  description = "The service account of the pods, and its role."
  value = {
    namespace = var.namespace
    name      = var.service
    role_arn  = module.role.arn
  }
}

output "security_group_id" {
  description = "Security group for the load balancer's annotation."
  value       = aws_security_group.load_balancer.id
}

output "alarms" {
  description = "What somebody should hear of, as Container Insights measures it."
  value = {
    serving-too-few-pods = {
      description = "Fewer pods serve than should: see `kubectl -n ${var.namespace} get pods`. No figure counts as none."
      namespace   = "ContainerInsights"
      metric      = "service_number_of_running_pods"
      dimensions  = local.containers
      comparison  = "LessThanThreshold"
      threshold   = var.pods.min
      missing     = "breaching"
    }
    serving-cannot-grow = {
      description = "The autoscaler has no pod left to add: customers may soon get popular items. Raise serving.max."
      namespace   = "ContainerInsights"
      metric      = "service_number_of_running_pods"
      dimensions  = local.containers
      comparison  = "GreaterThanOrEqualToThreshold"
      threshold   = var.pods.max
    }
  }
}

output "address" {
  description = "Where to read and write, host:port; TLS only."
  value       = "${aws_elasticache_replication_group.this.primary_endpoint_address}:6379"
}

output "secret_arn" {
  description = "The password in Secrets Manager."
  value       = aws_secretsmanager_secret.auth.arn
}

output "alarms" {
  description = "What somebody should hear of; ElastiCache measures each member by itself."
  value = merge([
    for member in [for i in range(1 + var.replicas) : format("%s-%03d", local.id, i + 1)] : {
      "${member}-memory" = {
        description = "The online store is nearly full and will forget customers. Raise redis.node_type."
        namespace   = "AWS/ElastiCache"
        metric      = "DatabaseMemoryUsagePercentage"
        dimensions  = { CacheClusterId = member }
        comparison  = "GreaterThanThreshold"
        threshold   = 80
      }
      "${member}-processor" = {
        description = "The online store answers late; requests fall to stale features. Raise redis.node_type."
        namespace   = "AWS/ElastiCache"
        metric      = "EngineCPUUtilization"
        dimensions  = { CacheClusterId = member }
        comparison  = "GreaterThanThreshold"
        threshold   = 75
      }
    }
  ]...)
}

# What Kubernetes manifests and CI need to name.

output "region" {
  description = "AWS region of everything."
  value       = var.region
}

output "cluster" {
  description = "The cluster: name, address and certificate authority."
  value = {
    name                  = module.cluster.name
    endpoint              = module.cluster.endpoint
    certificate_authority = module.cluster.certificate_authority
  }
}

output "node_pools" {
  description = "What pods select and tolerate, by pool, and the pool to fall back to."
  value       = module.node_pools.pools
}

output "service_accounts" {
  description = "Service accounts with a role: namespace, name, and the ARN for the annotation eks.amazonaws.com/role-arn."
  value = merge(
    {
      for key, account in local.service_accounts : key => {
        namespace = account.namespace
        name      = account.name
        role_arn  = module.service_account[key].arn
      }
    },
    { serving = module.serving.service_account },
  )
}

output "image_repository" {
  description = "Where the platform's image is pushed to and pulled from."
  value       = module.images.repository_urls["platform"]
}

output "lake" {
  description = "The lake: bucket, Glue database and Athena workgroup."
  value = {
    bucket    = module.lake.bucket
    database  = module.lake.database
    workgroup = module.lake.workgroup
  }
}

output "workspace" {
  description = "The shared workspace, for the persistent volume: file system and access point."
  value = {
    file_system_id  = module.workspace.file_system_id
    access_point_id = module.workspace.access_point_id
  }
}

output "online_store" {
  description = "Redis: host:port, TLS only, and its password in Secrets Manager."
  value = {
    address    = module.online_store.address
    secret_arn = module.online_store.secret_arn
  }
}

output "tracking" {
  description = "PostgreSQL: host:port, TLS only, and its user in Secrets Manager; the bucket of MLflow's artefacts."
  value = {
    database_address    = module.tracking.database_address
    database_secret_arn = module.tracking.database_secret_arn
    artefact_bucket     = module.tracking.artefact_bucket
  }
}

output "training" {
  description = "Batch: queues and job definitions by model, bucket of checkpoints."
  value = {
    queues            = module.training.queues
    job_definitions   = module.training.job_definitions
    checkpoint_bucket = module.training.checkpoint_bucket
  }
}

output "serving" {
  description = "The service's load balancer: subnets and security group; its fewest and most pods, for the autoscaler."
  value = {
    subnet_ids        = values(module.network.private_subnet_ids)
    security_group_id = module.serving.security_group_id
    pods              = var.serving
  }
}

output "monitoring" {
  description = "Where metrics are written, alerts are told, and notices of spot machines are read."
  value = {
    prometheus_endpoint = module.monitoring.prometheus_endpoint
    topic_arn           = module.monitoring.topic_arn
    notices_queue_url   = module.monitoring.notices_queue_url
  }
}

output "pools" {
  description = "What pods select and tolerate, by pool: labels, taints, and the on-demand pool to fall back to."
  value = {
    for name, pool in var.pools : name => {
      labels   = local.labels[name]
      taints   = local.taints[name]
      fallback = pool.fallback
    }
  }
}

output "cluster_name" {
  description = "The cluster, once it has nodes."
  value       = var.cluster_name

  depends_on = [aws_eks_node_group.this]
}

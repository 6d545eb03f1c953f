output "cluster_name" {
  description = "The cluster, once its add-ons are there."
  value       = var.cluster_name

  depends_on = [aws_eks_addon.this]
}

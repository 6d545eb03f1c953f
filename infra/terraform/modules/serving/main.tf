# The way in to the service: a security group for its load balancer, and the door from there to the pods.

locals {
  containers = { ClusterName = var.cluster.name, Namespace = var.namespace, Service = var.service }
}

resource "aws_security_group" "load_balancer" {
  name        = "${var.name}-serving"
  description = "Load balancer of ${var.namespace}/${var.service}"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-serving" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = var.client_cidrs

  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTPS from clients"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "pods" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "To the pods"
  referenced_security_group_id = var.cluster.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

resource "aws_vpc_security_group_ingress_rule" "pods" {
  security_group_id            = var.cluster.security_group_id
  description                  = "From the service's load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
}

module "role" {
  source = "../role"

  name        = "${var.name}-serving"
  description = "Kubernetes service account ${var.namespace}/${var.service}"
  grants      = var.grants

  service_account = {
    namespace     = var.namespace
    name          = var.service
    oidc_provider = var.cluster.oidc_provider
  }
}

# The platform in one environment. Environments differ in environments/*.tfvars and in nothing else.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  name       = "${var.project}-${var.environment}"
  account_id = data.aws_caller_identity.current.account_id

  # Who may open the doors of databases, store and workspace.
  clients = {
    nodes    = module.cluster.security_group_id
    training = module.training.security_group_id
  }
}

# ── Ground ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

module "security" {
  source = "./modules/security"

  name                 = local.name
  deletion_window_days = var.deletion_protection ? 30 : 7
}

module "network" {
  source = "./modules/network"

  name                = local.name
  cidr                = var.network.cidr
  nat                 = var.network.nat
  interface_endpoints = var.network.interface_endpoints
  log_days            = var.log_days
  kms_key_arn         = module.security.key_arns.logs
}

module "images" {
  source = "./modules/images"

  name         = local.name
  repositories = ["platform"]
  keep_images  = var.keep_images
  force_delete = !var.deletion_protection
  kms_key_arn  = module.security.key_arns.data
}

# ── Cluster ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

module "cluster" {
  source = "./modules/cluster"

  name                = local.name
  kubernetes_version  = var.cluster.version
  subnet_ids          = values(module.network.private_subnet_ids)
  public_access_cidrs = var.cluster.public_access_cidrs
  admin_role_arns     = var.admin_role_arns
  secrets_key_arn     = module.security.key_arns.cluster
  log_key_arn         = module.security.key_arns.logs
  log_days            = var.log_days
}

# What makes a node ready. The network add-on also enforces the network policies of the manifests.
module "network_addons" {
  source = "./modules/addons"

  cluster_name = module.cluster.name

  addons = {
    kube-proxy = {}
    vpc-cni = {
      role_arn      = module.addon_role["vpc-cni"].arn
      configuration = jsonencode({ enableNetworkPolicy = "true" })
    }
  }
}

module "node_pools" {
  source = "./modules/node_pools"

  name         = local.name
  cluster_name = module.network_addons.cluster_name
  subnet_ids   = values(module.network.private_subnet_ids)
  pools        = { for name, pool in var.node_pools : name => merge(pool, var.pool_sizes[name]) }
}

module "workload_addons" {
  source = "./modules/addons"

  cluster_name = module.node_pools.cluster_name

  addons = {
    coredns                         = {}
    aws-efs-csi-driver              = { role_arn = module.addon_role["efs-csi"].arn }
    amazon-cloudwatch-observability = { role_arn = module.addon_role["cloudwatch-agent"].arn }
  }
}

# ── What is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────────

module "lake" {
  source = "./modules/lake"

  name            = local.name
  account_id      = local.account_id
  force_destroy   = !var.deletion_protection
  noncurrent_days = var.noncurrent_days
  kms_key_arn     = module.security.key_arns.data
}

module "workspace" {
  source = "./modules/workspace"

  name        = local.name
  vpc_id      = module.network.vpc_id
  subnet_ids  = module.network.private_subnet_ids
  clients     = local.clients
  backups     = var.deletion_protection
  kms_key_arn = module.security.key_arns.data
}

module "online_store" {
  source = "./modules/online_store"

  name                 = local.name
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.private_subnet_ids
  clients              = local.clients
  node_type            = var.redis.node_type
  replicas             = var.redis.replicas
  snapshot_days        = var.redis.snapshot_days
  secret_recovery_days = var.deletion_protection ? 30 : 0
  kms_key_arn          = module.security.key_arns.data
}

module "tracking" {
  source = "./modules/tracking"

  name                = local.name
  account_id          = local.account_id
  vpc_id              = module.network.vpc_id
  subnet_ids          = module.network.private_subnet_ids
  clients             = local.clients
  database            = var.database
  deletion_protection = var.deletion_protection
  noncurrent_days     = var.noncurrent_days
  kms_key_arn         = module.security.key_arns.data
  log_days            = var.log_days
  log_key_arn         = module.security.key_arns.logs
}

# ── What works ───────────────────────────────────────────────────────────────────────────────────────────────────────────

module "training" {
  source = "./modules/training"

  name           = local.name
  account_id     = local.account_id
  vpc_id         = module.network.vpc_id
  subnet_ids     = module.network.private_subnet_ids
  instance_types = var.training.instance_types
  max_vcpus      = var.training.max_vcpus
  image          = "${module.images.repository_urls["platform"]}:${var.image_tag}"
  jobs           = var.jobs
  grants         = concat(module.lake.grants.read, module.tracking.grants.write, module.workspace.grants.use)
  log_days       = var.log_days
  kms_key_arn    = module.security.key_arns.data
  log_key_arn    = module.security.key_arns.logs

  workspace = {
    file_system_id  = module.workspace.file_system_id
    access_point_id = module.workspace.access_point_id
  }
}

module "serving" {
  source = "./modules/serving"

  name         = local.name
  vpc_id       = module.network.vpc_id
  client_cidrs = [var.network.cidr]
  pods         = var.serving
  grants       = concat(module.tracking.grants.read, module.workspace.grants.use)

  cluster = {
    name              = module.cluster.name
    security_group_id = module.cluster.security_group_id
    oidc_provider     = module.cluster.oidc_provider
  }
}

# ── Who watches ──────────────────────────────────────────────────────────────────────────────────────────────────────────

module "monitoring" {
  source = "./modules/monitoring"

  name            = local.name
  region          = var.region
  emails          = var.alert_emails
  rules           = file("${path.module}/../prometheus/alerts.yml")
  alarms          = merge(module.online_store.alarms, module.tracking.alarms, module.serving.alarms)
  kms_key_arn     = module.security.key_arns.logs
  metrics_key_arn = module.security.key_arns.data
}

module "budget" {
  source = "./modules/budget"

  name             = local.name
  environment      = var.environment
  limit_usd        = var.budget.limit_usd
  model_limits_usd = var.budget.model_limits_usd
  topic_arn        = module.monitoring.topic_arn
}

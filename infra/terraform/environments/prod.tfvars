environment = "prod"
region      = "us-east-1"
owner       = "ml-platform"
cost_centre = "ml-prod"

deletion_protection = true
log_days            = 365
noncurrent_days     = 90

network = {
  cidr                = "10.22.0.0/16"
  nat                 = "per_zone"
  interface_endpoints = ["ecr.api", "ecr.dkr", "sts", "logs", "secretsmanager", "kms"]
}

cluster = {
  version = "1.35"
}

pool_sizes = {
  system       = { min_nodes = 3, max_nodes = 6 }
  cpu-spot     = { max_nodes = 20 }
  cpu-fallback = { max_nodes = 8 }
  gpu-spot     = { max_nodes = 4 }
  gpu-fallback = { max_nodes = 2 }
}

redis = {
  node_type     = "cache.m7g.large"
  replicas      = 2
  snapshot_days = 7
}

database = {
  instance_class = "db.m7g.large"
  max_storage_gb = 500
  multi_az       = true
  backup_days    = 35
}

training = {
  max_vcpus = 256
}

serving = {
  min = 3
  max = 20
}

alert_emails = ["ml-platform@example.com", "on-call@example.com"]

budget = {
  limit_usd        = 2000
  model_limits_usd = { recommender = 20, fraud = 10 }
}

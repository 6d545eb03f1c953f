environment = "dev"
region      = "us-east-1"
owner       = "ml-platform"
cost_centre = "ml-dev"

deletion_protection = false
log_days            = 14
noncurrent_days     = 7

network = {
  cidr = "10.20.0.0/16"
  nat  = "single"
}

cluster = {
  version = "1.35"
}

pool_sizes = {
  system       = { min_nodes = 2, max_nodes = 3 }
  cpu-spot     = { max_nodes = 4 }
  cpu-fallback = { max_nodes = 2 }
  gpu-spot     = { max_nodes = 1 }
  gpu-fallback = { max_nodes = 1 }
}

redis = {
  node_type     = "cache.t4g.small"
  replicas      = 0
  snapshot_days = 0
}

database = {
  instance_class = "db.t4g.medium"
  multi_az       = false
  backup_days    = 1
}

training = {
  max_vcpus = 32
}

serving = {
  min = 2
  max = 4
}

alert_emails = ["ml-platform@example.com"]

budget = {
  limit_usd        = 600
  model_limits_usd = { recommender = 10, fraud = 10 }
}

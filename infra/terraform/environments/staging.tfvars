environment = "staging"
region      = "us-east-1"
owner       = "ml-platform"
cost_centre = "ml-dev"

deletion_protection = false
log_days            = 30
noncurrent_days     = 14

network = {
  cidr = "10.21.0.0/16"
  nat  = "single"
}

cluster = {
  version = "1.35"
}

pool_sizes = {
  system       = { min_nodes = 2, max_nodes = 4 }
  cpu-spot     = { max_nodes = 6 }
  cpu-fallback = { max_nodes = 4 }
  gpu-spot     = { max_nodes = 2 }
  gpu-fallback = { max_nodes = 1 }
}

redis = {
  node_type     = "cache.m7g.large"
  replicas      = 1
  snapshot_days = 1
}

database = {
  instance_class = "db.m7g.large"
  multi_az       = false
  backup_days    = 7
}

training = {
  max_vcpus = 64
}

serving = {
  min = 2
  max = 6
}

alert_emails = ["ml-platform@example.com"]

budget = {
  limit_usd        = 950
  model_limits_usd = { recommender = 10, fraud = 10 }
}

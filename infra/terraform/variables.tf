# ── Which environment, and whose ─────────────────────────────────────────────────────────────────────────────────────────

variable "environment" {
  description = "Which environment this is: `dev`, `staging` or `prod`."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment must be dev, staging or prod; give -var-file=environments/<environment>.tfvars."
  }
}

variable "region" {
  description = "AWS region of everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, such as us-east-1."
  }
}

variable "account_id" {
  description = "The account that this environment lives in; given, no other is touched. Set TF_VAR_account_id."
  type        = string
  default     = null

  validation {
    condition     = can(regex("^[0-9]{12}$", coalesce(var.account_id, "000000000000")))
    error_message = "account_id must be twelve digits, such as 000000000000: `aws sts get-caller-identity` says it."
  }
}

variable "admin_role_arns" {
  description = "Roles of the people who administer the cluster; whoever creates it does not by that. Set TF_VAR_admin_role_arns."
  type        = set(string)

  validation {
    condition     = length(var.admin_role_arns) > 0 && alltrue([for arn in var.admin_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", arn))])
    error_message = "admin_role_arns must name at least one role, such as arn:aws:iam::000000000000:role/platform: nobody could administer the cluster."
  }
}

variable "project" {
  description = "First part of all names."
  type        = string
  default     = "mlops"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}$", var.project))
    error_message = "project must be 2 to 19 lower-case letters, digits and hyphens: buckets and caches are named after it."
  }
}

variable "owner" {
  description = "Team that answers for the environment; a tag on everything."
  type        = string

  validation {
    condition     = length(trimspace(var.owner)) > 0
    error_message = "owner must name a team: what nobody owns nobody turns off."
  }
}

variable "cost_centre" {
  description = "Who pays; a tag on everything."
  type        = string

  validation {
    condition     = length(trimspace(var.cost_centre)) > 0
    error_message = "cost_centre must not be empty: the bill is split by it."
  }
}

# ── How safe ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

variable "deletion_protection" {
  description = "Whether what cannot be made again is kept from being destroyed, and backed up."
  type        = bool

  validation {
    condition     = var.environment != "prod" || var.deletion_protection
    error_message = "deletion_protection must be true in prod. To take prod down on purpose, turn it off in a commit of its own that says why."
  }
}

variable "log_days" {
  description = "Days for which logs are kept."
  type        = number

  validation {
    condition     = contains([7, 14, 30, 60, 90, 180, 365, 400, 731], var.log_days)
    error_message = "log_days must be 7, 14, 30, 60, 90, 180, 365, 400 or 731, which CloudWatch knows."
  }

  validation {
    condition     = var.environment != "prod" || var.log_days >= 90
    error_message = "log_days must be 90 or more in prod: a break-in is found after weeks."
  }
}

variable "noncurrent_days" {
  description = "Days in which a file that was overwritten or deleted can be had back."
  type        = number
}

variable "keep_images" {
  description = "Images kept: how far back a rollback can go."
  type        = number
  default     = 50
}

# ── How large ────────────────────────────────────────────────────────────────────────────────────────────────────────────

variable "network" {
  description = "Addresses, ways out (`nat` is `single` or `per_zone`), and AWS services reached without NAT."
  type = object({
    cidr                = string
    nat                 = string
    interface_endpoints = optional(set(string), [])
  })

  validation {
    condition     = var.environment != "prod" || var.network.nat == "per_zone"
    error_message = "network.nat must be per_zone in prod: a single gateway's zone would take the others with it."
  }
}

variable "cluster" {
  description = "Kubernetes: version, and who reaches the API from outside (nobody by default)."
  type = object({
    version             = string
    public_access_cidrs = optional(set(string), [])
  })

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.cluster.version))
    error_message = "cluster.version must be a minor version such as 1.35."
  }

  validation {
    condition     = var.environment != "prod" || length(var.cluster.public_access_cidrs) == 0
    error_message = "cluster.public_access_cidrs must be empty in prod: the API is reached from inside."
  }
}

variable "node_pools" {
  description = "Shapes of the node pools, the same everywhere; modules/node_pools says what is refused."
  type = map(object({
    capacity       = string
    accelerator    = optional(string, "none")
    fallback       = optional(string)
    instance_types = list(string)
    disk_gb        = optional(number, 100)
  }))
  default = {
    system = {
      capacity       = "on_demand"
      instance_types = ["m6i.large", "m6a.large", "m5.large", "m7i.large"]
    }
    cpu-spot = {
      capacity       = "spot"
      fallback       = "cpu-fallback"
      instance_types = ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge", "m5a.2xlarge", "m7i.2xlarge"]
    }
    cpu-fallback = {
      capacity       = "on_demand"
      instance_types = ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge"]
    }
    gpu-spot = {
      capacity       = "spot"
      accelerator    = "gpu"
      fallback       = "gpu-fallback"
      instance_types = ["g6.xlarge", "g5.xlarge", "g4dn.xlarge"]
      disk_gb        = 200
    }
    gpu-fallback = {
      capacity       = "on_demand"
      accelerator    = "gpu"
      instance_types = ["g6.xlarge", "g5.xlarge", "g4dn.xlarge"]
      disk_gb        = 200
    }
  }
}

variable "pool_sizes" {
  description = "Fewest and most nodes of each pool."
  type = map(object({
    min_nodes = optional(number, 0)
    max_nodes = number
  }))

  validation {
    condition     = toset(keys(var.pool_sizes)) == toset(keys(var.node_pools))
    error_message = "pool_sizes must name the pools of node_pools, each once: ${join(", ", keys(var.node_pools))}."
  }
}

variable "redis" {
  description = "The online store: node type, replicas, and days for which snapshots are kept."
  type = object({
    node_type     = string
    replicas      = number
    snapshot_days = number
  })

  validation {
    condition     = var.environment != "prod" || (var.redis.replicas >= 1 && var.redis.snapshot_days >= 1)
    error_message = "redis needs replicas and snapshot_days of 1 or more in prod."
  }
}

variable "database" {
  description = "PostgreSQL of MLflow and Airflow: class, zones, days of backups, and disk."
  type = object({
    engine_version = optional(string, "17") # RDS takes the newest minor version, and raises it by itself
    instance_class = string
    storage_gb     = optional(number, 20)
    max_storage_gb = optional(number, 100)
    multi_az       = bool
    backup_days    = number
  })

  validation {
    condition     = var.environment != "prod" || (var.database.multi_az && var.database.backup_days >= 14)
    error_message = "database needs multi_az and backup_days of 14 or more in prod: a bad week is found on the Monday after."
  }
}

variable "training" {
  description = "Batch: most processors at once, and the types they come from."
  type = object({
    max_vcpus      = number
    instance_types = optional(set(string), ["m6i.2xlarge", "m6a.2xlarge", "m5.2xlarge", "r6i.2xlarge"])
  })
}

variable "jobs" {
  description = "Long trainings by model: what the platform's command line is asked, and what it needs."
  type = map(object({
    command       = list(string)
    parameters    = optional(map(string), {})
    vcpus         = number
    memory_mb     = number
    timeout_hours = optional(number, 12)
  }))
  default = {
    recommender = {
      command    = ["mlops", "replay", "--out", "/workspace/replay", "--weeks", "Ref::weeks"]
      parameters = { weeks = "12" }
      vcpus      = 8
      memory_mb  = 28000
    }
    fraud = {
      command    = ["mlops", "fraud", "live", "--out", "/workspace/fraud", "--days", "Ref::days"]
      parameters = { days = "7" }
      vcpus      = 4
      memory_mb  = 12288
    }
  }
}

variable "serving" {
  description = "Fewest and most pods of the service."
  type = object({
    min = number
    max = number
  })
}

variable "image_tag" {
  description = "Tag of the platform's image that jobs run; CI sets it to the commit."
  type        = string

  validation {
    condition     = var.image_tag != "latest" && can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag must be a tag that does not move, such as the commit; latest is none."
  }
}

# ── Who is told ──────────────────────────────────────────────────────────────────────────────────────────────────────────

variable "alert_emails" {
  description = "Who is told of alarms, alerts and budgets by mail."
  type        = set(string)
}

variable "budget" {
  description = "What the environment, and single models in it, may cost a month."
  type = object({
    limit_usd        = number
    model_limits_usd = optional(map(number), {})
  })
}

# ── For tests ────────────────────────────────────────────────────────────────────────────────────────────────────────────

variable "s3_use_path_style" {
  description = "Whether buckets are addressed by path, as an emulator on one address needs."
  type        = bool
  default     = false
}

variable "max_retries" {
  description = "How often the provider asks AWS again; few for an emulator, whose gaps do not pass."
  type        = number
  default     = 25

  validation {
    condition     = var.max_retries >= 1
    error_message = "max_retries must be 1 or more; AWS throttles whoever plans a whole environment."
  }
}

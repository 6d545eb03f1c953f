variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "cluster_name" {
  description = "The cluster that the nodes join, once its network add-on is there."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, one a zone."
  type        = list(string)
}

variable "pools" {
  description = "Node pools by name. Instance types of a pool have the same processors and memory, or the autoscaler misjudges it."
  type = map(object({
    capacity       = string                   # on_demand or spot
    accelerator    = optional(string, "none") # none or gpu
    fallback       = optional(string)         # of a spot pool: the on-demand pool for the same pods
    instance_types = list(string)
    min_nodes      = optional(number, 0)
    max_nodes      = number
    disk_gb        = optional(number, 100)
  }))

  validation {
    condition     = alltrue([for pool in values(var.pools) : contains(["on_demand", "spot"], pool.capacity)])
    error_message = "pools: capacity must be on_demand or spot."
  }

  validation {
    condition     = alltrue([for pool in values(var.pools) : contains(["none", "gpu"], pool.accelerator)])
    error_message = "pools: accelerator must be none or gpu."
  }

  validation {
    condition     = alltrue([for pool in values(var.pools) : length(distinct(pool.instance_types)) >= 3])
    error_message = "pools: name at least three instance types each; with fewer, one shortage stops the pool."
  }

  validation {
    condition     = alltrue([for pool in values(var.pools) : pool.min_nodes <= pool.max_nodes && pool.max_nodes >= 1])
    error_message = "pools: max_nodes must be at least 1 and at least min_nodes."
  }

  validation {
    condition     = alltrue([for pool in values(var.pools) : pool.min_nodes == 0 if pool.capacity == "spot" || pool.accelerator == "gpu"])
    error_message = "pools: spot and GPU pools must scale to zero; leave min_nodes out, and put what must always run on an on-demand pool."
  }

  validation {
    condition = alltrue([
      for pool in values(var.pools) : try(
        var.pools[pool.fallback].capacity == "on_demand" && var.pools[pool.fallback].accelerator == pool.accelerator,
        false,
      ) if pool.capacity == "spot"
    ])
    error_message = "pools: each spot pool must name as fallback an on_demand pool with the same accelerator."
  }

  validation {
    condition     = anytrue([for pool in values(var.pools) : pool.capacity == "on_demand" && pool.min_nodes >= 1])
    error_message = "pools: one on_demand pool needs min_nodes of 1 or more, or the autoscaler itself has nowhere to run."
  }
}

variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string

  validation {
    condition     = length(var.name) <= 27
    error_message = "name must have 27 characters at most, or the replication group's exceeds the 40 that ElastiCache allows."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets by zone."
  type        = map(string)
}

variable "clients" {
  description = "Security groups that may connect, by a name for people."
  type        = map(string)
}

variable "node_type" {
  description = "Type of each node."
  type        = string

  validation {
    condition     = startswith(var.node_type, "cache.")
    error_message = "node_type must be one of ElastiCache's, such as cache.t4g.small."
  }
}

variable "replicas" {
  description = "Replicas beside the primary; with none a failure of its zone is an outage, which the service bridges with stale features."
  type        = number

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "replicas must be 0 to 5."
  }
}

variable "snapshot_days" {
  description = "Days for which nightly snapshots are kept; 0: none."
  type        = number
}

variable "secret_recovery_days" {
  description = "Days in which the deleted password can be had back; 0: none."
  type        = number
}

variable "kms_key_arn" {
  description = "Key that encrypts the store, its snapshots and its password."
  type        = string
}

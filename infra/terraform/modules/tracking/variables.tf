variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "account_id" {
  description = "Suffix that makes bucket names unique in the world."
  type        = string
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

variable "kms_key_arn" {
  description = "Key that encrypts database, backups, password and artefacts."
  type        = string
}

variable "database" {
  description = "Size, availability and backups of the PostgreSQL instance."
  type = object({
    engine_version = string
    instance_class = string
    storage_gb     = optional(number, 20)
    max_storage_gb = optional(number, 100)
    multi_az       = bool
    backup_days    = number
  })

  validation {
    condition     = startswith(var.database.instance_class, "db.")
    error_message = "database.instance_class must be one of RDS's, such as db.t4g.medium."
  }

  validation {
    condition     = var.database.backup_days >= 1 && var.database.backup_days <= 35
    error_message = "database.backup_days must be 1 to 35: with 0 there is no restore to a point in time, and RDS keeps no longer than 35."
  }

  validation {
    condition     = var.database.max_storage_gb > var.database.storage_gb
    error_message = "database.max_storage_gb must exceed storage_gb, or the disk cannot grow."
  }
}

variable "deletion_protection" {
  description = "Whether database and artefacts are kept from being destroyed."
  type        = bool
}

variable "noncurrent_days" {
  description = "Days in which an artefact that was overwritten or deleted can be had back."
  type        = number
}

variable "log_days" {
  description = "Days for which the database's logs are kept."
  type        = number
}

variable "log_key_arn" {
  description = "Key that encrypts the database's logs."
  type        = string
}

variable "bucket" {
  description = "Name of the bucket, unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must have 3 to 63 lower-case letters, digits and hyphens: shorten the project's name."
  }
}

variable "force_destroy" {
  description = "Whether the bucket may be destroyed with what is in it."
  type        = bool
}

variable "kms_key_arn" {
  description = "Key that encrypts the objects."
  type        = string
}

variable "noncurrent_days" {
  description = "Days in which what was overwritten or deleted can be had back."
  type        = number

  validation {
    condition     = var.noncurrent_days >= 7
    error_message = "noncurrent_days must be 7 or more: a mistake is seen by the next Monday at the earliest."
  }
}

variable "rules" {
  description = "What becomes of old objects, by rule; days left out: nothing."
  type = map(object({
    prefix                = optional(string, "")
    infrequent_after_days = optional(number)
    expire_after_days     = optional(number)
  }))
  default = {}

  validation {
    condition     = alltrue([for rule in values(var.rules) : coalesce(rule.infrequent_after_days, 30) >= 30])
    error_message = "rules: infrequent_after_days must be 30 or more, which is what S3 allows for STANDARD_IA."
  }
}

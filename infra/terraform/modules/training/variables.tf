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
  description = "Private subnets by zone; the more, the more spot pools."
  type        = map(string)
}

variable "instance_types" {
  description = "Types that Batch may take, spot and on-demand alike."
  type        = set(string)

  validation {
    condition     = length(var.instance_types) >= 3
    error_message = "instance_types: name at least three; with fewer, one shortage of spot stops training."
  }
}

variable "max_vcpus" {
  description = "Most processors at once, spot and on-demand each."
  type        = number

  validation {
    condition     = var.max_vcpus >= 4
    error_message = "max_vcpus must be 4 or more, or no job fits."
  }
}

variable "attempts" {
  description = "Starts of a job whose machine is reclaimed again and again."
  type        = number
  default     = 5

  validation {
    condition     = var.attempts >= 2 && var.attempts <= 10
    error_message = "attempts must be 2 to 10: with 1 a reclaimed machine loses the job, and Batch allows 10."
  }
}

variable "image" {
  description = "Image of the jobs, with its tag."
  type        = string

  validation {
    condition     = !endswith(var.image, ":latest")
    error_message = "image must name a tag that does not move, such as the commit, or a retry may run other code than the first try."
  }
}

variable "jobs" {
  description = "Jobs by model. A command may name its parameters as Ref::name."
  type = map(object({
    command       = list(string)
    parameters    = optional(map(string), {})
    vcpus         = number
    memory_mb     = number
    timeout_hours = optional(number, 12)
  }))
}

variable "grants" {
  description = "What jobs may do beside writing checkpoints."
  type = list(object({
    actions   = list(string)
    resources = list(string)
    conditions = optional(list(object({
      test     = string
      variable = string
      values   = list(string)
    })), [])
  }))
}

variable "workspace" {
  description = "The shared workspace: file system and access point."
  type = object({
    file_system_id  = string
    access_point_id = string
  })
}

variable "checkpoint_days" {
  description = "Days after which a checkpoint is of no job that still runs."
  type        = number
  default     = 30
}

variable "kms_key_arn" {
  description = "Key that encrypts the checkpoints."
  type        = string
}

variable "log_key_arn" {
  description = "Key that encrypts the jobs' log."
  type        = string
}

variable "log_days" {
  description = "Days for which the jobs' log is kept."
  type        = number
}

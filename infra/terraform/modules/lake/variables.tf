variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "account_id" {
  description = "Suffix that makes bucket names unique in the world."
  type        = string
}

variable "kms_key_arn" {
  description = "Key that encrypts lake and results."
  type        = string
}

variable "force_destroy" {
  description = "Whether the lake may be destroyed with what is in it."
  type        = bool
}

variable "noncurrent_days" {
  description = "Days in which what was overwritten or deleted can be had back."
  type        = number
}

variable "infrequent_after_days" {
  description = "Days after which files go to cheaper storage; a retraining reads half a year."
  type        = number
  default     = 180
}

variable "first_arrival" {
  description = "First Monday of the lake."
  type        = string
  default     = "2009-12-07"
}

variable "columns" {
  description = "Columns of `interactions`, as ingest/schema.py has them."
  type = list(object({
    name = string
    type = string
  }))
  default = [
    { name = "user_id", type = "string" },
    { name = "item_id", type = "string" },
    { name = "event", type = "string" },
    { name = "event_time", type = "timestamp" },
    { name = "quantity", type = "double" },
    { name = "price", type = "double" },
    { name = "item_text", type = "string" },
    { name = "country", type = "string" },
    { name = "available_at", type = "timestamp" },
    { name = "batch_id", type = "string" },
  ]
}

variable "scan_limit_gb" {
  description = "What one question may read before it is stopped."
  type        = number
  default     = 100
}

variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "deletion_window_days" {
  description = "Days in which a key that was deleted by mistake can be had back; without it all it encrypted is lost."
  type        = number

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "deletion_window_days must be 7 to 30, which is what KMS allows."
  }
}

variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "region" {
  description = "Region of the topic, for Alertmanager's signature."
  type        = string
}

variable "emails" {
  description = "Who is told by mail; each must confirm once."
  type        = set(string)

  validation {
    condition     = length(var.emails) > 0 && alltrue([for email in var.emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "emails must hold at least one address: an alarm that nobody hears is none."
  }
}

variable "rules" {
  description = "Prometheus's rule file."
  type        = string

  validation {
    condition     = can(yamldecode(var.rules).groups)
    error_message = "rules must be a Prometheus rule file with `groups`; `promtool check rules` says what is wrong."
  }
}

variable "alarms" {
  description = "CloudWatch alarms by name, as the modules name them in their outputs. Periods are of five minutes."
  type = map(object({
    description = string
    namespace   = string
    metric      = string
    dimensions  = map(string)
    comparison  = string
    threshold   = number
    statistic   = optional(string, "Average")
    periods     = optional(number, 3)
    missing     = optional(string, "notBreaching")
  }))
}

variable "kms_key_arn" {
  description = "Key that encrypts topic and queue."
  type        = string
}

variable "metrics_key_arn" {
  description = "Key that encrypts the metrics."
  type        = string
}

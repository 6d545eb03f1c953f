variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "environment" {
  description = "The environment, as its tag has it."
  type        = string
}

variable "limit_usd" {
  description = "What the environment may cost a month."
  type        = number

  validation {
    condition     = var.limit_usd > 0
    error_message = "limit_usd must be more than 0."
  }
}

variable "model_limits_usd" {
  description = "What single models may cost a month, as far as the tag `model` tells; within the environment's limit. The tag is the account's: one environment an account, or their trainings add up."
  type        = map(number)

  validation {
    condition     = !contains(keys(var.model_limits_usd), "all")
    error_message = "model_limits_usd: no model can be called all, which is the environment's own budget."
  }

  validation {
    condition     = sum(concat([0], values(var.model_limits_usd))) <= var.limit_usd
    error_message = "model_limits_usd must not exceed limit_usd together, or the environment's alarm comes first and names no model."
  }
}

variable "topic_arn" {
  description = "Topic where it is told."
  type        = string
}

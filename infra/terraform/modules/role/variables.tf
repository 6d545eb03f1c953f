variable "name" {
  description = "Name of the role, unique in the account."
  type        = string

  validation {
    condition     = length(var.name) <= 64
    error_message = "name must have 64 characters at most, which is what IAM allows: shorten the project's name."
  }
}

variable "description" {
  description = "Who takes the role, and for what."
  type        = string
}

variable "service" {
  description = "AWS service that takes the role, such as `ec2.amazonaws.com`; or null."
  type        = string
  default     = null
}

variable "service_account" {
  description = "Kubernetes service account that takes the role, with the cluster's OIDC provider; or null."
  type = object({
    namespace = string
    name      = string
    oidc_provider = object({
      arn    = string
      issuer = string
    })
  })
  default = null

  validation {
    condition     = (var.service_account == null) != (var.service == null)
    error_message = "Give either service or service_account: a role has one taker."
  }

  validation {
    condition     = !strcontains(try("${var.service_account.namespace}/${var.service_account.name}", ""), "*")
    error_message = "service_account must be one full name: with a wildcard any pod could take the role."
  }
}

variable "grants" {
  description = "What the role may do, and to what."
  type = list(object({
    actions   = list(string)
    resources = list(string)
    conditions = optional(list(object({
      test     = string
      variable = string
      values   = list(string)
    })), [])
  }))
  default = []

  validation {
    condition     = !anytrue(flatten([for grant in var.grants : [for action in grant.actions : action == "*" || endswith(action, ":*")]]))
    error_message = "grants must name actions: write s3:GetObject, not s3:* or *."
  }
}

variable "managed_policies" {
  description = "AWS's own policies, by the path after `policy/`; for what AWS itself keeps up to date."
  type        = set(string)
  default     = []
}

variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "cluster" {
  description = "The cluster: its name, its nodes' security group, and what its service accounts are trusted by."
  type = object({
    name              = string
    security_group_id = string
    oidc_provider = object({
      arn    = string
      issuer = string
    })
  })
}

variable "namespace" {
  description = "Namespace of the service."
  type        = string
  default     = "serving"
}

variable "service" {
  description = "The Kubernetes service, and the service account of its pods."
  type        = string
  default     = "recommender"
}

variable "port" {
  description = "Port of the pods."
  type        = number
  default     = 3000
}

variable "client_cidrs" {
  description = "Who may ask for recommendations and scores."
  type        = set(string)

  validation {
    condition     = !anytrue([for cidr in var.client_cidrs : endswith(cidr, "/0")])
    error_message = "client_cidrs must not be everybody: the shop's backend asks, and customers ask the shop."
  }
}

variable "pods" {
  description = "Fewest and most pods, as the autoscaler of the manifests has them; alarms go by them."
  type = object({
    min = number
    max = number
  })

  validation {
    condition     = var.pods.min >= 2 && var.pods.max > var.pods.min
    error_message = "pods.min must be 2 or more, since one pod is an outage at each node's end, and pods.max more than that."
  }
}

variable "grants" {
  description = "What the service may do."
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

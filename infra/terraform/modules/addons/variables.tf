variable "cluster_name" {
  description = "The cluster."
  type        = string
}

variable "addons" {
  description = "Add-ons by name; no version: EKS's default for the cluster. `configuration` is JSON."
  type = map(object({
    version       = optional(string)
    role_arn      = optional(string)
    configuration = optional(string)
  }))
}

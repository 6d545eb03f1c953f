variable "name" {
  description = "Name of the cluster."
  type        = string
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, such as 1.35."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets in at least two zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must lie in at least two zones, or EKS refuses the cluster."
  }
}

variable "public_access_cidrs" {
  description = "Who may reach the API from outside; empty: nobody, the endpoint is private."
  type        = set(string)

  validation {
    condition     = !anytrue([for cidr in var.public_access_cidrs : endswith(cidr, "/0")])
    error_message = "public_access_cidrs must not open the Kubernetes API to everybody: name your offices' or VPN's addresses."
  }
}

variable "admin_role_arns" {
  description = "IAM roles whose holders administer the cluster."
  type        = set(string)
}

variable "secrets_key_arn" {
  description = "Key that encrypts Kubernetes secrets."
  type        = string
}

variable "log_key_arn" {
  description = "Key that encrypts the control plane's log."
  type        = string
}

variable "log_days" {
  description = "Days for which the control plane's log is kept."
  type        = number
}

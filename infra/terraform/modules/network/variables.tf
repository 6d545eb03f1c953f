variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "cidr" {
  description = "Addresses of the VPC, a /16."
  type        = string

  validation {
    condition     = can(cidrnetmask(var.cidr)) && endswith(var.cidr, "/16")
    error_message = "cidr must be an IPv4 /16 such as 10.20.0.0/16: pods take an address each, and the subnets are cut for that size."
  }
}

variable "nat" {
  description = "`single`: one NAT gateway, whose zone takes the others with it; `per_zone`: one in each."
  type        = string

  validation {
    condition     = contains(["single", "per_zone"], var.nat)
    error_message = "nat must be single or per_zone."
  }
}

variable "interface_endpoints" {
  description = "AWS services reached without NAT, such as `ecr.dkr`; each costs by the hour and zone."
  type        = set(string)
}

variable "log_days" {
  description = "Days for which the flow log is kept."
  type        = number
}

variable "kms_key_arn" {
  description = "Key that encrypts the flow log."
  type        = string
}

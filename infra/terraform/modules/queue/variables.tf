variable "name" {
  description = "Name of the queue, and prefix of its compute environments."
  type        = string
}

variable "model" {
  description = "Whose trainings they are; a tag on every machine."
  type        = string
}

variable "instance_types" {
  description = "Types that Batch may take, spot and on-demand alike."
  type        = set(string)
}

variable "max_vcpus" {
  description = "Most processors at once, spot and on-demand each."
  type        = number
}

variable "subnet_ids" {
  description = "Private subnets of the machines."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the machines."
  type        = string
}

variable "service_role_arn" {
  description = "Role of Batch, which starts and stops the machines."
  type        = string
}

variable "instance_role_arn" {
  description = "Instance profile of the machines."
  type        = string
}

variable "name" {
  description = "Name of the template and of its machines."
  type        = string
}

variable "description" {
  description = "What the machines are for."
  type        = string
}

variable "disk_gb" {
  description = "Size of the root disk."
  type        = number
}

variable "tags" {
  description = "Tags of the machines and their disks, beyond those that everything has or instead of them."
  type        = map(string)
  default     = {}
}

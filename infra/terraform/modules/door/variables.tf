variable "name" {
  description = "Name of the security group."
  type        = string
}

variable "description" {
  description = "What stands behind the door."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "port" {
  description = "The one port."
  type        = number
}

variable "from" {
  description = "Security groups that may come in, by a name for people."
  type        = map(string)
}

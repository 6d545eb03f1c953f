variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets by zone; each gets a mount target."
  type        = map(string)
}

variable "clients" {
  description = "Security groups that may mount, by a name for people."
  type        = map(string)
}

variable "kms_key_arn" {
  description = "Key that encrypts the files."
  type        = string
}

variable "backups" {
  description = "Whether AWS Backup copies the files every night."
  type        = bool
}

variable "uid" {
  description = "User of the image, infra/image/Dockerfile."
  type        = number
  default     = 10001
}

variable "name" {
  description = "Prefix of all names, unique in the account."
  type        = string
}

variable "repositories" {
  description = "Repositories to have."
  type        = set(string)
}

variable "keep_images" {
  description = "Images kept in each repository: how far back a rollback can go."
  type        = number

  validation {
    condition     = var.keep_images >= 10
    error_message = "keep_images must be 10 or more: a rollback needs the image of the version before, and of the one before that."
  }
}

variable "force_delete" {
  description = "Whether a repository with images may be destroyed."
  type        = bool
}

variable "kms_key_arn" {
  description = "Key that encrypts the images."
  type        = string
}

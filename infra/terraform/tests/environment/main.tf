# An environment's variables as a value, so that tests plan exactly what is deployed.
terraform {
  required_providers {
    terraform = {
      source = "terraform.io/builtin/terraform"
    }
  }
}

variable "name" {
  description = "The environment."
  type        = string
}

output "values" {
  description = "What environments/<name>.tfvars says."
  value       = provider::terraform::decode_tfvars(file("environments/${var.name}.tfvars"))
}

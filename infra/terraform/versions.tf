terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # The one that the tests apply with. Another comes by a commit, after `make infra-test`.
      version = "5.100.0"
    }
  }
}

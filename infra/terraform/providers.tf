# Credentials and, for tests, the emulator's address come from the environment: AWS_PROFILE, AWS_ENDPOINT_URL.
provider "aws" {
  region              = var.region
  allowed_account_ids = var.account_id[*]
  s3_use_path_style   = var.s3_use_path_style
  max_retries         = var.max_retries

  default_tags {
    tags = {
      project     = var.project
      environment = var.environment
      owner       = var.owner
      cost_centre = var.cost_centre
      model       = "shared" # what is of one model says so itself
      managed_by  = "terraform"
    }
  }
}

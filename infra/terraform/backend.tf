# Bucket, key and region come from environments/<environment>.s3.tfbackend: state of one environment is not within reach of another.
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

"""The platform on Kubernetes: manifests, what fills them from Terraform's outputs, and what they are checked by."""

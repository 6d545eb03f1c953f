"""What the platform stands on: the machine, and later images, Terraform and Kubernetes."""

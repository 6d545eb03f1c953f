"""What the platform stands on: the machine, images, containers, Terraform and Kubernetes."""

"""AWS's API on this machine: moto as a server, with what it lacks for our Terraform put right, and a list of what it cannot do."""

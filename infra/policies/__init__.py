"""What no environment may be: rules over a Terraform plan, judged before it is applied."""

output "key_arns" {
  description = "Keys by what they protect: `data`, `cluster`, `logs`."
  value       = { for name, key in aws_kms_key.this : name => key.arn }
}

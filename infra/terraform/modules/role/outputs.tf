output "arn" {
  description = "The role."
  value       = aws_iam_role.this.arn

  # Whoever takes the role wants what it grants.
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.this]
}

output "name" {
  description = "Name of the role."
  value       = aws_iam_role.this.name

  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.this]
}

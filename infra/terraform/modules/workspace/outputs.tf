output "file_system_id" {
  description = "The file system."
  value       = aws_efs_file_system.this.id

  depends_on = [aws_efs_mount_target.this]
}

output "access_point_id" {
  description = "The access point, which is the workspace."
  value       = aws_efs_access_point.this.id
}

output "grants" {
  description = "What may be granted: `use`."
  value = {
    use = [{
      actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
      resources = [aws_efs_file_system.this.arn]
      conditions = [{
        test     = "StringEquals"
        variable = "elasticfilesystem:AccessPointArn"
        values   = [aws_efs_access_point.this.arn]
      }]
    }]
  }
}

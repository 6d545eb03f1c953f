output "repository_urls" {
  description = "Where images are pulled from, by repository."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

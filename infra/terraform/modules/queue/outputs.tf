output "name" {
  description = "Name of the queue to submit to."
  value       = aws_batch_job_queue.this.name
}

output "arn" {
  description = "ARN of the queue."
  value       = aws_batch_job_queue.this.arn
}

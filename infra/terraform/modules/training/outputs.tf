output "queues" {
  description = "Names of the queues to submit to, by model."
  value       = { for model, queue in module.queue : model => queue.name }
}

output "job_definitions" {
  description = "Names of the job definitions by model; without a revision the newest is run."
  value       = { for model, job in aws_batch_job_definition.this : model => job.name }
}

output "checkpoint_bucket" {
  description = "Bucket of the checkpoints."
  value       = module.checkpoints.name
}

output "grants" {
  description = "What may be granted: `submit` and watch jobs."
  value = {
    submit = [
      {
        actions   = ["batch:SubmitJob", "batch:TagResource"]
        resources = concat([for queue in module.queue : queue.arn], flatten([for job in aws_batch_job_definition.this : [job.arn_prefix, "${job.arn_prefix}:*"]]))
      },
      {
        actions   = ["batch:TerminateJob"]
        resources = ["arn:${data.aws_partition.current.partition}:batch:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:job/*"]
      },
      # Batch does not restrict these by resource.
      { actions = ["batch:DescribeJobs", "batch:ListJobs"], resources = ["*"] },
    ]
  }
}

output "security_group_id" {
  description = "Security group of Batch's machines."
  value       = aws_security_group.machine.id
}

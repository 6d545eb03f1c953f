output "bucket" {
  description = "Name of the lake's bucket."
  value       = module.lake.name
}

output "database" {
  description = "Name of the Glue database."
  value       = aws_glue_catalog_database.this.name
}

output "workgroup" {
  description = "Name of the Athena workgroup."
  value       = aws_athena_workgroup.this.name
}

output "grants" {
  description = "What may be granted: `read` or `write` the files, `query` them by Athena."
  value = {
    read  = module.lake.grants.read
    write = module.lake.grants.write
    query = concat(module.lake.grants.read, module.results.grants.write, [
      {
        actions   = ["athena:StartQueryExecution", "athena:StopQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetWorkGroup"]
        resources = [aws_athena_workgroup.this.arn]
      },
      {
        actions   = ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"]
        resources = [local.catalogue_arn, aws_glue_catalog_database.this.arn, aws_glue_catalog_table.interactions.arn]
      },
    ])
  }
}

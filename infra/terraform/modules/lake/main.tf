# The lake in S3, as ingest/lake.py lays it out, with the catalogue and the workgroup to ask it by.

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  catalogue_arn = "arn:${data.aws_partition.current.partition}:glue:${data.aws_region.current.name}:${var.account_id}:catalog"
}

module "lake" {
  source = "../bucket"

  bucket          = "${var.name}-lake-${var.account_id}"
  force_destroy   = var.force_destroy
  kms_key_arn     = var.kms_key_arn
  noncurrent_days = var.noncurrent_days

  # Any version must be reproducible from what was known then, so nothing expires; it only gets cheaper.
  rules = { old = { infrequent_after_days = var.infrequent_after_days } }
}

module "results" {
  source = "../bucket"

  bucket          = "${var.name}-athena-${var.account_id}"
  force_destroy   = true # what is in it can be asked again
  kms_key_arn     = var.kms_key_arn
  noncurrent_days = 7
  rules           = { results = { expire_after_days = 30 } }
}

resource "aws_glue_catalog_database" "this" {
  name        = replace("${var.name}_lake", "-", "_")
  description = "Append-only Parquet, partitioned by arrival"
}

resource "aws_glue_catalog_table" "interactions" {
  name          = "interactions"
  description   = "Rows that kept the contract; a batch counts once its manifest is written"
  database_name = aws_glue_catalog_database.this.name
  table_type    = "EXTERNAL_TABLE"

  # The Mondays are computed, so no crawler has to find them.
  parameters = {
    "classification"                   = "parquet"
    "projection.enabled"               = "true"
    "projection.arrived.type"          = "date"
    "projection.arrived.format"        = "yyyy-MM-dd"
    "projection.arrived.range"         = "${var.first_arrival},NOW"
    "projection.arrived.interval"      = "7"
    "projection.arrived.interval.unit" = "DAYS"
    "storage.location.template"        = "s3://${module.lake.name}/interactions/arrived=$${arrived}/"
  }

  partition_keys {
    name = "arrived"
    type = "date"
  }

  storage_descriptor {
    location      = "s3://${module.lake.name}/interactions/"
    input_format  = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"

    ser_de_info {
      serialization_library = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
    }

    dynamic "columns" {
      for_each = var.columns

      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}

resource "aws_athena_workgroup" "this" {
  name          = var.name
  description   = "Questions to the lake"
  force_destroy = true

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.scan_limit_gb * pow(1024, 3)

    result_configuration {
      output_location = "s3://${module.results.name}/"

      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}

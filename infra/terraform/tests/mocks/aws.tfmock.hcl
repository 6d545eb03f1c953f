# What AWS would have answered, where a module or the provider looks at it.

mock_data "aws_caller_identity" {
  defaults = { account_id = "000000000000" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_region" {
  defaults = { name = "us-east-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"] }
}

mock_data "aws_default_tags" {
  defaults = { tags = { owner = "ml-platform", cost_centre = "ml", model = "shared" } }
}

# The statements themselves can be read from the document's arguments.
mock_data "aws_iam_policy_document" {
  defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
}

mock_data "aws_secretsmanager_random_password" {
  defaults = { random_password = "mockedmockedmockedmocked" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::000000000000:role/mock" }
}

mock_resource "aws_iam_instance_profile" {
  defaults = { arn = "arn:aws:iam::000000000000:instance-profile/mock" }
}

mock_resource "aws_iam_openid_connect_provider" {
  defaults = { arn = "arn:aws:iam::000000000000:oidc-provider/oidc.example/id/0" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:us-east-1:000000000000:log-group:mock" }
}

mock_resource "aws_eks_cluster" {
  defaults = {
    arn                   = "arn:aws:eks:us-east-1:000000000000:cluster/mock"
    endpoint              = "https://mock.example"
    identity              = [{ oidc = [{ issuer = "https://oidc.example/id/0" }] }]
    certificate_authority = [{ data = "bW9jaw==" }]
  }
}

mock_resource "aws_launch_template" {
  defaults = { id = "lt-00000000000000000", latest_version = 1 }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mock" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:mock" }
}

mock_resource "aws_db_instance" {
  defaults = {
    endpoint           = "mock.example:5432"
    master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:rds" }]
  }
}

mock_resource "aws_batch_compute_environment" {
  defaults = { arn = "arn:aws:batch:us-east-1:000000000000:compute-environment/mock" }
}

mock_resource "aws_batch_job_queue" {
  defaults = { arn = "arn:aws:batch:us-east-1:000000000000:job-queue/mock" }
}

mock_resource "aws_batch_job_definition" {
  defaults = { arn_prefix = "arn:aws:batch:us-east-1:000000000000:job-definition/mock" }
}

mock_resource "aws_efs_file_system" {
  defaults = { arn = "arn:aws:elasticfilesystem:us-east-1:000000000000:file-system/fs-00000000" }
}

mock_resource "aws_efs_access_point" {
  defaults = { arn = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-00000000" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:us-east-1:000000000000:mock" }
}

mock_resource "aws_sqs_queue" {
  defaults = {
    arn = "arn:aws:sqs:us-east-1:000000000000:mock"
    url = "https://sqs.us-east-1.amazonaws.com/000000000000/mock"
  }
}

mock_resource "aws_cloudwatch_event_rule" {
  defaults = { arn = "arn:aws:events:us-east-1:000000000000:rule/mock" }
}

mock_resource "aws_prometheus_workspace" {
  defaults = { arn = "arn:aws:aps:us-east-1:000000000000:workspace/ws-mock" }
}

mock_resource "aws_glue_catalog_database" {
  defaults = { arn = "arn:aws:glue:us-east-1:000000000000:database/mock" }
}

mock_resource "aws_glue_catalog_table" {
  defaults = { arn = "arn:aws:glue:us-east-1:000000000000:table/mock/mock" }
}

mock_resource "aws_athena_workgroup" {
  defaults = { arn = "arn:aws:athena:us-east-1:000000000000:workgroup/mock" }
}

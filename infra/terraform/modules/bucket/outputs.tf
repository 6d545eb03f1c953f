output "name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.bucket
}

output "arn" {
  description = "The bucket, for grants."
  value       = aws_s3_bucket.this.arn
}

output "grants" {
  description = "What may be granted: `read`, or `write`, which includes it."
  value = {
    read = [
      { actions = ["s3:ListBucket", "s3:GetBucketLocation"], resources = [aws_s3_bucket.this.arn] },
      { actions = ["s3:GetObject"], resources = ["${aws_s3_bucket.this.arn}/*"] },
      { actions = ["kms:Decrypt"], resources = [var.kms_key_arn] },
    ]
    write = [
      { actions = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"], resources = [aws_s3_bucket.this.arn] },
      {
        actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        resources = ["${aws_s3_bucket.this.arn}/*"]
      },
      { actions = ["kms:Decrypt", "kms:GenerateDataKey"], resources = [var.kms_key_arn] },
    ]
  }
}

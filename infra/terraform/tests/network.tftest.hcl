# Nodes and databases stand in private subnets of three zones; how many ways out there are is the environment's choice.

mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

variables {
  name                = "test"
  cidr                = "10.0.0.0/16"
  nat                 = "single"
  interface_endpoints = []
  log_days            = 30
  kms_key_arn         = "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000"
}

run "single" {
  command = plan

  module {
    source = "./modules/network"
  }

  assert {
    condition     = keys(aws_subnet.private) == ["us-east-1a", "us-east-1b", "us-east-1c"] && keys(aws_subnet.public) == keys(aws_subnet.private)
    error_message = "each of three zones has a private and a public subnet"
  }

  assert {
    condition     = length(distinct(concat([for s in aws_subnet.private : s.cidr_block], [for s in aws_subnet.public : s.cidr_block]))) == 6
    error_message = "no two subnets share addresses"
  }

  assert {
    condition     = alltrue([for s in aws_subnet.public : !s.map_public_ip_on_launch])
    error_message = "nothing gets a public address by standing somewhere"
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["us-east-1a"] && length(aws_route.nat) == 3
    error_message = "one gateway serves all zones"
  }

  assert {
    condition     = alltrue([for r in aws_route.nat : r.gateway_id == null])
    error_message = "no private subnet has a way in from the internet"
  }

  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && length(aws_vpc_endpoint.s3.route_table_ids) > 0
    error_message = "S3 is reached without NAT"
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.kms_key_id == var.kms_key_arn
    error_message = "all traffic is logged, encrypted"
  }

  assert {
    condition     = aws_cloudwatch_log_group.flow.retention_in_days == 30
    error_message = "the flow log is kept as long as asked"
  }

  assert {
    condition     = length(aws_default_security_group.closed.ingress) == 0 && length(aws_default_security_group.closed.egress) == 0
    error_message = "the default security group has no rules"
  }
}

run "per_zone" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    nat                 = "per_zone"
    interface_endpoints = ["ecr.api", "sts"]
  }

  assert {
    condition     = keys(aws_nat_gateway.this) == keys(aws_subnet.public)
    error_message = "each zone has its own gateway"
  }

  assert {
    condition     = alltrue([for e in aws_vpc_endpoint.interface : e.private_dns_enabled]) && length(aws_vpc_endpoint.interface) == 2
    error_message = "endpoints are found by the names that clients use anyway"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints.cidr_ipv4 == "10.0.0.0/16" && aws_vpc_security_group_ingress_rule.endpoints.from_port == 443
    error_message = "endpoints answer HTTPS from the VPC only"
  }
}

run "too_few_addresses" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    cidr = "10.0.0.0/24"
  }

  expect_failures = [var.cidr]
}

run "unknown_nat" {
  command = plan

  module {
    source = "./modules/network"
  }

  variables {
    nat = "instance"
  }

  expect_failures = [var.nat]
}

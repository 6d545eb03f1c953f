# Who may do what: one role for each service account, and nothing for whoever has none. The service's own is in module.serving.

locals {
  service_accounts = {
    airflow = {
      namespace = "airflow"
      name      = "airflow-worker"
      grants = concat(
        module.lake.grants.write,
        module.lake.grants.query,
        module.tracking.grants.write,
        module.workspace.grants.use,
        module.training.grants.submit,
      )
    }

    mlflow = {
      namespace = "mlflow"
      name      = "mlflow"
      grants    = module.tracking.grants.write
    }

    prometheus = {
      namespace = "monitoring"
      name      = "prometheus"
      grants    = module.monitoring.grants.write_metrics
    }

    grafana = {
      namespace = "monitoring"
      name      = "grafana"
      grants    = module.monitoring.grants.read_metrics
    }

    external-secrets = {
      namespace = "external-secrets"
      name      = "external-secrets"
      grants = [
        {
          actions   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
          resources = [module.online_store.secret_arn, module.tracking.database_secret_arn]
        },
        { actions = ["kms:Decrypt"], resources = [module.security.key_arns.data] },
      ]
    }

    # Managed node groups drain themselves; this is for pools that are not, and its chart must not ask for a tag.
    node-termination-handler = {
      namespace = "kube-system"
      name      = "aws-node-termination-handler"
      grants = concat(module.monitoring.grants.hear_notices, [
        # Describing cannot be granted by resource.
        { actions = ["autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeTags", "ec2:DescribeInstances"], resources = ["*"] },
      ])
    }

    # Makes the service's load balancer; its security group and certificate are given to it. It changes only what it tagged itself.
    load-balancer-controller = {
      namespace = "kube-system"
      name      = "aws-load-balancer-controller"
      grants = [
        {
          actions = [
            "acm:DescribeCertificate",
            "acm:ListCertificates",
            "ec2:DescribeAccountAttributes",
            "ec2:DescribeAvailabilityZones",
            "ec2:DescribeInstances",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "elasticloadbalancing:DescribeListenerAttributes",
            "elasticloadbalancing:DescribeListenerCertificates",
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeLoadBalancerAttributes",
            "elasticloadbalancing:DescribeLoadBalancers",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTags",
            "elasticloadbalancing:DescribeTargetGroupAttributes",
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
          ]
          resources = ["*"]
        },
        # An account's first load balancer makes this role.
        {
          actions    = ["iam:CreateServiceLinkedRole"]
          resources  = ["arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/aws-service-role/elasticloadbalancing.amazonaws.com/*"]
          conditions = [{ test = "StringEquals", variable = "iam:AWSServiceName", values = ["elasticloadbalancing.amazonaws.com"] }]
        },
        {
          actions = [
            "elasticloadbalancing:AddTags",
            "elasticloadbalancing:CreateListener",
            "elasticloadbalancing:CreateLoadBalancer",
            "elasticloadbalancing:CreateTargetGroup",
          ]
          resources  = ["*"]
          conditions = [{ test = "StringEquals", variable = "aws:RequestTag/elbv2.k8s.aws/cluster", values = [local.name] }]
        },
        {
          actions = [
            "elasticloadbalancing:DeleteListener",
            "elasticloadbalancing:DeleteLoadBalancer",
            "elasticloadbalancing:DeleteTargetGroup",
            "elasticloadbalancing:DeregisterTargets",
            "elasticloadbalancing:ModifyListener",
            "elasticloadbalancing:ModifyListenerAttributes",
            "elasticloadbalancing:ModifyLoadBalancerAttributes",
            "elasticloadbalancing:ModifyTargetGroup",
            "elasticloadbalancing:ModifyTargetGroupAttributes",
            "elasticloadbalancing:RegisterTargets",
            "elasticloadbalancing:SetSecurityGroups",
            "elasticloadbalancing:SetSubnets",
          ]
          resources  = ["*"]
          conditions = [{ test = "StringEquals", variable = "aws:ResourceTag/elbv2.k8s.aws/cluster", values = [local.name] }]
        },
      ]
    }

    cluster-autoscaler = {
      namespace = "kube-system"
      name      = "cluster-autoscaler"
      grants = [
        {
          actions = [
            "autoscaling:DescribeAutoScalingGroups",
            "autoscaling:DescribeAutoScalingInstances",
            "autoscaling:DescribeLaunchConfigurations",
            "autoscaling:DescribeScalingActivities",
            "ec2:DescribeImages",
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeLaunchTemplateVersions",
            "ec2:GetInstanceTypesFromInstanceRequirements",
            "eks:DescribeNodegroup",
          ]
          resources = ["*"]
        },
        {
          actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
          resources = ["*"]
          conditions = [{
            test     = "StringEquals"
            variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${local.name}"
            values   = ["owned"]
          }]
        },
      ]
    }
  }

  # The add-ons' needs are AWS's to know.
  addon_roles = {
    vpc-cni          = { namespace = "kube-system", name = "aws-node", policy = "AmazonEKS_CNI_Policy" }
    efs-csi          = { namespace = "kube-system", name = "efs-csi-controller-sa", policy = "service-role/AmazonEFSCSIDriverPolicy" }
    cloudwatch-agent = { namespace = "amazon-cloudwatch", name = "cloudwatch-agent", policy = "CloudWatchAgentServerPolicy" }
  }
}

module "service_account" {
  source   = "./modules/role"
  for_each = local.service_accounts

  name        = "${local.name}-${each.key}"
  description = "Kubernetes service account ${each.value.namespace}/${each.value.name}"
  grants      = each.value.grants

  service_account = {
    namespace     = each.value.namespace
    name          = each.value.name
    oidc_provider = module.cluster.oidc_provider
  }
}

module "addon_role" {
  source   = "./modules/role"
  for_each = local.addon_roles

  name             = "${local.name}-${each.key}"
  description      = "Kubernetes service account ${each.value.namespace}/${each.value.name}"
  managed_policies = [each.value.policy]

  service_account = {
    namespace     = each.value.namespace
    name          = each.value.name
    oidc_provider = module.cluster.oidc_provider
  }
}

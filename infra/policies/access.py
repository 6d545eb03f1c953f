"""Who may do what: each named, for what it needs, and for no longer than it needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from infra.plan import UNKNOWN, Plan
from infra.policies.evidence import is_set, listed, unknown, wants
from infra.policies.rule import Finding, rule
from infra.policies.statements import Condition, Statement, allowed, policies
from infra.policies.wiring import is_written, leads_to

#: Keys that say who calls, or by which of our resources.
CALLERS = (
    "aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid", "aws:sourcevpc", "aws:sourcevpce",
    "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "kms:calleraccount",
    # Who comes by an access point is the user that it names, in the folder that it names; a mount target alone asks for neither.
    "elasticfilesystem:accesspointarn",
)  # fmt: skip
SENDERS = ("aws:sourceaccount", "aws:sourcearn", "aws:sourceorgid")
TAGS = ("*:resourcetag/*", "*:requesttag/*")

#: Beside Describe* and List*: actions that AWS cannot restrict to a resource.
#: https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
WITHOUT_RESOURCES = {
    "cloudwatch:GetMetricData",
    "cloudwatch:PutMetricData",
    "ec2:GetInstanceTypesFromInstanceRequirements",
    "ecr:GetAuthorizationToken",
    "sts:GetCallerIdentity",
}
#: What AWS manages and gives more than any of our roles may have.
BROAD_POLICY = re.compile(r"policy/(?:.*/)?(?:AdministratorAccess|PowerUserAccess|IAMFullAccess|\w*FullAccess)$")
SERVICE_ACCOUNT = re.compile(r"system:serviceaccount:[a-z0-9.-]+:[a-z0-9.-]+")


@rule(
    "iam-readable",
    "Policies can be read from the plan.",
    reason="A policy that only the apply makes is one that nobody has judged.",
    remedy="Write it as an aws_iam_policy_document in the same module, with its actions as they are.",
)
def iam_readable(plan: Plan) -> Iterator[Finding]:
    for policy in policies(plan):
        if policy.statements is None:
            yield (
                policy.holder.address,
                f"{policy.argument} cannot be judged: its statements are not known before the apply",
            )


@rule(
    "iam-not-everything",
    "Nobody may do everything.",
    reason="`*` on `*` makes any stolen credential the account's owner.",
    remedy="Name the actions.",
)
def iam_not_everything(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        for action in statement.actions:
            if set(action) <= set("*?:"):
                yield policy.holder.address, f"{policy.argument} allows {action} on {_resources(statement)}"


@rule(
    "iam-no-whole-services",
    "Nobody may do all that a service offers.",
    reason="`s3:*` also deletes buckets and opens them; what a service learns tomorrow comes with it.",
    remedy="Name the actions. In a key's policy kms:* for our own account's root is right: it lets IAM decide, and without it "
    "a key can be locked from everybody for ever.",
)
def iam_no_whole_services(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        for action in filter(_is_whole_service, statement.actions):
            if not (policy.of_a_key and _is_for_our_root(plan, statement)):
                yield policy.holder.address, f"{policy.argument} allows {action} on {_resources(statement)}"


@rule(
    "iam-names-resources",
    "Who may change or read contents, may do so to named resources.",
    reason="What reads one secret by `*` reads all of them.",
    remedy="Name the ARNs, or tie the statement to a tag. Describing and listing may be for all; often it cannot be otherwise.",
)
def iam_names_resources(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        # In a resource's own policy "*" is that resource.
        if not statement.principals and _is_for_everything(statement) and not statement.narrowed_by(*TAGS):
            for action in filter(_needs_resource, statement.actions):
                yield policy.holder.address, f"{policy.argument} allows {action} on {_resources(statement)}"


@rule(
    "iam-pass-role",
    "Who hands roles to services, hands on named ones.",
    reason="Who may pass any role to a machine of theirs has that role, the administrator's too.",
    remedy="Name the role's ARN, and the service by iam:PassedToService.",
)
def iam_pass_role(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        passes = [
            action for action in statement.actions if fnmatchcase("iam:passrole", action.lower()) and ":" in action
        ]
        anyone = [r for r in statement.resources if r is not UNKNOWN and (_is_everything(r) or r.endswith(":role/*"))]
        if passes and anyone:
            yield policy.holder.address, f"{policy.argument} allows {passes[0]} on {anyone[0]}"


@rule(
    "iam-not-inverted",
    "Nothing is allowed by what it is not.",
    reason="NotAction allows whatever AWS invents next; NotPrincipal allows everybody else.",
    remedy="Name actions, resources and principals; refuse with a Deny.",
)
def iam_not_inverted(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        for part in statement.inverted:
            yield policy.holder.address, f"{policy.argument} allows by {part}"


@rule(
    "iam-not-anybody",
    "Nothing is allowed to everybody.",
    reason="`*` is everybody with an AWS account, and without one.",
    remedy="Name the principal, or narrow who may call: aws:SourceAccount, aws:PrincipalOrgID, aws:SourceVpce and the like.",
)
def iam_not_anybody(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        if "*" in [name for _, name in statement.principals] and not statement.narrowed_by(*CALLERS):
            yield policy.holder.address, f"{policy.argument} allows {', '.join(statement.actions)} to *"


@rule(
    "iam-named-senders",
    "A service may send to us only for our own account.",
    reason="The same service works for everybody; without this somebody else's rule or alarm fills our queue (confused deputy).",
    remedy="Add aws:SourceAccount or aws:SourceArn.",
)
def iam_named_senders(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        services = [name for kind, name in statement.principals if kind == "Service"]
        # Roles are assumed by services for whoever passes them, which iam-pass-role guards; a key opens nothing by itself.
        if services and not policy.of_trust and not policy.of_a_key and not statement.narrowed_by(*SENDERS):
            yield policy.holder.address, f"{policy.argument} allows {', '.join(map(str, services))} for any account"


@rule(
    "irsa-one-account",
    "A role of a service account trusts that one account, by a token meant for AWS.",
    reason="With a pattern, or without the audience, any pod that can be named so takes the role.",
    remedy="Test <issuer>:sub and <issuer>:aud by StringEquals for one value each, as modules/role does.",
)
def irsa_one_account(plan: Plan) -> Iterator[Finding]:
    for policy, statement in allowed(plan):
        by_token = any(fnmatchcase("sts:assumerolewithwebidentity", action.lower()) for action in statement.actions)
        if policy.of_trust and by_token:
            if not any(_names(c, ":sub", SERVICE_ACCOUNT) for c in statement.conditions):
                yield policy.holder.address, f"{policy.argument} names no single service account: {_tests(statement)}"
            if not any(_names(c, ":aud", re.compile(r"sts\.amazonaws\.com")) for c in statement.conditions):
                yield policy.holder.address, f"{policy.argument} does not ask for the audience: {_tests(statement)}"


@rule(
    "iam-no-broad-managed",
    "No role has one of AWS's policies for administrators.",
    reason="They allow a service whole, on everything.",
    remedy="Grant by modules/role what is needed.",
)
def iam_no_broad_managed(plan: Plan) -> Iterator[Finding]:
    attachments = (
        "aws_iam_role_policy_attachment",
        "aws_iam_user_policy_attachment",
        "aws_iam_group_policy_attachment",
    )
    for attachment in plan.of(*attachments, "aws_iam_policy_attachment"):
        arn = attachment.get("policy_arn")
        if arn is UNKNOWN and not any(
            leads_to(plan, attachment, "policy_arn", ours) for ours in plan.of("aws_iam_policy")
        ):
            yield unknown(attachment, "policy_arn")
        elif BROAD_POLICY.search(str(arn)):
            yield attachment.address, f"policy_arn is {arn}"
    for role in plan.of("aws_iam_role"):
        # AWS fills it where nobody has written it.
        if role.get("managed_policy_arns") is UNKNOWN and is_written(plan, role, "managed_policy_arns"):
            yield unknown(role, "managed_policy_arns")
        for arn in filter(BROAD_POLICY.search, map(str, listed(role, "managed_policy_arns"))):
            yield role.address, f"managed_policy_arns has {arn}"


@rule(
    "iam-no-standing-keys",
    "There are no IAM users and no access keys.",
    reason="They do not expire, and their secret lies in the state.",
    remedy="Give pods a service account with a role, people the organisation's sign-on, and CI its OIDC provider.",
)
def iam_no_standing_keys(plan: Plan) -> Iterator[Finding]:
    for resource in plan.of("aws_iam_user", "aws_iam_access_key", "aws_iam_user_login_profile"):
        yield resource.address, f"{resource.type} is for ever"


@rule(
    "eks-admins-named",
    "The cluster's administrators are those whom this plan names.",
    reason="Otherwise whoever made the cluster stays its administrator unseen, and a ConfigMap makes others.",
    remedy='Set access_config to authentication_mode = "API" without bootstrap_cluster_creator_admin_permissions.',
)
def eks_admins_named(plan: Plan) -> Iterator[Finding]:
    for cluster in plan.of("aws_eks_cluster"):
        yield from wants(cluster, "access_config.0.authentication_mode", "API")
        yield from wants(cluster, "access_config.0.bootstrap_cluster_creator_admin_permissions", False)


@rule(
    "redis-asks-password",
    "Caches ask who comes.",
    reason="A security group lets in a whole node; a password lets in those who were given it.",
    remedy="Set auth_token from Secrets Manager, or user_group_ids.",
)
def redis_asks_password(plan: Plan) -> Iterator[Finding]:
    for cache in plan.of("aws_elasticache_replication_group"):
        if not (is_set(plan, cache, "auth_token") or is_set(plan, cache, "user_group_ids")):
            yield cache.address, "neither auth_token nor user_group_ids is set"


@rule(
    "rds-password-managed",
    "RDS makes the database's password, keeps it and changes it.",
    reason="One that we set lies in the state, and nobody ever changes it.",
    remedy="Set manage_master_user_password, and no password.",
)
def rds_password_managed(plan: Plan) -> Iterator[Finding]:
    for database in plan.of("aws_db_instance", "aws_rds_cluster"):
        yield from wants(database, "manage_master_user_password", True)
        if any(is_set(plan, database, argument) for argument in ("password", "master_password")):
            yield database.address, "a password is set, and so lies in the state"


def _is_whole_service(action: str) -> bool:
    service, _, name = action.partition(":")
    return bool(service.strip("*?")) and bool(name) and not name.strip("*?")


def _is_for_our_root(plan: Plan, statement: Statement) -> bool:
    """Whether a statement is for the root of the account that the plan was made in, and for nobody else."""
    accounts = [data.get("account_id") for data in plan.data if data.type == "aws_caller_identity"]
    roots = [re.compile(rf"arn:[\w-]+:iam::{account}:root") for account in accounts]
    return bool(statement.principals) and all(
        kind == "AWS" and any(root.fullmatch(str(name)) for root in roots) for kind, name in statement.principals
    )


def _is_for_everything(statement: Statement) -> bool:
    return any(resource is not UNKNOWN and _is_everything(resource) for resource in statement.resources)


def _is_everything(resource: str) -> bool:
    """Whether a pattern holds all that a service has: `*`, `arn:aws:s3:::*`."""
    return not set("".join(resource.split(":", 3)[3:] or [resource])) - set("*:/?")


def _needs_resource(action: str) -> bool:
    """Whether an action can be restricted to a resource; those that other rules refuse are left to them."""
    name = action.partition(":")[2]
    left_to_others = not name.strip("*?") or fnmatchcase("iam:passrole", action.lower())
    return not left_to_others and action not in WITHOUT_RESOURCES and not name.startswith(("Describe", "List"))


def _names(condition: Condition, claim: str, wanted: re.Pattern[str]) -> bool:
    """Whether a claim of the token must equal one wanted value.

    The claim's name holds the issuer, which is not known before the cluster is. Then the value is enough: no other claim
    has such a value, so a wrong name would let in nobody.
    """
    named = condition.variable is UNKNOWN or str(condition.variable).endswith(claim)
    return (
        condition.test == "StringEquals"
        and named
        and len(condition.values) == 1
        and wanted.fullmatch(str(condition.values[0])) is not None
    )


def _tests(statement: Statement) -> str:
    return (
        "; ".join(f"{c.test} {c.variable} {', '.join(map(str, c.values))}" for c in statement.conditions) or "no test"
    )


def _resources(statement: Statement) -> str:
    return ", ".join(map(str, statement.resources)) or "itself"

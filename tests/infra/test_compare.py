"""Two environments are compared by what matters: values, and not names."""

from infra.compare import Difference, differences
from infra.plan import Plan
from tests.infra.plans import Given, later, plan, resource

LOGS = "aws_cloudwatch_log_group.this"


def of(environment: str, *given: Given) -> Plan:
    return plan(*given, environment=environment)


def test_names_are_the_same_word() -> None:
    dev, prod = (
        of(name, resource(LOGS, name=f"/mlops-{name}/training", retention_in_days=30)) for name in ("dev", "prod")
    )
    assert differences(dev, prod) == []


def test_a_word_that_only_holds_the_name_is_not_it() -> None:
    dev, prod = of("dev", resource(LOGS, name="device")), of("prod", resource(LOGS, name="product"))
    assert differences(dev, prod) == [Difference(LOGS, "name", "device", "product")]
    dev, prod = (of(name, resource(LOGS, device_name="/dev/xvda")) for name in ("dev", "prod"))
    assert differences(dev, prod) == []


def test_values_are_found_where_they_are() -> None:
    dev = of("dev", resource(LOGS, rules=[{"days": 7}, {"days": 30}]))
    prod = of("prod", resource(LOGS, rules=[{"days": 7}, {"days": 90}, {"days": 365}]))
    assert differences(dev, prod) == [
        Difference(LOGS, "rules[1].days", 30, 90),
        Difference(LOGS, "rules[2].days", None, 365),
    ]


def test_what_only_one_has_is_one_difference() -> None:
    dev, prod = of("dev"), of("prod", resource('aws_eip.nat["us-east-1b"]', domain="vpc", size=1))
    assert differences(dev, prod) == [Difference('aws_eip.nat["us-east-1b"]', "", None, True)]
    assert differences(prod, dev) == [Difference('aws_eip.nat["us-east-1b"]', "", True, None)]


def test_what_aws_decides_and_what_is_secret_is_left_out() -> None:
    secret = "aws_secretsmanager_secret_version.auth"
    dev = of("dev", resource(LOGS, arn=later()), resource(secret, secret_string="one"))
    prod = of("prod", resource(LOGS, arn=later()), resource(secret, secret_string="two"))
    assert differences(dev, prod) == []

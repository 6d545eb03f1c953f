"""What is said when Terraform, its provider or an environment is missing; what a copy holds, and what an emulator is shown."""

import os
from pathlib import Path

import pytest

from infra.errors import ToolError
from infra.stack import ENVIRONMENTS, ROOT, Stack, plugin_folder

FAKE = """#!/bin/sh
echo "$@" >> "$TOLD"
env | grep -E "^(AWS|TF)_" | sort >> "$TOLD"
case "$1" in
  output) echo '{"region": {"value": "us-east-1"}}';;
  show) echo '{"values": {"root_module": {"resources": [
    {"address": "a.b", "mode": "managed", "values": {"id": 1}}, {"address": "data.c", "mode": "data", "values": {}}
  ]}}}';;
  apply) echo "Error: no" >&2; exit 1;;
esac
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Terraform that writes down how it is called."""
    fake = tmp_path / "bin" / "terraform"
    fake.parent.mkdir()
    fake.write_text(FAKE)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    return tmp_path / "told"


def test_environments_are_those_of_the_files() -> None:
    assert set(ENVIRONMENTS) == {path.stem for path in (ROOT / "environments").glob("*.tfvars")}


def test_an_emulator_is_never_shown_credentials(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "very secret")
    monkeypatch.setenv("TF_VAR_account_id", "prod")
    monkeypatch.setenv("TF_DATA_DIR", "/somewhere/prod")
    Stack(tmp_path, "http://127.0.0.1:1").init()
    said = told.read_text()
    assert "AWS_ENDPOINT_URL=http://127.0.0.1:1" in said
    assert "AWS_ACCESS_KEY_ID=testing" in said
    assert "prod" not in said
    assert "very secret" not in said


def test_aws_itself_is_asked_as_whoever_calls(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "prod")
    Stack(tmp_path).init()
    assert "AWS_PROFILE=prod" in told.read_text()
    assert "testing" not in told.read_text()


def test_a_copy_holds_the_root_with_a_state_of_its_own(told: Path, tmp_path: Path) -> None:
    stack = Stack.copy(tmp_path / "copy", "http://127.0.0.1:1", {"modules/addons/gaps_override.tf": "# nothing"})
    assert (stack.folder / "main.tf").read_text() == (ROOT / "main.tf").read_text()
    assert 'backend "local"' in (stack.folder / "backend_override.tf").read_text()
    assert (stack.folder / "../prometheus/alerts.yml").exists()
    assert (stack.folder / "modules/addons/gaps_override.tf").read_text() == "# nothing"
    assert not (ROOT / "backend_override.tf").exists()
    assert told.read_text().startswith("init -no-color")


def test_what_terraform_answers_is_read(told: Path, tmp_path: Path) -> None:
    stack = Stack(tmp_path, "http://127.0.0.1:1")
    assert stack.outputs() == {"region": "us-east-1"}
    assert stack.state() == {"a.b": {"id": 1}}


def test_what_terraform_complains_of_is_told(told: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"ended with code 1:\nError: no"):
        Stack(tmp_path)._run(["apply"], 10)


def test_without_terraform_the_error_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="Terraform is not installed"):
        Stack(tmp_path).init()


def test_an_environment_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no environment 'production'; there are dev, staging, prod"):
        Stack(tmp_path).plan("production")


def test_a_plugin_folder_must_hold_the_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_PLUGIN_DIR", str(tmp_path))
    with pytest.raises(ToolError, match="TF_PLUGIN_DIR is"):
        plugin_folder()
    (tmp_path / "any.registry" / "hashicorp" / "aws").mkdir(parents=True)
    assert plugin_folder() == tmp_path


def test_without_a_plugin_folder_the_registry_is_asked(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_PLUGIN_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("infra.stack.PLUGIN_FOLDERS", ("~/.terraform.d/plugins",))
    Stack(tmp_path).init()
    assert "-plugin-dir" not in told.read_text()
    (tmp_path / ".terraform.d/plugins/any.registry/hashicorp/aws").mkdir(parents=True)
    Stack(tmp_path).init()
    assert f"-plugin-dir={tmp_path}/.terraform.d/plugins" in told.read_text()

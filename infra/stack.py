"""The Terraform root in a copy of its own: planned, applied and destroyed without touching the folder that people work in.

Terraform comes from PATH, the provider from a plugin folder where one is named or lies at Terraform's usual places, else from the
registry.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.errors import ToolError
from infra.plan import Plan, walk

ROOT = Path(__file__).parent / "terraform"
ENVIRONMENTS = ("dev", "staging", "prod")
PROVIDER = "hashicorp/aws"
PLUGIN_FOLDERS = ("~/.terraform.d/plugins", "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
# What no file says, because it is of a commit or an account: any will do, for what is planned here is never run.
GIVEN = ("-var=image_tag=d46fc6b", '-var=admin_role_arns=["arn:aws:iam::000000000000:role/platform"]')
THEIRS = ("AWS_", "TF_VAR_", "TF_CLI_ARGS", "TF_WORKSPACE", "TF_DATA_DIR")
INIT_S, TEST_S, APPLY_S = 300, 600, 900

LOCAL_STATE = """# State beside the copy, gone with it.
terraform {
  backend "local" {}
}
"""


def plugin_folder() -> Path | None:
    """Where a provider lies that needs no registry: TF_PLUGIN_DIR, or one of the places where Terraform itself looks."""
    named = os.environ.get("TF_PLUGIN_DIR")
    for folder in [named] if named else PLUGIN_FOLDERS:
        path = Path(folder).expanduser()
        if any(path.glob(f"*/{PROVIDER}")):
            return path
    if named:
        raise ToolError(
            f"TF_PLUGIN_DIR is {named}, and no registry's {PROVIDER} is in it; name the folder above the registry's name."
        )
    return None


@dataclass(slots=True)
class Stack:
    """A copy of the root. `endpoint` is the emulator's address; without one AWS itself is asked, with the caller's credentials."""

    folder: Path
    endpoint: str | None = None
    parallelism: int = 20
    _environment: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._environment = {**os.environ, "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
        if self.endpoint:
            for name in [name for name in self._environment if name.startswith(THEIRS)]:
                del self._environment[
                    name
                ]  # an emulator is never shown anybody's credentials, nor planned with their values
            self._environment |= {
                "AWS_ENDPOINT_URL": self.endpoint,
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_EC2_METADATA_DISABLED": "true",
            }

    @classmethod
    def copy(cls, folder: Path, endpoint: str | None = None, left_out: Mapping[str, str] | None = None) -> Stack:
        """Copy the root and what it reads, and initialise it. `left_out` holds override files by their path in the copy."""
        if not ROOT.is_dir():
            raise ToolError("The Terraform is not installed with the platform; run this in a clone of the repository.")
        root = folder / "infra" / "terraform"
        ours = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfplan*")
        shutil.copytree(ROOT, root, ignore=ours, dirs_exist_ok=True)
        shutil.copytree(ROOT.parent / "prometheus", folder / "infra" / "prometheus", dirs_exist_ok=True)
        (root / "backend_override.tf").write_text(LOCAL_STATE)
        for path, text in (left_out or {}).items():
            (root / path).write_text(text)
        stack = cls(root, endpoint)
        stack.init()
        return stack

    def init(self) -> None:
        """Fetch the provider; raises ToolError when neither a plugin folder nor the registry has one."""
        plugins = plugin_folder()
        self._run(["init", *([f"-plugin-dir={plugins}"] if plugins else [])], INIT_S)

    def plan(self, environment: str, *options: str) -> Plan:
        """Plan one environment."""
        file = f"{environment}.tfplan"
        self._run(["plan", f"-out={file}", *self._variables(environment), *options], APPLY_S)
        return Plan(json.loads(self._run(["show", "-json", file], INIT_S)))

    def apply(self, environment: str) -> Plan:
        """Plan, and apply just that plan; give the plan."""
        plan = self.plan(environment)
        self._run(["apply", f"-parallelism={self.parallelism}", f"{environment}.tfplan"], APPLY_S)
        return plan

    def destroy(self, environment: str, *options: str) -> None:
        """Take everything down."""
        self._run(["destroy", "-auto-approve", *self._variables(environment), *options], APPLY_S)

    def outputs(self) -> dict[str, Any]:
        """The outputs of what was applied, by name."""
        return {name: output["value"] for name, output in json.loads(self._run(["output", "-json"], INIT_S)).items()}

    def state(self) -> dict[str, Mapping[str, Any]]:
        """What the state holds: the values of each managed resource by its address."""
        document = json.loads(self._run(["show", "-json"], INIT_S))
        return {
            r["address"]: r["values"]
            for r in walk(document.get("values", {}).get("root_module", {}))
            if r["mode"] == "managed"
        }

    def format_check(self) -> list[str]:
        """Files that are not written as `terraform fmt` writes them."""
        return self._run(["fmt", "-recursive", "-list=true", "-write=false"], INIT_S).split()

    def test(self, *options: str) -> str:
        """`terraform test`: the plans against mocks."""
        return self._run(["test", *options], TEST_S)

    def _variables(self, environment: str) -> list[str]:
        if environment not in ENVIRONMENTS:
            raise ToolError(f"There is no environment {environment!r}; there are {', '.join(ENVIRONMENTS)}.")
        given = [
            f"-var-file=environments/{environment}.tfvars",
            *GIVEN,
            f"-parallelism={self.parallelism}",
        ]
        # An emulator has one address for all buckets, and what it cannot do it cannot do the sixth time either.
        return given + (["-var=s3_use_path_style=true", "-var=max_retries=5"] if self.endpoint else [])

    def _run(self, arguments: list[str], limit_s: float) -> str:
        command = ["terraform", *arguments[:1], *_quiet(arguments[0]), *arguments[1:]]
        try:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise ToolError(
                "Terraform is not installed; 1.11 or newer is needed: https://developer.hashicorp.com/terraform/install"
            ) from None
        try:
            said, complained = process.communicate(timeout=limit_s)
        except BaseException as error:
            # Its providers are processes of their own, and outlive it otherwise.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ToolError(f"`{' '.join(command)}` did not end within {limit_s:.0f} s.") from None
            raise
        if process.returncode:
            raise ToolError(f"`{' '.join(command)}` ended with code {process.returncode}:\n{_last(complained or said)}")
        return said


def _quiet(command: str) -> Iterable[str]:
    return () if command in {"show", "output", "fmt"} else ("-no-color",)


def _last(text: str, lines: int = 60) -> str:
    """The end of what was said, from the first error on; what a machine's own settings make Terraform warn of is not it."""
    from_error = text[text.find("\nError:") + 1 :] if "\nError:" in text else text
    return "\n".join(from_error.strip().splitlines()[-lines:])

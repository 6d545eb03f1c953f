"""Write the tables of inputs and outputs into README.md from the files that declare them, or say that they are stale.

    python infra/terraform/describe.py            writes them
    python infra/terraform/describe.py --check    exits with 1 when they are not what the files say

Reads the shape that `terraform fmt` leaves: a block opens at the start of a line, its arguments stand two spaces in, and it closes at
the start of a line. Every variable needs a description and a type, every output a description.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BLOCK = re.compile(r'^(variable|output) "([^"]+)" \{\n(.*?)^\}$', re.MULTILINE | re.DOTALL)
ARGUMENT = re.compile(r"^  (\w+) += (.*(?:\n    .*|\n  [)\]}].*)*)", re.MULTILINE)
BEGIN, END = "<!-- begin: {} -->\n", "<!-- end: {} -->\n"


class UndescribedError(Exception):
    """A variable or output does not say what it is; the message says which, and what to add."""


@dataclass(frozen=True, slots=True)
class Block:
    """One variable or output, as far as the tables tell of it."""

    kind: str
    name: str
    arguments: dict[str, str]
    checks: int

    @property
    def description(self) -> str:
        return self.arguments["description"].strip('"')

    @property
    def default(self) -> str:
        if "default" not in self.arguments:
            return "required"
        value = self.arguments["default"]
        return "see variables.tf" if "\n" in value else f"`{value}`"

    @property
    def type(self) -> str:
        first = self.arguments["type"].partition("\n")[0]
        return first.replace("({", "") + ")" * (first.count("(") - first.count("({") - first.count(")"))


def read(path: Path) -> list[Block]:
    """What a file declares, in its order; raises UndescribedError."""
    blocks = []
    for kind, name, body in BLOCK.findall(path.read_text()):
        arguments = dict(ARGUMENT.findall(body))
        for needed in ("description", "type") if kind == "variable" else ("description",):
            if needed not in arguments:
                raise UndescribedError(f'{path.relative_to(HERE)}: {kind} "{name}" has no {needed}; add one.')
        blocks.append(Block(kind, name, arguments, len(re.findall(r"^  validation \{", body, re.MULTILINE))))
    return blocks


def inputs(folder: Path) -> str:
    """The table of a folder's variables."""
    rows = [
        f"| `{b.name}` | {b.description} | {b.type} | {b.default} | {b.checks or ''} |\n"
        for b in read(folder / "variables.tf")
    ]
    return "| input | what it says | type | default | checks |\n|---|---|---|---|---|\n" + "".join(rows)


def outputs(folder: Path) -> str:
    """The table of a folder's outputs."""
    rows = [f"| `{b.name}` | {b.description} |\n" for b in read(folder / "outputs.tf")]
    return "| output | what it holds |\n|---|---|\n" + "".join(rows)


def modules(folder: Path) -> str:
    """The table of modules: the first comment of main.tf, and the names of what goes in and comes out."""
    rows = []
    for module in sorted(path for path in folder.iterdir() if path.is_dir()):
        comment = re.match(r"((?:# .*\n)+)", (module / "main.tf").read_text())
        if comment is None:
            raise UndescribedError(
                f"{module.relative_to(HERE)}/main.tf does not begin with a comment; say what the module is."
            )
        purpose = " ".join(line.removeprefix("# ") for line in comment.group(1).splitlines())
        names = [
            ", ".join(f"`{block.name}`" for block in read(module / f"{kind}.tf")) for kind in ("variables", "outputs")
        ]
        rows.append(f"| `{module.name}` | {purpose} | {names[0]} | {names[1]} |\n")
    return "| module | what it is | inputs | outputs |\n|---|---|---|---|\n" + "".join(rows)


def described(readme: str) -> str:
    """The README with each table between its marks written anew."""
    for mark, table in {"inputs": inputs(HERE), "outputs": outputs(HERE), "modules": modules(HERE / "modules")}.items():
        before, begin, rest = readme.partition(BEGIN.format(mark))
        _, end, after = rest.partition(END.format(mark))
        if not begin or not end:
            raise UndescribedError(
                f"README.md has no place for the {mark}; add a line `<!-- begin: {mark} -->` and its end."
            )
        readme = before + begin + table + end + after
    return readme


def main(arguments: list[str]) -> int:
    """Write, or check; the exit code is 1 for a README that is stale or cannot be written."""
    path = HERE / "README.md"
    try:
        now, wanted = path.read_text(), described(path.read_text())
    except UndescribedError as gap:
        print(gap, file=sys.stderr)
        return 1
    if "--check" not in arguments:
        path.write_text(wanted)
        return 0
    if now != wanted:
        print("infra/terraform/README.md is stale; run python infra/terraform/describe.py.", file=sys.stderr)
    return int(now != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

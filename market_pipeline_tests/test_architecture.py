"""The walls between the rooms of the package, read from its source."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._annotations import is_public

PACKAGE = Path(__file__).parents[1] / "market_pipeline"
# Public in spite of their names.
DOCUMENTED = {"_mapping", "_exit"}


def _own_names(tree: ast.Module) -> set[str]:
    """The names that a module gives to attributes, functions and variables of its own."""
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            # What it sets on an object of another module is not its own.
            if isinstance(node, ast.Name) or ast.unparse(node.value) in ("self", "cls"):
                own.add(node.id if isinstance(node, ast.Name) else node.attr)
    return own


def _non_public(tree: ast.Module) -> Iterator[str]:
    """What a module imports from `dagster._...`, and the private attributes of others that it uses."""
    own = _own_names(tree) | DOCUMENTED
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            names = [node.value]
        yield from (name for name in names if name.startswith("dagster") and "._" in name)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            inherited = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super"
            if node.attr not in own and not inherited:
                yield ast.unparse(node)


def _undocumented(tree: ast.Module) -> Iterator[str]:
    """The methods of a Dagster instance that a module calls although Dagster does not document them."""
    members = {name: inspect.getattr_static(dg.DagsterInstance, name) for name in dir(dg.DagsterInstance)}
    documented = {name for name, member in members.items() if is_public(member)} | {"dispose"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in members.keys() - documented:
            if ast.unparse(node.value).endswith(("instance", "_opened()")):
                yield ast.unparse(node)


def test_only_dagster_instance_uses_what_dagster_does_not_publish() -> None:
    found = {
        str(module.relative_to(PACKAGE)): names
        for module in PACKAGE.rglob("*.py")
        if module.relative_to(PACKAGE).parts[0] != "dagster_instance"
        and (tree := ast.parse(module.read_text(encoding="utf-8")))
        and (names := [*_non_public(tree), *_undocumented(tree)])
    }
    assert found == {}


def test_messages_name_commands_that_work_on_the_data_of_the_demo_there() -> None:
    """`core.program.command` adds `--demo`; the files left out are not about the data of a demo."""
    named = re.compile(r"market-pipeline (run|watch|doctor|backfill|chart|export|mark|replay|rename|alert|snooze)\b")
    described = {"api/models/health.py", "alerts/stops.py", "pipeline/market.py", "commands/migrate_db.py"}
    found = []
    for module in PACKAGE.rglob("*.py"):
        text, name = module.read_text(encoding="utf-8"), module.relative_to(PACKAGE).as_posix()
        if not named.search(text) or name in described or name.startswith("commands/cli/"):
            continue
        tree = ast.parse(text)
        docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree)
                      if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)}
        found += [f"{name}: {node.value}" for node in ast.walk(tree)
                  if isinstance(node, ast.Constant) and isinstance(node.value, str)
                  and named.search(node.value) and node.value not in docstrings]
    assert found == []


def test_the_rooms_import_only_what_lies_below_them() -> None:
    """The contracts are in pyproject.toml, under `tool.importlinter`; the tool sets up logging for its process."""
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    checked = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_the_files_that_the_architecture_page_names_exist() -> None:
    """A bare name, as in a list of neighbours, is in the folder of the path before it."""
    folder, missing = PACKAGE, []
    for name in re.findall(r"`((?:\w+/)*\w+\.py)`", (PACKAGE.parent / "docs" / "architecture.md").read_text("utf-8")):
        folder = (PACKAGE / name).parent if "/" in name else folder
        if not (PACKAGE / name).exists() and not (folder / name).exists():
            missing.append(name)
    assert missing == []

"""Which module may import which, read from the source: the tree keeps the shape that `gateway/__init__.py` draws.

- `core/` has no way to reach a socket, a file, a clock, a thread or a client library.
- Imports point down the levels of `LEVELS`. The packages on one level do not import each other.
- No module takes part in an import cycle.

Imports under `if TYPE_CHECKING:` count like all others: a reader follows them too.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "gateway"
ALLOWED_AT_THE_TOP = 24  # entries, `__init__.py` and `py.typed` included

# The lowest first. A module imports from its own package and from the levels below.
LEVELS = (
    {"errors", "files", "signals", "text"},
    {"certificate", "log"},
    {"core", "documents", "page"},
    {"contract", "kafka", "mqtt", "registry", "settings", "spool"},
    {"installation"},
    {"bridge"},
    {"observe"},
    {"service"},
    {"operate"},
    {"cli"},
)

REACHES_OUT = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
    "confluent_kafka", "httpx", "jsonschema", "paho", "prometheus_client", "pydantic", "typer", "yaml",
}  # fmt: skip
REACHING_CALLS = {"open", "print", "input", "eval", "__import__", "breakpoint"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement's target.

    Args:
        file: path below the repository.
        line: of the statement.
        target: dotted name of what is imported.
        for_types: it stands under `if TYPE_CHECKING:`.
    """

    file: Path
    line: int
    target: str
    for_types: bool

    @property
    def importer(self) -> str:
        """The importing module's name below `gateway`: `mqtt`, or its package, `contract`."""
        return self.file.parts[1].removesuffix(".py")

    @property
    def part(self) -> str:
        """What is imported of `gateway`: `mqtt`; empty for the package itself."""
        return self.target.split(".")[1] if "." in self.target else ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target}"


@cache
def _sources() -> list[tuple[Path, ast.Module]]:
    return [
        (path.relative_to(PACKAGE.parent), ast.parse(path.read_text(), str(path)))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


@cache
def _all_imports() -> list[Import]:
    return [each for file, tree in _sources() for each in _imports(file, tree)]


def _imports(file: Path, tree: ast.Module) -> Iterator[Import]:
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for target in _targets(file, node):
            yield Import(file, getattr(node, "lineno", 0), target, node in for_types)


def _targets(file: Path, node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = ".".join(file.parts[: -node.level]) if node.level else ""
        module = ".".join(filter(None, (above, node.module)))
        # `from gateway import config` names a module, `from gateway.config import Settings` names a thing in one.
        return [f"{module}.{alias.name}" for alias in node.names] if module == "gateway" else [module]
    return []


def _own_imports() -> list[Import]:
    return [
        each
        for each in _all_imports()
        if each.target.split(".")[0] == "gateway" and not each.target.startswith("gateway.__")
    ]


def _listed(violations: list[str]) -> str:
    return "\n" + "\n".join(violations)


def test_core_imports_nothing_that_reaches_out() -> None:
    violations = [
        f"{each}: the core computes, pass it in as an argument"
        for each in _all_imports()
        if each.importer == "core" and not each.for_types and each.target.split(".")[0] in REACHES_OUT
    ]
    assert not violations, _listed(violations)


def test_core_calls_nothing_that_reaches_out() -> None:
    violations = [
        f"{file}:{node.lineno} calls {node.func.id}"
        for file, tree in _sources()
        if file.parts[1] == "core"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REACHING_CALLS
    ]
    assert not violations, _listed(violations)


def test_every_module_has_a_level() -> None:
    entries = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if _is_module(path)}
    assert entries == set().union(*LEVELS)


def test_the_top_of_the_package_stays_small() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= ALLOWED_AT_THE_TOP, sorted(path.name for path in entries)


def _is_module(path: Path) -> bool:
    return (path.suffix == ".py" and not path.name.startswith("__")) or any(path.glob("*.py"))


def test_imports_point_down_the_levels() -> None:
    level = {module: number for number, modules in enumerate(LEVELS) for module in modules}
    violations = [
        f"{each}, which is not on a lower level"
        for each in _own_imports()
        if each.part and each.part != each.importer and level[each.part] >= level[each.importer]
    ]
    assert not violations, _listed(violations)


def test_no_module_takes_part_in_an_import_cycle() -> None:
    modules = {_dotted(file) for file, _ in _sources()}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for file, tree in _sources():
        own = _dotted(file)
        graph[own] |= {target for target in _modules_imported(tree, modules) if target != own}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def _dotted(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def _modules_imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Name the modules of the gateway that a module imports; `from gateway.core import reading` names a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            yield from named or ({node.module} & modules - {"gateway"})


def test_imports_are_read_where_they_stand() -> None:
    """The reader of this file sees plain, nested, relative and type-only imports."""
    source = (
        "import os.path\n"
        "from gateway import config\n"
        "from . import address\n"
        "from ..contract.model import Stream\n"
        "if TYPE_CHECKING:\n"
        "    import socket\n"
        "def late():\n"
        "    from threading import Thread\n"
    )
    found = {each.target: each.for_types for each in _imports(Path("gateway/core/x.py"), ast.parse(source))}
    assert found == {
        "os.path": False,
        "gateway.config": False,
        "gateway.core": False,
        "gateway.contract.model": False,
        "socket": True,
        "threading": False,
    }

"""Who may import whom: read from the source, so that the tree keeps the shape that `gateway/__init__.py` draws.

Two rules. The core computes: it has no way to reach a socket, a file, a clock, a thread or a client library.
And imports point one way, from the commands down to the values. What a module needs for annotations only
(`if TYPE_CHECKING:`) ties it to nothing at run time and is left out of the second rule.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "gateway"

# The bottom first. A module imports from its own row and from the rows before it.
LAYERS = (
    {"errors", "log", "core", "stop", "durable", "program", "memory", "registry_api"},
    {"settings"},
    {"contract"},
    {"config", "reconcile", "docs", "peer_certificate"},
    {"lane", "ledger"},
    {"row"},
    {"salvage"},
    {"disk"},
    {
        "mqtt",
        "mqtt_reader",
        "mqtt_advice",
        "mqtt_subscriptions",
        "mqtt_tls",
        "spool",
        "kafka",
        "kafka_distance",
        "kafka_errors",
        "registry",
    },
    {"bridge", "http", "metrics", "systemd"},
    {"figures", "overview"},
    {"health", "service", "split", "workers"},
    {"installation", "sensors", "tail", "table", "evolution", "report"},
    {"tailing", "dlq", "demo", "status", "top", "topics"},
    {"drift"},
    {"doctor"},
    {"init"},
    {"cli"},
)

# Neighbours in a row that know nothing of each other: the two ends meet in the bridge.
STRANGERS = (
    {"mqtt", "mqtt_reader", "mqtt_advice", "mqtt_subscriptions", "mqtt_tls"},
    {"kafka", "kafka_distance", "kafka_errors", "registry", "registry_api"},
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


def _sources() -> list[tuple[Path, ast.Module]]:
    return [
        (path.relative_to(PACKAGE.parent), ast.parse(path.read_text(), str(path)))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


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
        for file, tree in _sources()
        for each in _imports(file, tree)
        if each.target.split(".")[0] == "gateway" and not each.target.startswith("gateway.__")
    ]


def _told(violations: list[str]) -> str:
    return "\n" + "\n".join(violations)


def test_core_imports_nothing_that_reaches_out() -> None:
    violations = [
        f"{each}: the core computes, pass it in as an argument"
        for file, tree in _sources()
        for each in _imports(file, tree)
        if each.importer == "core" and each.target.split(".")[0] in REACHES_OUT
    ]
    assert not violations, _told(violations)


def test_core_calls_nothing_that_reaches_out() -> None:
    violations = [
        f"{file}:{node.lineno} calls {node.func.id}"
        for file, tree in _sources()
        if file.parts[1] == "core"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REACHING_CALLS
    ]
    assert not violations, _told(violations)


def test_core_imports_only_core() -> None:
    """The contract's plain values may be named in annotations, because a transform is built from them."""
    violations = [
        str(each)
        for each in _own_imports()
        if each.importer == "core"
        and each.part != "core"
        and not (each.for_types and each.target == "gateway.contract.model")
    ]
    assert not violations, _told(violations)


def test_every_module_has_a_layer() -> None:
    modules = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if _is_module(path)}
    homeless = modules - set().union(*LAYERS)
    assert not homeless, f"give {sorted(homeless)} a row in LAYERS"


def _is_module(path: Path) -> bool:
    return (path.suffix == ".py" and not path.name.startswith("__")) or any(path.glob("*.py"))


def test_imports_point_down_the_layers() -> None:
    row = {module: number for number, modules in enumerate(LAYERS) for module in modules}
    violations = [
        f"{each}, which stands higher"
        for each in _own_imports()
        if not each.for_types and row.get(each.part, 0) > row.get(each.importer, len(LAYERS))
    ]
    assert not violations, _told(violations)


def test_the_two_ends_do_not_know_each_other() -> None:
    violations = [
        str(each)
        for each in _own_imports()
        for one, other in (STRANGERS, STRANGERS[::-1])
        if each.importer in one and each.part in other
    ]
    assert not violations, _told(violations)


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

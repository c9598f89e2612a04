"""The present surface, read from the code at rest: commands, settings, HTTP, dead letters and the spool's file.

`running.py` adds what only a running process shows. All imports from `gateway` are in this file.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sqlite3
import typing
from contextlib import closing
from enum import Enum
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli import make_app
from gateway.core.dead_letter import dead_letter_record
from gateway.core.gateway_clock import GatewayClock
from gateway.core.headers import OWN
from gateway.core.reading import DeadLetter, Reading, Reason
from gateway.errors import GatewayError
from gateway.observe.http import HttpServer, Pages
from gateway.observe.peer_state import Health, PeerState
from gateway.operate.dlq.journal import ORIGIN_HEADER
from gateway.page.html import Page
from gateway.settings.settings import Settings
from gateway.spool.file import SpoolFile
from tests.stack.preloaded import import_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLE = Reading(
    "receiveDoors", b"doors/a", b'{"n":1}', received_at=1_582_114_965_007, qos=1, retain=True, dup=True, size=900,
    sha256=b"d" * 32, properties=b"\x03\x00\x01a",
)  # fmt: skip


def _choices(names: typing.Iterable[object]) -> str:
    return " | ".join(map(str, names))


# --- commands --------------------------------------------------------------------------------------------------------


def commands() -> dict[str, str]:
    """Describe each command with its documented exit codes, and each argument and option."""
    return dict(_of_command(typer.main.get_command(make_app()), "gateway", None))


def _of_command(command: Any, name: str, parent: typer.Context | None) -> Iterator[tuple[str, str]]:
    context = typer.Context(command, info_name=name, parent=parent, **command.context_settings)
    _, _, documented = (command.help or "").lower().partition("exit code")
    codes = sorted({int(code) for code in re.findall(r"\b\d{1,2}\b", documented)})
    yield name, f"command, exit codes {', '.join(map(str, codes)) or 'not documented'}"
    for parameter in command.get_params(context):
        long, *short = sorted(parameter.opts, key=len, reverse=True)
        is_option = long.startswith("-")
        yield f"{name} {long if is_option else long.upper()}", ", ".join([*short, *_of_parameter(parameter)])
    for name_below, below in getattr(command, "commands", {}).items():
        yield from _of_command(below, f"{name} {name_below}", context)


def _of_parameter(parameter: Any) -> Iterator[str]:
    yield "flag" if getattr(parameter, "is_flag", False) else _type_name(parameter.type_descriptor.annotation)
    if parameter.min is not None:
        yield f"at least {parameter.min}"
    if parameter.max is not None:
        yield f"at most {parameter.max}"
    if parameter.multiple:
        yield "repeatable"
    if parameter.required:
        yield "required"
    elif parameter.default not in (None, "") and parameter.default is not False:
        yield f"default {parameter.default}"


def _type_name(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choices(member.value for member in annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return _choices(typing.get_args(annotation))
    if typing.get_origin(annotation) is list:
        return _type_name(*typing.get_args(annotation))
    return getattr(annotation, "__name__", str(annotation)).lower()


def codes_of_errors() -> str:
    """List the exit codes of all exception classes, of modules that nothing has imported yet too."""
    import_all()
    families = [GatewayError]
    for family in families:
        families += family.__subclasses__()
    return ", ".join(map(str, sorted({family.exit_code for family in families})))


# --- gateway.yaml ----------------------------------------------------------------------------------------------------


def settings() -> dict[str, str]:
    """Describe each key of gateway.yaml; `*` stands for a name that the contract or the user chooses."""
    schema = Settings.model_json_schema()
    return dict(_of_section(schema, "", schema["$defs"]))


def _of_section(section: dict[str, Any], prefix: str, definitions: dict[str, Any]) -> Iterator[tuple[str, str]]:
    keys = dict(section.get("properties", {}))
    if isinstance(section.get("additionalProperties"), dict):
        keys["*"] = section["additionalProperties"]
    for key, given in keys.items():
        of_key, kinds = _resolved(given, definitions)
        default = "required" if key in section.get("required", ()) else f"default {json.dumps(given.get('default'))}"
        is_section = any("properties" in kind or "additionalProperties" in kind for kind in of_key)
        yield f"{prefix}{key}", kinds if is_section or key == "*" else f"{kinds}, {default}"
        for kind in of_key:
            yield from _of_section(kind, f"{prefix}{key}.", definitions)


def _resolved(given: dict[str, Any], definitions: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    kinds = [
        definitions[kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind for kind in given.get("anyOf", [given])
    ]
    return kinds, _choices(_choices(kind.get("enum", [kind.get("type", "any")])) for kind in kinds)


# --- HTTP ------------------------------------------------------------------------------------------------------------


def http_answers() -> dict[str, str]:
    """Describe each path with its status codes and JSON members, and each refusal."""
    wrong = Health(alive=False, ready=False, states=(PeerState("kafka", "unreachable", "Start it."),))
    health = [Health(alive=True, ready=True)]

    page = Page("<p></p>", "'sha256-x'")
    pages = Pages(lambda: page, bytes, lambda: health[0], page)
    with HttpServer("127.0.0.1:0", pages, head_seconds=0.5) as server:
        described = _refusals(server.port)
        paths = re.findall(r"/[a-z]*", _ask(server.port, _request("/nowhere"))[2])
        answers = {path: [_ask(server.port, _request(path))] for path in paths}
        health[0] = wrong
        for path, answered in answers.items():
            answered.append(_ask(server.port, _request(path)))
    for path, ((good, kind, _), (bad, _, body)) in answers.items():
        described[path] = f"{kind}, status {good}" + (f" or {bad}" if bad != good else "")
        if "json" in kind:
            described |= members(json.loads(body), f"{path} ")
    return described


def _refusals(port: int) -> dict[str, str]:
    requests = {
        "an unknown path": _request("/nowhere"),
        "a method other than GET and HEAD": _request("/", method="POST"),
        "a Host header that names another machine": _request("/", host="example.com"),
        "a malformed request": b"GET\r\n\r\n",
        "a head above 8 KiB": b"GET / HTTP/1.1\r\nX: " + b"x" * 9_000,
        "a head that does not end in time": b"GET / HTTP/1.1\r\n",
    }
    return {name: str(_ask(port, request)[0]) for name, request in requests.items()}


def _request(path: str, method: str = "GET", host: str = "localhost") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def _ask(port: int, request: bytes) -> tuple[int, str, str]:
    """Send a request; return status, content type and body."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def members(value: Any, prefix: str) -> dict[str, str]:
    """Describe the members of a JSON value at every depth, with their types; streams of the contract are `*`."""
    found: dict[str, set[str]] = {}
    for name, kind in _members(value, ""):
        found.setdefault(prefix + name.removeprefix("."), set()).add(kind)
    return {name: _choices(sorted(kinds)) for name, kinds in found.items()}


def _members(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _members(inner, f"{name}.{'*' if re.fullmatch('receive[A-Z][A-Za-z]+|unmapped', key) else key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _members(inner, f"{name}[]")
    else:
        yield name, type(value).__name__


# --- dead letters ----------------------------------------------------------------------------------------------------


def dead_letters() -> dict[str, str]:
    """Describe every reason, and every header with an example."""
    record = dead_letter_record(EXAMPLE, DeadLetter(Reason.WRONG_TYPE, "/n", "detail"), "dead-letters", 900_000)
    headers = {f"header {name}": str(value) for name, value in record.headers}
    headers |= {
        f"header {name}": "name of the gateway's own in records" for name in OWN if f"header {name}" not in headers
    }
    return {
        **{f"reason {reason}": "reason" for reason in Reason},
        **headers,
        f"header {ORIGIN_HEADER}": "in replayed records, topic:partition:offset",
        "record": f"key {record.key!r}, value {record.value!r}, timestamp {record.timestamp}",
    }


# --- the spool -------------------------------------------------------------------------------------------------------


def spool(path: Path, ledger: dict[str, Any]) -> dict[str, str]:
    """Make a spool file with one reading, and describe it as SQLite shows it.

    Args:
        path: of the new file.
        ledger: books to write into it.
    """
    clock = GatewayClock(b"b" * 16, lambda: (EXAMPLE.received_at, 9_000))
    with SpoolFile(path, clock=clock) as file:
        file.write([(7, EXAMPLE)], [], ledger, 8)
    described = {"file .lock": "holds the lock"} if path.with_name(path.name + ".lock").exists() else {}
    with closing(sqlite3.connect(path)) as database:
        for pragma in ("user_version", "application_id", "page_size", "journal_mode", "encoding", "auto_vacuum"):
            described[f"pragma {pragma}"] = str(database.execute(f"PRAGMA {pragma}").fetchone()[0])
        for kind, name, sql in database.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
            described[f"{kind} {name}"] = " ".join(sql.split())
        example = database.execute("SELECT * FROM readings")
        for (column, *_), value in zip(example.description, example.fetchone(), strict=True):
            described[f"readings.{column} of an example"] = repr(value)
        for name, value in database.execute("SELECT name, value FROM facts WHERE name != 'ledger'"):
            described[f"fact {name}"] = value
    return described


def hold(path: Path) -> SpoolFile:
    """Hold a spool, as a running gateway does."""
    return SpoolFile(path)

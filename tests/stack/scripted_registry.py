"""Schema registries that are not Apicurio or Confluent's: Karapace and Redpanda, scripted.

Karapace is on no package index that pip reaches, and needs a patched avro package; Redpanda is no package at all. So
they are scripted: Karapace by what version 5.0.3 answered on a real Kafka, word for word, Redpanda by its source:
src/v/pandaproxy in redpanda-data/redpanda (in schema_registry/: handlers.cc and avro.cc at e34f3a0, sharded_store.cc at
0b64b2c, error.cc at 52989b4, errors.h at 995aae4; above it: reply.h at 61a8471, error.h at f58184e). What they have in
common, and the others have not:

- Schemas are given back as another text: Karapace sorts the members, Redpanda puts them into an order of its own.
- The compatibility of a schema is checked against one version at a time; there is no address for all versions. Redpanda
  compares with the versions behind that one, too, and with all where the mode is transitive.
- There is no /v1/metadata/id, and an address that does not exist is answered in JSON that is not a registry's.
- A schema keeps its id when its subject is deleted, also for good.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import SchemaParseException
from avro.schema import parse

from tests.stack.loopback import Serving

Answer = tuple[int, Any]


class Words(NamedTuple):
    """How a registry says the same in its own words."""

    no_path: Answer
    incompatible: str  # with the mode and the fields
    invalid: str  # with the reason
    invalid_code: int
    no_schema: str  # with the id
    takes_references: bool
    order: tuple[str, ...]  # of a schema's members, before all others; empty to sort them
    is_redpanda: bool = False


KARAPACE = Words(
    (404, "Not Found"),
    "Incompatible schema, compatibility_mode={mode}. Incompatibilities: {reasons}",
    "Invalid AVRO schema. Error: {reason}",
    42201,
    "Schema not found",
    takes_references=False,
    order=(),
)
REDPANDA = Words(
    (404, {"message": "Not found", "code": 404}),
    'Schema being registered is incompatible with an earlier schema for subject "{subject}", details: [{reasons}]',
    "Invalid schema {reason}",
    422,
    "Schema {id} not found",
    takes_references=True,
    order=("type", "name", "namespace", "doc", "fields", "order", "symbols", "items", "values", "default", "size"),
    is_redpanda=True,
)


class ScriptedRegistry(Serving):
    """A registry in memory; a context manager.

    Args:
        words: whose.

    Attributes:
        modes: compatibility modes by subject; "" is that of all others.
        requests: method and path of each.
    """

    def __init__(self, words: Words) -> None:
        self.modes = {"": "BACKWARD"}
        self.requests: list[tuple[str, str]] = []
        self.words = words
        self._schemas: list[dict[str, Any]] = []  # an id is the place, from 1
        self._subjects: dict[str, dict[int, int]] = {}  # the ids by version
        self._deleted: dict[str, int] = {}  # the last version of a deleted subject
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                registry.requests.append((self.command, self.path))
                status, value = registry.respond(self.command, urlsplit(self.path), json.loads(body or "{}"))
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        super().__init__(server)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"

    def respond(self, method: str, url: Any, body: dict[str, Any]) -> Answer:
        """Answer a request."""
        for pattern, respond in _ADDRESSES.items():
            if match := re.fullmatch(pattern, f"{method} {url.path}"):
                status, value = respond(self, *map(unquote, match.groups()), *([body] if method == "POST" else []))
                return status, value
        return self.words.no_path

    def delete(self, subject: str) -> None:
        """Delete a subject, as an operator may."""
        assert self.respond("DELETE", urlsplit(f"/subjects/{subject}"), {})[0] == 200

    def _register(self, subject: str, body: dict[str, Any]) -> Answer:
        if body.get("references") and not self.words.takes_references:
            return _error(422, 44302, "Schema references are not supported for 'AVRO' schema type")
        try:
            parse(body["schema"]) if not body.get("references") else None
        except SchemaParseException as error:
            return _error(422, self.words.invalid_code, self.words.invalid.format(reason=error))
        versions, mode = self._subjects.get(subject, {}), self.modes.get(subject, self.modes[""])
        if (known := self._known(body)) in versions.values():
            return 200, {"id": known}
        compared = list(versions.values()) if mode.endswith("_TRANSITIVE") else list(versions.values())[-1:]
        if reasons := [one for each in compared for one in self._faults(each, body)]:
            named = {"mode": mode, "subject": subject, "reasons": ", ".join(reasons)}
            return _error(409, 409, self.words.incompatible.format(**named))
        if not known:
            self._schemas.append(body)
            known = len(self._schemas)
        number = max(versions, default=self._deleted.get(subject, 0)) + 1
        self._subjects.setdefault(subject, {})[number] = known
        return 200, {"id": known}

    def _find(self, subject: str, body: dict[str, Any]) -> Answer:
        if subject not in self._subjects:
            return _no_subject(subject)
        known = self._known(body)
        for number, schema_id in self._subjects[subject].items():
            if schema_id == known:
                return 200, self._version_of(subject, number)
        return _error(404, 40403, "Schema not found")

    def _versions(self, subject: str) -> Answer:
        return (200, list(self._subjects[subject])) if subject in self._subjects else _no_subject(subject)

    def _version(self, subject: str, number: str) -> Answer:
        if subject not in self._subjects:
            return _no_subject(subject)
        wanted = max(self._subjects[subject]) if number == "latest" else int(number)
        if wanted not in self._subjects[subject]:
            return _error(404, 40402, f"Version {number} not found.")
        return 200, self._version_of(subject, wanted)

    def _check(self, subject: str, number: str, body: dict[str, Any]) -> Answer:
        status, version = self._version(subject, number)
        if status != 200 and self.words.is_redpanda:
            return status, version
        if status != 200:
            return _error(404, 40402, f"Version {-1 if number == 'latest' else number} not found.")
        compared = [version["version"]]
        if self.words.is_redpanda:
            is_transitive = self.modes.get(subject, self.modes[""]).endswith("_TRANSITIVE")
            compared = [each for each in self._subjects[subject] if is_transitive or each >= version["version"]]
        ids = [self._subjects[subject][each] for each in reversed(compared)]
        reasons = next(filter(None, (self._faults(each, body) for each in ids)), [])
        return 200, {"is_compatible": not reasons} | ({"messages": reasons} if reasons else {})

    def _delete(self, subject: str) -> Answer:
        if subject not in self._subjects:
            return _no_subject(subject)
        versions = list(self._subjects.pop(subject))
        self._deleted[subject] = versions[-1]
        return 200, versions

    def _schema(self, schema_id: str) -> Answer:
        number = int(schema_id)
        if not 1 <= number <= len(self._schemas):
            return _error(404, 40403, self.words.no_schema.format(id=number))
        return 200, self._shown(number)

    def _mode(self, subject: str = "") -> Answer:
        return 200, {"compatibilityLevel": self.modes.get(subject, self.modes[""])}

    def _version_of(self, subject: str, number: int) -> dict[str, Any]:
        schema_id = self._subjects[subject][number]
        return {"subject": subject, "version": number, "id": schema_id} | self._shown(schema_id)

    def _shown(self, schema_id: int) -> dict[str, Any]:
        body = self._schemas[schema_id - 1]
        written = json.dumps(_ordered(json.loads(body["schema"]), self.words.order), separators=(",", ":"))
        return body | {"schema": written}

    def _known(self, body: dict[str, Any]) -> int:
        """The id of a schema; 0 for none."""
        alike = (json.loads(each["schema"]) == json.loads(body["schema"]) for each in self._schemas)
        return next((number for number, is_same in enumerate(alike, start=1) if is_same), 0)

    def _faults(self, writer: int, body: dict[str, Any]) -> list[str]:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # avro types it not
        result = checker.get_compatibility(parse(body["schema"]), parse(self._schemas[writer - 1]["schema"]))
        return [] if result.compatibility is SchemaCompatibilityType.compatible else sorted(result.messages)


def _ordered(schema: Any, order: tuple[str, ...]) -> Any:
    """Put the members of a schema into an order, and then by name."""
    if isinstance(schema, list):
        return [_ordered(each, order) for each in schema]
    if not isinstance(schema, dict):
        return schema
    names = sorted(schema, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: _ordered(schema[name], order) for name in names}


def _error(status: int, code: int, message: str) -> Answer:
    return status, {"error_code": code, "message": message}


def _no_subject(subject: str) -> Answer:
    return _error(404, 40401, f"Subject '{subject}' not found.")


_S = "/subjects/([^/]+)"
_ADDRESSES: dict[str, Any] = {
    f"POST {_S}/versions": ScriptedRegistry._register,  # noqa: SLF001 - its own methods
    f"POST {_S}": ScriptedRegistry._find,  # noqa: SLF001 - as above
    f"GET {_S}/versions": ScriptedRegistry._versions,  # noqa: SLF001 - as above
    f"GET {_S}/versions/([^/]+)": ScriptedRegistry._version,  # noqa: SLF001 - as above
    f"DELETE {_S}": ScriptedRegistry._delete,  # noqa: SLF001 - as above
    f"POST /compatibility{_S}/versions/([^/]+)": ScriptedRegistry._check,  # noqa: SLF001 - as above
    r"GET /schemas/ids/(\d+)": ScriptedRegistry._schema,  # noqa: SLF001 - as above
    "GET /config": ScriptedRegistry._mode,  # noqa: SLF001 - as above
    "GET /config/([^/]+)": ScriptedRegistry._mode,  # noqa: SLF001 - as above
}

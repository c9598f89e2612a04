"""The registry's side of a subject: its versions, its mode, and whether it would accept a new schema.

The compatibility check names no version, so that the registry applies the subject's own mode, transitive ones too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from gateway.operate.schemas.avsc import Schema, parse
from gateway.registry.registry import Unresolved
from gateway.text import cut, printable

if TYPE_CHECKING:
    from gateway.core.model import AvroSchema
    from gateway.registry.registry import SchemaRegistry


class Registered(NamedTuple):
    """A version of a subject: its number, from 1, the schema's id in the whole registry, and its JSON."""

    version: int
    id: int
    text: str

    def schema(self, subject: str) -> Schema:
        """Parse the schema."""
        return parse(self.text, f"{subject} version {self.version}")


class Subjects:
    """The subjects of a registry; only `register` changes anything.

    After the first timeout no more requests are sent: each would wait for its timeout as well.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._unreachable: Unresolved | None = None

    def latest(self, subject: str) -> Registered | Unresolved | None:
        """Fetch the newest version; None when the subject is new."""
        return self._registered(subject, self._ask(subject, "GET", f"{_path(subject)}/versions/latest"))

    def find(self, subject: str, schema: AvroSchema) -> Registered | Unresolved | None:
        """Look a schema up; None when the subject does not have it."""
        return self._registered(subject, self._ask(subject, "POST", _path(subject), {"schema": schema.text}))

    def mode(self, subject: str) -> str | Unresolved:
        """Fetch the subject's compatibility mode; the registry's own if the subject has none."""
        for path in (f"config/{quote(subject, safe='')}?defaultToGlobal=true", "config"):
            answer = self._ask(subject, "GET", path)
            if isinstance(answer, Unresolved):
                return answer
            if isinstance(answer, dict) and isinstance(mode := answer.get("compatibilityLevel"), str):
                return printable(cut(mode))
        return Unresolved(
            subject, retryable=True, reason="The registry does not tell the subject's compatibility mode."
        )

    def rejections(self, subject: str, schema: AvroSchema) -> tuple[str, ...] | Unresolved | None:
        """Check a schema as the next version: None when the registry accepts it, else reasons, if it gives any."""
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
        answer = self._ask(subject, "POST", path, {"schema": schema.text})
        if answer is None or isinstance(answer, Unresolved):  # None: no such subject
            return answer
        if not (isinstance(answer, dict) and isinstance(answer.get("is_compatible"), bool)):
            return _invalid(subject)
        messages = answer.get("messages")
        reasons = [printable(cut(str(one))) for one in messages] if isinstance(messages, list) else []
        return None if answer["is_compatible"] else tuple(reasons)

    def register(self, subject: str, schema: AvroSchema) -> int | Unresolved:
        """Register a schema; return its id, or the registry's reason why not."""
        answer = self._ask(subject, "POST", f"{_path(subject)}/versions", {"schema": schema.text})
        if isinstance(answer, Unresolved):
            return answer
        schema_id = answer.get("id") if isinstance(answer, dict) else None
        return schema_id if type(schema_id) is int else _invalid(subject)

    def _ask(
        self, subject: str, method: Literal["GET", "POST"], path: str, body: Any = None
    ) -> Any | Unresolved | None:
        if self._unreachable is not None:
            return self._unreachable._replace(subject=subject)
        answer = self._registry.ask(subject, method, path, body)
        if isinstance(answer, Unresolved) and answer.retryable:
            self._unreachable = answer
        return answer

    def _registered(self, subject: str, answer: Any) -> Registered | Unresolved | None:
        if answer is None or isinstance(answer, Unresolved):
            return answer
        try:
            return Registered(int(answer["version"]), int(answer["id"]), str(answer["schema"]))
        except (KeyError, TypeError, ValueError):
            return _invalid(subject)


def _path(subject: str) -> str:
    return f"subjects/{quote(subject, safe='')}"


def _invalid(subject: str) -> Unresolved:
    return Unresolved(subject, retryable=True, reason="The registry's answer is not that of a schema registry.")

"""What the registry knows of a subject: its versions, its mode, and its verdict on a schema that is not there yet.

The verdict is asked for without a version, so that the registry applies the subject's own mode, transitive ones too.
Some registries give only yes or no; the reason is then found by `mode.judge` against the newest version.
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
    """A version of a subject.

    Args:
        version: its number, from 1.
        id: the schema's id in the whole registry.
        text: its JSON; empty where it was not asked for.
    """

    version: int
    id: int
    text: str

    def schema(self, subject: str) -> Schema:
        """Parse it.

        Raises:
            ConfigurationError: when it is no Avro schema.
        """
        return parse(self.text, f"{subject} version {self.version}")


class Verdict(NamedTuple):
    """What the registry says of a schema.

    Args:
        is_compatible: whether it would register it.
        reasons: in its own words; may be empty.
    """

    is_compatible: bool
    reasons: tuple[str, ...]


class Subjects:
    """Asks a registry about subjects; nothing is changed but by `register`.

    Once the registry did not answer it is not asked again: each question would wait out its timeout.

    Args:
        registry: the way to it.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._silence: Unresolved | None = None

    def latest(self, subject: str) -> Registered | Unresolved | None:
        """Fetch the newest version; None when the subject is new."""
        return self._registered(subject, self._ask(subject, "GET", f"{_path(subject)}/versions/latest"))

    def find(self, subject: str, schema: AvroSchema) -> Registered | Unresolved | None:
        """Look a schema up; None when the subject does not have it."""
        return self._registered(subject, self._ask(subject, "POST", _path(subject), {"schema": schema.text}))

    def mode(self, subject: str) -> str | Unresolved:
        """Ask for the subject's compatibility mode, the registry's own where the subject has none."""
        for path in (f"config/{quote(subject, safe='')}?defaultToGlobal=true", "config"):
            answer = self._ask(subject, "GET", path)
            if isinstance(answer, Unresolved):
                return answer
            if isinstance(answer, dict) and isinstance(mode := answer.get("compatibilityLevel"), str):
                return printable(cut(mode))
        return Unresolved(subject, retryable=True, reason="The registry does not say the subject's compatibility mode.")

    def judge(self, subject: str, schema: AvroSchema) -> Verdict | Unresolved:
        """Ask whether the registry would take a schema as the subject's next version."""
        path = f"compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true"
        answer = self._ask(subject, "POST", path, {"schema": schema.text})
        if answer is None:  # no such subject
            return Verdict(is_compatible=True, reasons=())
        if isinstance(answer, Unresolved):
            return answer
        if not (isinstance(answer, dict) and isinstance(answer.get("is_compatible"), bool)):
            return _strange(subject)
        messages = answer.get("messages")
        reasons = [printable(cut(str(one))) for one in messages] if isinstance(messages, list) else []
        return Verdict(answer["is_compatible"], tuple(reasons))

    def register(self, subject: str, schema: AvroSchema) -> int | Unresolved:
        """Register a schema; its id, or the registry's reason why not."""
        answer = self._ask(subject, "POST", f"{_path(subject)}/versions", {"schema": schema.text})
        if isinstance(answer, Unresolved):
            return answer
        found = answer.get("id") if isinstance(answer, dict) else None
        return found if type(found) is int else _strange(subject)

    def _ask(
        self, subject: str, method: Literal["GET", "POST"], path: str, body: Any = None
    ) -> Any | Unresolved | None:
        if self._silence is not None:
            return self._silence._replace(subject=subject)
        answer = self._registry.ask(subject, method, path, body)
        if isinstance(answer, Unresolved) and answer.retryable:
            self._silence = answer
        return answer

    def _registered(self, subject: str, answer: Any) -> Registered | Unresolved | None:
        if answer is None or isinstance(answer, Unresolved):
            return answer
        try:
            return Registered(int(answer["version"]), int(answer["id"]), str(answer["schema"]))
        except (KeyError, TypeError, ValueError):
            return _strange(subject)


def _path(subject: str) -> str:
    return f"subjects/{quote(subject, safe='')}"


def _strange(subject: str) -> Unresolved:
    return Unresolved(subject, retryable=True, reason="The registry gave an answer that is none of a registry's.")

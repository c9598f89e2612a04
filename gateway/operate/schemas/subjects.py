"""The registry's side of a subject: its versions, its mode, and whether it would accept a new schema.

A schema is compared with the latest version, or with each where the subject's mode is transitive. Confluent's registry
and Apicurio also offer one comparison with all that count; Karapace and Redpanda do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote

from gateway.registry.registry import Unresolved
from gateway.text import cut, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.model import AvroSchema
    from gateway.registry.registry import Registered, SchemaRegistry

_Answer = TypeVar("_Answer")


class Subjects:
    """The subjects of a registry; only `register` changes anything.

    After the first timeout no more requests are sent: each would wait for its timeout as well.
    """

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._unreachable: Unresolved | None = None

    def latest(self, subject: str) -> Registered | Unresolved | None:
        """Fetch the newest version; None when the subject is new."""
        return self._until_silent(subject, lambda: self._registry.latest(subject))

    def find(self, subject: str, schema: AvroSchema) -> Registered | Unresolved | None:
        """Look a schema up; None when the subject does not have it."""
        return self._until_silent(subject, lambda: self._registry.find(subject, schema))

    def has(self, subject: str, schema_id: int, schema: AvroSchema) -> bool | Unresolved:
        """Whether the registry has a schema under an id."""
        return self._until_silent(subject, lambda: self._registry.is_id_of(subject, schema_id, schema))

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

    def rejections(self, subject: str, schema: AvroSchema, mode: str) -> tuple[str, ...] | Unresolved | None:
        """Check a schema as the next version: None when the registry accepts it, else reasons, if it gives any."""
        numbers: Sequence[int | str] | Unresolved | None = ["latest"]
        if mode.endswith("_TRANSITIVE"):
            numbers = self._until_silent(subject, lambda: self._registry.versions(subject))
        if numbers is None or isinstance(numbers, Unresolved):  # None: no such subject
            return numbers
        reasons: list[str] | None = None
        for number in numbers:
            path = f"compatibility/subjects/{quote(subject, safe='')}/versions/{number}?verbose=true"
            answer = self._ask(subject, "POST", path, {"schema": schema.text})
            if answer is None or isinstance(answer, Unresolved):
                return answer
            if not (isinstance(answer, dict) and isinstance(answer.get("is_compatible"), bool)):
                return _invalid(subject)
            if not answer["is_compatible"]:
                messages = answer.get("messages")
                named = [printable(cut(str(one))) for one in messages] if isinstance(messages, list) else []
                reasons = [*(reasons or []), *named]
        return None if reasons is None else tuple(dict.fromkeys(reasons))

    def register(self, subject: str, schema: AvroSchema) -> int | Unresolved:
        """Register a schema; return its id, or the registry's reason why not."""
        answer = self._until_silent(subject, lambda: self._registry.register(subject, schema))
        return _invalid(subject) if answer is None else answer

    def _ask(
        self, subject: str, method: Literal["GET", "POST"], path: str, body: Any = None
    ) -> Any | Unresolved | None:
        return self._until_silent(subject, lambda: self._registry.ask(subject, method, path, body))

    def _until_silent(self, subject: str, ask: Callable[[], _Answer | Unresolved]) -> _Answer | Unresolved:
        if self._unreachable is not None:
            return self._unreachable._replace(subject=subject)
        answer = ask()
        if isinstance(answer, Unresolved) and answer.retryable:
            self._unreachable = answer
        return answer


def _invalid(subject: str) -> Unresolved:
    return Unresolved(subject, retryable=True, reason="The registry's answer is not that of a schema registry.")

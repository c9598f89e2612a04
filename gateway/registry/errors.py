"""Why a schema has no id: the errors of a registry in words for people, each with the next step.

*Final* is what the registry itself says in JSON (401, 403, 404, 409, 422 ...): an operator has to act. *Retryable* is
everything else: no response, 5xx, 408, 429, and whatever is not a registry's JSON, because a captive portal or a proxy
may have answered instead.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.certificate import ALERTS, rejected
from gateway.errors import FileError, PeerError
from gateway.registry.api import NoTokenError, NoUrlError, RefusedError, UnreachableError
from gateway.text import cut

if TYPE_CHECKING:
    from gateway.registry.lock_file import Pin

NO_SUCH_SCHEMA = 40403
NOT_FOUND_CODES = {40401, 40402, NO_SUCH_SCHEMA}  # subject, version, schema
_FIXES = {  # by HTTP status
    401: "Check registry.username and registry.password_file, or registry.token_file; a renewed file is read again.",
    403: "Ask for the right to use this subject.",
    409: "Change the schema so that it is compatible, or the subject's compatibility level.",
    422: "Correct the schema file.",
}
_PERHAPS_ANOTHER = "A captive portal or a proxy may have answered instead."
_NO_PATH = "registry.url must be the base of the Confluent API (Apicurio: .../apis/ccompat/v7)."


class ForeignIdError(PeerError):
    """The registry knows the lock file's id for no schema, or for another one."""

    def __init__(self, pin: Pin, *, is_used: bool, is_registered: bool) -> None:
        super().__init__(str(pin.id))
        self.pin = pin
        self.is_used = is_used  # for another schema
        self.is_registered = is_registered  # the contract's schema is, under another id


def explain(error: PeerError | FileError, register: bool) -> tuple[bool, str]:  # noqa: FBT001 - a setting passed on
    """Say whether the same request may succeed later, and what went wrong; `register` is the setting."""
    match error:
        case ForeignIdError():
            return False, _explain_foreign_id(error)
        case NoUrlError():
            return False, "No registry is configured, and the lock file has no id for this schema. Set registry.url."
        case FileError():
            return False, " ".join(error.args)
        case RefusedError():
            return _explain_refusal(error, register)
    return True, _explain_what_may_pass(error)


def _explain_what_may_pass(error: PeerError) -> str:
    match error:
        case UnreachableError():
            return _explain_unreachable(error)
        case NoTokenError():
            return _explain_no_token(error)
    return f"invalid response: {error}. {_PERHAPS_ANOTHER}"


def _explain_no_token(error: NoTokenError) -> str:
    fix = "Check registry.oauth.token_url and ca_file, and that the endpoint runs."
    if error.refused == "invalid_scope":
        fix = "Check registry.oauth.scope."
    elif error.refused:
        fix = "Check registry.oauth.client_id and client_secret_file; a renewed file is read again."
    return f"no token from the token endpoint: {_clean(str(error))}. {fix}"


def _explain_foreign_id(error: ForeignIdError) -> str:
    pin = error.pin
    what = "belongs to another schema here" if error.is_used else "is unknown here"
    cluster = f" ({pin.cluster})" if pin.cluster else ""
    origin = f"It was given by {pin.registry}{cluster}." if pin.registry else "The lock file does not say who gave it."
    register = "" if error.is_registered else "`gateway schemas register -c FILE`, then "
    fix = f"Run {register}`gateway schemas lock -c FILE`, or correct registry.url."
    return f"schema id {pin.id} of the lock file {what}. {origin} {fix}"


def _explain_unreachable(error: UnreachableError) -> str:
    if isinstance(error.tls, ssl.SSLCertVerificationError):
        return f"{rejected(error.tls.verify_message)}."
    if isinstance(error.tls, ssl.SSLEOFError):
        return "the registry closed the connection. Does it require registry.cert_file and registry.key_file?"
    if error.tls and error.tls.reason == "WRONG_VERSION_NUMBER":
        return "the port does not use TLS. Check registry.url: is it http, or another port?"
    if error.tls and (reason := error.tls.reason):
        alert = ALERTS.get(reason, f"TLS failed: {reason.lower().replace('_', ' ')}")
        return f"{alert.format(peer='registry')}. Check registry.cert_file and registry.key_file."
    return f"no answer: {_clean(str(error))}. Check its address, and that it runs."


def _explain_no_json(status: int) -> str:
    """Explain a status whose body is not a registry's JSON."""
    kind = "with a redirect, which is not followed" if 300 <= status < 400 else "without JSON"
    fix = f"{_NO_PATH} " if status == 404 else f"{_FIXES[status]} " if status in _FIXES else ""
    return f"HTTP {status} {kind}. {fix}{_PERHAPS_ANOTHER}"


def _explain_refusal(error: RefusedError, register: bool) -> tuple[bool, str]:  # noqa: FBT001 - a setting passed on
    if error.code is None:
        return True, _explain_no_json(error.status)
    status, is_unregistered = error.status, error.code in NOT_FOUND_CODES and not register
    text = f"{_clean(error.message)} (HTTP {status}, code {error.code})."
    if status >= 500 or status in {408, 429}:
        return True, text
    if status == 404 and is_unregistered:
        return False, f"{text} Register it with `gateway schemas register -c FILE`, or set registry.register: true."
    return False, f"{text} {_NO_PATH if status == 404 else _FIXES.get(status, '')}".rstrip()


def _clean(message: str) -> str:
    return cut(message).strip().rstrip(".")


def without_login(url: str) -> str:
    """Give a URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

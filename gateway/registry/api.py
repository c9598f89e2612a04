"""The schema registry's REST API: requests and responses in JSON, and the errors instead of a response.

It uses the standard library. Confluent's client does the same, but takes 17 MB and up to a quarter of a second, brings
five packages along, and drops the reasons of an incompatibility. Only five addresses are needed here.

Redirects are not followed: the password would go to any host that they name. Proxies are those of the environment
(`HTTPS_PROXY`, `NO_PROXY`). A certificate is always verified, against the system's CAs or the given ones.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException
from typing import IO, TYPE_CHECKING, Any, Literal
from urllib.error import HTTPError, URLError
from urllib.request import (
    BaseHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from gateway.errors import FileError, PeerError

if TYPE_CHECKING:
    from pathlib import Path

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
MAXIMUM_RESPONSE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a registry: user and password are for basic authentication, the token is a bearer's."""

    url: str  # base of the Confluent REST API; empty when this installation has no registry
    username: str = ""  # without a colon; empty for none
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: Path | None = None  # PEM file of the CAs to trust, instead of the system's
    timeout_seconds: float = 10.0  # for connecting, and for each read


class NoUrlError(PeerError):
    """This installation has no registry."""


def _reason(error: object) -> str:
    """The words of the operating system, without its number."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{text[:1].lower()}{text[1:]}" if text[1:2].islower() else text


class UnreachableError(PeerError):
    """No response; the text is the cause, and `tls` OpenSSL's error where there is one."""

    def __init__(self, reason: str, tls: ssl.SSLError | None = None) -> None:
        super().__init__(reason)
        self.tls = tls


class CaFileError(FileError):
    """The CA file cannot be used; the text is the cause."""


class InvalidResponseError(PeerError):
    """A response that a registry would not give; the text says what is wrong, without quoting it."""


class RefusedError(PeerError):
    """An HTTP status that is not a success; `code` and `message` are the registry's, or None and "" if not its JSON."""

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(f"HTTP {status}, {code}")
        self.status = status
        self.code = code
        self.message = message


class RegistryApi:
    """Sends requests to a registry; each may block for the timeout."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._headers = {"Accept": f"{MEDIA_TYPE}, application/json", "Content-Type": MEDIA_TYPE}
        if endpoint.username:
            login = b64encode(f"{endpoint.username}:{endpoint.password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
        elif endpoint.token:
            self._headers["Authorization"] = f"Bearer {endpoint.token}"

    def request(self, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any:
        """Send a request, with a JSON body unless that is None, and give the JSON of the response.

        The path is below the base, quoted, and without a slash before it. Errors are PeerError or, before anything is
        sent, CaFileError.
        """
        if not self._endpoint.url:
            raise NoUrlError
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._endpoint.url.rstrip('/')}/{path}"
        request = Request(url, data, self._headers, method=method)  # noqa: S310 - http or https
        try:
            with self._opener.open(request, timeout=self._endpoint.timeout_seconds) as response:
                return _parsed(response)
        except HTTPError as error:
            with error:
                raise _refused(error) from None
        except URLError as error:
            tls = error.reason if isinstance(error.reason, ssl.SSLError) else None
            raise UnreachableError(_reason(error.reason), tls) from None
        except (OSError, HTTPException) as error:
            raise UnreachableError(_reason(error)) from None

    @cached_property
    def _opener(self) -> OpenerDirector:
        handlers: list[BaseHandler] = [ProxyHandler(), HTTPHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()]
        if self._endpoint.url.startswith("https:"):
            try:
                context = ssl.create_default_context(cafile=self._endpoint.ca_file)
            except OSError as error:
                raise CaFileError(error.reason if isinstance(error, ssl.SSLError) else error.strerror) from None
            handlers.append(HTTPSHandler(context=context))
        opener = OpenerDirector()  # `build_opener` would add handlers that follow redirects and open files
        for handler in handlers:
            opener.add_handler(handler)
        return opener


def _parsed(response: IO[bytes]) -> Any:
    data = response.read(MAXIMUM_RESPONSE_BYTES + 1)
    if len(data) > MAXIMUM_RESPONSE_BYTES:
        raise InvalidResponseError("it is longer than 10 MB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidResponseError("it is not the JSON of a registry") from None


def _refused(error: HTTPError) -> RefusedError:
    try:
        body = _parsed(error)
        return RefusedError(error.code, int(body["error_code"]), str(body["message"]))
    except (InvalidResponseError, OSError, HTTPException, LookupError, TypeError, ValueError):
        return RefusedError(error.code, None, "")

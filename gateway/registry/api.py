"""The schema registry's REST API: requests and responses in JSON, and the errors instead of a response.

It uses the standard library. Confluent's client does the same, but takes 17 MB and up to a quarter of a second, brings
five packages along, and drops the reasons of an incompatibility. Only five addresses are needed here.

With OAuth (RFC 6749, client credentials) the token is fetched before the first request, and again before it expires.

Redirects are not followed: the password would go to any host that they name. Proxies are those of the environment
(`HTTPS_PROXY`, `NO_PROXY`). A certificate is always verified, against the system's CAs or the given ones.
"""

from __future__ import annotations

import json
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPException
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import quote_plus, urlencode
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

from gateway.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
MAXIMUM_RESPONSE_BYTES = 10_000_000
RENEWED_AFTER, SHORTEST_SECONDS = 0.8, 60.0  # of a token's lifetime; the lifetime of one that states none


OF_EXTENSIONS = {"logicalCluster": "target-sr-cluster", "identityPoolId": "Confluent-Identity-Pool-Id"}


class TlsFiles(Protocol):
    """The files of a connection."""

    def context(self) -> ssl.SSLContext:
        """Make a TLS context that verifies the peer; FileError when a file cannot be used."""


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where tokens come from, for a client id and its secret."""

    url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str = ""  # empty for none
    tls: TlsFiles | None = None  # None for the system's CAs
    extensions: Mapping[str, str] = field(default_factory=dict)  # of Confluent Cloud: they become headers


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to reach a registry: user and password are for basic authentication, the token is a bearer's."""

    url: str  # base of the Confluent REST API; empty when this installation has no registry
    username: str = ""  # without a colon; empty for none
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    oauth: TokenEndpoint | None = None  # gives the tokens, if there is none
    tls: TlsFiles | None = None  # the CAs to trust and the own certificate; None for the system's CAs
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


class NoTokenError(PeerError):
    """The token endpoint gives no token; the text is the cause, and `refused` its error code, if it says one."""

    def __init__(self, reason: str, refused: str = "") -> None:
        super().__init__(reason)
        self.refused = refused


class InvalidResponseError(PeerError):
    """A response that a registry would not give; the text says what is wrong, without quoting it."""


class RefusedError(PeerError):
    """An HTTP status that is not a success; `code` and `message` are the registry's, or None and "" if not its JSON.

    `oauth` is the error code of a token endpoint (RFC 6749 section 5.2), or "".
    """

    def __init__(self, status: int, code: int | None, message: str, oauth: str = "") -> None:
        super().__init__(f"HTTP {status}, {code}")
        self.status = status
        self.code = code
        self.message = message
        self.oauth = oauth


class RegistryApi:
    """Sends requests to a registry; each may block for the timeout."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._headers = {"Accept": f"{MEDIA_TYPE}, application/json", "Content-Type": MEDIA_TYPE}
        self._renew_at = 0.0  # on the monotonic clock
        if endpoint.username:
            self._headers["Authorization"] = _basic(endpoint.username, endpoint.password)
        elif endpoint.token:
            self._headers["Authorization"] = f"Bearer {endpoint.token}"
        elif endpoint.oauth:
            named = endpoint.oauth.extensions.items()
            self._headers |= {OF_EXTENSIONS[name]: value for name, value in named if name in OF_EXTENSIONS}

    def request(self, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any:
        """Send a request, with a JSON body unless that is None, and give the JSON of the response.

        The path is below the base, quoted, and without a slash before it. Errors are PeerError or, before anything is
        sent, FileError.
        """
        if not self._endpoint.url:
            raise NoUrlError
        if self._endpoint.oauth and time.monotonic() >= self._renew_at:
            self._renew_token(self._endpoint.oauth)
        data = None if body is None else json.dumps(body).encode()
        url = f"{self._endpoint.url.rstrip('/')}/{path}"
        request = Request(url, data, self._headers, method=method)  # noqa: S310 - http or https
        return _send(request, self._opener, self._endpoint.timeout_seconds)

    def _renew_token(self, given: TokenEndpoint) -> None:
        form = {"grant_type": "client_credentials"} | ({"scope": given.scope} if given.scope else {})
        headers = {"Authorization": _basic(quote_plus(given.client_id), quote_plus(given.secret))}
        request = Request(given.url, urlencode(form).encode(), headers)  # noqa: S310 - http or https
        try:
            token, lifetime = _token(_send(request, _opener(given.url, given.tls), self._endpoint.timeout_seconds))
        except RefusedError as error:
            raise NoTokenError(f"HTTP {error.status} {error.oauth}".rstrip(), error.oauth) from None
        except PeerError as error:
            raise NoTokenError(str(error)) from None
        self._headers["Authorization"] = f"Bearer {token}"
        self._renew_at = time.monotonic() + RENEWED_AFTER * lifetime

    @cached_property
    def _opener(self) -> OpenerDirector:
        return _opener(self._endpoint.url, self._endpoint.tls)


def _basic(username: str, password: str) -> str:
    return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"


def _opener(url: str, tls: TlsFiles | None) -> OpenerDirector:
    handlers: list[BaseHandler] = [ProxyHandler(), HTTPHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()]
    if url.startswith("https:"):
        handlers.append(HTTPSHandler(context=tls.context() if tls else ssl.create_default_context()))
    opener = OpenerDirector()  # `build_opener` would add handlers that follow redirects and open files
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _send(request: Request, opener: OpenerDirector, timeout_seconds: float) -> Any:
    try:
        with opener.open(request, timeout=timeout_seconds) as response:
            return _parsed(response)
    except HTTPError as error:
        with error:
            raise _refused(error) from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        of_tls = reason if isinstance(reason, ssl.SSLError) else None
        if request.type == "https" and isinstance(reason, (ConnectionResetError, BrokenPipeError)):
            of_tls = ssl.SSLEOFError()  # a server that ends a connection is told as either, by chance
        raise UnreachableError(_reason(reason), of_tls) from None


def _parsed(response: IO[bytes]) -> Any:
    data = response.read(MAXIMUM_RESPONSE_BYTES + 1)
    if len(data) > MAXIMUM_RESPONSE_BYTES:
        raise InvalidResponseError("it is longer than 10 MB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidResponseError("it is not the JSON of a registry") from None


def _token(answer: Any) -> tuple[str, float]:
    """Give a token, which becomes a header, and its lifetime in seconds."""
    match answer:
        case {"access_token": str(token)} if token.isascii() and token.isprintable():
            lifetime = answer.get("expires_in", SHORTEST_SECONDS)
            return token, lifetime if isinstance(lifetime, int | float) else SHORTEST_SECONDS
    raise InvalidResponseError("its answer holds no access_token")


def _refused(error: HTTPError) -> RefusedError:
    try:
        body = _parsed(error)
        if isinstance(oauth := body.get("error"), str) and "error_code" not in body:
            return RefusedError(error.code, None, "", oauth)
        return RefusedError(error.code, int(body["error_code"]), str(body["message"]))
    except (InvalidResponseError, OSError, HTTPException, AttributeError, LookupError, TypeError, ValueError):
        return RefusedError(error.code, None, "")

"""The schema registry's REST API as questions and answers in JSON, and the ways in which there is no answer.

Own calls by the standard library, where a client library does the same: Confluent's takes 17 MB and up to a quarter of
a second, brings five packages along, and drops the reasons of a verdict. What is asked here are five addresses.

Redirects are not followed: a password would go to whoever they name. Proxies are those of the environment
(`HTTPS_PROXY`, `NO_PROXY`). A certificate is always checked, against the system's authorities or the given ones.
"""

from __future__ import annotations

import json
import ssl
from base64 import b64encode
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
MAXIMUM_ANSWER_BYTES = 10_000_000


class UnreachableError(PeerError):
    """No answer came; the text says why.

    Args:
        told: why.
        tls: OpenSSL's error, when it was that.
    """

    def __init__(self, told: str, tls: ssl.SSLError | None = None) -> None:
        super().__init__(told)
        self.tls = tls


class CaFileError(FileError):
    """The file of authorities cannot be used; the text says why."""


class InvalidResponseError(PeerError):
    """An answer that a registry would not give; the text says what is strange, without quoting it."""


class RefusedError(PeerError):
    """The answer's status is no success.

    Args:
        status: of HTTP.
        code: the registry's own, or None when the answer is not a registry's JSON.
        message: likewise, as the registry wrote it.
    """

    def __init__(self, status: int, code: int | None, message: str) -> None:
        super().__init__(f"HTTP {status}, {code}")
        self.status = status
        self.code = code
        self.message = message


class RegistryApi:
    """Asks a registry; every call may block for the timeout.

    Args:
        url: base of the Confluent REST API, http or https.
        username: for basic authentication, without a colon; empty for none.
        password: goes with it.
        token: bearer token; empty for none.
        ca_file: PEM file of the authorities to trust, instead of the system's.
        timeout_seconds: for connecting, and for each read.
    """

    def __init__(  # noqa: PLR0913 - each is one fact of the installation, all by name
        self, url: str, *, username: str, password: str, token: str, ca_file: Path | None, timeout_seconds: float
    ) -> None:
        self._url = url.rstrip("/")
        self._ca_file = ca_file
        self._timeout_seconds = timeout_seconds
        self._headers = {"Accept": f"{MEDIA_TYPE}, application/json", "Content-Type": MEDIA_TYPE}
        if username:
            self._headers["Authorization"] = f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"
        elif token:
            self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: Literal["GET", "POST"], path: str, body: Any = None) -> Any:
        """Send one request.

        Args:
            method: of the request.
            path: below the base, without a slash before it, quoted.
            body: sent as JSON; None for none.

        Returns:
            The answer's JSON.

        Raises:
            UnreachableError: no answer.
            RefusedError: an answer that is no success.
            InvalidResponseError: a success without JSON.
            CaFileError: the question was not sent.
        """
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self._url}/{path}", data, self._headers, method=method)  # noqa: S310 - http or https
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                return _parsed(answer)
        except HTTPError as error:
            with error:
                raise _refused(error) from None
        except URLError as error:
            tls = error.reason if isinstance(error.reason, ssl.SSLError) else None
            raise UnreachableError(str(error.reason), tls) from None
        except (OSError, HTTPException) as error:
            raise UnreachableError(str(error) or type(error).__name__) from None

    @cached_property
    def _opener(self) -> OpenerDirector:
        handlers: list[BaseHandler] = [ProxyHandler(), HTTPHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()]
        if self._url.startswith("https:"):
            try:
                context = ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:
                told = error.reason if isinstance(error, ssl.SSLError) else error.strerror
                raise CaFileError(told) from None
            handlers.append(HTTPSHandler(context=context))
        opener = OpenerDirector()  # `build_opener` would add those that follow redirects and open files
        for handler in handlers:
            opener.add_handler(handler)
        return opener


def _parsed(answer: IO[bytes]) -> Any:
    data = answer.read(MAXIMUM_ANSWER_BYTES + 1)
    if len(data) > MAXIMUM_ANSWER_BYTES:
        raise InvalidResponseError("it is longer than 10 MB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidResponseError("it is no registry's JSON") from None


def _refused(error: HTTPError) -> RefusedError:
    try:
        said = _parsed(error)
        return RefusedError(error.code, int(said["error_code"]), str(said["message"]))
    except (InvalidResponseError, OSError, HTTPException, LookupError, TypeError, ValueError):
        return RefusedError(error.code, None, "")

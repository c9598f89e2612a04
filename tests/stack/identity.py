"""An identity provider on loopback: a token endpoint (RFC 6749, RFC 7523), and the JWKS file that Kafka verifies with.

Threads in the tests' own process, because what it grants changes in the middle of a test: `lifetime_seconds`, `scope`,
`audience`, and `fault`, a status with which it answers instead.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, quote_plus

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

if TYPE_CHECKING:
    from pathlib import Path

ISSUER, AUDIENCE = "https://identity.example", "kafka"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class IdentityProvider:
    """Grants tokens to one client; a context manager.

    Args:
        folder: gets `jwks.json`.
        client: its id and secret.

    Attributes:
        issued: the tokens, in order.
        forms: of the requests, in order.
        fault: a status with which it refuses every request; 0 for none.
    """

    def __init__(self, folder: Path, client: tuple[str, str]) -> None:
        self.client = client
        self.lifetime_seconds, self.audience, self.scope, self.fault = 60.0, AUDIENCE, "kafka", 0
        self.issued: list[str] = []
        self.forms: list[dict[str, str]] = []
        self._key = rsa.generate_private_key(65537, 2048)
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(json.dumps({"keys": [self._public()]}))
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Of the token endpoint; it stays the same through `stop` and `start`."""
        return f"http://127.0.0.1:{self._port}/token"

    def start(self) -> Self:
        """Listen."""
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self._respond(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def do_GET(self) -> None:  # as Azure's machines ask
                if self.headers.get("Metadata") == "true":
                    self._respond(self.path.partition("?")[2])

            def _respond(self, body: str) -> None:
                form = {name: values[0] for name, values in parse_qs(body).items()}
                status, answer = provider.answer(form, self.headers.get("Authorization", ""))
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Refuse connections until `start`."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Answer a request with status and JSON."""
        self.forms.append(form)
        login = base64.b64encode(":".join(map(quote_plus, self.client)).encode()).decode()  # RFC 6749 section 2.3.1
        if self.fault:
            return self.fault, {"error": "temporarily_unavailable", "error_description": "down for maintenance"}
        needs_secret = form.get("grant_type") != JWT_BEARER and "resource" not in form
        if needs_secret and authorization != f"Basic {login}":
            return 401, {"error": "invalid_client", "error_description": "Invalid client or credentials"}
        if form.get("scope", self.scope) != self.scope:
            return 400, {"error": "invalid_scope", "error_description": "Invalid scopes"}
        self.issued.append(self._token())
        return 200, {
            "access_token": self.issued[-1], "token_type": "Bearer", "expires_in": int(self.lifetime_seconds),
        }  # fmt: skip

    def _token(self) -> str:
        now = time.time()
        claims = {
            "iss": ISSUER, "aud": self.audience, "sub": "gateway", "scope": self.scope, "jti": uuid.uuid4().hex,
            "iat": int(now), "exp": int(now + self.lifetime_seconds),
        }  # fmt: skip
        signed = ".".join(_url64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1"}, claims))
        return f"{signed}.{_url64(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def _public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        n, e = (_url64(each.to_bytes((each.bit_length() + 7) // 8)) for each in (numbers.n, numbers.e))
        return {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": n, "e": e}


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

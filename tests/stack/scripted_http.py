"""An HTTP server that gives every request the same response."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.stack.loopback import Serving


class Scripted(Serving):
    """A server that answers every request with the same bytes; a context manager."""

    def __init__(
        self,
        status: int,
        body: str,
        content_type: str = "application/json",
        location: str = "",
        *,
        silent: bool = False,
    ) -> None:
        requests = self.requests = list[tuple[str, str, str]]()
        self.released = released = threading.Event()

        class Answer(BaseHTTPRequestHandler):
            def answer(self) -> None:
                requests.append((self.command, self.path, self.headers.get("Authorization", "")))
                if silent:
                    released.wait(30)
                    return
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body.encode())))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = answer  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        super().__init__(self.server)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.released.set()
        super().__exit__()

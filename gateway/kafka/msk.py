"""Tokens for Amazon MSK with IAM: a URL of `kafka-cluster:Connect` that the credentials of AWS sign, in base64url.

botocore finds the credentials as all tools of AWS do: environment, files with profiles and roles, containers, the
instance. It signs, too. It takes 33 MB, so it is an extra, and loaded with the first token. Rejected: AWS's own signer,
which adds boto3 and click for what is here in ten lines; a search for credentials of our own, which would be larger
than this module and know less. Each token begins the search anew, so renewed files count.

librdkafka asks for a token in a thread of its own, at the start and after 80 % of its lifetime, again every 10 s. It
keeps no text of an exception, so `reason` does. And it makes no client before the first token: so if there are no
credentials, the first one is invalid and ends soon, the client comes to be, and the state of the peer has the reason.
"""

from __future__ import annotations

import importlib
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from gateway.text import printable

LIFETIME_SECONDS = 900
INVALID, INVALID_SECONDS = "none", 1.0
SERVICE = "kafka-cluster"


@dataclass
class MskTokens:
    """Gives librdkafka its tokens, as `oauth_cb`."""

    region: str
    profile: str | None = None  # of the credentials; None for the usual one
    reason: str = field(default="", compare=False)  # why there is no token; empty while there is
    _is_made: bool = field(default=False, compare=False, repr=False)  # the client that asks

    def __call__(self, _configuration: str | None) -> tuple[str, float]:
        """Give a token and when it expires, in seconds since 1970; raises what botocore does."""
        began = time.time()
        try:
            token = self._sign()
        except Exception as error:
            self.reason = printable(str(error)).rstrip(".")
            if self._is_made:
                raise
            return INVALID, time.time() + INVALID_SECONDS  # not `began`: the search may take longer
        else:
            self.reason = ""
            return token, began + LIFETIME_SECONDS
        finally:
            self._is_made = True

    def _sign(self) -> str:
        auth, request, session = (importlib.import_module(f"botocore.{name}") for name in _MODULES)
        credentials = session.Session(profile=self.profile).get_credentials()
        if credentials is None:
            raise LookupError("no credentials found")
        url = f"https://kafka.{self.region}.amazonaws.com/"
        connect = request.AWSRequest("GET", url, params={"Action": f"{SERVICE}:Connect"})
        auth.SigV4QueryAuth(credentials, SERVICE, self.region, LIFETIME_SECONDS).add_auth(connect)
        return urlsafe_b64encode(f"{connect.url}&User-Agent=iot-gateway".encode()).decode().rstrip("=")


_MODULES = ("auth", "awsrequest", "session")

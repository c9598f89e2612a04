"""TLS to the brokers: the broker is always verified; a client certificate is sent when the settings name one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from gateway.errors import ConfigurationError
from gateway.settings.settings import TlsSettings

if TYPE_CHECKING:
    from gateway.settings.settings import Settings


def tls_context(given: TlsSettings | None, settings: Settings) -> ssl.SSLContext:
    """Make a TLS context that verifies the broker's certificate and host name, TLS 1.2 or newer.

    A file that cannot be read or is not PEM raises ConfigurationError.
    """
    given = given or TlsSettings()
    files = (given.ca_file, given.cert_file, given.key_file)
    ca, cert, key = (settings.locate(file) if file else None for file in files)
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert:
            context.load_cert_chain(cert, key, password="")  # without a password OpenSSL would prompt for one
    except OSError as error:  # the base class of ssl.SSLError
        named = ", ".join(file for file in files if file)
        message = f"The certificates cannot be used ({named}): {error.strerror or error}."
        fix = "Give PEM files: the CA certificates, the client certificate with its chain, and its unencrypted key."
        raise ConfigurationError([settings.finding(("servers",), message, fix)]) from None
    return context

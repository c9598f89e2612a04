"""TLS towards the brokers: the broker proves who it is, always; we do when the operator gives us a certificate."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from gateway.errors import ConfigurationError
from gateway.settings.settings import TlsSettings

if TYPE_CHECKING:
    from gateway.settings.settings import Settings


def tls_context(given: TlsSettings | None, settings: Settings) -> ssl.SSLContext:
    """Make a TLS context that verifies the broker's certificate and name, TLS 1.2 or newer.

    Args:
        given: the server's `tls` section; without `ca_file` the system's authorities count.
        settings: finds the files.

    Returns:
        The context.

    Raises:
        ConfigurationError: when a file cannot be read or is no PEM.
    """
    given = given or TlsSettings()
    ca, cert, key = (
        settings.locate(file) if file else None for file in (given.ca_file, given.cert_file, given.key_file)
    )
    try:
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert:
            context.load_cert_chain(cert, key, password="")  # without one OpenSSL would ask on the terminal
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(file for file in (given.ca_file, given.cert_file, given.key_file) if file)
        message = f"The certificates cannot be used ({files}): {error.strerror or error}."
        fix = "Give PEM files: authorities, a certificate with its chain, and the key of that certificate in clear."
        raise ConfigurationError([settings.finding(("servers",), message, fix)]) from None
    return context

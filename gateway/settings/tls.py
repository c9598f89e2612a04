"""TLS to the peers: the peer is always verified; a client certificate and ALPN are sent when the settings name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.settings.secret import UnfitFileError
from gateway.settings.settings import BrokerTlsSettings, TlsSettings

if TYPE_CHECKING:
    import ssl

    from gateway.settings.settings import Settings


def tls_context(given: TlsSettings | None, settings: Settings) -> ssl.SSLContext:
    """Make a TLS context from the files as they are now; ConfigurationError when one cannot be used."""
    given = given or TlsSettings()
    files = settings.tls_files(given)
    try:
        context = files.context()
    except UnfitFileError as error:
        raise settings.unfit(getattr(given, error.setting), error) from None
    if isinstance(given, BrokerTlsSettings) and given.alpn:
        context.set_alpn_protocols(given.alpn)
    return context

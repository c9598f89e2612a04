"""What the gateway has subscribed to, in a file, because a broker does not tell.

A broker keeps a session's subscriptions, and queues messages for them, whatever the contract says by now. So what an
earlier run subscribed to and this one does not want must be unsubscribed, by name.

Invariant: every filter that a broker may have for us is in the file. It is written before SUBSCRIBE goes out, and
shrinks after UNSUBACK; a crash in between costs an UNSUBSCRIBE of what is not there, which brokers take calmly.

By server and client id, because that is what a session belongs to. Without the file readings flow all the same: one
that is damaged or cannot be written is a warning.

    {"factoryBroker": {"gateway-1": ["doors/+", "factory/+/+"]}}

Rejected: the spool's database, which starts anew when its disk fails, and which nobody can mend with an editor.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from gateway import files as durable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

FILE_NAME = "gateway-subscriptions.json"  # beside the spool
Filter = Annotated[str, Meta(min_length=1, max_length=16_383)]  # in UTF-8 at most the 65,535 bytes that MQTT allows
Sessions = dict[str, dict[str, list[Filter]]]


class SubscriptionFile:
    """One file for all brokers of a gateway.

    Args:
        path: of the file, which need not be there yet; its folder must.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def filters(self, server: str, client_id: str) -> frozenset[str]:
        """Tell what a broker may have subscribed for a client id; nothing when the file does not say.

        Args:
            server: its name in the contract.
            client_id: of the session.
        """
        return frozenset(self._read().get(server, {}).get(client_id, ()))

    def note(self, server: str, client_id: str, filters: Iterable[str]) -> None:
        """Write what a broker may have subscribed for a client id; the disk is touched only when that has changed.

        Args:
            server: its name in the contract.
            client_id: of the session.
            filters: all of them.
        """
        sessions = self._read()
        known = sessions.setdefault(server, {})
        if known.get(client_id, []) == (wanted := sorted(filters)):
            return
        known[client_id] = wanted
        try:
            durable.replace(self._path, json.dumps(sessions, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            self._warn(f"cannot be written ({error.strerror}): a later run may leave old subscriptions at the broker")

    def _read(self) -> Sessions:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Sessions)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._warn(f"cannot be read ({error.strerror}): old subscriptions may stay at the broker")
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._warn("is damaged: old subscriptions may stay at the broker")
        return {}

    def _warn(self, trouble: str) -> None:
        log.warning("subscriptions file", extra={"file": str(self._path), "detail": f"{self._path.name} {trouble}"})

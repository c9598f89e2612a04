"""The filters that the gateway has subscribed to, in a file, because a broker does not list them.

A broker keeps a session's subscriptions, and queues messages for them, whatever the contract says now. So a filter that
an earlier run subscribed to and this one does not want must be unsubscribed by name.

Invariant: every filter that a broker may have is in the file. It is written before SUBSCRIBE, and shrinks after
UNSUBACK; a crash in between costs an UNSUBSCRIBE of a filter that does not exist, which brokers ignore. A reload does
not hold up the loop for a slow disk: its thread writes the file before, and it shrinks with the next write.

Entries are by server and client id, as sessions are. Readings do not depend on the file: one that is damaged or cannot
be written is a warning.

    {"factoryBroker": {"gateway-1": ["doors/+", "factory/+/+"]}}

Rejected: the spool's database, which is replaced when its disk fails, and cannot be corrected with an editor.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from gateway import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

FILE_NAME = "gateway-subscriptions.json"  # beside the spool
Filter = Annotated[str, Meta(min_length=1, max_length=16_383)]  # in UTF-8 at most the 65,535 bytes that MQTT allows
Sessions = dict[str, dict[str, list[Filter]]]


class SubscriptionFile:
    """One file for all brokers of a gateway; it need not exist, but its folder must."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()  # of a write

    def filters(self, server: str, client_id: str) -> frozenset[str]:
        """Give the filters that a broker may have for a client id."""
        return frozenset(self._read().get(server, {}).get(client_id, ()))

    def write(self, server: str, client_id: str, filters: Iterable[str]) -> None:
        """Replace the filters of a client id; the file is written only when they have changed."""
        with self._lock:
            sessions = self._read()
            known = sessions.setdefault(server, {})
            if known.get(client_id, []) == (wanted := sorted(filters)):
                return
            known[client_id] = wanted
            try:
                files.replace(self._path, json.dumps(sessions, indent=1, sort_keys=True) + "\n")
            except OSError as error:
                problem = f"cannot be written ({error.strerror}); a later run may leave old subscriptions at the broker"
                self._warn(problem)

    def _read(self) -> Sessions:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Sessions)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._warn(f"cannot be read ({error.strerror}); old subscriptions may stay at the broker")
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._warn("is damaged; old subscriptions may stay at the broker")
        return {}

    def _warn(self, problem: str) -> None:
        log.warning(
            "The file of MQTT subscriptions cannot be used.",
            extra={"file": str(self._path), "detail": f"{self._path.name} {problem}"},
        )

"""A gateway that kills itself, with SIGKILL, at the places where a crash is most likely to lose or repeat a reading.

    python -m tests.faults.failpoints PROBABILITY FILE PLACE run -c gateway.yaml

It appends the place of its death to FILE; with "" as PLACE it dies at all places. The steps of the gateway are wrapped
from outside: the product has no failpoints.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from typing import TYPE_CHECKING, Any

from gateway.cli import main
from gateway.kafka.transactional_sink import TransactionalSink
from gateway.mqtt.reader import PUBACK, PUBCOMP, PUBREC, FastReader
from gateway.spool.spool import Spool
from tests.stack.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROBABILITY, AT_ONE_PLACE = 0.02, 0.2
WRITE = "_written"  # the reader's method that sends acknowledgements
KINDS = {PUBACK >> 16: "PUBACK", PUBREC >> 16: "PUBREC", PUBCOMP >> 16: "PUBCOMP"}


class SuicidalGateway(Gateway):
    """A gateway with failpoints, while `is_suicidal`; all of them, or one `place`."""

    module = "tests.faults.failpoints"
    is_suicidal = False
    place = ""

    @property
    def places_file(self) -> Path:
        """The file with a line for each death."""
        return self.folder / "places"

    def launch_command(self, *arguments: str | Path, **environment: str) -> None:
        """Start the process."""
        probability = (AT_ONE_PLACE if self.place else PROBABILITY) if self.is_suicidal else 0
        super().launch_command(str(probability), self.places_file, self.place, *arguments, **environment)


def install(probability: float, path: str, only: str) -> None:
    """Wrap the steps of the gateway."""

    def hit(place: str) -> None:
        if only in {"", place} and random.random() < probability:
            with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - the process ends in the next line
                file.write(f"{place}\n")
            os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: type, name: str, before: str, after: str) -> None:
        step: Callable[..., Any] = getattr(owner, name)

        def wrapped(*arguments: Any, **more: Any) -> Any:
            hit(before) if before else None
            outcome = step(*arguments, **more)
            hit(after) if after else None
            return outcome

        setattr(owner, name, wrapped)

    around(TransactionalSink, "_commit", "records sent, state not", "committed, outcome not known")
    around(TransactionalSink, "_repeat", "state sent, not committed", "")
    around(TransactionalSink, "_decide", "", "committed, not acknowledged")
    around(FastReader, "_handle_pubrel", "", "after PUBREL")
    around(Spool, "_write", "before the write to disk", "on disk, not acknowledged")
    write: Callable[..., bytes] = getattr(FastReader, WRITE)

    def noting(self: Any, packets: bytes) -> bytes:
        rest = write(self, packets)
        for kind in {KINDS[int.from_bytes(packets[at : at + 2])] for at in (0, len(packets) - 4)}:
            hit(f"after {kind}")
        return rest

    setattr(FastReader, WRITE, noting)


if __name__ == "__main__":
    install(float(sys.argv[1]), sys.argv[2], sys.argv[3])
    sys.argv[1:] = sys.argv[4:]
    main()

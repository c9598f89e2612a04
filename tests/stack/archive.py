"""Archive the classes that Kafka loads: a start of a node then takes half of the time, and a run starts about 25.

    .venv/bin/python -m tests.stack.archive     what `make setup` does

A JVM writes the archive when it ends. One that does not fit the installed Java is ignored.
"""

from __future__ import annotations

import os

from tests.stack.kafka import Kafka
from tests.stack.software import class_archive

SECONDS = 120  # that a JVM may take to end


def main() -> None:
    """Start a node and stop it."""
    archive = class_archive("kafka")
    archive.unlink(missing_ok=True)
    new = archive.with_suffix(".new")
    os.environ["JAVA_TOOL_OPTIONS"] = f"-XX:ArchiveClassesAtExit={new}"
    with Kafka() as kafka:
        kafka.create_topic("archived")
        kafka.stop(SECONDS)
    new.replace(archive)


if __name__ == "__main__":
    main()

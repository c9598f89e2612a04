"""Confluent wire format: where a record carries its schema id.

payload framing    value = 00, schema id (4 bytes, big-endian), Avro body
header framing     value = Avro body; header `__value_schema_id` = 00, schema id (4 bytes, big-endian)
"""

from __future__ import annotations

import struct

SCHEMA_ID_HEADER = "__value_schema_id"
MAGIC = 0


def frame(schema_id: int) -> bytes:
    """Write magic byte and schema id, which is 0 to 2**31 - 1."""
    return struct.pack(">bI", MAGIC, schema_id)

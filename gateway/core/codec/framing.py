"""Confluent wire format: where the schema id of a record goes.

payload framing    value = 00, schema id (4 bytes, big-endian), Avro body
header framing     value = Avro body; header `__value_schema_id` = 00, schema id (4 bytes, big-endian)
"""

from __future__ import annotations

import struct

SCHEMA_ID_HEADER = "__value_schema_id"
MAGIC = 0


def frame(schema_id: int) -> bytes:
    """Write the five bytes that name a schema.

    Args:
        schema_id: the registry's id, 0 to 2**31 - 1.

    Returns:
        Magic byte and id.
    """
    return struct.pack(">bI", MAGIC, schema_id)

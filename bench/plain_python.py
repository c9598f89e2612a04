"""Contestant (b): what one writes in an afternoon with paho-mqtt and confluent-kafka's AvroSerializer.

paho acknowledges as soon as the callback returns, so this script loses readings when it is killed; that, too, is
plain. It checks nothing that the serializer does not check.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from paho.mqtt.enums import CallbackAPIVersion

SCHEMAS = Path(__file__).parents[1] / "schemas"
TOPIC, TELEGRAMS = os.environ["TOPIC"], os.environ["TELEGRAMS"]
ALWAYS = ("api_version", "name", "sma_time")

producer = Producer(
    {
        "bootstrap.servers": os.environ["BOOTSTRAP"],
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
    }
)
registry = SchemaRegistryClient({"url": os.environ["REGISTRY"]})
sensor_schema = (SCHEMAS / "machine_sensor.avsc").read_text()
meter_schema = (SCHEMAS / "smart_meter.avsc").read_text()
serialize_sensor = AvroSerializer(registry, sensor_schema)
serialize_telegram = AvroSerializer(registry, meter_schema)
sensor_context = SerializationContext(TOPIC, MessageField.VALUE)
telegram_context = SerializationContext(TELEGRAMS, MessageField.VALUE)
field_of_code = {
    field["x-source"].split("/")[1]: field["name"]
    for field in json.loads(meter_schema)["fields"]
    if isinstance(field.get("x-source"), str) and field["x-source"].endswith("/value")
}


def on_connect(client: mqtt.Client, *_: Any) -> None:
    """Subscribe to everything."""
    client.subscribe("#", 1)


def on_message(_client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
    """Forward one reading."""
    value = json.loads(message.payload)
    if message.topic == "sma":
        record = telegram_record(value)
        produce(TELEGRAMS, record["name"], serialize_telegram(record, telegram_context), message.topic)
    else:
        produce(TOPIC, value["machine"], serialize_sensor(value, sensor_context), message.topic)


def telegram_record(telegram: dict[str, Any]) -> dict[str, Any]:
    """Sort a telegram's registers into the fields of the schema."""
    record = {name: telegram.pop(name) for name in ALWAYS}
    others = record["other_registers"] = {}
    for code, register in telegram.items():
        if "time" in register:
            record.setdefault("measured_at", register["time"])
        if code in field_of_code:
            record[field_of_code[code]] = register["value"]
        else:
            others[code] = register
    return record


def produce(topic: str, key: str, value: bytes | None, source: str) -> None:
    """Hand over one record; wait while the queue is full."""
    while True:
        try:
            producer.produce(topic, value, key, headers=[("mqtt.topic", source)])
        except BufferError:
            producer.poll(0.1)
        else:
            producer.poll(0)
            return


def main() -> None:
    """Run until killed."""
    host, port = os.environ["MQTT"].split(":")
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "plain-python", protocol=mqtt.MQTTv5)
    client.on_connect = on_connect
    client.on_message = on_message
    client.connect(host, int(port))
    client.loop_forever()


if __name__ == "__main__":
    main()

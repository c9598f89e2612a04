"""IoT sensor gateway: MQTT messages in, Avro records in Kafka out, nothing lost on the way.

The path of a reading, from socket to Kafka:

    mqtt/reader.py          reads PUBLISH packets from the socket; each becomes a Reading (core/reading.py) in an Entry
    mqtt/source.py          connects, subscribes, acknowledges; sessions and repeats: core/session.py
    bridge/bridge.py        the loop: read, append, transform, produce, settle, acknowledge; bridge/pacing.py: how long
                            it waits
    spool/spool.py          the ordered log of unsettled readings: memory first, then disk (spool/file.py)
    spool/lane.py           one stream's queue to one Kafka topic, in order
    core/transform.py       Reading -> Record or DeadLetter; core/stream_transform.py makes it for a stream, inside
                            core/encoded_transform.py, which decodes gzip, MessagePack and CBOR
    core/codec/codec.py     JSON -> Avro: compiled.py generates the fast path, precise_encoder.py has the rules;
                            native_program.py writes the program for the encoder in C (native/), where that was built
    core/counters.py        which records their counters keep back; bridge/quarantine.py remembers them
    core/dead_letter.py     what a dead letter carries
    kafka/sink.py           produces records, reports the outcome of each; kafka/errors.py says what an error means
                            with exactly_once in transactions: kafka/transactional_sink.py
    kafka/run_producer.py   hands a run of records to librdkafka in one call (native/)
    core/ledger.py          received = delivered + dead-lettered + spooled + in flight + dropped

The packages, the lowest level first (`tests/core/test_layering.py` enforces it):

    errors, files, signals, text, certificate, log      used everywhere
    documents/  page/                                   YAML and text with line numbers; blocks -> HTML or Markdown
    core/                                               pure: readings, records, ledger, transform, codec
    contract/  settings/                                asyncapi.yaml -> Contract; gateway.yaml -> Settings
    mqtt/  spool/  kafka/  registry/                    the four ends; on one level with contract/ and settings/:
                                                        none of these six imports another
    installation                                        settings and contract -> how to reach every peer
    bridge/                                             the loop and how long it waits
    observe/                                            health, metrics, HTTP, status page
    service/                                            build, start, stop; schema ids; workers; systemd
    operate/                                            the commands that an operator runs
    cli/                                                their options and exit codes
    families/                                           no code: contracts of devices, for `gateway init --family`
"""

__version__ = "0.1.0"

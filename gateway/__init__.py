"""IoT sensor gateway: MQTT messages in, Avro-framed Kafka records out, nothing lost on the way.

The way of a reading:

    contract/    asyncapi.yaml -> Contract: what streams there are and what they must look like
    config.py    gateway.yaml -> Settings: where this installation's servers and secrets are
    mqtt.py      the brokers: subscribe, read batches of readings (mqtt_reader.py), acknowledge; beside it what was
                 subscribed (mqtt_subscriptions.py), what went wrong (mqtt_advice.py), mqtt_tls.py
    spool.py     every reading in one ordered log until it is safe: memory first, then disk.py, a row (row.py) a
                 reading; salvage/ reads what is left of a damaged file
    lane.py      one stream's readings on their way to one topic, in order
    core/        pure: address, codec, key, framing, headers (out of properties), event_time, transform: Reading ->
                 Record or DeadLetter; judged: of many readings at once; whole: a payload that is one value; array:
                 one that holds several readings; scale: numbers in another unit; continuity: are all of them there?
    kafka.py     produce records, report what became of them; kafka_errors.py: what its errors mean;
                 kafka_distance.py: how many requests may be under way
    registry.py  schema ids, kept in a lock file; registry_api.py: questions and answers in JSON
    bridge.py    the loop that ties these together
    ledger.py    the books: received = delivered + dead-lettered + spooled + in flight + dropped
    service.py   build, start from the Kafka end, stop from the MQTT end
    split.py     what each of several workers takes; workers.py starts and watches them

Around it: cli/ (the commands); peer_certificate.py (why a server's certificate is refused); settings/ (what
gateway.yaml is read and checked with) and reconcile.py (it fits the contract); health.py, metrics.py and http.py (what
an operator sees), figures.py and overview.py (the same as a page); log.py (one event, one line); systemd.py; stop.py
(signals as a flag); program.py (this program, started once more); memory.py (what is needed once, given back);
durable.py (files replaced whole); errors.py (whose fault, and what next); report.py (what a check found, for people and
for machines); installation.py (a gateway.yaml and all it leads to); sensors/ (readings made up from the contract);
tail.py and tailing.py (records, decoded); dlq/ (dead letters seen again); evolution/ (schemas under change: judged,
registered, locked); topics.py (Kafka topics by the contract); drift/ (the contract against the living world); doctor/
(the known traps, looked for live); init/ (a first gateway.yaml); docs/ (the contract as a page); status.py and top.py
with table.py; demo/ (everything on one machine).
"""

__version__ = "0.1.0"

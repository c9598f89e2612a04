"""How fast the gateway is, measured against what a user would run instead: `make bench`, `make bench-stages`.

load.py          readings by number: topic, payload, and the record that they shall become
load_broker.py   an MQTT broker that only blasts ready-made packets and counts acknowledgements; a process
far_end.py       real Kafka and registry: topics, counts, a decoded sample, latency
contract.py      the contract that a run's gateway reads
figures.py       what a process used: CPU, memory, bytes on the wire
contestants.py   the gateway and the others, each as a process of its own:
    ceiling.py       (a) librdkafka alone, given ready-made records; also the direct way in the latency rows
    plain_python.py  (b) paho and AvroSerializer
    go/              (c) paho for Go, franz-go, hamba/avro
    java/            (d) paho for Java and Kafka's client; forwards bytes
    rust/            (e) rumqttc, rdkafka, apache-avro, and (f) a tuned bridge
runs.py          what is measured, and how
__main__.py      the whole, from the first process to the files in docs/bench/
report.py        results -> docs/bench/README.md, and plot.py -> docs/bench/bench.svg
stages.py        one reading's cost, stage by stage, in one process
"""

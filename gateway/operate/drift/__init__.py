"""The contract against the running system: brokers, Kafka and the registry.

    broker.py       an MQTT broker: whether it accepts the gateway, what it grants, which topics no stream describes
    kafka.py        topics and their settings, and how other producers choose partitions
    partitioner.py  the last records of a topic against two ways to choose a partition
    registry.py     subjects, ids, newest versions, lock file
    survey.py       all peers at once

Nothing is changed anywhere, and the gateway's own session at a broker is not touched: the gateway may run meanwhile.
A peer that does not answer is a finding of its own, and what a peer does not show is `unknown` and no drift.
"""

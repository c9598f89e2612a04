"""The contract against the living world: what brokers, Kafka and the registry are, and what the contract says they are.

    observation.py  one comparison, and all of them as a table
    broker.py       an MQTT broker: whether it takes us, what it grants, what arrives that no stream describes
    visit.py        a stay at a broker under a name that nobody knows
    undescribed.py       topics counted by their first levels
    kafka.py        topics and their settings, and where other producers put a key
    partitioner.py  the last records of a topic against the two ways of choosing a partition
    registry.py     subjects, ids, newest versions, lock file
    survey.py       all peers at once

Nothing is changed anywhere, and nothing is taken from the gateway's own session: it may run meanwhile.
"""

"""The known traps, looked for where they lie: at the peers, on the disk, in the certificates, on this machine.

    diagnosis.py     one thing that was looked at, and all of them as lines
    examination.py   everything at once, a thread a peer
    brokers.py       an MQTT broker: session kept, filters and QoS granted, what it has thrown away
    kafka.py         topics, in-sync replicas, other producers' partitioner
    registry.py      schemas registered, ids pinned
    running.py       what the running gateway itself complains about: client ids, spool, lanes
    storage.py       the folder of the spool: room, speed, rights, file system
    certificates.py  dates of the files and of the servers' certificates
    clock.py         this machine's clock against the registry's or Kafka's
    machine.py       the processor, Python, librdkafka

`drift/` compares with the contract and shows both sides; here a line says whether it hurts, and what mends it. What
drift can see is asked through drift. As there, nothing is changed at a peer, and the gateway may run meanwhile.
"""

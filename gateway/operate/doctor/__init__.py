"""Known causes of trouble, checked at the peers, on the disk, in the certificates and on this machine.

    examination.py   everything at once, one thread per place
    peers.py         brokers: session kept, filters and QoS granted, messages dropped; Kafka: topics, in-sync replicas,
                     other producers' partitioner; registry: schemas registered, ids pinned
    running.py       what the running gateway reports: client ids in use elsewhere, peers, spool
    storage.py       the folder of the spool: room, speed, permissions, file system
    certificates.py  validity of the files and of the servers' certificates
    clock.py         this machine's clock against the registry's or Kafka's
    machine.py       processor, Python, librdkafka

`drift/` shows the contract and the peer side by side; here each finding says how serious it is and what fixes it. The
checks that `drift/` has are used, not repeated. Nothing is changed at a peer, and the gateway may run meanwhile.

An error loses readings or keeps the gateway from working. A warning will, or may, do so one day.
"""

"""The contract against the running system: brokers, Kafka and the registry.

Nothing is changed anywhere, and the gateway's own session at a broker is not touched: the gateway may run meanwhile.
A peer that does not answer is a finding of its own, and what a peer does not show is `unknown` and no drift.
"""

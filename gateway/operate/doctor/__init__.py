"""Known causes of trouble, checked at the peers, on the disk, in the certificates and on this machine.

`drift/` shows the contract and the peer side by side; here each finding says how serious it is and what fixes it. The
checks that `drift/` has are used, not repeated. Nothing is changed at a peer, and the gateway may run meanwhile.

An error loses readings or keeps the gateway from working. A warning will, or may, do so one day.
"""

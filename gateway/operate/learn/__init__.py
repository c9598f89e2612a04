"""`gateway learn`: from an unknown broker to a contract.

    ../listener.py  ../recording.py
                      the messages: from the broker, a recording, a spool, dead letters; kept in one file of spool rows
    evidence.py       what the values of a topic look like, in bounded memory
    descriptions/     what devices publish about themselves
    addresses.py      topics -> addresses with parameters
    types.py          evidence of a value -> its Avro type, the words of x-source, and the evidence as text
    proposal.py  record.py
                      addresses and evidence -> streams with messages, keys, times and records
    devices.py        families of devices, recognised by their own contracts
    contract_file.py  streams -> asyncapi.yaml, .avsc files, gateway.yaml
    score.py          each message that was received, transformed by the proposal
    redaction.py      examples without values
    extension.py  widening.py
                      a contract that exists -> its next version
    findings.py  page.py
                      the report, for a terminal and as a page
    learn.py          the steps, in order

Descriptions come first, samples second. Nothing is guessed silently: each conversion is in x-source, the evidence of
each field is its `doc`, and what has no model is reported with its reason.
"""

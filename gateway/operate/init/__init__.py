"""A first gateway.yaml: a few questions, half a minute of listening, a short file.

    start.py     the order of things: questions, listening, writing, what to do next
    answers.py   where the servers are: from flags, else asked, else the contract's
    hearing.py   which streams publish, and what publishes that no stream describes
    settings_file.py  the answers as gateway.yaml

Nothing is changed at any server. What is written is checked by `gateway check`, and looked at live by `gateway doctor`.
"""

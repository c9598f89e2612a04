"""`gateway init` writes a first gateway.yaml: some questions, half a minute of listening, a short file.

    start.py           the steps: ask, listen, write, name what to do next
    answers.py         the addresses of the servers: from options, else asked, else the contract's
    traffic_sample.py  which streams publish, and which topics no stream describes
    settings_file.py   the text of gateway.yaml

Nothing is changed at any server. `gateway check` then checks the file, and `gateway doctor` the servers.
"""

"""`gateway init` writes a first gateway.yaml: some questions, half a minute of listening, a short file.

Nothing is changed at any server. `gateway check` then checks the file, and `gateway doctor` the servers.
"""

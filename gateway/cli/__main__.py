"""`python -m gateway.cli` runs `gateway`."""

from gateway.cli import main

main()

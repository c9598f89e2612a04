"""`gateway shadow` and `gateway record`."""

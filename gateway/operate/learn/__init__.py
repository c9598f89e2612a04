"""`gateway learn`: from an unknown broker to a contract."""

"""`gateway tail`: follow a Kafka topic and show its records, decoded, one line each."""

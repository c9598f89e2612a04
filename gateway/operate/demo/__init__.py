"""`gateway demo`: the whole path from a sensor to Kafka on one machine."""

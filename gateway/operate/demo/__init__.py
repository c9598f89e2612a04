"""Everything between a sensor and Kafka on one machine."""

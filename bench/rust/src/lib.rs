//! What both bridges share: the settings, the schema and the producer's properties.

use rdkafka::config::ClientConfig;

pub const CLIENT_ID: &str = "plain-rust";
pub const FRAME: [u8; 5] = [0, 0, 0, 0, 1];
pub const WINDOW: u16 = 8192; // unacknowledged readings that the broker may send
pub const SCHEMA: &str = r#"{"type": "record", "name": "MachineSensor", "namespace": "gateway.factory", "fields": [
    {"name": "machine", "type": "string"}, {"name": "sensor", "type": "string"},
    {"name": "value", "type": "float"}, {"name": "units", "type": "string"}]}"#;

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

pub fn producer_properties() -> ClientConfig {
    let mut properties = ClientConfig::new();
    properties
        .set("bootstrap.servers", variable("BOOTSTRAP"))
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4");
    properties
}

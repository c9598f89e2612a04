//! Contestant (e): a plain bridge in Rust, of rumqttc, rdkafka and apache-avro.
//!
//! It gives the gateway's guarantee: a reading is acknowledged to the MQTT broker after Kafka has acknowledged its
//! record. One task awaits the deliveries in order of arrival, so the acknowledgements keep that order.

use apache_avro::{Schema, to_avro_datum};
use bridge::{CLIENT_ID, FRAME, SCHEMA, WINDOW, producer_properties, variable};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Deserialize, Serialize)]
struct Reading {
    machine: String,
    sensor: String,
    value: f32,
    units: String,
}

#[tokio::main]
async fn main() {
    let producer: FutureProducer = producer_properties().create().unwrap();
    let schema = Schema::parse_str(SCHEMA).unwrap();
    let topic = variable("TOPIC");
    let address = variable("MQTT");
    let (host, port) = address.split_once(':').unwrap();
    let mut options = MqttOptions::new(CLIENT_ID, host, port.parse().unwrap());
    options.set_manual_acks(true).set_receive_maximum(Some(WINDOW));
    let (client, mut events) = AsyncClient::new(options, WINDOW.into());
    let (sender, receiver) = mpsc::channel(WINDOW.into());
    tokio::spawn(acknowledge(client.clone(), receiver));
    client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
    loop {
        if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() {
            let delivery = produce(&producer, &schema, &topic, &message).await;
            sender.send((message, delivery)).await.unwrap();
        }
    }
}

async fn produce(producer: &FutureProducer, schema: &Schema, topic: &str, message: &Publish) -> DeliveryFuture {
    let reading: Reading = serde_json::from_slice(&message.payload).unwrap();
    let mut value = FRAME.to_vec();
    let datum = apache_avro::to_value(&reading).unwrap().resolve(schema).unwrap();
    value.extend(to_avro_datum(schema, datum).unwrap());
    let header = Header { key: "mqtt.topic", value: Some(&message.topic[..]) };
    let record = FutureRecord::to(topic)
        .key(&reading.machine)
        .payload(&value)
        .headers(OwnedHeaders::new_with_capacity(1).insert(header));
    match producer.send_result(record) {
        Ok(delivery) => delivery,
        Err((error, _)) => panic!("{error}"),
    }
}

async fn acknowledge(client: AsyncClient, mut deliveries: mpsc::Receiver<(Publish, DeliveryFuture)>) {
    while let Some((message, delivery)) = deliveries.recv().await {
        delivery.await.unwrap().unwrap();
        client.ack(&message).await.unwrap();
    }
}

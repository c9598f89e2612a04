//! Contestant (f): a bridge in Rust with what makes it fast: its own reader of MQTT packets, JSON that borrows from the
//! packet, serde_avro_fast, and acknowledgements that are written together.
//!
//! It gives the gateway's guarantee: deliveries may arrive in any order, and the acknowledgements are sent in the order
//! of arrival. One thread does everything besides librdkafka's own.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bridge::{CLIENT_ID, FRAME, SCHEMA, WINDOW, producer_properties, variable};
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use serde::{Deserialize, Serialize};
use serde_avro_fast::ser::SerializerConfig;
use serde_avro_fast::{Schema, to_datum};

const READ_BYTES: usize = 262_144;
const PUBLISH: u8 = 0x30;
const QOS_1: u8 = 0x02;
const PAUSE: Duration = Duration::from_millis(1); // for deliveries, while the socket has nothing

#[derive(Deserialize, Serialize)]
struct Reading<'a> {
    #[serde(borrow)]
    machine: Cow<'a, str>,
    #[serde(borrow)]
    sensor: Cow<'a, str>,
    value: f32,
    #[serde(borrow)]
    units: Cow<'a, str>,
}

/// The readings that are in flight, the oldest first: packet id, and whether Kafka has the record.
#[derive(Default)]
struct InFlight {
    oldest: usize, // number of the first in the queue
    queue: VecDeque<(u16, bool)>,
}

#[derive(Default)]
struct Deliveries(RefCell<InFlight>);

// The producer is polled by the thread that owns it.
unsafe impl Sync for Deliveries {}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result {
            panic!("{error}");
        }
        let mut in_flight = self.0.borrow_mut();
        let place = number - in_flight.oldest;
        in_flight.queue[place].1 = true;
    }
}

impl Deliveries {
    fn add(&self, packet_id: u16) -> usize {
        let mut in_flight = self.0.borrow_mut();
        in_flight.queue.push_back((packet_id, false));
        in_flight.oldest + in_flight.queue.len() - 1
    }

    fn is_empty(&self) -> bool {
        self.0.borrow().queue.is_empty()
    }

    /// Writes the acknowledgements of the readings that are in Kafka, up to the first that is not.
    fn acknowledge(&self, acknowledgements: &mut Vec<u8>) {
        let mut in_flight = self.0.borrow_mut();
        while let Some((packet_id, true)) = in_flight.queue.front() {
            acknowledgements.extend([0x40, 2]);
            acknowledgements.extend(packet_id.to_be_bytes());
            in_flight.queue.pop_front();
            in_flight.oldest += 1;
        }
    }
}

struct Bridge<'s> {
    producer: BaseProducer<Deliveries>,
    topic: String,
    avro: SerializerConfig<'s>,
    value: Vec<u8>,
}

impl Bridge<'_> {
    /// Takes the whole packets at the start of the data; gives their length.
    fn take(&mut self, data: &[u8]) -> usize {
        let mut taken = 0;
        while let Some((head, end)) = packet(&data[taken..]) {
            let first = data[taken];
            if first & 0xF0 == PUBLISH {
                assert!(first & 0x06 == QOS_1, "only QoS 1 is sent here");
                self.forward(&data[taken + head..taken + end]);
            }
            taken += end;
        }
        taken
    }

    fn forward(&mut self, publish: &[u8]) {
        let topic_end = 2 + usize::from(u16::from_be_bytes([publish[0], publish[1]]));
        let packet_id = u16::from_be_bytes([publish[topic_end], publish[topic_end + 1]]);
        let (properties, width) = remaining_length(&publish[topic_end + 2..]).unwrap();
        let reading: Reading = serde_json::from_slice(&publish[topic_end + 2 + width + properties..]).unwrap();
        self.value.clear();
        self.value.extend(FRAME);
        self.value = to_datum(&reading, std::mem::take(&mut self.value), &mut self.avro).unwrap();
        let header = Header { key: "mqtt.topic", value: Some(&publish[2..topic_end]) };
        let number = self.producer.context().add(packet_id);
        let record = BaseRecord::with_opaque_to(&self.topic, number)
            .key(reading.machine.as_bytes())
            .payload(&self.value)
            .headers(OwnedHeaders::new_with_capacity(1).insert(header));
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }
}

/// The length of a packet's fixed header, and of the whole packet; None while it is not complete.
fn packet(data: &[u8]) -> Option<(usize, usize)> {
    let (length, width) = remaining_length(data.get(1..)?)?;
    let end = 1 + width + length;
    (data.len() >= end).then_some((1 + width, end))
}

/// A variable byte integer (MQTT 5.0 section 1.5.5), and how many bytes it has.
fn remaining_length(data: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (place, byte) in data.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((length, place + 1));
        }
    }
    None
}

fn connect() -> Vec<u8> {
    let [high, low] = WINDOW.to_be_bytes();
    let mut body = b"\x00\x04MQTT\x05\x02\x00\x00\x03\x21".to_vec(); // clean start, no keep-alive, Receive Maximum
    body.extend([high, low, 0, CLIENT_ID.len() as u8]);
    body.extend(CLIENT_ID.as_bytes());
    [&[0x10, body.len() as u8], &body[..]].concat()
}

fn main() {
    let schema: Schema = SCHEMA.parse().unwrap();
    let producer = BaseProducer::from_config_and_context(&producer_properties(), Deliveries::default()).unwrap();
    let avro = SerializerConfig::new(&schema);
    let mut bridge = Bridge { producer, topic: variable("TOPIC"), avro, value: Vec::new() };
    let mut socket = TcpStream::connect(variable("MQTT")).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.write_all(&connect()).unwrap();
    socket.write_all(b"\x82\x07\x00\x01\x00\x00\x01#\x01").unwrap(); // SUBSCRIBE to # at QoS 1
    let (mut data, mut held, mut acknowledgements) = (vec![0; READ_BYTES], 0, Vec::new());
    loop {
        socket.set_nonblocking(!bridge.producer.context().is_empty()).unwrap();
        match socket.read(&mut data[held..]) {
            Ok(0) => return,
            Ok(count) => {
                held += count;
                let taken = bridge.take(&data[..held]);
                data.copy_within(taken..held, 0);
                held -= taken;
                bridge.producer.poll(Duration::ZERO);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => bridge.producer.poll(PAUSE).into(),
            Err(error) => panic!("{error}"),
        }
        bridge.producer.context().acknowledge(&mut acknowledgements);
        socket.set_nonblocking(false).unwrap();
        socket.write_all(&acknowledgements).unwrap();
        acknowledgements.clear();
    }
}

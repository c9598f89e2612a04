// Contestant (c): a plain bridge in Go, of paho, franz-go and hamba/avro.
//
// It gives the gateway's guarantee: a reading is acknowledged to the MQTT broker after Kafka has acknowledged its
// record. paho keeps the order of acknowledgements.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

type reading struct {
	Machine string  `json:"machine" avro:"machine"`
	Sensor  string  `json:"sensor" avro:"sensor"`
	Value   float32 `json:"value" avro:"value"`
	Units   string  `json:"units" avro:"units"`
}

const schema = `{"type": "record", "name": "MachineSensor", "namespace": "gateway.factory", "fields": [
	{"name": "machine", "type": "string"}, {"name": "sensor", "type": "string"},
	{"name": "value", "type": "float"}, {"name": "units", "type": "string"}]}`

func main() {
	producer := newProducer()
	connection, err := net.Dial("tcp", os.Getenv("MQTT"))
	must(err)
	var client *paho.Client
	parsed := avro.MustParse(schema)
	topic := os.Getenv("TOPIC")
	frame := []byte{0, 0, 0, 0, 1}
	forward := func(received paho.PublishReceived) (bool, error) {
		message := received.Packet
		var r reading
		must(json.Unmarshal(message.Payload, &r))
		body, err := avro.Marshal(parsed, r)
		must(err)
		record := &kgo.Record{
			Topic:   topic,
			Key:     []byte(r.Machine),
			Value:   append(frame[:5:5], body...),
			Headers: []kgo.RecordHeader{{Key: "mqtt.topic", Value: []byte(message.Topic)}},
		}
		producer.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			must(err)
			must(client.Ack(message))
		})
		return true, nil
	}
	interval, _ := milliseconds("ACKNOWLEDGE_MS") // 0 for paho's default
	client = paho.NewClient(paho.ClientConfig{
		Conn:                       connection,
		EnableManualAcknowledgment: true,
		SendAcksInterval:           interval,
		OnPublishReceived:          []func(paho.PublishReceived) (bool, error){forward},
	})
	// paho keeps room for as many messages as the Receive Maximum allows.
	window := uint16(8192)
	_, err = client.Connect(context.Background(), &paho.Connect{
		ClientID: "plain-go", KeepAlive: 60, CleanStart: true,
		Properties: &paho.ConnectProperties{ReceiveMaximum: &window},
	})
	must(err)
	_, err = client.Subscribe(context.Background(), &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: "#", QoS: 1}},
	})
	must(err)
	<-client.Done()
}

func newProducer() *kgo.Client {
	options := []kgo.Opt{
		kgo.SeedBrokers(os.Getenv("BOOTSTRAP")),
		kgo.RequiredAcks(kgo.AllISRAcks()), // idempotence is the default
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
	}
	if linger, given := milliseconds("LINGER_MS"); given {
		options = append(options, kgo.ProducerLinger(linger))
	}
	producer, err := kgo.NewClient(options...)
	must(err)
	return producer
}

func milliseconds(variable string) (time.Duration, bool) {
	count, err := strconv.Atoi(os.Getenv(variable))
	return time.Duration(count) * time.Millisecond, err == nil
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

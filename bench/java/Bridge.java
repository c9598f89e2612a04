import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.eclipse.paho.mqttv5.client.IMqttToken;
import org.eclipse.paho.mqttv5.client.MqttCallback;
import org.eclipse.paho.mqttv5.client.MqttClient;
import org.eclipse.paho.mqttv5.client.MqttConnectionOptions;
import org.eclipse.paho.mqttv5.client.MqttDisconnectResponse;
import org.eclipse.paho.mqttv5.client.persist.MemoryPersistence;
import org.eclipse.paho.mqttv5.common.MqttException;
import org.eclipse.paho.mqttv5.common.MqttMessage;
import org.eclipse.paho.mqttv5.common.packet.MqttProperties;

/**
 * Contestant (d): a bridge that forwards bytes, of Eclipse Paho and Kafka's own client.
 *
 * <p>It gives the gateway's guarantee, that a reading is acknowledged to the MQTT broker after Kafka has acknowledged
 * its record, and reads no payload: the key is a level of the MQTT topic, the value is the payload behind a frame.
 * Acknowledgements go out in the order of Kafka's, which is not that of arrival as MQTT would have it.
 */
public final class Bridge implements MqttCallback {
    private static final byte[] FRAME = {0, 0, 0, 0, 1};
    private static final int MACHINE_LEVEL = 1;

    private final String topic = System.getenv("TOPIC");
    private final Producer<byte[], byte[]> producer;
    private final MqttClient client;

    private Bridge() throws MqttException {
        producer = new KafkaProducer<>(
                Map.of(
                        ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BOOTSTRAP"),
                        ProducerConfig.ACKS_CONFIG, "all", // idempotence is the default
                        ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4"),
                new ByteArraySerializer(),
                new ByteArraySerializer());
        client = new MqttClient("tcp://" + System.getenv("MQTT"), "plain-java", new MemoryPersistence());
        client.setCallback(this);
        client.setManualAcks(true);
    }

    public static void main(String[] args) throws MqttException {
        MqttConnectionOptions options = new MqttConnectionOptions();
        options.setReceiveMaximum(8192);
        MqttClient client = new Bridge().client;
        client.connect(options);
        client.subscribe("#", 1);
    }

    @Override
    public void messageArrived(String source, MqttMessage message) {
        byte[] key = source.split("/")[MACHINE_LEVEL].getBytes(StandardCharsets.UTF_8);
        byte[] payload = message.getPayload();
        byte[] value = ByteBuffer.allocate(FRAME.length + payload.length).put(FRAME).put(payload).array();
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, key, value);
        record.headers().add("mqtt.topic", source.getBytes(StandardCharsets.UTF_8));
        producer.send(record, (written, error) -> {
            if (error != null) {
                fail(error);
            }
            acknowledge(message);
        });
    }

    private void acknowledge(MqttMessage message) {
        try {
            client.messageArrivedComplete(message.getId(), message.getQos());
        } catch (MqttException error) {
            fail(error);
        }
    }

    private static void fail(Exception error) {
        error.printStackTrace();
        Runtime.getRuntime().halt(1);
    }

    @Override
    public void mqttErrorOccurred(MqttException error) {
        fail(error);
    }

    @Override
    public void disconnected(MqttDisconnectResponse response) {
        fail(response.getException());
    }

    @Override
    public void deliveryComplete(IMqttToken token) {}

    @Override
    public void connectComplete(boolean isReconnect, String server) {}

    @Override
    public void authPacketArrived(int reasonCode, MqttProperties properties) {}
}

import com.fasterxml.jackson.databind.ObjectMapper;
import io.apicurio.registry.serde.Default4ByteIdHandler;
import io.apicurio.registry.serde.avro.AvroKafkaDeserializer;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericFixed;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Reader BOOTSTRAP REGISTRY TOPIC COUNT SECONDS: prints the first records of a topic, one JSON object a line.
 *
 * <p>The deserializer is Apicurio's as it comes, told only that records carry Confluent's framing: byte 0, then the
 * schema's content id in four bytes. Everything else here turns what it returns into JSON.
 */
public final class Reader {
    private Reader() {}

    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[3]);
        long deadline = System.nanoTime() + Duration.ofSeconds(Long.parseLong(args[4])).toNanos();
        ObjectMapper json = new ObjectMapper();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        try (KafkaConsumer<String, Object> consumer = new KafkaConsumer<>(settings(args[0], args[1]))) {
            List<TopicPartition> partitions = partitions(consumer, args[2]);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            int read = 0;
            while (read < count && System.nanoTime() < deadline) {
                for (ConsumerRecord<String, Object> record : consumer.poll(Duration.ofMillis(200))) {
                    if (read++ < count) {
                        out.println(json.writeValueAsString(describe(record)));
                    }
                }
            }
            if (read < count) {
                System.err.println(read + " of " + count + " records of topic " + args[2] + " came in time");
                System.exit(1);
            }
        }
        out.flush();
        System.exit(0); // the deserializer's HTTP client leaves threads behind
    }

    private static Properties settings(String bootstrap, String registry) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("enable.auto.commit", "false");
        settings.put("key.deserializer", StringDeserializer.class.getName());
        settings.put("value.deserializer", AvroKafkaDeserializer.class.getName());
        settings.put("apicurio.registry.url", registry);
        settings.put("apicurio.registry.id-handler", Default4ByteIdHandler.class.getName());
        settings.put("apicurio.registry.use-id", "contentId");
        return settings;
    }

    private static List<TopicPartition> partitions(KafkaConsumer<String, Object> consumer, String topic) {
        List<TopicPartition> partitions = new ArrayList<>();
        consumer.partitionsFor(topic).forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
        return partitions;
    }

    private static Map<String, Object> describe(ConsumerRecord<String, Object> record) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("key", record.key());
        told.put("value", plain(record.value()));
        told.put("schema", record.value() instanceof GenericRecord value ? value.getSchema().getFullName() : null);
        told.put("headers", headers(record));
        told.put("partition", record.partition());
        told.put("offset", record.offset());
        told.put("timestamp", record.timestamp());
        return told;
    }

    private static Map<String, String> headers(ConsumerRecord<String, Object> record) {
        Map<String, String> headers = new LinkedHashMap<>();
        for (Header header : record.headers()) {
            headers.put(header.key(), new String(header.value(), StandardCharsets.UTF_8));
        }
        return headers;
    }

    private static Object plain(Object value) {
        if (value instanceof GenericRecord record) {
            Map<String, Object> fields = new LinkedHashMap<>();
            for (Schema.Field field : record.getSchema().getFields()) {
                fields.put(field.name(), plain(record.get(field.pos())));
            }
            return fields;
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> entries = new LinkedHashMap<>();
            map.forEach((key, entry) -> entries.put(key.toString(), plain(entry)));
            return entries;
        }
        if (value instanceof List<?> list) {
            return list.stream().map(Reader::plain).toList();
        }
        if (value instanceof ByteBuffer buffer) {
            return StandardCharsets.ISO_8859_1.decode(buffer.duplicate()).toString();
        }
        if (value instanceof GenericFixed fixed) {
            return new String(fixed.bytes(), StandardCharsets.ISO_8859_1);
        }
        if (value instanceof Float number) {
            return number.doubleValue(); // the exact value, not the shortest float that prints the same
        }
        return value instanceof Number || value instanceof Boolean || value == null ? value : value.toString();
    }
}

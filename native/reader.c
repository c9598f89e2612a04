/* MQTT packets -> readings: the PUBLISH packets of a batch, for FastReader.feed in mqtt/reader.py.

   Here are those that nearly all are: at QoS 0 or 1, whole, neither retained nor sent before, and with a payload within
   the limit. The reader stops in front of any other packet, and of one that breaks the protocol: Python takes that, and
   comes back with the next. Every look at a byte is behind a comparison with the end. */

#include "native.h"

enum { FIRST_AT_QOS_0 = 0x30, FIRST_AT_QOS_1 = 0x32, VARINT_BYTES = 4, RECENT_BITS = 16, LONGEST_RECENT = 128 };

/* What each packet of a batch is read with, and the objects that its entry is made of. */
typedef struct {
    Py_ssize_t limit, most_properties; /* bytes of a payload, and those of properties that are kept */
    int is_v5;
    PyObject *keeps; /* whether a reading of this stream has these properties */
    PyObject *stream_of, *now, *connection, *arrived, *streams;
    PyObject *stream; /* of the last packet; borrowed, only to compare */
} Batch;

/* A PUBLISH in the buffer. */
typedef struct {
    const unsigned char *topic, *properties, *payload, *end;
    Py_ssize_t topic_size, properties_size;
    long packet_id; /* 0 at QoS 0 */
} Publish;

/* Read a variable byte integer (MQTT 5.0 section 1.5.5); give what follows it, or NULL when it has no end here. */
static const unsigned char *read_varint(const unsigned char *at, const unsigned char *end, Py_ssize_t *value) {
    *value = 0;
    for (int place = 0; place < VARINT_BYTES && at < end; place++) {
        *value |= (Py_ssize_t)(*at & 0x7F) << 7 * place;
        if (!(*at++ & 0x80)) return at;
    }
    return NULL;
}

/* Find the parts of the packet at a place; false when it is one for Python. */
static bool find_publish(const Batch *batch, const unsigned char *at, const unsigned char *end, Publish *publish) {
    Py_ssize_t size;
    bool has_id = *at == FIRST_AT_QOS_1;
    if (!has_id && *at != FIRST_AT_QOS_0) return false;
    at = read_varint(at + 1, end, &size);
    if (!at || size > end - at || size < 2) return false;
    end = at + size;
    publish->topic_size = at[0] << 8 | at[1];
    publish->topic = at += 2;
    if (!publish->topic_size || publish->topic_size + 2 * has_id > end - at) return false;
    at += publish->topic_size;
    publish->packet_id = has_id ? at[0] << 8 | at[1] : 0;
    at += 2 * has_id;
    size = 0;
    if (batch->is_v5 && (!(at = read_varint(at, end, &size)) || size > end - at)) return false;
    publish->properties = at;
    publish->properties_size = size;
    publish->payload = at += size;
    publish->end = end;
    return end - at <= batch->limit && (publish->packet_id || !has_id);
}

static PyObject *bytes_of(const void *at, Py_ssize_t size) { return PyBytes_FromStringAndSize(at, size); }

/* Give a topic as bytes: those of the last message that had it, if they are still here, because they know their hash. */
static PyObject *topic_of(const Publish *publish) {
    static PyObject *recent[1 << RECENT_BITS];
    const char *at = (const char *)publish->topic;
    Py_ssize_t size = publish->topic_size;
    if (size > LONGEST_RECENT) return bytes_of(publish->topic, size);
    uint64_t hash = hash_of(at, (int32_t)size); /* of both ends, where topics of one kind are often the same */
    for (Py_ssize_t place = 8; place < size - 8; place += 8) hash = (hash ^ eight_bytes(at + place)) * MIX;
    PyObject **topic = &recent[hash * MIX >> (64 - RECENT_BITS)];
    if (!*topic || PyBytes_Size(*topic) != size || memcmp(PyBytes_AsString(*topic), at, (size_t)size) != 0) {
        Py_XDECREF(*topic);
        *topic = bytes_of(publish->topic, size);
    }
    return Py_XNewRef(*topic);
}

/* Give the properties that a reading has of its packet, cut, or None. */
static PyObject *properties_of(const Batch *batch, const Publish *publish, PyObject *stream) {
    Py_ssize_t size = publish->properties_size;
    if (!size) return Py_NewRef(Py_None);
    PyObject *properties = bytes_of(publish->properties, size < batch->most_properties ? size : batch->most_properties);
    PyObject *keeps = properties ? PyObject_CallFunctionObjArgs(batch->keeps, stream, properties, NULL) : NULL;
    if (keeps != Py_True) Py_CLEAR(properties);
    Py_XDECREF(keeps);
    return keeps == Py_False ? Py_NewRef(Py_None) : properties;
}

/* Make the reading of a packet, as Reading(stream, topic, payload, now, qos). */
static PyObject *reading_of(Batch *batch, const Publish *publish) {
    PyObject *topic = topic_of(publish), *reading = NULL;
    PyObject *payload = bytes_of(publish->payload, publish->end - publish->payload);
    PyObject *stream = topic ? PyObject_CallFunctionObjArgs(batch->stream_of, topic, NULL) : NULL;
    PyObject *qos = PyLong_FromLong(publish->packet_id != 0);
    if (stream && stream != batch->stream && PySet_Add(batch->streams, stream) < 0) Py_CLEAR(stream);
    batch->stream = stream;
    PyObject *properties = stream ? properties_of(batch, publish, stream) : NULL;
    if (payload && qos && properties) /* the arguments between QoS and properties are the defaults */
        reading = properties == Py_None
                      ? PyObject_CallFunctionObjArgs(Reading.type, stream, topic, payload, batch->now, qos, NULL)
                      : PyObject_CallFunction(Reading.type, "OOOOOOOiy#O", stream, topic, payload, batch->now, qos,
                                              Py_False, Py_False, -1, "", (Py_ssize_t)0, properties);
    Py_XDECREF(properties);
    Py_XDECREF(topic);
    Py_XDECREF(payload);
    Py_XDECREF(stream);
    Py_XDECREF(qos);
    return reading;
}

/* Append the entry of a packet, Entry(reading, connection, packet_id). */
static bool append(Batch *batch, const Publish *publish) {
    PyObject *reading = reading_of(batch, publish), *packet_id = PyLong_FromLong(publish->packet_id), *entry = NULL;
    if (reading && packet_id)
        entry = PyObject_CallFunctionObjArgs(Entry.type, reading, batch->connection, packet_id, NULL);
    bool is_appended = entry && PyList_Append(batch->arrived, entry) == 0;
    Py_XDECREF(reading);
    Py_XDECREF(packet_id);
    Py_XDECREF(entry);
    return is_appended;
}

/* What Python calls: buffer, place, limit, whether it is MQTT 5, which properties are kept, how many bytes of them,
   stream_of, now, connection, list of arrived entries, set of their streams. Gives the place of the first packet that is
   left to Python, or the end. */
PyObject *read_publishes(PyObject *module, PyObject *arguments) {
    Batch batch = {.stream = NULL};
    PyObject *buffer;
    Py_ssize_t place;
    Publish publish;
    if (!PyArg_ParseTuple(arguments, "SnnpOnOOOO!O", &buffer, &place, &batch.limit, &batch.is_v5, &batch.keeps,
                          &batch.most_properties, &batch.stream_of, &batch.now, &batch.connection, &PyList_Type,
                          &batch.arrived, &batch.streams))
        return NULL;
    const unsigned char *start = (const unsigned char *)PyBytes_AsString(buffer), *at = start + place;
    const unsigned char *end = start + PyBytes_Size(buffer);
    while (at < end && find_publish(&batch, at, end, &publish)) {
        if (!append(&batch, &publish)) return NULL;
        at = publish.end;
    }
    return PyLong_FromSsize_t(at - start);
}

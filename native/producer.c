/* Runs of records -> librdkafka, for KafkaSink in kafka/sink.py: all of a run but the last, which carries the report.

   confluent-kafka looks up the topic of each record, allocates a state for it, and takes the GIL for each report, also
   if no one wants it. Here a run is one call with one look-up, and its records have no state: confluent-kafka's callback
   returns at once. A record that Python should see ends the call: one with other types, or that librdkafka refuses.

   The functions are those of the librdkafka that confluent-kafka has loaded; kafka/run_producer.py finds them. The handle of a
   producer comes from an interceptor, librdkafka's own means: this module is a plugin, and librdkafka calls `conf_init`
   for a configuration that names it, and `on_new` for the producer that is made with that. */

#include "native.h"
#include <sys/types.h>

/* From rdkafka.h, whose ABI librdkafka keeps stable: kinds of arguments of rd_kafka_producev, a flag, and an error. */
enum { END = 0, TOPIC = 2, PARTITION = 3, VALUE = 4, KEY = 5, FLAGS = 7, TIMESTAMP = 8, HEADERS = 10 };
enum { COPY = 2, NOT_IMPLEMENTED = -170 };

typedef int OnNew(void *handle, const void *configuration, void *opaque, char *error, size_t size);

static struct {
    int (*producev)(void *handle, ...);
    void *(*headers_new)(size_t count);
    int (*header_add)(void *headers, const char *name, ssize_t name_size, const void *value, ssize_t size);
    void (*headers_destroy)(void *headers);
    void *(*topic_new)(void *handle, const char *name, void *configuration);
    void (*topic_destroy)(void *topic);
    int (*add_on_new)(void *configuration, const char *name, OnNew *on_new, void *opaque);
} kafka;
static const char *const NAME = "gateway";
static _Thread_local void *newest; /* producer that was made in this thread, and is not taken yet */

static int on_new(void *handle, const void *configuration, void *opaque, char *error, size_t size) {
    newest = handle;
    return 0;
}

/* What librdkafka calls when a configuration names this module. */
__attribute__((visibility("default"))) int conf_init(void *configuration, void **opaque, char *error, size_t size) {
    return kafka.add_on_new ? kafka.add_on_new(configuration, NAME, on_new, NULL) : NOT_IMPLEMENTED;
}

/* What Python calls: the addresses of librdkafka's functions, in the order above. */
PyObject *use_librdkafka(PyObject *module, PyObject *arguments) {
    unsigned long long at[7];
    if (!PyArg_ParseTuple(arguments, "KKKKKKK", at, at + 1, at + 2, at + 3, at + 4, at + 5, at + 6)) return NULL;
    void **functions = (void **)&kafka;
    for (int place = 0; place < 7; place++) functions[place] = (void *)(uintptr_t)at[place];
    Py_RETURN_NONE;
}

/* What Python calls: take the producer that this thread has made last; None when there is none. The caller keeps
   confluent-kafka's object as long, and lets go of this one before it closes that. */
PyObject *take_client(PyObject *module, PyObject *arguments) {
    PyObject *capsule = newest ? PyCapsule_New(newest, NAME, NULL) : Py_NewRef(Py_None);
    newest = NULL;
    return capsule;
}

/* Look at bytes, or None; false for anything else. */
static bool look_at(PyObject *object, char **at, Py_ssize_t *size) {
    *at = NULL;
    *size = 0;
    return object && (object == Py_None || PyBytes_AsStringAndSize(object, at, size) == 0);
}

/* Add one header, a tuple of name and value. */
static bool add_header(void *headers, PyObject *pair) {
    Py_ssize_t name_size, size;
    char *value;
    if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) return false;
    const char *name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(pair, 0), &name_size);
    return name && look_at(PyTuple_GetItem(pair, 1), &value, &size) &&
           kafka.header_add(headers, name, name_size, value, size) == 0;
}

/* Make librdkafka's headers of a list; NULL when there are none, or when Python should see them. */
static void *headers_of(PyObject *given, bool *is_known) {
    *is_known = PyList_Check(given);
    Py_ssize_t count = *is_known ? PyList_Size(given) : 0;
    void *headers = count ? kafka.headers_new((size_t)count) : NULL;
    for (Py_ssize_t place = 0; place < count; place++)
        if (!add_header(headers, PyList_GetItem(given, place))) {
            kafka.headers_destroy(headers);
            *is_known = false;
            return NULL;
        }
    return headers;
}

/* Hand over one record; false when Python should see it. */
static bool hand_over(void *handle, void *topic, int partition, PyObject *record) {
    PyObject *timestamp = member(&Record, record, RECORD_TIMESTAMP);
    char *value, *key;
    Py_ssize_t value_size, key_size;
    bool is_known = timestamp && look_at(member(&Record, record, RECORD_VALUE), &value, &value_size) &&
                    look_at(member(&Record, record, RECORD_KEY), &key, &key_size);
    int64_t at = is_known ? PyLong_AsLongLong(timestamp) : 0;
    void *headers = is_known && !PyErr_Occurred() ? headers_of(member(&Record, record, RECORD_HEADERS), &is_known) : NULL;
    if (!is_known || PyErr_Occurred()) return false;
    is_known = kafka.producev(handle, TOPIC, topic, PARTITION, partition, FLAGS, COPY, VALUE, value, (size_t)value_size,
                              KEY, key, (size_t)key_size, TIMESTAMP, at, HEADERS, headers, END) == 0;
    if (!is_known && headers) kafka.headers_destroy(headers);
    return is_known;
}

/* What Python calls: producer, topic, partition, list of records. Gives how many were taken: all, or those before one
   that Python should see. */
PyObject *produce(PyObject *module, PyObject *arguments) {
    PyObject *capsule, *records;
    const char *topic_name;
    int partition;
    Py_ssize_t taken = 0;
    if (!PyArg_ParseTuple(arguments, "OsiO!", &capsule, &topic_name, &partition, &PyList_Type, &records)) return NULL;
    void *handle = PyCapsule_GetPointer(capsule, NAME);
    if (!handle) return NULL;
    void *topic = kafka.topic_new(handle, topic_name, NULL);
    while (topic && taken < PyList_Size(records) && hand_over(handle, topic, partition, PyList_GetItem(records, taken)))
        taken++;
    if (topic) kafka.topic_destroy(topic);
    PyErr_Clear();
    return PyLong_FromSsize_t(taken);
}

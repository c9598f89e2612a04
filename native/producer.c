/* Runs of records -> librdkafka, for KafkaSink in kafka/sink.py: all of a run but the last, which carries the report.

   confluent-kafka looks up the topic of each record, allocates a state for it, and takes the GIL for each report, also
   if no one wants it. Here a run is one call with one look-up, and its records have no state: confluent-kafka's callback
   returns at once. A record that Python should see ends the call: one with other types, or that librdkafka refuses.

   The functions are those of the librdkafka that confluent-kafka has loaded; kafka/run_producer.py finds them. The handle of a
   producer comes from an interceptor, librdkafka's own means: this module is a plugin, and librdkafka calls `conf_init`
   for a configuration that names it, `on_new` for the producer that is made with that, and `on_destroy` at its end. */

#include "native.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/types.h>

/* From rdkafka.h, whose ABI librdkafka keeps stable: kinds of arguments of rd_kafka_producev, a flag, and an error. */
enum { END = 0, TOPIC = 2, PARTITION = 3, VALUE = 4, KEY = 5, FLAGS = 7, TIMESTAMP = 8, HEADERS = 10 };
enum { COPY = 2, NOT_IMPLEMENTED = -170 };

/* A producer. Its capsule and librdkafka own it; `handle` is NULL once librdkafka has destroyed the producer. */
typedef struct {
    _Atomic(void *) handle;
    atomic_int owners;
} Client;

typedef int OnNew(void *handle, const void *configuration, void *opaque, char *error, size_t size);
typedef int OnDestroy(void *handle, void *opaque);

static struct {
    int (*producev)(void *handle, ...);
    void *(*headers_new)(size_t count);
    int (*header_add)(void *headers, const char *name, ssize_t name_size, const void *value, ssize_t size);
    void (*headers_destroy)(void *headers);
    void *(*topic_new)(void *handle, const char *name, void *configuration);
    void (*topic_destroy)(void *topic);
    int (*add_on_new)(void *configuration, const char *name, OnNew *on_new, void *opaque);
    int (*add_on_destroy)(void *handle, const char *name, OnDestroy *on_destroy, void *opaque);
} kafka;
static const char *const NAME = "gateway", *const FIELDS[] = {"value", "key", "timestamp", "headers"};
static PyObject *fields[4];    /* their descriptors in Record */
static descrgetfunc read_field; /* what reads one; PyObject_GetAttr would find it anew each time */
static _Thread_local Client *newest; /* made in this thread, and not taken yet */

static void let_go(Client *client) {
    if (client && atomic_fetch_sub(&client->owners, 1) == 1) free(client);
}

static int on_destroy(void *handle, void *opaque) {
    Client *client = opaque;
    (void)handle;
    atomic_store(&client->handle, NULL);
    let_go(client);
    return 0;
}

static int on_new(void *handle, const void *configuration, void *opaque, char *error, size_t size) {
    (void)configuration, (void)opaque, (void)error, (void)size;
    let_go(newest); /* of a producer that could not be made */
    newest = NULL;
    Client *client = malloc(sizeof *client);
    if (!client) return 0; /* the producer works without */
    atomic_init(&client->handle, handle);
    atomic_init(&client->owners, 2);
    if (kafka.add_on_destroy(handle, NAME, on_destroy, client)) {
        free(client);
        return 0;
    }
    newest = client;
    return 0;
}

/* What librdkafka calls when a configuration names this module. */
__attribute__((visibility("default"))) int conf_init(void *configuration, void **opaque, char *error, size_t size) {
    (void)opaque, (void)error, (void)size;
    return kafka.add_on_new ? kafka.add_on_new(configuration, NAME, on_new, NULL) : NOT_IMPLEMENTED;
}

/* What Python calls: the class Record, and the addresses of librdkafka's functions, in the order above. */
PyObject *use_librdkafka(PyObject *module, PyObject *arguments) {
    unsigned long long at[8];
    PyObject *record;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OKKKKKKKK", &record, at, at + 1, at + 2, at + 3, at + 4, at + 5, at + 6, at + 7)) return NULL;
    void **functions = (void **)&kafka;
    for (int place = 0; place < 8; place++) functions[place] = (void *)(uintptr_t)at[place];
    for (int place = 0; place < 4; place++)
        if (!fields[place] && !(fields[place] = PyObject_GetAttrString(record, FIELDS[place]))) return NULL;
    read_field = (descrgetfunc)PyType_GetSlot(Py_TYPE(fields[0]), Py_tp_descr_get);
    Py_RETURN_NONE;
}

static void forget(PyObject *capsule) {
    let_go(PyCapsule_GetPointer(capsule, NAME));
}

/* What Python calls: take the producer that this thread has made last; None when there is none. */
PyObject *take_client(PyObject *module, PyObject *arguments) {
    Client *client = newest;
    (void)module, (void)arguments;
    if (!client) Py_RETURN_NONE;
    newest = NULL;
    PyObject *capsule = PyCapsule_New(client, NAME, forget);
    if (!capsule) let_go(client);
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
    PyObject *parts[4];
    char *value, *key;
    Py_ssize_t value_size, key_size;
    bool is_known = true;
    for (int place = 0; place < 4; place++) is_known &= (parts[place] = read_field(fields[place], record, NULL)) != NULL;
    is_known = is_known && look_at(parts[0], &value, &value_size) && look_at(parts[1], &key, &key_size);
    int64_t timestamp = is_known ? PyLong_AsLongLong(parts[2]) : 0;
    void *headers = is_known && !PyErr_Occurred() ? headers_of(parts[3], &is_known) : NULL;
    if (is_known && !PyErr_Occurred()) {
        is_known = kafka.producev(handle, TOPIC, topic, PARTITION, partition, FLAGS, COPY, VALUE, value, (size_t)value_size,
                                  KEY, key, (size_t)key_size, TIMESTAMP, timestamp, HEADERS, headers, END) == 0;
        if (!is_known && headers) kafka.headers_destroy(headers);
    }
    for (int place = 0; place < 4; place++) Py_XDECREF(parts[place]);
    return is_known && !PyErr_Occurred();
}

/* What Python calls: producer, topic, partition, list of records. Gives how many were taken: all, or those before one
   that Python should see. */
PyObject *produce(PyObject *module, PyObject *arguments) {
    PyObject *capsule, *records;
    const char *topic_name;
    int partition;
    Py_ssize_t taken = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OsiO!", &capsule, &topic_name, &partition, &PyList_Type, &records)) return NULL;
    Client *client = PyCapsule_GetPointer(capsule, NAME);
    void *handle = client ? atomic_load(&client->handle) : NULL;
    if (!client) return NULL;
    void *topic = handle ? kafka.topic_new(handle, topic_name, NULL) : NULL;
    while (topic && taken < PyList_Size(records) && hand_over(handle, topic, partition, PyList_GetItem(records, taken)))
        taken++;
    if (topic) kafka.topic_destroy(topic);
    PyErr_Clear();
    return PyLong_FromSsize_t(taken);
}

/* What the parts of the extension module share.

   The module does again, faster, what is written in Python: MQTT packets -> readings (reader.c), JSON and MessagePack ->
   Avro (encoder.c), records -> librdkafka (producer.c), and loops over entries (entries.c). Python stays the reference. The
   encoder has code for success only: it says "encoded", or "not me", and then the Python encoder decides on the same
   payload. So it may accept less than the contract, never more.
   It keeps to the stable ABI of Python 3.11: one file for each kind of machine serves all later Pythons too. */

#ifndef GATEWAY_NATIVE_H
#define GATEWAY_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Kinds of values, as bits: what takes several kinds has a mask. */
enum { NULL_ = 1, BOOLEAN = 2, INTEGER = 4, FRACTION = 8, TEXT = 16, ARRAY = 32, OBJECT = 64 };

/* A piece of text that belongs to somebody else; `hash` is set for names. */
typedef struct {
    const char *at;
    int32_t size;
    uint32_t hash;
} Text;

static inline uint64_t eight_bytes(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Put fewer than eight bytes into a number, some of them twice. */
static inline uint64_t few_bytes(const char *at, int32_t size) {
    uint32_t first, last;
    if (size < 4) return size ? (uint64_t)(unsigned char)at[0] << 16 | (uint64_t)(unsigned char)at[size / 2] << 8 | (unsigned char)at[size - 1] : 0;
    memcpy(&first, at, sizeof first);
    memcpy(&last, at + size - sizeof last, sizeof last);
    return (uint64_t)first << 32 | last;
}

static const uint64_t MIX = 0x9E3779B97F4A7C15ull; /* a factor that spreads bits: 2^64 by the golden ratio */

/* Mix the length with the first and the last eight bytes: most names of one device differ there, and equal hashes are
   followed by a comparison. */
static inline uint32_t hash_of(const char *at, int32_t size) {
    uint64_t first = size < 8 ? few_bytes(at, size) : eight_bytes(at);
    uint64_t last = size < 8 ? 0 : eight_bytes(at + size - 8);
    uint64_t mixed = (first ^ (uint64_t)size) * MIX + last * 0xC2B2AE3D27D4EB4Full;
    return (uint32_t)(mixed >> 32);
}

/* Compare by eight bytes, which is quicker than a call for texts as short as names are. */
static inline bool same_text(Text one, Text other) {
    int32_t size = one.size;
    if (size != other.size) return false;
    if (size < 8) return few_bytes(one.at, size) == few_bytes(other.at, size);
    for (int32_t place = 0; place < size - 8; place += 8)
        if (eight_bytes(one.at + place) != eight_bytes(other.at + place)) return false;
    return eight_bytes(one.at + size - 8) == eight_bytes(other.at + size - 8);
}

/* A value of the payload, or the name of a member, which the value follows. */
typedef struct {
    uint8_t kind;
    bool is_short; /* a number that compares as its double does: of few digits, or not from text */
    bool is_read;  /* a name: a field reads its member */
    int32_t next;  /* index of the node behind the value and all that is in it */
    union {
        int64_t integer; /* 1 for true */
        double fraction;
        Text text;
        int32_t count; /* of items, or of members */
    } as;
} Node;

enum {
    MAX_LEVELS = 32,       /* of a value; the same as MAX_DEPTH in json_text.py */
    MAX_PAYLOAD = 131072,  /* bytes; Python reads longer ones */
    MAX_NODES = 8192,
    MAX_TOPIC_NODES = 64,  /* behind those of the payload */
};

/* The values of one payload in the order of its text. No object has two members of one name. */
typedef struct {
    int32_t count;
    Node nodes[MAX_NODES + MAX_TOPIC_NODES];
    char texts[MAX_PAYLOAD]; /* those that had escapes */
    int32_t texts_used;
} Tape;

/* Append a value; NULL when there are too many. */
static inline Node *new_node(Tape *tape) {
    if (tape->count == MAX_NODES) return NULL;
    Node *node = &tape->nodes[tape->count++];
    node->is_short = node->is_read = false;
    node->next = tape->count;
    return node;
}

/* Whether a name is new to its object, whose last member it is. `seen` has a bit for each hash. */
static inline bool is_new_name(const Tape *tape, const Node *object, Node *name, uint64_t *seen) {
    Text *text = &name->as.text;
    text->hash = hash_of(text->at, text->size);
    uint64_t bit = 1ull << (text->hash & 63);
    if (*seen & bit)
        for (const Node *each = object + 1; each < name; each = &tape->nodes[each[1].next])
            if (each->as.text.hash == text->hash && same_text(each->as.text, *text)) return false;
    *seen |= bit;
    return true;
}

/* What Python and C say to each other, layouts of programs included; raised with each change (native.py). */
enum { FORMAT = 7 };

_Static_assert(SIZEOF_VOID_P == sizeof(void *) && SIZEOF_LONG == sizeof(long) && SIZEOF_SIZE_T == sizeof(size_t),
               "Python's headers are of a machine with other types");

/* json.c and messagepack.c: parse a payload behind the nodes that the tape has */
bool parse_json(Tape *tape, const char *payload, Py_ssize_t size);
bool parse_messagepack(Tape *tape, const char *payload, Py_ssize_t size);
int code_point_size(const unsigned char *at);

/* A class of msgspec structs, and where its instances have the members that C knows, counted in words. Python's functions
   for members cost more than all that is done with them. */
typedef struct {
    PyObject *type;
    int places[8];
} Class;
enum { ENTRY_READING, ENTRY_CONNECTION, ENTRY_PACKET_ID, ENTRY_OFFSET, ENTRY_SIZE, ENTRY_IS_STORED, ENTRY_IS_SETTLED };
enum { READING_TOPIC, READING_PAYLOAD, READING_RECEIVED_AT, READING_SIZE, READING_PROPERTIES };
enum { RECORD_KEY, RECORD_VALUE, RECORD_HEADERS, RECORD_TIMESTAMP };
extern Class Entry, Reading, Record;

PyObject *no_member(void); /* NULL, with an error */

/* Give a member, borrowed. */
static inline PyObject *member(const Class *class, PyObject *object, int which) {
    return object && (PyObject *)Py_TYPE(object) == class->type ? ((PyObject **)object)[class->places[which]] : no_member();
}

/* What Python calls, in the files of these names. */
typedef PyObject *Function(PyObject *module, PyObject *arguments);
Function use_class, measure, settle, take_settled, number, split; /* entries.c */
Function make_encoder, encode_run;                                /* encoder.c */
Function use_librdkafka, take_client, produce;                    /* producer.c */
Function read_publishes;                                          /* reader.c */

#endif

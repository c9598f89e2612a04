/* JSON or MessagePack -> Avro, by a program that native_program.py writes for a schema.

   A program is a run of numbers, the code; what is no number is in its tables, and the code has the places there.
   Types, rules and trees are blocks of the code: the first number says what the block is or holds, and a reference to a
   block is its place. The layouts stand at the functions that read them; -1 stands for nothing.

   A record first finds all members that its fields read (the tree), each into its *leaf*, and then writes its fields in
   order. A payload runs through its rules (the JSON Schema) before that.

   Nothing here calls Python code before the result is complete, so one tape serves all encoders. */

#include "native.h"
#include <math.h>
#include <stdio.h>

enum { NULL_TYPE, BOOLEAN_TYPE, INTEGER_TYPE, FLOAT_TYPE, DOUBLE_TYPE, STRING_TYPE, ENUM_TYPE, ARRAY_TYPE,
       MAP_TYPE, RECORD_TYPE, UNION_TYPE };
enum { ALLOWED, MINIMUM, MAXIMUM, ABOVE, BELOW, MIN_LENGTH, MAX_LENGTH, MIN_COUNT, MAX_COUNT, CHOICE, FORBIDDEN };
enum { MAX_BYTES = 262144, MAX_LEAVES = 4096, ABSENT = -1, NO_MEMBER = -2 };

static const int64_t EXACT_IN_DOUBLE = 1ll << 53, EXACT_IN_FLOAT = 1ll << 24;
/* A program with its tables, which are in objects that `owners` keeps. */
typedef struct {
    PyObject *owners;
    PyObject *constants; /* Python objects that stand for absent values in the result */
    PyObject *fallback;  /* the encoder in Python */
    const int32_t *code;
    const double *doubles;
    const int64_t *integers;
    Text *texts;
} Program;

/* One payload on its way. */
typedef struct {
    const Program *program;
    PyObject *prepared; /* what the topic contributes: for Python first, then the texts */
    int32_t written, leaves_used;
} Run;

static struct {
    Tape tape;
    char out[MAX_BYTES];
    int32_t leaves[MAX_LEAVES]; /* node of each leaf of the records that are being written, or ABSENT */
} scratch;

static bool write_value(Run *run, const int32_t *type, int32_t place);

static const int32_t *block(const Run *run, int32_t place) { return run->program->code + place; }
static Node *node_at(int32_t place) { return &scratch.tape.nodes[place]; }
static Text text_of(const Run *run, int32_t number) { return run->program->texts[number]; }

/* Write bytes; false when there is no room. */
static bool write_bytes(Run *run, const char *from, int32_t size) {
    if (size > MAX_BYTES - run->written) return false;
    memcpy(scratch.out + run->written, from, (size_t)size);
    run->written += size;
    return true;
}

static bool write_byte(Run *run, char byte) { return write_bytes(run, &byte, 1); }

/* Write an int or a long: zigzag, then seven bits a byte (Avro 1.12, "Binary Encoding"). */
static bool write_long(Run *run, int64_t value) {
    uint64_t rest = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    char bytes[10];
    int32_t size = 0;
    for (; rest >= 0x80; rest >>= 7) bytes[size++] = (char)(rest | 0x80);
    bytes[size++] = (char)rest;
    return write_bytes(run, bytes, size);
}

static bool write_text(Run *run, Text text) {
    return write_long(run, text.size) && write_bytes(run, text.at, text.size);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Avro has the bytes of a number in this order");

static bool write_floating(Run *run, const Node *node, bool is_double) {
    int64_t exact = is_double ? EXACT_IN_DOUBLE : EXACT_IN_FLOAT;
    bool is_whole = node->kind == INTEGER;
    if (is_whole ? node->as.integer < -exact || node->as.integer > exact : node->kind != FRACTION) return false;
    double value = is_whole ? (double)node->as.integer : node->as.fraction;
    if (is_double) return write_bytes(run, (const char *)&value, sizeof value);
    float rounded = (float)value;
    return isfinite(rounded) && write_bytes(run, (const char *)&rounded, sizeof rounded);
}

/* Find a member of an object: the place of its name, or ABSENT. The search begins at `*cursor`, the name behind the
   one that was found last, because devices send members in one order; it goes round. */
static int32_t find(int32_t object, Text name, int32_t *cursor) {
    const Node *nodes = scratch.tape.nodes;
    int32_t first = object + 1, end = nodes[object].next, at = *cursor;
    for (int32_t left = nodes[object].as.count; left; left--) {
        if (at == end) at = first;
        if (nodes[at].as.text.hash == name.hash && same_text(nodes[at].as.text, name)) {
            *cursor = nodes[at + 1].next;
            return at;
        }
        at = nodes[at + 1].next;
    }
    return ABSENT;
}

/* Find what is read of an object, and refuse it if it must have no other members.
   A tree: whether others are refused, how many names, and for each: text, leaf or -1, the tree below it or -1. */
static bool find_members(Run *run, const int32_t *tree, int32_t object, int32_t *leaves) {
    int32_t cursor = object + 1, found = 0, refuses = tree[0];
    const int32_t *end = tree + 2 + 3 * tree[1];
    if (node_at(object)->kind != OBJECT) return false;
    for (const int32_t *at = tree + 2; at < end; at += 3) {
        int32_t name = find(object, text_of(run, at[0]), &cursor);
        if (name == ABSENT) continue;
        found++;
        node_at(name)->is_read = true;
        if (at[1] >= 0) leaves[at[1]] = name + 1;
        else if (!find_members(run, block(run, at[2]), name + 1, leaves)) return false;
    }
    return !refuses || found == node_at(object)->as.count;
}

static int32_t first_of(const int32_t *leaves, const int32_t *numbers, int32_t count) {
    for (int32_t place = 0; place < count; place++)
        if (leaves[numbers[place]] != ABSENT) return leaves[numbers[place]];
    return ABSENT;
}

/* An array: ARRAY_TYPE, the items' type. */
static bool write_array(Run *run, const int32_t *type, int32_t place) {
    int32_t count = node_at(place)->as.count, item = place + 1;
    if (count && !write_long(run, count)) return false;
    for (; count; count--, item = node_at(item)->next)
        if (!write_value(run, block(run, type[1]), item)) return false;
    return write_byte(run, 0);
}

/* A map: MAP_TYPE, the values' type. It has the members that no field has read. */
static bool write_map(Run *run, const int32_t *type, int32_t place) {
    int32_t end = node_at(place)->next, count = 0;
    for (int32_t name = place + 1; name < end; name = node_at(name + 1)->next) count += !node_at(name)->is_read;
    if (count && !write_long(run, count)) return false;
    for (int32_t name = place + 1; name < end; name = node_at(name + 1)->next) {
        if (node_at(name)->is_read) continue;
        if (!write_text(run, node_at(name)->as.text)) return false;
        if (!write_value(run, block(run, type[1]), name + 1)) return false;
    }
    return write_byte(run, 0);
}

/* A choice: how many texts, the texts. Give the place of one among them, or ABSENT. */
static int32_t place_in(const Run *run, const int32_t *choice, const Node *node) {
    for (int32_t place = 0; node->kind == TEXT && place < choice[0]; place++)
        if (same_text(text_of(run, choice[1 + place]), node->as.text)) return place;
    return ABSENT;
}

static bool is_within(const Run *run, const int32_t *type, const Node *node) {
    const int64_t *limits = run->program->integers + type[1];
    return node->as.integer >= limits[0] && node->as.integer <= limits[1];
}

/* A union: UNION_TYPE, how many branches, and for each: the kinds that it takes, its type. Only a whole number may have
   several branches that take it; it goes on behind an integer type that is too small. */
static bool write_union(Run *run, const int32_t *type, int32_t place) {
    const Node *node = node_at(place);
    for (int32_t branch = 0; branch < type[1]; branch++) {
        const int32_t *inner = block(run, type[3 + 2 * branch]);
        if (!(type[2 + 2 * branch] & node->kind)) continue;
        if (inner[0] == INTEGER_TYPE && node->kind == INTEGER && !is_within(run, inner, node)) continue;
        return write_long(run, branch) && write_value(run, inner, place);
    }
    return false;
}

/* The fields of a record; each is: type, text of the default's bytes or -1, how many leaves, the leaves. A field
   without leaves collects the members that no other field reads. */
static bool write_fields(Run *run, const int32_t *at, int32_t count, int32_t object, const int32_t *leaves) {
    for (; count; count--, at += 3 + at[2]) {
        int32_t place = at[2] ? first_of(leaves, at + 3, at[2]) : object;
        if (place == ABSENT && at[1] < 0) return false;
        Text bytes = place == ABSENT ? text_of(run, at[1]) : (Text){0};
        if (!(place == ABSENT ? write_bytes(run, bytes.at, bytes.size) : write_value(run, block(run, at[0]), place))) return false;
    }
    return true;
}

/* Reserve leaves, all of them ABSENT; NULL when there are too many. */
static int32_t *new_leaves(Run *run, int32_t count) {
    if (count > MAX_LEAVES - run->leaves_used) return NULL;
    int32_t *leaves = scratch.leaves + run->leaves_used;
    run->leaves_used += count;
    for (int32_t place = 0; place < count; place++) leaves[place] = ABSENT;
    return leaves;
}

/* A record: RECORD_TYPE, how many leaves, tree, how many fields, the fields. */
static bool write_record(Run *run, const int32_t *type, int32_t place) {
    int32_t *leaves = new_leaves(run, type[1]);
    if (!leaves || !find_members(run, block(run, type[2]), place, leaves)) return false;
    if (!write_fields(run, type + 4, type[3], place, leaves)) return false;
    run->leaves_used -= type[1];
    return true;
}

/* Check a value against a type and write it. What the type does not take, and what only Python can tell, is refused.
   An integer: INTEGER_TYPE, where its two limits are. An enum: ENUM_TYPE, the choice of its symbols. */
static bool write_value(Run *run, const int32_t *type, int32_t place) {
    const Node *node = node_at(place);
    int32_t symbol;
    switch (type[0]) {
        case NULL_TYPE: return node->kind == NULL_;
        case BOOLEAN_TYPE: return node->kind == BOOLEAN && write_byte(run, (char)node->as.integer);
        case INTEGER_TYPE: return node->kind == INTEGER && is_within(run, type, node) && write_long(run, node->as.integer);
        case FLOAT_TYPE:
        case DOUBLE_TYPE: return write_floating(run, node, type[0] == DOUBLE_TYPE);
        case STRING_TYPE: return node->kind == TEXT && write_text(run, node->as.text);
        case ENUM_TYPE: return (symbol = place_in(run, type + 1, node)) != ABSENT && write_long(run, symbol);
        case ARRAY_TYPE: return node->kind == ARRAY && write_array(run, type, place);
        case MAP_TYPE: return node->kind == OBJECT && write_map(run, type, place);
        case RECORD_TYPE: return write_record(run, type, place);
    }
    return write_union(run, type, place);
}

/* Compare with a limit, -1, 0 or 1; 2 when the digits that a double loses could decide. */
static int compare(const Node *node, double limit) {
    double value = node->kind == INTEGER ? (double)node->as.integer : node->as.fraction;
    if (node->kind == INTEGER && (node->as.integer < -EXACT_IN_DOUBLE || node->as.integer > EXACT_IN_DOUBLE)) return 2;
    if (value == limit) return node->is_short || node->kind == INTEGER ? 0 : 2;
    return value < limit ? -1 : 1;
}

static int32_t code_points(Text text) {
    int32_t count = 0;
    for (int32_t place = 0; place < text.size; place++) count += (text.at[place] & 0xC0) != 0x80;
    return count;
}

/* A test: the kinds that it is about, what it demands, and an argument. */
static bool passes_test(const Run *run, const int32_t *test, const Node *node) {
    int32_t argument = test[2];
    if (!(test[0] & node->kind)) return true;
    int compared = test[1] >= MINIMUM && test[1] <= BELOW ? compare(node, run->program->doubles[argument]) : 0;
    switch (test[1]) {
        case ALLOWED: return argument & node->kind;
        case MIN_LENGTH: return code_points(node->as.text) >= argument;
        case MAX_LENGTH: return code_points(node->as.text) <= argument;
        case MIN_COUNT: return node->as.count >= argument;
        case MAX_COUNT: return node->as.count <= argument;
        case CHOICE: return place_in(run, block(run, argument), node) != ABSENT;
        case MINIMUM: return compared == 0 || compared == 1;
        case MAXIMUM: return compared == 0 || compared == -1;
        case ABOVE: return compared == 1;
        case BELOW: return compared == -1;
    }
    return false; /* FORBIDDEN */
}

static bool passes(const Run *run, const int32_t *rules, int32_t place);

/* Find the rules of a member: those at its name, or `others`. The search goes round, as that of `find`. */
static int32_t rules_of(const Run *run, const int32_t *names, int32_t count, Text name, int32_t *cursor, int32_t others) {
    for (int32_t left = count; left; left--) {
        if (*cursor == count) *cursor = 0;
        const int32_t *at = names + 2 * (*cursor)++;
        if (text_of(run, at[0]).hash == name.hash && same_text(text_of(run, at[0]), name)) return at[1];
    }
    return others;
}

/* Members: how many must be there, their texts; how many have names, and for each: text, rules or -1; the rules of all
   others, -1, or NO_MEMBER when there must be none. */
static bool members_pass(const Run *run, const int32_t *at, int32_t object) {
    int32_t cursor = object + 1, end = node_at(object)->next;
    for (const int32_t *required = at + 1; required < at + 1 + at[0]; required++)
        if (find(object, text_of(run, *required), &cursor) == ABSENT) return false;
    at += 1 + at[0];
    int32_t count = at[0], others = at[1 + 2 * count];
    cursor = 0;
    for (int32_t name = object + 1; name < end; name = node_at(name + 1)->next) {
        int32_t rules = rules_of(run, at + 1, count, node_at(name)->as.text, &cursor, others);
        if (rules == NO_MEMBER || (rules >= 0 && !passes(run, block(run, rules), name + 1))) return false;
    }
    return true;
}

/* Rules: how many tests, the tests; members or -1; rules of items or -1; how many further rules, these. */
static bool passes(const Run *run, const int32_t *rules, int32_t place) {
    const Node *node = node_at(place);
    const int32_t *at = rules + 1 + 3 * rules[0];
    for (const int32_t *test = rules + 1; test < at; test += 3)
        if (!passes_test(run, test, node)) return false;
    if (at[0] >= 0 && node->kind == OBJECT && !members_pass(run, block(run, at[0]), place)) return false;
    if (at[1] >= 0 && node->kind == ARRAY)
        for (int32_t item = place + 1; item < node->next; item = node_at(item)->next)
            if (!passes(run, block(run, at[1]), item)) return false;
    for (const int32_t *also = at + 3; also < at + 3 + at[2]; also++)
        if (!passes(run, block(run, *also), place)) return false;
    return true;
}

/* The leaves of the outermost record are the first. */
static const Node *node_of(const Run *run, const int32_t *leaves, int32_t count) {
    int32_t place = first_of(scratch.leaves, leaves, count);
    return place == ABSENT ? NULL : node_at(place);
}

/* Read a text that the topic contributes. */
static bool topic_text(const Run *run, int32_t number, Text *text) {
    char *at = NULL;
    Py_ssize_t size = 0;
    PyObject *item = PyTuple_GetItem(run->prepared, number);
    if (!item || PyBytes_AsStringAndSize(item, &at, &size) < 0) return false;
    *text = (Text){at, (int32_t)size, 0};
    return true;
}

/* Give a part of the key as text; empty when there is none. A part: place of the topic's text, or -1; text of the
   default; how many leaves, the leaves. `digits` is for a number. */
static bool key_part(const Run *run, const int32_t *part, Text *text, char digits[24]) {
    if (part[0] >= 0) return topic_text(run, part[0], text);
    const Node *node = node_of(run, part + 3, part[2]);
    *text = text_of(run, part[1]);
    switch (node ? node->kind : 0) {
        case 0: return true;
        case TEXT: return *text = node->as.text, true;
        case INTEGER: return *text = (Text){digits, snprintf(digits, 24, "%lld", (long long)node->as.integer), 0}, true;
        case BOOLEAN: return *text = node->as.integer ? (Text){"true", 4, 0} : (Text){"false", 5, 0}, true;
        case NULL_: return *text = (Text){"", 0, 0}, true;
    }
    return false;
}

/* Write the key behind the value. A key: text of the separator, or -1 when the first part that is not empty is the
   key; how many parts, the places of these. */
static bool write_key(Run *run, const int32_t *key) {
    for (int32_t place = 0; place < key[1]; place++) {
        char digits[24];
        Text text;
        if (!key_part(run, block(run, key[2 + place]), &text, digits)) return false;
        if (key[0] < 0) {
            if (text.size) return write_bytes(run, text.at, text.size);
            continue;
        }
        Text separator = text_of(run, key[0]);
        if (!text.size || (place && !write_bytes(run, separator.at, separator.size))) return false;
        if (!write_bytes(run, text.at, text.size)) return false;
    }
    return key[0] >= 0;
}

enum { AS_COUNT, AS_METER, AS_NUMBER, AS_MOMENT }; /* what a result is: of a counter, its meter, ... */

/* Make the Python object of a value; NULL without an error when only Python can tell. */
static PyObject *object_of(const Node *node, int32_t what, int32_t per_millisecond) {
    int64_t value = node->as.integer;
    if (what == AS_MOMENT && node->kind == INTEGER)
        return PyLong_FromLongLong(value / per_millisecond - (value % per_millisecond < 0));
    if (node->kind == NULL_ || (what == AS_NUMBER && !(node->kind == INTEGER && value >= 0)) ||
        (what == AS_COUNT && node->kind != INTEGER && node->kind != FRACTION))
        return Py_NewRef(Py_None);
    if (node->kind == INTEGER) return PyLong_FromLongLong(value);
    if (node->kind == FRACTION) return PyFloat_FromDouble(node->as.fraction);
    if (node->kind == TEXT) return PyUnicode_FromStringAndSize(node->as.text.at, node->as.text.size);
    return NULL;
}

/* A result: what it is, units in a millisecond, the constant that stands for an absent value, how many leaves, the
   leaves. */
static PyObject *result_of(const Run *run, const int32_t *result) {
    const Node *node = node_of(run, result + 4, result[3]);
    if (node) return object_of(node, result[0], result[1]);
    return Py_XNewRef(PyTuple_GetItem(run->program->constants, result[2]));
}

/* Results: how many, their places. */
static PyObject *results_of(const Run *run, const int32_t *results) {
    PyObject *tuple = PyTuple_New(results[0]);
    for (int32_t place = 0; tuple && place < results[0]; place++) {
        PyObject *result = result_of(run, block(run, results[1 + place]));
        if (!result || PyTuple_SetItem(tuple, place, result) < 0) Py_CLEAR(tuple);
    }
    return tuple;
}

/* A program's first block. */
enum { PREFIX, RECORD, RULES, WRAPPED, KEY, MOMENT, NUMBER, COUNTS, TIES, IS_MESSAGEPACK };

/* Fill in the members that the topic contains; refuse others than the topic's.
   Ties: how many, and for each: leaf, place of the topic's text. */
static bool tie(Run *run, const int32_t *ties) {
    for (int32_t number = 0; number < ties[0]; number++) {
        int32_t *leaf = scratch.leaves + ties[1 + 2 * number];
        Node *topic = node_at(MAX_NODES + number); /* behind those of the payload */
        *topic = (Node){.kind = TEXT};
        if (!topic_text(run, ties[2 + 2 * number], &topic->as.text)) return false;
        if (*leaf == ABSENT) *leaf = MAX_NODES + number;
        const Node *node = node_at(*leaf);
        if (node->kind != TEXT || !same_text(node->as.text, topic->as.text)) return false;
    }
    return true;
}

/* Write the outermost record. Its leaves stay for the key and the other results. */
static bool write_outermost(Run *run, const int32_t *program) {
    const int32_t *type = block(run, program[RECORD]);
    int32_t *leaves = new_leaves(run, type[1]);
    Text prefix = text_of(run, program[PREFIX]);
    return leaves && write_bytes(run, prefix.at, prefix.size) &&
           find_members(run, block(run, type[2]), 0, leaves) && tie(run, block(run, program[TIES])) &&
           write_fields(run, type + 4, type[3], 0, leaves);
}

/* Parse a payload; one that a field takes as a whole becomes the only member of an object. */
static bool parse(Run *run, const int32_t *program, PyObject *payload) {
    char *at = NULL;
    Py_ssize_t size = 0;
    Tape *tape = &scratch.tape;
    if (PyBytes_AsStringAndSize(payload, &at, &size) < 0) return false;
    tape->count = 0;
    if (program[WRAPPED] >= 0) {
        tape->nodes[0] = (Node){.kind = OBJECT, .as.count = 1};
        tape->nodes[1] = (Node){.kind = TEXT, .as.text = text_of(run, program[WRAPPED])};
        tape->count = 2;
    }
    int32_t place = tape->count;
    if (!(program[IS_MESSAGEPACK] ? parse_messagepack : parse_json)(tape, at, size)) return false;
    tape->nodes[0].next = tape->count;
    return program[RULES] < 0 || passes(run, block(run, program[RULES]), place);
}

/* Give the key. If it is a text of the topic, that object, as it knows its hash. */
static PyObject *key_of(Run *run, const int32_t *key) {
    const int32_t *part = block(run, key[2]), size = run->written; /* there is always a part */
    PyObject *text = key[0] < 0 && part[0] >= 0 ? PyTuple_GetItem(run->prepared, part[0]) : NULL;
    if (text && PyBytes_Size(text) > 0) return Py_NewRef(text);
    return write_key(run, key) ? PyBytes_FromStringAndSize(scratch.out + size, run->written - size) : NULL;
}

/* What a payload becomes, some of it NULL when it is for Python to decide. */
enum { KEY_, VALUE, MOMENT_, NUMBER_, COUNTS_, PARTS };

static bool encode_parts(Run *run, PyObject *payload, PyObject *parts[PARTS]) {
    const int32_t *program = run->program->code;
    memset(parts, 0, PARTS * sizeof *parts);
    if (!parse(run, program, payload) || !write_outermost(run, program)) return false;
    parts[VALUE] = PyBytes_FromStringAndSize(scratch.out, run->written);
    parts[KEY_] = key_of(run, block(run, program[KEY]));
    parts[MOMENT_] = program[MOMENT] < 0 ? Py_NewRef(Py_None) : result_of(run, block(run, program[MOMENT]));
    parts[NUMBER_] = program[NUMBER] < 0 ? Py_NewRef(Py_None) : result_of(run, block(run, program[NUMBER]));
    parts[COUNTS_] = program[COUNTS] < 0 ? Py_NewRef(Py_None) : results_of(run, block(run, program[COUNTS]));
    return parts[KEY_] && parts[VALUE] && parts[MOMENT_] && parts[NUMBER_] && parts[COUNTS_];
}

static void release(PyObject *parts[PARTS]) { for (int place = 0; place < PARTS; place++) Py_CLEAR(parts[place]); }

/* Encode one payload; false, without an error, when it is for Python to decide. */
static bool encode_by(const Program *program, PyObject *payload, PyObject *prepared, PyObject *parts[PARTS]) {
    Run run = {.program = program, .prepared = prepared};
    if (encode_parts(&run, payload, parts)) return true;
    release(parts);
    PyErr_Clear();
    return false;
}

/* What Python calls: payload and prepared topic in; key, value, moment, number and counts out. */
static PyObject *encode(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    const Program *program = PyCapsule_GetPointer(self, NULL);
    PyObject *parts[PARTS];
    if (!program || count != 2) return PyErr_Format(PyExc_TypeError, "encode takes payload and prepared topic");
    if (encode_by(program, arguments[0], arguments[1], parts))
        return Py_BuildValue("NNNNN", parts[0], parts[1], parts[2], parts[3], parts[4]);
    PyObject *prepared = PyTuple_GetItem(arguments[1], 0);
    return prepared ? PyObject_CallFunctionObjArgs(program->fallback, arguments[0], prepared, NULL) : NULL;
}

static PyMethodDef method = {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, NULL};

/* Make the record of a payload; NULL when it is for Python. The facts of its topic begin with the encoder, the prepared
   topic, Kafka's topic and the headers. */
static PyObject *record_of(PyObject *facts, PyObject *payload, PyObject *received_at) {
    PyObject *parts[PARTS], *encoder = PyTuple_Check(facts) && PyTuple_Size(facts) > 3 ? PyTuple_GetItem(facts, 0) : NULL;
    if (!encoder || !PyCFunction_Check(encoder) || PyCFunction_GetFunction(encoder) != method.ml_meth) return NULL;
    const Program *program = PyCapsule_GetPointer(PyCFunction_GetSelf(encoder), NULL);
    if (!program || !encode_by(program, payload, PyTuple_GetItem(facts, 1), parts)) return NULL;
    PyObject *record = PyObject_CallFunctionObjArgs(Record.type, PyTuple_GetItem(facts, 2), parts[KEY_],
                                                    parts[VALUE], PyTuple_GetItem(facts, 3), received_at,
                                                    parts[NUMBER_], parts[COUNTS_], NULL);
    release(parts);
    return record;
}

/* What Python calls: facts by topic, readings, place of the first, limit of a payload, list of records. Gives the place of
   the first reading that is left to Python, or the end. */
PyObject *encode_run(PyObject *module, PyObject *arguments) {
    PyObject *topics, *readings, *records;
    Py_ssize_t place, limit;
    if (!PyArg_ParseTuple(arguments, "O!O!nnO!", &PyDict_Type, &topics, &PyList_Type, &readings, &place, &limit,
                          &PyList_Type, &records))
        return NULL;
    for (bool goes_on = true; goes_on && place < PyList_Size(readings); place += goes_on) {
        PyObject *reading = PyList_GetItem(readings, place), *topic = member(&Reading, reading, READING_TOPIC);
        PyObject *payload = member(&Reading, reading, READING_PAYLOAD), *size = member(&Reading, reading, READING_SIZE);
        PyObject *facts = topic ? PyDict_GetItemWithError(topics, topic) : NULL, *record = NULL;
        if (facts && payload && size && PyLong_AsLong(size) < 0 && PyBytes_Size(payload) <= limit)
            record = record_of(facts, payload, member(&Reading, reading, READING_RECEIVED_AT));
        goes_on = record && PyList_Append(records, record) == 0;
        Py_XDECREF(record);
    }
    PyErr_Clear();
    return PyLong_FromSsize_t(place);
}

static void forget(PyObject *capsule) {
    Program *program = PyCapsule_GetPointer(capsule, NULL);
    Py_XDECREF(program->owners);
    PyMem_Free(program->texts);
    PyMem_Free(program);
}

static bool read_texts(Program *program, PyObject *texts) {
    Py_ssize_t count = PyTuple_Size(texts);
    program->texts = PyMem_Calloc((size_t)count + 1, sizeof(Text));
    for (Py_ssize_t place = 0; program->texts && place < count; place++) {
        char *at = NULL;
        Py_ssize_t size = 0;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(texts, place), &at, &size) < 0) return false;
        program->texts[place] = (Text){at, (int32_t)size, hash_of(at, (int32_t)size)};
    }
    return program->texts != NULL;
}

/* Make the encoder of a program: code, doubles and integers as bytes, texts, constants, and the encoder in Python. */
PyObject *make_encoder(PyObject *module, PyObject *arguments) {
    PyObject *code, *doubles, *integers, *texts;
    Program *program = PyMem_Calloc(1, sizeof(Program));
    PyObject *capsule = program ? PyCapsule_New(program, NULL, forget) : NULL, *encoder = NULL;
    if (!capsule) {
        PyMem_Free(program);
        return PyErr_NoMemory();
    }
    if (PyArg_ParseTuple(arguments, "SSSO!O!O", &code, &doubles, &integers, &PyTuple_Type, &texts, &PyTuple_Type,
                         &program->constants, &program->fallback)) {
        program->owners = Py_NewRef(arguments);
        program->code = (const int32_t *)(const void *)PyBytes_AsString(code);
        program->doubles = (const double *)(const void *)PyBytes_AsString(doubles);
        program->integers = (const int64_t *)(const void *)PyBytes_AsString(integers);
        if (read_texts(program, texts)) encoder = PyCFunction_NewEx(&method, capsule, NULL);
    }
    Py_DECREF(capsule);
    return encoder;
}

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

enum { NULL_TYPE, BOOLEAN_TYPE, INTEGER_TYPE, FLOAT_TYPE, DOUBLE_TYPE, STRING_TYPE, BYTES_TYPE, FIXED_TYPE, ENUM_TYPE,
       ARRAY_TYPE, MAP_TYPE, RECORD_TYPE, UNION_TYPE };
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
    Tape *tape;
    char *out;
    int32_t written;
    int32_t *leaves; /* node of each leaf of the records that are being written, or ABSENT */
    int32_t leaves_used;
} Run;

static struct {
    Tape tape;
    char out[MAX_BYTES];
    int32_t leaves[MAX_LEAVES];
} scratch;

static bool write_value(Run *run, const int32_t *type, int32_t place);

static const int32_t *block(const Run *run, int32_t place) { return run->program->code + place; }
static Node *node_at(const Run *run, int32_t place) { return &run->tape->nodes[place]; }
static Text text_of(const Run *run, int32_t number) { return run->program->texts[number]; }

/* --- output ------------------------------------------------------------------------------------------------------ */

/* Make room for so many bytes; NULL when there is none. */
static char *extend(Run *run, int32_t size) {
    if (size > MAX_BYTES - run->written) return NULL;
    run->written += size;
    return run->out + run->written - size;
}

static bool write_bytes(Run *run, const char *from, int32_t size) {
    char *to = extend(run, size);
    if (to) memcpy(to, from, (size_t)size);
    return to != NULL;
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
    double value = node->as.fraction;
    if (node->kind == INTEGER) {
        if (node->as.integer < -exact || node->as.integer > exact) return false;
        value = (double)node->as.integer;
    } else if (node->kind != FRACTION) {
        return false;
    }
    if (is_double) return write_bytes(run, (const char *)&value, sizeof value);
    float rounded = (float)value;
    return isfinite(rounded) && write_bytes(run, (const char *)&rounded, sizeof rounded);
}

/* Write bytes that stand in JSON as the code points 0 to 255, one each; `fixed` is how many there must be, or -1. */
static bool write_code_points(Run *run, Text text, int32_t fixed) {
    int32_t size = text.size;
    for (int32_t place = 0; place < text.size; place++) {
        unsigned char byte = (unsigned char)text.at[place];
        if (byte > 0xC3) return false;
        size -= byte >= 0xC2;
    }
    if (fixed >= 0 ? size != fixed : !write_long(run, size)) return false;
    char *to = extend(run, size);
    if (!to) return false;
    for (const char *at = text.at; at < text.at + text.size; at++) {
        bool is_pair = (unsigned char)*at >= 0x80;
        *to++ = is_pair ? (char)((at[0] & 3) << 6 | (at[1] & 0x3F)) : *at;
        at += is_pair;
    }
    return true;
}

/* --- members ----------------------------------------------------------------------------------------------------- */

/* Find a member of an object: the place of its name, or ABSENT. The search begins at `*cursor`, the name behind the
   one that was found last, because devices send members in one order; it goes round. */
static int32_t find(const Run *run, int32_t object, Text name, int32_t *cursor) {
    const Node *nodes = run->tape->nodes;
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
    if (node_at(run, object)->kind != OBJECT) return false;
    for (const int32_t *at = tree + 2; at < end; at += 3) {
        int32_t name = find(run, object, text_of(run, at[0]), &cursor);
        if (name == ABSENT) continue;
        found++;
        node_at(run, name)->is_read = true;
        if (at[1] >= 0) {
            leaves[at[1]] = name + 1;
        } else if (!find_members(run, block(run, at[2]), name + 1, leaves)) {
            return false;
        }
    }
    return !refuses || found == node_at(run, object)->as.count;
}

static int32_t first_of(const int32_t *leaves, const int32_t *numbers, int32_t count) {
    for (int32_t place = 0; place < count; place++)
        if (leaves[numbers[place]] != ABSENT) return leaves[numbers[place]];
    return ABSENT;
}

/* --- types ------------------------------------------------------------------------------------------------------- */

/* An array: ARRAY_TYPE, the items' type. */
static bool write_array(Run *run, const int32_t *type, int32_t place) {
    int32_t count = node_at(run, place)->as.count, item = place + 1;
    if (count && !write_long(run, count)) return false;
    for (; count; count--, item = node_at(run, item)->next)
        if (!write_value(run, block(run, type[1]), item)) return false;
    return write_byte(run, 0);
}

/* A map: MAP_TYPE, the values' type. It has the members that no field has read. */
static bool write_map(Run *run, const int32_t *type, int32_t place) {
    int32_t end = node_at(run, place)->next, count = 0;
    for (int32_t name = place + 1; name < end; name = node_at(run, name + 1)->next) count += !node_at(run, name)->is_read;
    if (count && !write_long(run, count)) return false;
    for (int32_t name = place + 1; name < end; name = node_at(run, name + 1)->next) {
        if (node_at(run, name)->is_read) continue;
        if (!write_text(run, node_at(run, name)->as.text)) return false;
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

/* An enum: ENUM_TYPE, the choice of its symbols. */
static bool write_enum(Run *run, const int32_t *type, const Node *node) {
    int32_t symbol = place_in(run, type + 1, node);
    return symbol != ABSENT && write_long(run, symbol);
}

/* A union: UNION_TYPE, how many branches, and for each: the kinds that it takes, its type. Only a whole number may have
   several branches that take it; it goes on behind an integer type that is too small. */
static bool write_union(Run *run, const int32_t *type, int32_t place) {
    const Node *node = node_at(run, place);
    for (int32_t branch = 0; branch < type[1]; branch++) {
        const int32_t *inner = block(run, type[3 + 2 * branch]);
        if (!(type[2 + 2 * branch] & node->kind)) continue;
        if (inner[0] == INTEGER_TYPE && node->kind == INTEGER) {
            const int64_t *limits = run->program->integers + inner[1];
            if (node->as.integer < limits[0] || node->as.integer > limits[1]) continue;
        }
        return write_long(run, branch) && write_value(run, inner, place);
    }
    return false;
}

/* The fields of a record; each is: type, text of the default's bytes or -1, how many leaves, the leaves. A field
   without leaves collects the members that no other field reads. */
static bool write_fields(Run *run, const int32_t *at, int32_t count, int32_t object, const int32_t *leaves) {
    for (; count; count--, at += 3 + at[2]) {
        int32_t place = at[2] ? first_of(leaves, at + 3, at[2]) : object;
        if (place == ABSENT) {
            if (at[1] < 0) return false;
            Text bytes = text_of(run, at[1]);
            if (!write_bytes(run, bytes.at, bytes.size)) return false;
        } else if (!write_value(run, block(run, at[0]), place)) {
            return false;
        }
    }
    return true;
}

/* Reserve leaves, all of them ABSENT; NULL when there are too many. */
static int32_t *new_leaves(Run *run, int32_t count) {
    if (count > MAX_LEAVES - run->leaves_used) return NULL;
    int32_t *leaves = run->leaves + run->leaves_used;
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

/* An integer: INTEGER_TYPE, where its two limits are. */
static bool write_integer(Run *run, const int32_t *type, const Node *node) {
    const int64_t *limits = run->program->integers + type[1];
    return node->as.integer >= limits[0] && node->as.integer <= limits[1] && write_long(run, node->as.integer);
}

/* Check a value against a type and write it. What the type does not take, and what only Python can tell, is refused. */
static bool write_value(Run *run, const int32_t *type, int32_t place) {
    const Node *node = node_at(run, place);
    switch (type[0]) {
        case NULL_TYPE:
            return node->kind == NULL_;
        case BOOLEAN_TYPE:
            return node->kind == BOOLEAN && write_byte(run, (char)node->as.integer);
        case INTEGER_TYPE:
            return node->kind == INTEGER && write_integer(run, type, node);
        case FLOAT_TYPE:
        case DOUBLE_TYPE:
            return write_floating(run, node, type[0] == DOUBLE_TYPE);
        case STRING_TYPE:
            return node->kind == TEXT && write_text(run, node->as.text);
        case BYTES_TYPE:
            return node->kind == TEXT && write_code_points(run, node->as.text, -1);
        case FIXED_TYPE:
            return node->kind == TEXT && write_code_points(run, node->as.text, type[1]);
        case ENUM_TYPE:
            return write_enum(run, type, node);
        case ARRAY_TYPE:
            return node->kind == ARRAY && write_array(run, type, place);
        case MAP_TYPE:
            return node->kind == OBJECT && write_map(run, type, place);
        case RECORD_TYPE:
            return write_record(run, type, place);
    }
    return write_union(run, type, place);
}

/* --- rules of the payload's schema ------------------------------------------------------------------------------- */

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
    int compared;
    if (!(test[0] & node->kind)) return true;
    switch (test[1]) {
        case ALLOWED:
            return argument & node->kind;
        case MIN_LENGTH:
            return code_points(node->as.text) >= argument;
        case MAX_LENGTH:
            return code_points(node->as.text) <= argument;
        case MIN_COUNT:
            return node->as.count >= argument;
        case MAX_COUNT:
            return node->as.count <= argument;
        case CHOICE:
            return place_in(run, block(run, argument), node) != ABSENT;
        case FORBIDDEN:
            return false;
    }
    compared = compare(node, run->program->doubles[argument]);
    switch (test[1]) {
        case MINIMUM:
            return compared == 0 || compared == 1;
        case MAXIMUM:
            return compared == 0 || compared == -1;
        case ABOVE:
            return compared == 1;
    }
    return compared == -1;
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
    int32_t cursor = object + 1, end = node_at(run, object)->next;
    for (const int32_t *required = at + 1; required < at + 1 + at[0]; required++)
        if (find(run, object, text_of(run, *required), &cursor) == ABSENT) return false;
    at += 1 + at[0];
    int32_t count = at[0], others = at[1 + 2 * count];
    cursor = 0;
    for (int32_t name = object + 1; name < end; name = node_at(run, name + 1)->next) {
        int32_t rules = rules_of(run, at + 1, count, node_at(run, name)->as.text, &cursor, others);
        if (rules == NO_MEMBER || (rules >= 0 && !passes(run, block(run, rules), name + 1))) return false;
    }
    return true;
}

/* Rules: how many tests, the tests; members or -1; rules of items or -1; how many further rules, these. */
static bool passes(const Run *run, const int32_t *rules, int32_t place) {
    const Node *node = node_at(run, place);
    const int32_t *at = rules + 1 + 3 * rules[0];
    for (const int32_t *test = rules + 1; test < at; test += 3)
        if (!passes_test(run, test, node)) return false;
    if (at[0] >= 0 && node->kind == OBJECT && !members_pass(run, block(run, at[0]), place)) return false;
    if (at[1] >= 0 && node->kind == ARRAY)
        for (int32_t item = place + 1; item < node->next; item = node_at(run, item)->next)
            if (!passes(run, block(run, at[1]), item)) return false;
    for (const int32_t *also = at + 3; also < at + 3 + at[2]; also++)
        if (!passes(run, block(run, *also), place)) return false;
    return true;
}

/* --- the result -------------------------------------------------------------------------------------------------- */

/* The leaves of the outermost record are the first. */
static const Node *node_of(const Run *run, const int32_t *leaves, int32_t count) {
    int32_t place = first_of(run->leaves, leaves, count);
    return place == ABSENT ? NULL : node_at(run, place);
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
        case TEXT:
            *text = node->as.text;
            return true;
        case INTEGER:
            *text = (Text){digits, snprintf(digits, 24, "%lld", (long long)node->as.integer), 0};
            return true;
        case BOOLEAN:
            *text = node->as.integer ? (Text){"true", 4, 0} : (Text){"false", 5, 0};
            return true;
        case NULL_:
            *text = (Text){"", 0, 0};
            return true;
    }
    return !node;
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

static bool is_number(const Node *node) { return node->kind == INTEGER || node->kind == FRACTION; }

/* Make the Python object of a value; NULL without an error when only Python can tell. */
static PyObject *object_of(const Node *node, int32_t what, int32_t per_millisecond) {
    int64_t value = node->as.integer;
    if (what == AS_MOMENT && node->kind == INTEGER)
        return PyLong_FromLongLong(value / per_millisecond - (value % per_millisecond < 0));
    if (node->kind == NULL_ || (what == AS_NUMBER && !(node->kind == INTEGER && value >= 0)) ||
        (what == AS_COUNT && !is_number(node)))
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

/* --- a payload --------------------------------------------------------------------------------------------------- */

/* A program's first block. */
enum { PREFIX, RECORD, RULES, WRAPPED, KEY, MOMENT, NUMBER, COUNTS, TIES, IS_MESSAGEPACK };

/* Fill in the members that the topic contains; refuse others than the topic's.
   Ties: how many, and for each: leaf, place of the topic's text. */
static bool tie(Run *run, const int32_t *ties) {
    for (int32_t number = 0; number < ties[0]; number++) {
        int32_t *leaf = run->leaves + ties[1 + 2 * number];
        Node *topic = node_at(run, MAX_NODES + number); /* behind those of the payload */
        *topic = (Node){.kind = TEXT};
        if (!topic_text(run, ties[2 + 2 * number], &topic->as.text)) return false;
        if (*leaf == ABSENT) *leaf = MAX_NODES + number;
        const Node *node = node_at(run, *leaf);
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
    Tape *tape = run->tape;
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

/* Give key, value, moment, number and counts; NULL when it is for Python to decide. */
static PyObject *encoded(Run *run, PyObject *payload) {
    const int32_t *program = run->program->code;
    if (!parse(run, program, payload) || !write_outermost(run, program)) return NULL;
    int32_t size = run->written;
    if (!write_key(run, block(run, program[KEY]))) return NULL;
    PyObject *parts[5] = {
        PyBytes_FromStringAndSize(run->out + size, run->written - size),
        PyBytes_FromStringAndSize(run->out, size),
        program[MOMENT] < 0 ? Py_NewRef(Py_None) : result_of(run, block(run, program[MOMENT])),
        program[NUMBER] < 0 ? Py_NewRef(Py_None) : result_of(run, block(run, program[NUMBER])),
        program[COUNTS] < 0 ? Py_NewRef(Py_None) : results_of(run, block(run, program[COUNTS])),
    };
    PyObject *result = NULL;
    if (parts[0] && parts[1] && parts[2] && parts[3] && parts[4])
        result = PyTuple_Pack(5, parts[0], parts[1], parts[2], parts[3], parts[4]);
    for (int place = 0; place < 5; place++) Py_XDECREF(parts[place]);
    return result;
}

/* What Python calls: payload and prepared topic in; key, value, moment, number and counts out. */
static PyObject *encode(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    const Program *program = PyCapsule_GetPointer(self, NULL);
    if (!program || count != 2) return PyErr_Format(PyExc_TypeError, "encode takes payload and prepared topic");
    Run run = {.program = program, .prepared = arguments[1], .tape = &scratch.tape, .out = scratch.out,
               .leaves = scratch.leaves};
    PyObject *result = encoded(&run, arguments[0]);
    if (result) return result;
    PyErr_Clear();
    PyObject *prepared = PyTuple_GetItem(arguments[1], 0);
    return prepared ? PyObject_CallFunctionObjArgs(program->fallback, arguments[0], prepared, NULL) : NULL;
}

/* --- programs ---------------------------------------------------------------------------------------------------- */

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
    static PyMethodDef method = {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL, NULL};
    PyObject *code, *doubles, *integers, *texts;
    Program *program = PyMem_Calloc(1, sizeof(Program));
    PyObject *capsule = program ? PyCapsule_New(program, NULL, forget) : NULL, *encoder = NULL;
    (void)module;
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

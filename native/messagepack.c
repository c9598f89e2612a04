/* MessagePack -> tape: as strict as JSON, and of the same values.

   Refused ("not me"): binary data, extension types, NaN and infinities, whole numbers from 2^63 on, a name that is not
   text or stands twice in an object, more than MAX_LEVELS levels, and what is too large for the tape. */

#include "native.h"
#include <math.h>

typedef struct {
    const unsigned char *at, *end;
    Tape *tape;
} Reader;

/* First bytes of values; those below NIL, and from NEGATIVE_5 on, have their number in them. */
enum { OBJECT_4 = 0x80, ARRAY_4 = 0x90, TEXT_5 = 0xA0, NIL = 0xC0, TRUE_ = 0xC3, FLOAT_32 = 0xCA, FLOAT_64, UNSIGNED_8,
       SIGNED_8 = 0xD0, TEXT_8 = 0xD9, ARRAY_16 = 0xDC, OBJECT_16 = 0xDE, NEGATIVE_5 = 0xE0 };

/* How many bytes of a number follow each first byte from NIL on; -1 for what JSON does not have. */
static const int8_t NUMBER_BYTES[] = {0, -1, 0, 0, -1, -1, -1, -1, -1, -1, 4, 8, 1, 2, 4, 8,
                                      1, 2,  4, 8, -1, -1, -1, -1, -1, 1,  2, 4, 2, 4, 2, 4};

static bool read_value(Reader *reader, int levels);

static bool set(Node *node, int kind, int64_t value) {
    node->kind = (uint8_t)kind;
    node->as.integer = value;
    return true;
}

/* In JSON it would have the shortest text that names it, so it equals a limit when the limit's double does. */
static bool set_fraction(Node *node, double value) {
    node->kind = FRACTION;
    node->is_short = true;
    node->as.fraction = value;
    return isfinite(value);
}

/* A code point that is cut ends at the next value, or at the zero byte behind each payload. */
static bool read_text(Reader *reader, Node *node, uint64_t size) {
    const unsigned char *at = reader->at, *end;
    if (size > (uint64_t)(reader->end - at)) return false;
    node->kind = TEXT;
    node->as.text = (Text){(const char *)at, (int32_t)size, 0};
    reader->at = end = at + size;
    while (at < end) {
        int step = *at < 0x80 ? 1 : code_point_size(at);
        if (!step || step > end - at) return false;
        at += step;
    }
    return true;
}

static bool read_name(Reader *reader, const Node *object, uint64_t *seen) {
    Node *name = &reader->tape->nodes[reader->tape->count];
    return read_value(reader, 0) && name->kind == TEXT && is_new_name(reader->tape, object, name, seen);
}

static bool read_container(Reader *reader, Node *node, int kind, uint64_t count, int levels) {
    uint64_t seen = 0;
    node->kind = (uint8_t)kind;
    node->as.count = 0;
    if (!levels) return false;
    for (; count; count--, node->as.count++) {
        if (kind == OBJECT && !read_name(reader, node, &seen)) return false;
        if (!read_value(reader, levels - 1)) return false;
    }
    node->next = reader->tape->count;
    return true;
}

/* Read a value whose first byte is followed by a number: its size, its count or itself. */
static bool read_long_form(Reader *reader, Node *node, int first, int levels) {
    int size = NUMBER_BYTES[first - NIL], unused = 64 - 8 * size;
    uint64_t number = 0;
    if (size < 0 || size > reader->end - reader->at) return false;
    for (int place = 0; place < size; place++) number = number << 8 | *reader->at++;
    if (first >= OBJECT_16) return read_container(reader, node, OBJECT, number, levels);
    if (first >= ARRAY_16) return read_container(reader, node, ARRAY, number, levels);
    if (first >= TEXT_8) return read_text(reader, node, number);
    if (first >= SIGNED_8) return set(node, INTEGER, (int64_t)(number << unused) >> unused);
    if (first >= UNSIGNED_8) return number <= INT64_MAX && set(node, INTEGER, (int64_t)number);
    if (first == FLOAT_64) return set_fraction(node, (union { uint64_t bits; double value; }){number}.value);
    if (first == FLOAT_32) return set_fraction(node, (union { uint32_t bits; float value; }){(uint32_t)number}.value);
    return first == NIL ? set(node, NULL_, 0) : set(node, BOOLEAN, first == TRUE_);
}

/* Read a value that may nest so many levels. */
static bool read_value(Reader *reader, int levels) {
    Node *node = new_node(reader->tape);
    if (!node || reader->at == reader->end) return false;
    int first = *reader->at++;
    if (first < OBJECT_4) return set(node, INTEGER, first);
    if (first < ARRAY_4) return read_container(reader, node, OBJECT, first - OBJECT_4, levels);
    if (first < TEXT_5) return read_container(reader, node, ARRAY, first - ARRAY_4, levels);
    if (first < NIL) return read_text(reader, node, first - TEXT_5);
    if (first >= NEGATIVE_5) return set(node, INTEGER, first - 256);
    return read_long_form(reader, node, first, levels);
}

bool parse_messagepack(Tape *tape, const char *payload, Py_ssize_t size) {
    const unsigned char *at = (const unsigned char *)payload;
    Reader reader = {at, at + size, tape};
    return size <= MAX_PAYLOAD && read_value(&reader, MAX_LEVELS) && reader.at == reader.end;
}

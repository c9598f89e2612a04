/* JSON text -> tape: strict, and for payloads as devices send them.

   Refused ("not me") although JSON allows it: numbers of more than 18 digits without a point, -0, escapes of
   surrogates, a name that stands twice in an object, more than MAX_LEVELS levels, and what is too large for the tape.
   A payload ends with a zero byte, as all bytes objects do. No form of JSON takes that byte, so no loop runs past it. */

#include "native.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *at;
    Tape *tape;
} Parser;

enum { PLAIN, QUOTE, ESCAPE, CONTROL, HIGH }; /* classes of the bytes of a text */

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const uint64_t EXACT_IN_DOUBLE = 1ull << 53;
enum { LARGEST_POWER = 22, MOST_DIGITS = 18, SHORT = 15 };

static bool parse_value(Parser *parser, int levels);

static int class_of(unsigned char byte) {
    if (byte >= 0x80) return HIGH;
    if (byte == '"') return QUOTE;
    if (byte == '\\') return ESCAPE;
    return byte < 0x20 ? CONTROL : PLAIN;
}

/* Give the bytes of the code point of UTF-8 at a place that is not ASCII; 0 when it is malformed (RFC 3629). */
int code_point_size(const unsigned char *at) {
    unsigned char first = at[0], low = 0x80, high = 0xBF;
    int size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4) return 0;
    if (first == 0xE0) low = 0xA0;  /* overlong */
    if (first == 0xED) high = 0x9F; /* surrogates */
    if (first == 0xF0) low = 0x90;  /* overlong */
    if (first == 0xF4) high = 0x8F; /* beyond Unicode */
    if (at[1] < low || at[1] > high) return 0;
    for (int place = 2; place < size; place++)
        if ((at[place] & 0xC0) != 0x80) return 0;
    return size;
}

static int hexadecimal(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Read the four digits behind \u; -1 for others, and for surrogates, which only a pair may have. */
static int32_t escaped_code_point(const char *at) {
    int32_t point = 0;
    for (int place = 0; place < 4; place++) {
        int digit = hexadecimal(at[place]);
        if (digit < 0) return -1;
        point = point << 4 | digit;
    }
    return point >= 0xD800 && point <= 0xDFFF ? -1 : point;
}

static char *write_utf8(char *to, int32_t point) {
    if (point < 0x80) {
        *to++ = (char)point;
    } else if (point < 0x800) {
        *to++ = (char)(0xC0 | point >> 6);
        *to++ = (char)(0x80 | (point & 0x3F));
    } else {
        *to++ = (char)(0xE0 | point >> 12);
        *to++ = (char)(0x80 | (point >> 6 & 0x3F));
        *to++ = (char)(0x80 | (point & 0x3F));
    }
    return to;
}

/* Write what an escape stands for; move `*from` behind it. NULL when it stands for nothing. */
static char *unescape(const char **from, char *to) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char letter = (*from)[1];
    if (letter == 'u') {
        int32_t point = escaped_code_point(*from + 2);
        *from += 6;
        return point < 0 ? NULL : write_utf8(to, point);
    }
    const char *found = letter ? strchr(letters, letter) : NULL;
    if (!found) return NULL;
    *from += 2;
    *to++ = meant[found - letters];
    return to;
}

/* Read a text that is not all plain, into a copy. An escape is never shorter than what it stands for, so all copies
   together have room for a payload. */
static bool copy_text(Parser *parser, Text *text) {
    char *copy = parser->tape->texts + parser->tape->texts_used, *to = copy;
    for (const char *at = parser->at + 1;;) {
        int size = 1, kind = class_of((unsigned char)*at);
        if (kind == QUOTE) {
            *text = (Text){copy, (int32_t)(to - copy), 0};
            parser->tape->texts_used += text->size;
            parser->at = at + 1;
            return true;
        }
        if (kind == CONTROL || (kind == HIGH && !(size = code_point_size((const unsigned char *)at)))) return false;
        if (kind == ESCAPE && !(to = unescape(&at, to))) return false;
        for (; kind != ESCAPE && size; size--) *to++ = *at++;
    }
}

/* Read a text, whose quote the parser is at. */
static bool parse_text(Parser *parser, Text *text) {
    const char *start = parser->at + 1, *at = start;
    while (class_of((unsigned char)*at) == PLAIN) at++;
    if (*at != '"') return copy_text(parser, text);
    *text = (Text){start, (int32_t)(at - start), 0};
    parser->at = at + 1;
    return true;
}

typedef struct {
    const char *start;
    uint64_t digits; /* the number without point and exponent, if there are at most MOST_DIGITS */
    int count;       /* of digits */
    int exponent;    /* of ten */
    int exponent_digits;
    bool is_fraction;
} Number;

/* Read digits; false when there are none. */
static bool take_digits(Parser *parser, Number *number) {
    const char *start = parser->at;
    for (; *parser->at >= '0' && *parser->at <= '9'; parser->at++)
        if (number->count++ < MOST_DIGITS) number->digits = number->digits * 10 + (uint64_t)(*parser->at - '0');
    return parser->at > start;
}

static bool take_exponent(Parser *parser, Number *number) {
    bool is_negative = *++parser->at == '-';
    int exponent = 0;
    if (is_negative || *parser->at == '+') parser->at++;
    for (; *parser->at >= '0' && *parser->at <= '9'; parser->at++, number->exponent_digits++)
        if (number->exponent_digits < 4) exponent = exponent * 10 + (*parser->at - '0');
    number->exponent += is_negative ? -exponent : exponent;
    number->is_fraction = true;
    return number->exponent_digits > 0 && number->exponent_digits <= 4;
}

/* Read the form of a number (RFC 8259 section 6). */
static bool take_number(Parser *parser, Number *number) {
    bool is_zero = *parser->at == '0';
    if (!take_digits(parser, number) || (is_zero && number->count > 1)) return false;
    if (*parser->at == '.') {
        int whole = number->count;
        parser->at++;
        if (!take_digits(parser, number)) return false;
        number->exponent = whole - number->count;
        number->is_fraction = true;
    }
    return (*parser->at | 0x20) != 'e' || take_exponent(parser, number);
}

/* Give the nearest double. Of two numbers that doubles hold, product and quotient are rounded once. */
static bool nearest(const Number *number, const char *end, double *found) {
    int exponent = number->exponent;
    if (number->count <= MOST_DIGITS && number->digits <= EXACT_IN_DOUBLE && abs(exponent) <= LARGEST_POWER) {
        double digits = (double)number->digits;
        double size = exponent < 0 ? digits / POWERS[-exponent] : digits * POWERS[exponent];
        *found = *number->start == '-' ? -size : size;
        return true;
    }
    char *stop = NULL;
    *found = PyOS_string_to_double(number->start, &stop, NULL);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return stop == end && isfinite(*found);
}

static bool parse_number(Parser *parser, Node *node) {
    Number number = {.start = parser->at};
    bool is_negative = *parser->at == '-';
    parser->at += is_negative;
    if (!take_number(parser, &number)) return false;
    node->is_short = parser->at - number.start <= SHORT && number.exponent_digits <= 2;
    if (number.is_fraction) {
        node->kind = FRACTION;
        return nearest(&number, parser->at, &node->as.fraction);
    }
    node->kind = INTEGER;
    node->as.integer = is_negative ? -(int64_t)number.digits : (int64_t)number.digits;
    return number.count <= MOST_DIGITS && !(is_negative && !number.digits);
}

static void skip_space(Parser *parser) {
    while (*parser->at == ' ' || *parser->at == '\n' || *parser->at == '\r' || *parser->at == '\t') parser->at++;
}

/* Move past a character, and spaces around it; false when there is another one. */
static bool skip(Parser *parser, char expected) {
    skip_space(parser);
    if (*parser->at != expected) return false;
    parser->at++;
    skip_space(parser);
    return true;
}

static bool parse_word(Parser *parser, const char *word, Node *node, int kind, int64_t value) {
    size_t size = strlen(word);
    if (strncmp(parser->at, word, size) != 0) return false;
    parser->at += size;
    node->kind = (uint8_t)kind;
    node->as.integer = value;
    return true;
}

/* Read a name, a node of its own. */
static bool parse_name(Parser *parser, const Node *object, uint64_t *seen) {
    Node *name = new_node(parser->tape);
    if (!name || *parser->at != '"' || !parse_text(parser, &name->as.text)) return false;
    name->kind = TEXT;
    return is_new_name(parser->tape, object, name, seen);
}

/* Read the members of an object, or the items of an array, which the parser is in. */
static bool parse_parts(Parser *parser, Node *node, int levels) {
    bool is_object = node->kind == OBJECT;
    char end = is_object ? '}' : ']';
    uint64_t seen = 0;
    if (skip(parser, end)) return true;
    do {
        if (is_object && !(parse_name(parser, node, &seen) && skip(parser, ':'))) return false;
        if (!parse_value(parser, levels)) return false;
        node->as.count++;
    } while (skip(parser, ','));
    return skip(parser, end);
}

static bool parse_container(Parser *parser, Node *node, int levels) {
    node->kind = *parser->at++ == '{' ? OBJECT : ARRAY;
    node->as.count = 0;
    if (!levels || !parse_parts(parser, node, levels - 1)) return false;
    node->next = parser->tape->count;
    return true;
}

/* Read a value that may nest so many levels. */
static bool parse_value(Parser *parser, int levels) {
    Node *node = new_node(parser->tape);
    if (!node) return false;
    switch (*parser->at) {
        case '{':
        case '[': return parse_container(parser, node, levels);
        case '"':
            node->kind = TEXT;
            return parse_text(parser, &node->as.text);
        case 'n': return parse_word(parser, "null", node, NULL_, 0);
        case 't': return parse_word(parser, "true", node, BOOLEAN, 1);
        case 'f': return parse_word(parser, "false", node, BOOLEAN, 0);
    }
    return parse_number(parser, node);
}

bool parse_json(Tape *tape, const char *payload, Py_ssize_t size) {
    Parser parser = {payload, tape};
    tape->texts_used = 0;
    if (size > MAX_PAYLOAD) return false;
    skip_space(&parser);
    if (!parse_value(&parser, MAX_LEVELS)) return false;
    skip_space(&parser);
    return parser.at == payload + size;
}

// Reads and writes the JSON of a provider. Values are looked up in the text itself, and only strings are allocated. Text
// from the runner is well-formed. In other text, nothing is read beyond its end, and invalid values count as absent.

#ifndef JSON_H
#define JSON_H

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A value in a text; `start` is NULL if there is no value.
typedef struct {
    const char *start;
    const char *end;
} json;

static inline json json_text(const char *text) {
    return (json){text, text + strlen(text)};
}

static inline const char *json_skip_space(const char *at, const char *end) {
    while (at < end && isspace((unsigned char)*at)) at++;
    return at;
}

// Returns the end of the string that starts at `at`, after its closing quote.
static inline const char *json_skip_string(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\' && at + 1 < end) at++;
    }
    return at < end ? at + 1 : end;
}

// Returns the end of the value that starts at `at`.
static inline const char *json_skip_value(const char *at, const char *end) {
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = json_skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
            continue;
        } else if (depth > 0 && (*at == '}' || *at == ']')) {
            depth--;
            at++;
        } else if (depth == 0 && strchr(",}] \t\r\n", *at)) {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0) return at;
    }
    return end;
}

// Returns the value of a key in an object. Escapes in keys are not decoded.
static inline json json_get(json object, const char *key) {
    const json absent = {NULL, NULL};
    if (!object.start) return absent;
    const char *end = object.end;
    const char *at = json_skip_space(object.start, end);
    if (at == end || *at != '{') return absent;
    at = json_skip_space(at + 1, end);
    while (at < end && *at == '"') {
        const char *name = at + 1;
        at = json_skip_string(at, end);
        size_t length = (size_t)(at - name - 1);
        bool is_wanted = length == strlen(key) && memcmp(name, key, length) == 0;
        at = json_skip_space(at, end);
        if (at == end || *at != ':') return absent;
        at = json_skip_space(at + 1, end);
        const char *value = at;
        at = json_skip_value(at, end);
        if (is_wanted) return (json){value, at};
        at = json_skip_space(at, end);
        if (at == end || *at != ',') return absent;
        at = json_skip_space(at + 1, end);
    }
    return absent;
}

// Returns a number, or `otherwise` if the value is not a number.
static inline double json_number(json value, double otherwise) {
    char text[64];
    size_t length = value.start ? (size_t)(value.end - value.start) : 0;
    if (length == 0 || length >= sizeof text) return otherwise;
    memcpy(text, value.start, length);
    text[length] = '\0';
    char *end;
    double number = strtod(text, &end);
    return *end == '\0' ? number : otherwise;
}

// Returns the number in four hexadecimal digits at `at`, or -1.
static inline long json_hex(const char *at, const char *end) {
    long code = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)at[i])) return -1;
        int digit = tolower((unsigned char)at[i]);
        code = code * 16 + (digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return code;
}

static inline char *json_put_utf8(char *to, long code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *to++ = (char)(0xE0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)(0xF0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
        *to++ = (char)(0x80 | (code & 0x3F));
    }
    return to;
}

// Decodes the escape after a backslash at `*at`, and moves `*at` to its end. Half of a surrogate pair, and NUL, which would
// end a C string, become U+FFFD.
static inline long json_escape(const char **at, const char *end) {
    char c = *(*at)++;
    switch (c) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': break;
    default: return (unsigned char)c;
    }
    long code = json_hex(*at, end);
    if (code < 0) return 0xFFFD;
    *at += 4;
    if (code >= 0xD800 && code < 0xDC00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        long low = json_hex(*at + 2, end);
        if (low >= 0xDC00 && low < 0xE000) {
            *at += 6;
            return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
    }
    return code == 0 || (code >= 0xD800 && code < 0xE000) ? 0xFFFD : code;
}

// Returns a string as UTF-8, or NULL if the value is not a string. The caller frees it.
static inline char *json_string(json value) {
    if (!value.start || value.end - value.start < 2 || *value.start != '"') return NULL;
    const char *at = value.start + 1;
    const char *end = value.end - 1;
    // An escape is never shorter than the character.
    char *text = malloc((size_t)(end - at) + 1);
    if (!text) abort();
    char *to = text;
    while (at < end) {
        if (*at == '\\' && at + 1 < end) {
            at++;
            to = json_put_utf8(to, json_escape(&at, end));
        } else {
            *to++ = *at++;
        }
    }
    *to = '\0';
    return text;
}

// Writes UTF-8 text as a JSON string.
static inline void json_write_string(FILE *to, const char *text) {
    fputc('"', to);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') fprintf(to, "\\%c", c);
        else if (c < 0x20) fprintf(to, "\\u%04x", c);
        else fputc(c, to);
    }
    fputc('"', to);
}

#endif

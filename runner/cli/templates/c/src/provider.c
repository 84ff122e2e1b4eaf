// Returns a text in capitals, and counts its words.
//
// The runner calls `provider run` with a test on standard input, or `provider describe`, and reads one JSON object from
// standard output. Standard error is the test's log.

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

// With the schemas, the runner finds a typo in a scenario before anything runs.
static const char DESCRIPTION[] =
    "{\"ok\": {"
    "\"name\": \"{{name}}\", \"version\": \"0.1.0\","
    "\"summary\": \"Answers a text in capitals, and counts its words\","
    "\"input_schema\": {\"type\": \"object\","
    "  \"properties\": {\"text\": {\"type\": \"string\", \"description\": \"What to shout.\"}},"
    "  \"required\": [\"text\"], \"additionalProperties\": false},"
    "\"config_schema\": {\"type\": \"object\","
    "  \"properties\": {\"suffix\": {\"type\": \"string\", \"description\": \"What to end with.\"}},"
    "  \"additionalProperties\": false}"
    "}}";

static char *read_all(FILE *from);
static int count_words(const char *text);

// Writes an error in place of a reply. Its kind decides whether a scenario's `retries` repeat the test.
static int refuse(const char *kind, const char *code, const char *message) {
    printf("{\"err\": {\"kind\": \"%s\", \"code\": \"%s\", \"message\": ", kind, code);
    json_write_string(stdout, message);
    printf("}}\n");
    return 0;
}

static int run(void) {
    char *question = read_all(stdin);
    json test = json_text(question);
    char *text = json_string(json_get(json_get(test, "input"), "text"));
    char *suffix = json_string(json_get(json_get(test, "config"), "suffix"));
    if (!text) return refuse("invalid-input", "", "`text` is missing or not a string");

    int words = count_words(text);
    if (words == 0) return refuse("invalid-input", "no-words", "`text` has no words");
    fprintf(stderr, "shouting; words: %d\n", words);

    size_t size = strlen(text) + (suffix ? strlen(suffix) : 0) + 1;
    char *shout = malloc(size);
    assert(shout);
    snprintf(shout, size, "%s%s", text, suffix ? suffix : "");
    // Letters outside ASCII are not changed.
    for (size_t i = 0; i < strlen(text); i++) shout[i] = (char)toupper((unsigned char)shout[i]);

    printf("{\"ok\": {\"output\": {\"shout\": ");
    json_write_string(stdout, shout);
    printf(", \"words\": %d}, \"metrics\": [{\"name\": \"words\", \"value\": %d}]}}\n", words, words);
    free(shout);
    free(suffix);
    free(text);
    free(question);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "describe") == 0) return puts(DESCRIPTION) < 0;
    return run();
}

static int count_words(const char *text) {
    int words = 0;
    for (int is_inside = 0; *text; text++) {
        int is_letter = !isspace((unsigned char)*text);
        words += is_letter && !is_inside;
        is_inside = is_letter;
    }
    return words;
}

// Reads everything into a string. The caller frees it.
static char *read_all(FILE *from) {
    size_t length = 0;
    size_t size = 4096;
    char *text = malloc(size);
    while (text) {
        length += fread(text + length, 1, size - length - 1, from);
        text[length] = '\0';
        if (length < size - 1) return text;
        size *= 2;
        text = realloc(text, size);
    }
    abort();
}

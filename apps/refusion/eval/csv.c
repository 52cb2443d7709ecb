#include "apps/refusion/eval/csv.h"

#include "loader/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 1024 };

struct csv {
    FILE *file;
    const char *path;
    uint64_t line; /* that the next record begins in */
    char *text;    /* the values of a record, a NUL behind each */
    size_t length, room;
    size_t starts[MOST_COLUMNS];
    size_t count;
    char *names; /* as `text`, of the first record */
    size_t name_starts[MOST_COLUMNS];
    size_t columns;
};

static bool put(struct csv *csv, char c)
{
    if (csv->length == csv->room) {
        size_t room = csv->room ? 2 * csv->room : 4096;
        char *larger = realloc(csv->text, room);
        if (!larger)
            return false;
        csv->text = larger;
        csv->room = room;
    }
    csv->text[csv->length++] = c;
    return true;
}

static int next_byte(struct csv *csv)
{
    int c = getc(csv->file);
    csv->line += c == '\n';
    return c;
}

/* What stands in quotes, the opening one read already, up to the byte behind the closing one. EOF: not closed. */
static int quoted(struct csv *csv, bool *memory)
{
    for (;;) {
        int c = next_byte(csv);
        if (c == EOF)
            return EOF;
        if (c == '"') {
            c = next_byte(csv);
            if (c != '"')
                return c == EOF ? '\n' : c;
        }
        *memory = *memory && put(csv, (char)c);
    }
}

/* Reads a record; count 0: the end of the file. */
static enum rf_status read_record(struct csv *csv, uint64_t *line, struct rf_error *err)
{
    bool memory = true;
    *line = csv->line;
    csv->length = csv->count = 0;
    int c = next_byte(csv);
    if (c == EOF)
        return ferror(csv->file)
                   ? rf_fail(err, RF_ERROR_IO, "%s: cannot read: %s", csv->path, strerror(errno))
                   : RF_OK;
    for (;; c = next_byte(csv)) {
        if (csv->count == MOST_COLUMNS)
            return rf_fail(err, RF_ERROR_UNSUPPORTED,
                           "%s:%llu: found more than %d values, wanted at most that", csv->path,
                           (unsigned long long)*line, MOST_COLUMNS);
        csv->starts[csv->count++] = csv->length;
        if (c == '"') {
            c = quoted(csv, &memory);
            if (c == EOF)
                return rf_fail(err, RF_ERROR_IO, "%s:%llu: a quote is not closed", csv->path,
                               (unsigned long long)*line);
        }
        for (; c != ',' && c != '\n' && c != EOF; c = next_byte(csv))
            if (c != '\r')
                memory = memory && put(csv, (char)c);
        memory = memory && put(csv, '\0');
        if (!memory)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s:%llu: no memory for a record", csv->path,
                           (unsigned long long)*line);
        if (c != ',')
            return RF_OK;
    }
}

enum rf_status csv_open(struct csv **out, FILE *file, const char *path, struct rf_error *err)
{
    struct csv *csv = calloc(1, sizeof *csv);
    if (!csv)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory to read it", path);
    *csv = (struct csv){.file = file, .path = path, .line = 1};
    uint64_t line;
    enum rf_status status = read_record(csv, &line, err);
    if (status) {
        csv_close(csv);
        return status;
    }
    csv->names = csv->text;
    csv->columns = csv->count;
    memcpy(csv->name_starts, csv->starts, sizeof csv->starts);
    /* Spreadsheets begin a file with a byte order mark. */
    if (csv->columns && strncmp(csv->names, "\xef\xbb\xbf", 3) == 0)
        csv->name_starts[0] += 3;
    csv->text = NULL;
    csv->room = 0;
    *out = csv;
    return RF_OK;
}

void csv_close(struct csv *csv)
{
    if (!csv)
        return;
    free(csv->text);
    free(csv->names);
    free(csv);
}

enum rf_status csv_next(struct csv *csv, cJSON **out, uint64_t *line, struct rf_error *err)
{
    *out = NULL;
    enum rf_status status;
    do { /* blank lines are no records */
        status = read_record(csv, line, err);
    } while (!status && csv->count == 1 && csv->columns > 1 && !csv->text[0]);
    if (status || !csv->count)
        return status;
    if (csv->count != csv->columns)
        return rf_fail(err, RF_ERROR_FORMAT, "%s:%llu: found %zu values, wanted %zu as in the first line",
                       csv->path, (unsigned long long)*line, csv->count, csv->columns);
    *out = cJSON_CreateObject();
    for (size_t i = 0; i < csv->count; i++) {
        const char *name = csv->names + csv->name_starts[i], *value = csv->text + csv->starts[i];
        size_t length = strlen(value);
        if (rf_utf8_valid(value, length) != length) {
            cJSON_Delete(*out);
            *out = NULL;
            return rf_fail(err, RF_ERROR_FORMAT, "%s:%llu: \"%s\": found bytes that are not UTF-8", csv->path,
                           (unsigned long long)*line, name);
        }
        if (*name && !cJSON_HasObjectItem(*out, name))
            cJSON_AddStringToObject(*out, name, value);
    }
    return RF_OK;
}

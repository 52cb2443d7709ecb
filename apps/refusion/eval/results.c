#include "apps/refusion/eval/results.h"

#include "loader/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_VALUES = 1 << 20 }; /* of a line */

/* ---- Headers -------------------------------------------------------------------------------------------- */

/* Told to readers, and of no consequence for what the records mean. */
static bool left_out(const char *key, bool shard_too)
{
    if (!shard_too && (strcmp(key, "shard") == 0 || strcmp(key, "shards") == 0))
        return true;
    return strcmp(key, "device") == 0 || strcmp(key, "path") == 0 || strcmp(key, "files") == 0;
}

static bool differ(const char *path, const cJSON *found, const cJSON *wanted, char *why, size_t size)
{
    char *a = found ? cJSON_PrintUnformatted(found) : NULL,
         *b = wanted ? cJSON_PrintUnformatted(wanted) : NULL;
    snprintf(why, size, "%s: found %.120s, wanted %.120s", path[0] ? path + 1 : "the first line",
             a ? a : "nothing", b ? b : "nothing");
    cJSON_free(a);
    cJSON_free(b);
    return false;
}

static bool same(const char *path, const cJSON *found, const cJSON *wanted, bool shard_too, char *why,
                 size_t size)
{
    if (!found || !wanted || !cJSON_IsObject(found) || !cJSON_IsObject(wanted))
        return (found && wanted && cJSON_Compare(found, wanted, true)) ||
               differ(path, found, wanted, why, size);
    char inner[256];
    const cJSON *item;
    cJSON_ArrayForEach(item, wanted)
    {
        snprintf(inner, sizeof inner, "%s.%s", path, item->string);
        if (!left_out(item->string, shard_too) &&
            !same(inner, cJSON_GetObjectItemCaseSensitive(found, item->string), item, shard_too, why, size))
            return false;
    }
    cJSON_ArrayForEach(item, found)
    {
        snprintf(inner, sizeof inner, "%s.%s", path, item->string);
        if (!left_out(item->string, shard_too) && !cJSON_HasObjectItem(wanted, item->string))
            return differ(inner, item, NULL, why, size);
    }
    return true;
}

bool headers_match(const cJSON *found, const cJSON *wanted, bool shard_too, char *why, size_t size)
{
    return same("", found, wanted, shard_too, why, size);
}

/* Sizes, and room for what is done. */
static enum rf_status take_header(struct results *r, cJSON *header, const char *path, struct rf_error *err)
{
    r->header = header;
    struct rf_json_at at = {header, path, ""},
                      tasks = {cJSON_GetObjectItemCaseSensitive(header, "tasks"), path, "tasks."};
    const cJSON *variants = cJSON_GetObjectItemCaseSensitive(header, "variants"), *variant;
    const char *format = NULL;
    uint64_t version, shard = 0, shards = 1;
    enum rf_status status = rf_json_string(at, "format", &format, err);
    if (!status && (!format || strcmp(format, "refusion-eval") != 0 || !cJSON_IsObject(tasks.object)))
        status =
            rf_fail(err, RF_ERROR_FORMAT, "%s: found other things than results of `refusion eval`", path);
    if (!status)
        status = rf_json_uint(at, "version", 1, 1, &version, err);
    if (!status)
        status = rf_json_uint(tasks, "samples", 1, UINT32_MAX, &r->samples, err);
    if (!status)
        status = rf_json_uint(at, "shards", 1, UINT32_MAX, &shards, err);
    if (!status)
        status = rf_json_uint(at, "shard", 0, shards - 1, &shard, err);
    r->variants = (uint32_t)cJSON_GetArraySize(variants);
    cJSON_ArrayForEach(variant, variants)
    {
        if (!status && !cJSON_IsString(cJSON_GetObjectItemCaseSensitive(variant, "name")))
            status = rf_fail(err, RF_ERROR_FORMAT, "%s: variants: found one without a name", path);
    }
    if (!status && !r->variants)
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: variants: found none, wanted at least one", path);
    if (status)
        return status;
    r->shard = (uint32_t)shard;
    r->shards = (uint32_t)shards;
    r->done = calloc(r->samples, r->variants);
    return r->done ? RF_OK : rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for its results", path);
}

const char *results_variant(const struct results *r, uint32_t variant)
{
    const cJSON *item =
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(r->header, "variants"), (int)variant);
    return cJSON_GetObjectItemCaseSensitive(item, "name")->valuestring;
}

/* ---- Records as lines ----------------------------------------------------------------------------------- */

void record_clear(struct record *record)
{
    free(record->task);
    free(record->id);
    free(record->reason);
    free(record->answer);
    free(record->finish);
    free(record->line);
    *record = (struct record){0};
}

/* With its newline, for free. */
static char *line_of(const struct results *r, const struct record *record)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "sample", (double)record->sample);
    cJSON_AddStringToObject(o, "task", record->task);
    cJSON_AddStringToObject(o, "id", record->id);
    cJSON_AddStringToObject(o, "decode", results_variant(r, record->variant));
    cJSON_AddBoolToObject(o, "right", record->right);
    cJSON_AddStringToObject(o, "reason", record->reason);
    cJSON_AddStringToObject(o, "answer", record->answer);
    cJSON_AddStringToObject(o, "finish", record->finish);
    cJSON_AddNumberToObject(o, "prompt_tokens", record->prompt_tokens);
    cJSON_AddNumberToObject(o, "tokens", record->tokens);
    cJSON_AddNumberToObject(o, "counted_tokens", (double)record->counted);
    cJSON_AddNumberToObject(o, "forwards", (double)record->forwards);
    cJSON_AddNumberToObject(o, "seconds", record->seconds);
    cJSON_AddNumberToObject(o, "latency", record->latency);
    cJSON_AddStringToObject(o, "query", hash_words(record->query).text);
    cJSON_AddStringToObject(o, "settings", hash_words(record->settings).text);
    char *text = cJSON_PrintUnformatted(o), *line = NULL;
    cJSON_Delete(o);
    if (text && asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    cJSON_free(text);
    return line;
}

/* A text that has to be there, copied. */
static enum rf_status copy_text(char **out, struct rf_json_at at, const char *key, struct rf_error *err)
{
    const char *text;
    enum rf_status status = rf_json_string(at, key, &text, err);
    if (!status && !text)
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: found no \"%s\", wanted a text", at.file, key);
    if (!status && !(*out = strdup(text)))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for a record", at.file);
    return status;
}

static enum rf_status read_hash(uint64_t *out, struct rf_json_at at, const char *key, struct rf_error *err)
{
    const char *text;
    char *end;
    enum rf_status status = rf_json_string(at, key, &text, err);
    if (!status && (!text || strlen(text) != 16 || (*out = strtoull(text, &end, 16), *end)))
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: \"%s\": wanted 16 hexadecimal digits", at.file, key);
    return status;
}

static enum rf_status read_texts(struct record *out, struct rf_json_at at, struct rf_error *err)
{
    struct {
        const char *key;
        char **text;
    } texts[] = {{"task", &out->task},
                 {"id", &out->id},
                 {"reason", &out->reason},
                 {"answer", &out->answer},
                 {"finish", &out->finish}};
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !status; i++)
        status = copy_text(texts[i].text, at, texts[i].key, err);
    if (!status)
        status = read_hash(&out->query, at, "query", err);
    if (!status)
        status = read_hash(&out->settings, at, "settings", err);
    return status;
}

static enum rf_status read_numbers(struct record *out, struct rf_json_at at, struct rf_error *err)
{
    uint64_t prompt_tokens, tokens;
    const cJSON *right = rf_json_member(at, "right");
    if (!cJSON_IsBool(right))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: \"right\": found %s, wanted true or false", at.file,
                       rf_json_describe(right).text);
    out->right = cJSON_IsTrue(right);
    enum rf_status status = rf_json_uint(at, "prompt_tokens", 0, UINT32_MAX, &prompt_tokens, err);
    if (!status)
        status = rf_json_uint(at, "tokens", 0, UINT32_MAX, &tokens, err);
    if (!status)
        status = rf_json_uint(at, "counted_tokens", 0, UINT32_MAX, &out->counted, err);
    if (!status)
        status = rf_json_uint(at, "forwards", 0, UINT32_MAX, &out->forwards, err);
    if (!status)
        status = rf_json_number(at, "seconds", 0, 1e9, &out->seconds, err);
    if (!status)
        status = rf_json_number(at, "latency", 0, 1e9, &out->latency, err);
    if (status)
        return status;
    out->prompt_tokens = (uint32_t)prompt_tokens;
    out->tokens = (uint32_t)tokens;
    return RF_OK;
}

/* Whose record it is, and that it may be in this file. */
static enum rf_status place(struct record *out, const struct results *r, struct rf_json_at at,
                            const struct samples *samples, struct rf_error *err)
{
    const char *decode;
    enum rf_status status = rf_json_uint(at, "sample", 0, r->samples - 1, &out->sample, err);
    if (!status)
        status = rf_json_string(at, "decode", &decode, err);
    if (status)
        return status;
    while (out->variant < r->variants && (!decode || strcmp(results_variant(r, out->variant), decode) != 0))
        out->variant++;
    if (out->variant == r->variants)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: \"decode\": found \"%s\", wanted one of the first line",
                       at.file, decode ? rf_json_printable(decode).text : "nothing");
    if (!results_mine(r, out->sample))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: found sample %llu, which is not of shard %u of %u", at.file,
                       (unsigned long long)out->sample, r->shard, r->shards);
    if (samples && samples->items[out->sample].hash != out->query)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: found another sample %llu (%s %s) than the tasks have (%s %s)", at.file,
                       (unsigned long long)out->sample, out->task, out->id, samples->items[out->sample].task,
                       samples->items[out->sample].id);
    if (results_has(r, out->sample, out->variant))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: found sample %llu (%s %s) by %s a second time", at.file,
                       (unsigned long long)out->sample, out->task, out->id, results_variant(r, out->variant));
    return RF_OK;
}

enum rf_status results_take(struct results *r, struct record *record, struct rf_error *err)
{
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 256;
        struct record *larger = realloc(r->records, room * sizeof *larger);
        if (!larger) {
            record_clear(record);
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for %zu results", room);
        }
        r->records = larger;
        r->room = room;
    }
    r->done[record->sample * r->variants + record->variant] = 1;
    r->records[r->count++] = *record;
    *record = (struct record){0};
    return RF_OK;
}

static enum rf_status take_line(struct results *r, const char *line, size_t length, const char *where,
                                const struct samples *samples, struct rf_error *err)
{
    cJSON *object = NULL;
    struct record record = {0};
    enum rf_status status = rf_json_parse(&object, where, line, length, MOST_VALUES, err);
    struct rf_json_at at = {object, where, ""};
    if (!status && !cJSON_IsObject(object))
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: found %s, wanted an object", where,
                         rf_json_describe(object).text);
    if (!status)
        status = read_texts(&record, at, err);
    if (!status)
        status = read_numbers(&record, at, err);
    if (!status)
        status = place(&record, r, at, samples, err);
    if (!status && !(record.line = strndup(line, length)))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for a record", where);
    cJSON_Delete(object);
    if (status) {
        record_clear(&record);
        return status;
    }
    return results_take(r, &record, err);
}

/* ---- Files ---------------------------------------------------------------------------------------------- */

/* The header line of a file; RF_OK without r->header when there is none that is whole. */
static enum rf_status read_header(struct results *r, const char *line, size_t length, const cJSON *wanted,
                                  bool shard_too, struct rf_error *err)
{
    cJSON *header = NULL;
    char why[512], where[4200];
    snprintf(where, sizeof where, "%s:1", r->path);
    enum rf_status status = rf_json_parse(&header, where, line, length, MOST_VALUES, err);
    if (!status)
        status = take_header(r, header, where, err);
    if (!status && wanted && !headers_match(header, wanted, shard_too, why, sizeof why))
        status = rf_fail(err, RF_ERROR_ARGUMENT, "%s: holds results of something else: %s", r->path, why);
    return status;
}

/* What a header begins with. */
static const char first_words[] = "{\"format\":\"refusion-eval\"";

/* Reads all whole lines; *end is behind the last of them. */
static enum rf_status read_lines(struct results *r, FILE *file, const cJSON *wanted, bool shard_too,
                                 const struct samples *samples, off_t *end, struct rf_error *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    enum rf_status status = RF_OK;
    *end = 0;
    for (uint64_t number = 1; !status && (length = getline(&line, &room, file)) > 0; number++) {
        if (line[length - 1] !=
            '\n') { /* torn; a first line has to be ours, or something else would be cut off */
            size_t known = strlen(first_words), seen = (size_t)length < known ? (size_t)length : known;
            if (number == 1 && memcmp(line, first_words, seen) != 0)
                status = rf_fail(err, RF_ERROR_FORMAT,
                                 "%s: found other things than results of `refusion eval`", r->path);
            break;
        }
        char where[4200];
        snprintf(where, sizeof where, "%s:%llu", r->path, (unsigned long long)number);
        status = number == 1 ? read_header(r, line, (size_t)length, wanted, shard_too, err)
                             : take_line(r, line, (size_t)length, where, samples, err);
        *end += length;
    }
    free(line);
    if (!status && ferror(file))
        status = rf_fail(err, RF_ERROR_IO, "%s: cannot read: %s", r->path, strerror(errno));
    return status;
}

/* One write() for each line, so that a killed process tears none but the last. */
static enum rf_status write_line(struct results *r, const char *line, struct rf_error *err)
{
    size_t length = strlen(line);
    ssize_t written;
    do
        written = write(r->fd, line, length);
    while (written < 0 && errno == EINTR);
    if (written == (ssize_t)length)
        return RF_OK;
    return rf_fail(err, RF_ERROR_IO, "%s: cannot write: %s", r->path,
                   written < 0 ? strerror(errno) : "only a part of a line was taken (is the disk full?)");
}

static enum rf_status write_header(struct results *r, struct rf_error *err)
{
    char *text = cJSON_PrintUnformatted(r->header), *line = NULL;
    if (!text || asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    cJSON_free(text);
    enum rf_status status =
        line ? write_line(r, line, err)
             : rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for its first line", r->path);
    free(line);
    return status;
}

static enum rf_status lock_and_read(struct results *r, const cJSON *header, const struct samples *samples,
                                    struct rf_error *err)
{
    r->fd = open(r->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (r->fd < 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot open: %s", r->path, strerror(errno));
    struct stat info;
    if (fstat(r->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: found other things than a file, wanted one to add to",
                       r->path);
    if (flock(r->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: another process adds to it", r->path);
    int copy = dup(r->fd);
    FILE *file = copy < 0 ? NULL : fdopen(copy, "r");
    if (!file)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot read: %s", r->path, strerror(errno));
    off_t end;
    enum rf_status status = read_lines(r, file, header, true, samples, &end, err);
    fclose(file);
    if (!status && fstat(r->fd, &info) == 0 && info.st_size > end && ftruncate(r->fd, end) != 0)
        status =
            rf_fail(err, RF_ERROR_IO, "%s: cannot cut its torn last line off: %s", r->path, strerror(errno));
    return status;
}

enum rf_status results_open(struct results *out, const char *path, cJSON *header,
                            const struct samples *samples, struct rf_error *err)
{
    *out = (struct results){.fd = -1, .path = path ? strdup(path) : NULL};
    enum rf_status status = RF_OK;
    if (path && !out->path)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for its name", path);
    if (!status && path)
        status = lock_and_read(out, header, samples, err);
    if (!status && !out->header) { /* a new file, or one that was killed in its first line */
        status = take_header(out, header, path ? path : "results", err);
        header = NULL;
        if (!status && path)
            status = write_header(out, err);
    }
    cJSON_Delete(header);
    if (status)
        results_close(out);
    return status;
}

enum rf_status results_read(struct results *out, const char *path, const cJSON *header,
                            const struct samples *samples, struct rf_error *err)
{
    *out = (struct results){.fd = -1, .path = strdup(path)};
    FILE *file = out->path ? fopen(path, "r") : NULL;
    off_t end;
    enum rf_status status = file ? read_lines(out, file, header, false, samples, &end, err)
                                 : rf_fail(err, RF_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (file)
        fclose(file);
    if (!status && !out->header)
        status =
            rf_fail(err, RF_ERROR_FORMAT, "%s: found no whole line, wanted results of `refusion eval`", path);
    if (status)
        results_close(out);
    return status;
}

enum rf_status results_add(struct results *r, struct record *record, struct rf_error *err)
{
    record->line = line_of(r, record);
    enum rf_status status =
        record->line ? RF_OK : rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for a result");
    if (!status && r->fd >= 0)
        status = write_line(r, record->line, err);
    if (status) {
        record_clear(record);
        return status;
    }
    return results_take(r, record, err);
}

void results_close(struct results *r)
{
    for (size_t i = 0; i < r->count; i++)
        record_clear(&r->records[i]);
    free(r->records);
    free(r->done);
    free(r->path);
    cJSON_Delete(r->header);
    if (r->fd >= 0)
        close(r->fd);
    *r = (struct results){.fd = -1};
}

/* ---- What there is -------------------------------------------------------------------------------------- */

bool results_has(const struct results *r, uint64_t sample, uint32_t variant)
{
    return r->done[sample * r->variants + variant];
}

bool results_mine(const struct results *r, uint64_t sample)
{
    return sample % r->shards == r->shard;
}

uint64_t results_wanted(const struct results *r)
{
    uint64_t samples = r->samples / r->shards + (r->shard < r->samples % r->shards);
    return samples * r->variants;
}

static int by_sample(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    if (x->sample != y->sample)
        return x->sample < y->sample ? -1 : 1;
    return x->variant < y->variant ? -1 : x->variant > y->variant;
}

void results_sort(struct results *r)
{
    if (r->count)
        qsort(r->records, r->count, sizeof *r->records, by_sample);
}

#include "apps/refusion/eval/read.h"

#include "apps/refusion/eval/check.h"
#include "apps/refusion/eval/csv.h"
#include "loader/json.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MOST_VALUES = 1 << 20, /* of one record, or of a file that is one list */
    MOST_WHOLE = 1 << 30,  /* bytes of such a file */
};

struct reading {
    struct samples *samples;
    const char *path;
    const struct read_rules *rules;
    uint64_t record; /* from 1: the line of a file of lines */
    bool any;        /* a sample that is well formed, be it over the limit */
};

/* The file's name without its folder and its last extension. */
static char *task_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *point = strrchr(name, '.');
    return point && point > name ? strndup(name, (size_t)(point - name)) : strdup(name);
}

static bool over_limit(const struct reading *r, const char *task)
{
    uint64_t count = 0;
    if (!r->rules->limit)
        return false;
    for (size_t i = r->samples->count; i > 0 && count < r->rules->limit; i--)
        count += strcmp(r->samples->items[i - 1].task, task) == 0;
    return count >= r->rules->limit;
}

/* Malformed: told, or a failure. Lack of memory is one whatever the rules. */
static enum rf_status refuse(struct reading *r, enum rf_status status, struct rf_error *err)
{
    if (status == RF_ERROR_HOST_MEMORY || status == RF_ERROR_IO || r->rules->strict)
        return status;
    r->samples->bad++;
    r->rules->tell(err->message);
    return RF_OK;
}

static enum rf_status convert(struct reading *r, const cJSON *object, const char *where, struct rf_error *err)
{
    struct sample sample = {.preset = r->rules->format->preset};
    enum rf_status status = cJSON_IsObject(object)
                                ? RF_OK
                                : rf_fail(err, RF_ERROR_FORMAT, "%s: found %s, wanted an object", where,
                                          rf_json_describe(object).text);
    if (!status)
        status = r->rules->format->convert(&sample, object, where, err);
    if (!status && check_reference(&sample, err))
        status = rf_fail_within(err, RF_ERROR_FORMAT, "%s", where);
    if (!status && !sample.task)
        sample.task = r->rules->format->task_of_file ? task_of(r->path) : strdup(r->rules->format->name);
    if (!status && !sample.id && asprintf(&sample.id, "%llu", (unsigned long long)r->record) < 0)
        sample.id = NULL;
    if (!status && (!sample.task || !sample.id))
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for a sample", where);
    r->any |= !status;
    if (status || over_limit(r, sample.task)) {
        sample_clear(&sample);
        return status;
    }
    return samples_add(r->samples, &sample, err);
}

/* One text of JSON, from `r->record`. */
static enum rf_status take_text(struct reading *r, const char *text, size_t size, struct rf_error *err)
{
    char where[PATH_MAX + 32];
    snprintf(where, sizeof where, "%s:%llu", r->path, (unsigned long long)r->record);
    cJSON *object = NULL;
    enum rf_status status = rf_json_parse(&object, where, text, size, MOST_VALUES, err);
    if (!status)
        status = convert(r, object, where, err);
    cJSON_Delete(object);
    return status ? refuse(r, status, err) : RF_OK;
}

static bool blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r\n", text[i]) || !text[i])
            return false;
    return true;
}

static enum rf_status read_lines(struct reading *r, FILE *file, struct rf_error *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    enum rf_status status = RF_OK;
    errno = 0;
    while (!status && (length = getline(&line, &room, file)) >= 0) {
        r->record++;
        if (!blank(line, (size_t)length))
            status = take_text(r, line, (size_t)length, err);
    }
    free(line);
    if (!status && ferror(file))
        status = rf_fail(err, RF_ERROR_IO, "%s: cannot read: %s", r->path, strerror(errno));
    return status;
}

/* One object over several lines, or a list of objects. */
static enum rf_status take_whole(struct reading *r, const char *text, size_t size, struct rf_error *err)
{
    cJSON *value = NULL;
    r->record = 1;
    enum rf_status status = rf_json_parse(&value, r->path, text, size, MOST_VALUES, err);
    if (status)
        return refuse(r, status, err);
    const cJSON *item;
    if (!cJSON_IsArray(value)) {
        status = convert(r, value, r->path, err);
        status = status ? refuse(r, status, err) : RF_OK;
    } else {
        cJSON_ArrayForEach(item, value)
        {
            char where[PATH_MAX + 32];
            snprintf(where, sizeof where, "%s: record %llu", r->path, (unsigned long long)r->record);
            status = convert(r, item, where, err);
            status = status ? refuse(r, status, err) : RF_OK;
            r->record++;
            if (status)
                break;
        }
    }
    cJSON_Delete(value);
    return status;
}

/* A file that may be a list, one object or lines, told by its first line: lines when that is a whole object. */
static enum rf_status read_either(struct reading *r, FILE *file, struct rf_error *err)
{
    struct stat info;
    char *line = NULL;
    size_t room = 0;
    ssize_t length = getline(&line, &room, file);
    cJSON *first = NULL;
    bool lines = length > 0 && !rf_json_parse(&first, "", line, (size_t)length, MOST_VALUES, NULL) &&
                 cJSON_IsObject(first);
    cJSON_Delete(first);
    free(line);
    rewind(file);
    if (lines || length < 0)
        return read_lines(r, file, err);
    if (fstat(fileno(file), &info) != 0 || info.st_size > MOST_WHOLE)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: found a list of more than 1 GiB, wanted JSON lines",
                       r->path);
    char *text = malloc((size_t)info.st_size + 1);
    if (!text)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for %lld bytes", r->path,
                       (long long)info.st_size);
    size_t size = fread(text, 1, (size_t)info.st_size, file);
    enum rf_status status = take_whole(r, text, size, err);
    free(text);
    return status;
}

static enum rf_status read_csv(struct reading *r, FILE *file, struct rf_error *err)
{
    struct csv *csv;
    enum rf_status status = csv_open(&csv, file, r->path, err);
    if (status)
        return status;
    for (;;) {
        cJSON *object = NULL;
        char where[PATH_MAX + 32];
        status = csv_next(csv, &object, &r->record, err);
        snprintf(where, sizeof where, "%s:%llu", r->path, (unsigned long long)r->record);
        if (!status && !object)
            break;
        if (!status)
            status = convert(r, object, where, err);
        cJSON_Delete(object);
        if (status)
            status = refuse(r, status, err);
        if (status)
            break;
    }
    csv_close(csv);
    return status;
}

/* What cannot be read as text is told by its first bytes, with what helps. */
static enum rf_status check_bytes(const char *path, FILE *file, struct rf_error *err)
{
    unsigned char head[4] = {0};
    size_t size = fread(head, 1, sizeof head, file);
    rewind(file);
    if (size == 4 && memcmp(head, "PAR1", 4) == 0)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "%s: found a Parquet file, wanted JSON lines; pandas makes them: "
                       "read_parquet(IN).to_json(OUT, orient=\"records\", lines=True)",
                       path);
    if (size >= 2 && head[0] == 0x1f && head[1] == 0x8b)
        return rf_fail(err, RF_ERROR_UNSUPPORTED, "%s: found a gzip file, wanted what `gunzip` makes of it",
                       path);
    return RF_OK;
}

static enum rf_status read_file(struct samples *samples, const char *path, const struct read_rules *rules,
                                struct rf_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    struct reading r = {.samples = samples, .path = path, .rules = rules};
    size_t bad = samples->bad;
    enum rf_status status = check_bytes(path, file, err);
    if (!status)
        status = rules->format->csv     ? read_csv(&r, file, err)
                 : rules->format->whole ? read_either(&r, file, err)
                                        : read_lines(&r, file, err);
    fclose(file);
    if (!status && !r.any)
        status = rf_fail(err, RF_ERROR_FORMAT, "%s: found no sample%s, wanted at least one", path,
                         samples->bad > bad ? " that is well formed" : ": it is empty");
    return status;
}

static int wanted_entry(const struct dirent *entry)
{
    const char *point = strrchr(entry->d_name, '.');
    if (entry->d_name[0] == '.')
        return 0;
    return entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK ||
           (point && (!strcmp(point, ".json") || !strcmp(point, ".jsonl") || !strcmp(point, ".csv")));
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* the same in every locale */
}

enum rf_status samples_read(struct samples *samples, const char *path, const struct read_rules *rules,
                            struct rf_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot open: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return read_file(samples, path, rules, err);
    struct dirent **entries;
    int count = scandir(path, &entries, wanted_entry, by_name);
    if (count < 0)
        return rf_fail(err, RF_ERROR_IO, "%s: cannot list: %s", path, strerror(errno));
    enum rf_status status =
        count ? RF_OK
              : rf_fail(err, RF_ERROR_FORMAT, "%s: found no *.json, *.jsonl or *.csv, wanted files of tasks",
                        path);
    for (int i = 0; i < count; i++) {
        char below[PATH_MAX];
        int length = snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (!status && (length < 0 || (size_t)length >= sizeof below))
            status = rf_fail(err, RF_ERROR_IO, "%s: the path is too long", path);
        if (!status)
            status = samples_read(samples, below, rules, err);
        free(entries[i]);
    }
    free(entries);
    return status;
}

#include "apps/refusion/input.h"

#include "apps/refusion/data_dir.h"
#include "engine/allocate.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum rf_status read_stream(struct text *out, FILE *file, const char *name, struct rf_error *err)
{
    size_t room = 4096;
    *out = (struct text){malloc(room), 0};
    while (out->bytes) {
        out->length += fread(out->bytes + out->length, 1, room - out->length - 1, file);
        if (out->length + 1 < room)
            break;
        char *larger = room > SIZE_MAX / 2 ? NULL : realloc(out->bytes, room *= 2);
        if (!larger)
            free(out->bytes);
        out->bytes = larger;
    }
    if (!out->bytes)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for %zu bytes", name, out->length);
    if (ferror(file)) {
        bool by_signal = errno == EINTR;
        free(out->bytes);
        *out = (struct text){0};
        if (by_signal)
            return rf_fail(err, RF_ERROR_CANCELLED, "%s: interrupted", name);
        return rf_fail(err, RF_ERROR_IO, "%s: cannot read: %s", name, strerror(errno));
    }
    out->bytes[out->length] = '\0';
    return RF_OK;
}

static bool separates(char c)
{
    return c == ',' || isspace((unsigned char)c);
}

static enum rf_status parse_ids(struct ids *out, const char *option, const char *name, const char *list,
                                struct rf_error *err)
{
    size_t most = strlen(list) / 2 + 1;
    *out = (struct ids){rf_malloc(most * sizeof *out->items), 0};
    if (!out->items)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: no memory for %zu ids", name, most);
    for (const char *c = list;;) {
        while (separates(*c))
            c++;
        if (*c == '\0')
            break;
        size_t length = 0;
        while (c[length] && !separates(c[length]))
            length++;
        errno = 0;
        char *end;
        unsigned long long id = strtoull(c, &end, 10);
        if (!isdigit((unsigned char)*c) || end != c + length || errno || id > UINT32_MAX) {
            rf_free(out->items);
            *out = (struct ids){0};
            return rf_fail(err, RF_ERROR_ARGUMENT, "%s: found \"%.*s\", wanted token ids separated by commas",
                           name, length < 40 ? (int)length : 40, c);
        }
        out->items[out->count++] = (uint32_t)id;
        c += length;
    }
    if (out->count)
        return RF_OK;
    rf_free(out->items);
    *out = (struct ids){0};
    return rf_fail(err, RF_ERROR_ARGUMENT, "%s: found no token id, wanted at least one as in %s 1,2,3", name,
                   option);
}

enum rf_status read_ids(struct ids *out, const char *option, const char *list, struct rf_error *err)
{
    *out = (struct ids){0};
    if (list[0] != '@')
        return parse_ids(out, option, option, list, err);
    const char *path = list + 1;
    FILE *file = fopen(path, "rb");
    if (!file) {
        return rf_fail(err, RF_ERROR_IO, "%s: cannot open \"%s\": %s", option, path, strerror(errno));
    }
    struct text text;
    enum rf_status status = read_stream(&text, file, path, err);
    fclose(file);
    if (status)
        return status;
    if (strlen(text.bytes) != text.length) {
        status = rf_fail(err, RF_ERROR_ARGUMENT, "%s: found a NUL byte, wanted token ids separated by commas",
                         path);
    } else {
        status = parse_ids(out, option, path, text.bytes, err);
    }
    free(text.bytes);
    return status;
}

bool stdin_is_given(void)
{
    struct stat info;
    if (fstat(STDIN_FILENO, &info) != 0)
        return false;
    return S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || S_ISREG(info.st_mode);
}

void stdin_announce_wait(const char *what)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&in, 1, 1000) == 0)
        fprintf(stderr, "refusion: waiting for %s on standard input\n", what);
}

const char *named_model(const struct settings *settings)
{
    const char *variable = getenv("RF_MODEL");
    return settings->model ? settings->model : variable && variable[0] ? variable : NULL;
}

enum rf_status find_model(const char **out, const struct settings *settings, char *path, size_t size,
                          struct rf_error *err)
{
    char root[PATH_MAX];
    *out = named_model(settings);
    if (*out)
        return RF_OK;
    *out = path;
    /* A folder counts as a model when it has a config.json; a broken one is then reported by the loader. */
    bool found = data_dir(root, sizeof root, "models/tiny/config.json");
    int written = snprintf(path, size, "%s/models/tiny", root);
    if (found && written > 0 && (size_t)written < size)
        return RF_OK;
    return rf_fail(err, RF_ERROR_IO,
                   "--model: not given, nor RF_MODEL, and the tiny model is neither near the program nor in "
                   "%s/models/tiny; "
                   "wanted a folder",
                   root);
}

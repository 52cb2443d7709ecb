#include "tests/eval/support.h"

#include <unistd.h>

static char folder[] = "/tmp/test-eval-XXXXXX";

int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

int remove_folder(void **state)
{
    (void)state;
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

const char *path_of(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

char *read_whole(const char *name)
{
    FILE *file = fopen(path_of(name), "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, file) < (1 << 20) - 1);
    fclose(file);
    return text;
}

void make_samples(struct samples *out, size_t count)
{
    *out = (struct samples){0};
    for (size_t i = 0; i < count; i++) {
        struct sample sample = {
            .task = strdup(i % 2 ? "b" : "a"), .query = strdup("?"), .reference = strdup("1")};
        assert_true(asprintf(&sample.id, "%zu", i + 1) > 0);
        assert_int_equal(samples_add(out, &sample, NULL), RF_OK);
    }
}

cJSON *make_header(const struct samples *samples, uint32_t shard, uint32_t shards)
{
    char text[512];
    snprintf(
        text, sizeof text,
        "{\"format\": \"refusion-eval\", \"version\": 1, \"shard\": %u, \"shards\": %u, \"model\": "
        "{\"path\": "
        "\"m\", \"precision\": \"fp16\", \"weights\": \"0\"}, \"device\": \"d%u\", \"tasks\": {\"samples\": "
        "%zu, "
        "\"hash\": \"%s\"}, \"settings\": {\"slot_size\": 8}, \"sweep\": false, \"variants\": [{\"name\": "
        "\"refusion\"}, {\"name\": \"ar\"}]}",
        shard, shards, shard, samples->count, hash_words(samples_hash(samples)).text);
    cJSON *header = cJSON_Parse(text);
    assert_non_null(header);
    return header;
}

struct record make_record(const struct samples *samples, uint64_t sample, uint32_t variant, bool right)
{
    const struct sample *s = &samples->items[sample];
    return (struct record){.sample = sample,
                           .variant = variant,
                           .task = strdup(s->task),
                           .id = strdup(s->id),
                           .query = s->hash,
                           .settings = 7,
                           .right = right,
                           .reason = strdup(right ? "" : "found 2, wanted 1"),
                           .answer = strdup("an \"answer\"\nof two lines"),
                           .finish = strdup("stop"),
                           .prompt_tokens = 5,
                           .tokens = 9,
                           .counted = 10,
                           .forwards = variant ? 10 : 4,
                           .seconds = 0.5,
                           .latency = 0.25 + (double)sample};
}

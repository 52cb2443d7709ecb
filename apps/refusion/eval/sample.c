#include "apps/refusion/eval/sample.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t hash_text(uint64_t hash, const char *text)
{
    const unsigned char *c = (const unsigned char *)(text ? text : "\xff"); /* no UTF-8 has that byte */
    do {
        hash = (hash ^ *c) * UINT64_C(0x100000001b3);
    } while (*c++);
    return hash;
}

struct hash_words hash_words(uint64_t hash)
{
    struct hash_words words;
    snprintf(words.text, sizeof words.text, "%016" PRIx64, hash);
    return words;
}

void sample_clear(struct sample *sample)
{
    free(sample->task);
    free(sample->id);
    free(sample->query);
    free(sample->reference);
    free(sample->prefix);
    *sample = (struct sample){0};
}

static uint64_t sample_hash(const struct sample *sample)
{
    char check[2] = {(char)('a' + sample->check), '\0'};
    const char *texts[] = {sample->task,   sample->id,     sample->query, sample->reference,
                           sample->prefix, sample->preset, check};
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        hash = hash_text(hash, texts[i]);
    return hash;
}

enum rf_status samples_add(struct samples *samples, struct sample *sample, struct rf_error *err)
{
    if (samples->count == samples->room) {
        size_t room = samples->room ? 2 * samples->room : 64;
        struct sample *larger = realloc(samples->items, room * sizeof *larger);
        if (!larger) {
            sample_clear(sample);
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "no memory for %zu samples", room);
        }
        samples->items = larger;
        samples->room = room;
    }
    sample->hash = sample_hash(sample);
    samples->items[samples->count++] = *sample;
    *sample = (struct sample){0};
    return RF_OK;
}

void samples_free(struct samples *samples)
{
    for (size_t i = 0; i < samples->count; i++)
        sample_clear(&samples->items[i]);
    free(samples->items);
    *samples = (struct samples){0};
}

uint64_t samples_hash(const struct samples *samples)
{
    uint64_t hash = HASH_START;
    for (size_t i = 0; i < samples->count; i++)
        hash = hash_text(hash, hash_words(samples->items[i].hash).text);
    return hash;
}

/* Answers with their verdicts, a line of JSON each, in a file that a run adds to and a later one goes on with.
 *
 * The first line says what the file is of: model, settings, tasks, variants, and which shard. Each line is written by one
 * write(), so a process that is killed leaves at most one torn line, the last, which the next run cuts off. */
#ifndef RF_APPS_EVAL_RESULTS_H
#define RF_APPS_EVAL_RESULTS_H

#include "apps/refusion/eval/sample.h"

#include <cjson/cJSON.h>

struct record {
    uint64_t sample;  /* its number among all, from 0 */
    uint32_t variant; /* its number among the header's */
    char *task, *id;
    uint64_t query, settings; /* hashes: of the sample, and of the numbers that it was decoded with */
    bool right;
    char *reason; /* why it is wrong; "" */
    char *answer, *finish;
    uint32_t prompt_tokens, tokens; /* tokens: of the answer, as it is shown */
    uint64_t counted, forwards;     /* counted: tokens and the eos, as tokens per forward has them */
    double seconds;                 /* its share of the device's time: prompt and decoding */
    double latency;                 /* from its begin to its end; as `seconds` when it is decoded alone */
    char *line;                     /* as it stands in the file, with its newline */
};

struct results {
    char *path; /* NULL: nothing is kept */
    int fd;     /* -1: nothing is written */
    cJSON *header;
    uint64_t samples;
    uint32_t variants, shard, shards;
    struct record *records;
    size_t count, room;
    unsigned char *done; /* of sample * variants + variant */
};

/* Opens a file to add to, or makes it, and takes `header` over. RF_ERROR_ARGUMENT when it is of something else, with the
 * first thing that differs; RF_ERROR_FORMAT for damage; also when another process has it open. `samples`: those that
 * the records have to be of. `path` NULL: results live in memory alone. */
enum rf_status results_open(struct results *out, const char *path, cJSON *header,
                            const struct samples *samples, struct rf_error *err);
/* Reads a file that somebody else writes, or wrote; a torn last line is left out. `header` NULL: any. */
enum rf_status results_read(struct results *out, const char *path, const cJSON *header,
                            const struct samples *samples, struct rf_error *err);
/* Takes the record's texts over, also when it fails; writes its line. */
enum rf_status results_add(struct results *results, struct record *record, struct rf_error *err);
/* The same for a record that has its line; nothing is written. */
enum rf_status results_take(struct results *results, struct record *record, struct rf_error *err);
void results_close(struct results *results);

bool results_has(const struct results *results, uint64_t sample, uint32_t variant);
/* Whether it is for this shard to answer, and how many records it has in the end. */
bool results_mine(const struct results *results, uint64_t sample);
uint64_t results_wanted(const struct results *results);
/* By sample and variant. */
void results_sort(struct results *results);
void record_clear(struct record *record);
/* The name of the variant. */
const char *results_variant(const struct results *results, uint32_t variant);

/* Whether two headers are of the same run, whatever their shard, device and paths; else `why` names what differs,
 * "settings.slot_size: found 8, wanted 16". */
bool headers_match(const cJSON *found, const cJSON *wanted, bool shard_too, char *why, size_t size);

#endif

/* Which shard a process is, and how shards come together. */
#include "apps/refusion/eval/shard.h"
#include "tests/eval/support.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Which shard ---------------------------------------------------------------------------------------- */

static const char *const *environment; /* NAME, value, ..., NULL */

static char *variable(const char *name)
{
    for (const char *const *entry = environment; *entry; entry += 2)
        if (strcmp(entry[0], name) == 0)
            return (char *)entry[1];
    return NULL;
}

static void is_shard(const char *option, uint32_t index, uint32_t count, const char *source)
{
    struct shard shard;
    struct rf_error err = {0};
    if (shard_find(&shard, option, variable, &err))
        fail_msg("%s", err.message);
    assert_int_equal(shard.index, index);
    assert_int_equal(shard.count, count);
    if (source)
        assert_string_equal(shard.source, source);
    else
        assert_null(shard.source);
}

static void is_no_shard(const char *option, const char *said)
{
    struct shard shard;
    struct rf_error err = {0};
    assert_int_equal(shard_find(&shard, option, variable, &err), RF_ERROR_ARGUMENT);
    if (!strstr(err.message, said))
        fail_msg("found \"%s\", wanted \"%s\"", err.message, said);
}

static void test_found(void **state)
{
    (void)state;
    environment = (const char *const[]){NULL};
    is_shard(NULL, 0, 1, NULL);
    is_shard("1/3", 1, 3, "--shard");
    environment = (const char *const[]){"OMPI_COMM_WORLD_RANK", "1", "OMPI_COMM_WORLD_SIZE", "2", NULL};
    is_shard(NULL, 1, 2, "Open MPI");
    is_shard("0/1", 0, 1, "--shard");
    environment = (const char *const[]){"RANK", "3", "WORLD_SIZE", "4", NULL};
    is_shard(NULL, 3, 4, "torchrun");
    environment = (const char *const[]){"SLURM_PROCID", "0", "SLURM_NTASKS", "8", NULL};
    is_shard(NULL, 0, 8, "Slurm");
    /* mpirun in a Slurm job: all processes inherit the job's. */
    environment = (const char *const[]){"SLURM_PROCID",
                                        "0",
                                        "SLURM_NTASKS",
                                        "2",
                                        "OMPI_COMM_WORLD_RANK",
                                        "1",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "2",
                                        NULL};
    is_shard(NULL, 1, 2, "Open MPI");
    environment = (const char *const[]){
        "RANK", "1", "WORLD_SIZE", "2", "OMPI_COMM_WORLD_RANK", "1", "OMPI_COMM_WORLD_SIZE", "2", NULL};
    is_shard(NULL, 1, 2, "Open MPI");
    /* Half of what Slurm says does not matter to what runs inside. */
    environment = (const char *const[]){"SLURM_NTASKS", "2", "RANK", "1", "WORLD_SIZE", "2", NULL};
    is_shard(NULL, 1, 2, "torchrun");
}

static void test_not_found(void **state)
{
    (void)state;
    environment = (const char *const[]){NULL};
    static const char *const options[] = {"",     "1",   "/2",   "1/",   "2/2",       "0/0",
                                          "-1/2", "a/b", "0/2x", "0 /2", "1/99999999"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char said[64];
        snprintf(said, sizeof said, "--shard: found \"%s\", wanted I/N", options[i]);
        is_no_shard(options[i], said);
    }
    environment = (const char *const[]){"RANK", "1", NULL};
    is_no_shard(NULL, "RANK: found it in the environment without WORLD_SIZE, wanted both or --shard");
    is_shard("0/2", 0, 2, "--shard");
    environment = (const char *const[]){"SLURM_NTASKS", "2", NULL};
    is_no_shard(NULL, "SLURM_NTASKS: found it in the environment without SLURM_PROCID");
    environment = (const char *const[]){"OMPI_COMM_WORLD_RANK", "2", "OMPI_COMM_WORLD_SIZE", "2", NULL};
    is_no_shard(NULL, "OMPI_COMM_WORLD_RANK=2, OMPI_COMM_WORLD_SIZE=2: wanted a rank from 0");
    environment = (const char *const[]){"RANK", "x", "WORLD_SIZE", "2", NULL};
    is_no_shard(NULL, "RANK=x, WORLD_SIZE=2: wanted");
    environment = (const char *const[]){
        "RANK", "0", "WORLD_SIZE", "2", "OMPI_COMM_WORLD_RANK", "1", "OMPI_COMM_WORLD_SIZE", "2", NULL};
    is_no_shard(NULL, "found shard 1/2 by OMPI_COMM_WORLD_RANK and _SIZE and 0/2 by RANK and WORLD_SIZE");
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"results.jsonl", "results.1-of-2.jsonl"},
                                           {"a.b/results", "a.b/results.1-of-2"},
                                           {"a/.hidden", "a/.hidden.1-of-2"},
                                           {"a/b.c.d", "a/b.c.1-of-2.d"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *path = shard_path(pairs[i][0], 1, 2);
        assert_string_equal(path, pairs[i][1]);
        free(path);
    }
}

/* ---- Together ------------------------------------------------------------------------------------------- */

/* Answers what a shard still lacks, `most` at most. */
static void answer(struct results *r, const struct samples *samples, size_t most)
{
    for (uint64_t i = 0; i < samples->count * 2 && most; i++) {
        if (!results_mine(r, i / 2) || results_has(r, i / 2, (uint32_t)(i % 2)))
            continue;
        struct record record = make_record(samples, i / 2, (uint32_t)(i % 2), i % 3 == 0);
        assert_int_equal(results_add(r, &record, NULL), RF_OK);
        most--;
    }
}

static void write_shard(const char *out, const struct samples *samples, uint32_t index, uint32_t count,
                        size_t most)
{
    struct results r;
    struct rf_error err = {0};
    char *path = shard_path(path_of(out), index, count);
    if (results_open(&r, path, make_header(samples, index, count), samples, &err))
        fail_msg("%s", err.message);
    answer(&r, samples, most);
    results_close(&r);
    free(path);
}

/* What one process writes. */
static char *write_alone(const struct samples *samples)
{
    struct results r;
    unlink(path_of("alone.jsonl"));
    assert_int_equal(results_open(&r, path_of("alone.jsonl"), make_header(samples, 0, 1), samples, NULL),
                     RF_OK);
    answer(&r, samples, SIZE_MAX);
    results_close(&r);
    return read_whole("alone.jsonl");
}

static void test_dealing(void **state)
{
    (void)state;
    struct samples samples;
    make_samples(&samples, 11);
    for (uint32_t count = 1; count < 14; count++) {
        unsigned times[11] = {0};
        uint64_t least = UINT64_MAX, most = 0;
        for (uint32_t i = 0; i < count; i++) {
            struct results r;
            assert_int_equal(results_open(&r, NULL, make_header(&samples, i, count), &samples, NULL), RF_OK);
            uint64_t mine = 0;
            for (uint64_t k = 0; k < 11; k++) {
                mine += results_mine(&r, k);
                times[k] += results_mine(&r, k);
            }
            assert_int_equal(results_wanted(&r), 2 * mine);
            least = mine < least ? mine : least;
            most = mine > most ? mine : most;
            results_close(&r);
        }
        assert_true(most - least <= 1);
        for (int k = 0; k < 11; k++)
            assert_int_equal(times[k], 1);
    }
    samples_free(&samples);
}

static void test_merged_is_as_one_process(void **state)
{
    (void)state;
    struct samples samples;
    make_samples(&samples, 7);
    char *alone = write_alone(&samples);
    for (uint32_t i = 0; i < 3; i++)
        write_shard("three.jsonl", &samples, i, 3, SIZE_MAX);
    struct results merged;
    struct rf_error err = {0};
    const char *paths[] = {path_of("three.2-of-3.jsonl"), path_of("three.0-of-3.jsonl"),
                           path_of("three.1-of-3.jsonl")};
    if (merge_files(&merged, paths, 3, &err))
        fail_msg("%s", err.message);
    assert_int_equal(merge_write(&merged, path_of("three.jsonl"), &err), RF_OK);
    results_close(&merged);
    char *text = read_whole("three.jsonl");
    /* The first lines tell different devices. */
    assert_string_equal(strchr(text, '\n'), strchr(alone, '\n'));
    free(text);
    /* And is itself one process's file, to be gone on with or merged. */
    paths[0] = path_of("three.jsonl");
    assert_int_equal(merge_files(&merged, paths, 1, &err), RF_OK);
    assert_int_equal(merged.count, 14);
    results_close(&merged);
    free(alone);
    samples_free(&samples);
}

static void merge_refused(size_t count, const char *const *paths, enum rf_status status, const char *said)
{
    struct results merged;
    struct rf_error err = {0};
    assert_int_equal(merge_files(&merged, paths, count, &err), status);
    if (!strstr(err.message, said))
        fail_msg("found \"%s\", wanted \"%s\"", err.message, said);
}

static void test_merge_refuses(void **state)
{
    (void)state;
    struct samples samples, others;
    make_samples(&samples, 5);
    make_samples(&others, 6);
    write_shard("r.jsonl", &samples, 0, 2, SIZE_MAX);
    write_shard("r.jsonl", &samples, 1, 2, 3);
    write_shard("o.jsonl", &others, 1, 2, SIZE_MAX);
    const char *zero = path_of("r.0-of-2.jsonl"), *one = path_of("r.1-of-2.jsonl"),
               *other = path_of("o.1-of-2.jsonl");
    merge_refused(1, (const char *[]){zero}, RF_ERROR_ARGUMENT,
                  "--merge: 4 results are missing, the first is sample 1 by refusion");
    merge_refused(2, (const char *[]){zero, one}, RF_ERROR_ARGUMENT,
                  "--merge: 1 results are missing, the first is sample 3 by ar");
    merge_refused(3, (const char *[]){zero, one, zero}, RF_ERROR_ARGUMENT,
                  "r.0-of-2.jsonl: found sample 0 (a 1) by refusion, which another file has too");
    merge_refused(2, (const char *[]){zero, other}, RF_ERROR_ARGUMENT,
                  "o.1-of-2.jsonl: holds results of something else: tasks.samples: found 6, wanted 5");
    merge_refused(1, (const char *[]){path_of("absent")}, RF_ERROR_IO, "absent: cannot open");
    samples_free(&samples);
    samples_free(&others);
}

/* One shard's end. */
static bool finish(const char *out, const struct samples *samples, uint32_t index, uint32_t count,
                   size_t most, uint32_t *missing)
{
    struct results r, all;
    struct timespec start;
    struct rf_error err = {0};
    bool merged;
    char *path = shard_path(path_of(out), index, count);
    cJSON *header = make_header(samples, index, count);
    assert_int_equal(results_open(&r, path, cJSON_Duplicate(header, true), samples, NULL), RF_OK);
    assert_int_equal(shard_clock(&r, &start, NULL), RF_OK);
    answer(&r, samples, most);
    results_close(&r);
    if (merge_shards(&all, &merged, missing, path_of(out), header, count, samples, &start, &err))
        fail_msg("%s", err.message);
    if (merged) {
        assert_int_equal(all.count, samples->count * 2);
        results_close(&all);
    }
    cJSON_Delete(header);
    free(path);
    return merged;
}

static void test_the_last_shard_merges(void **state)
{
    (void)state;
    struct samples samples;
    uint32_t missing;
    make_samples(&samples, 5);
    char *alone = write_alone(&samples);
    assert_false(finish("last.jsonl", &samples, 1, 3, SIZE_MAX, &missing));
    assert_int_equal(missing, 2);
    assert_false(finish("last.jsonl", &samples, 0, 3, 1, &missing)); /* killed behind its first answer */
    assert_int_equal(missing, 2);
    assert_false(finish("last.jsonl", &samples, 2, 3, SIZE_MAX, &missing));
    assert_int_equal(missing, 1);
    assert_int_not_equal(access(path_of("last.jsonl"), F_OK), 0);
    assert_true(finish("last.jsonl", &samples, 0, 3, SIZE_MAX, &missing));
    char *text = read_whole("last.jsonl");
    assert_string_equal(strchr(text, '\n'), strchr(alone, '\n'));
    free(text);
    assert_int_not_equal(access(path_of("last.jsonl.lock"), F_OK), 0);
    /* The same commands again: the first to come tells the table again. */
    usleep(20000);
    assert_true(finish("last.jsonl", &samples, 2, 3, SIZE_MAX, &missing));
    free(alone);
    samples_free(&samples);
}

/* Several processes that are done at the same moment: exactly one of them merges. */
static void test_a_race(void **state)
{
    (void)state;
    enum { SHARDS = 4 };
    struct samples samples;
    make_samples(&samples, 6);
    for (int round = 0; round < 20; round++) {
        char out[32];
        int go[2], merges = 0;
        snprintf(out, sizeof out, "race%d.jsonl", round);
        assert_int_equal(pipe(go), 0);
        for (uint32_t i = 0; i < SHARDS; i++)
            write_shard(out, &samples, i, SHARDS, 0);
        pid_t children[SHARDS];
        for (uint32_t i = 0; i < SHARDS; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                char byte;
                uint32_t missing;
                close(go[1]);
                (void)!read(go[0], &byte, 1); /* until the other end is closed */
                _exit(finish(out, &samples, i, SHARDS, SIZE_MAX, &missing));
            }
        }
        close(go[0]);
        close(go[1]);
        for (int i = 0; i < SHARDS; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
            merges += WEXITSTATUS(status);
        }
        assert_int_equal(merges, 1);
    }
    samples_free(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_dealing),
        cmocka_unit_test(test_merged_is_as_one_process),
        cmocka_unit_test(test_merge_refuses),
        cmocka_unit_test(test_the_last_shard_merges),
        cmocka_unit_test(test_a_race),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

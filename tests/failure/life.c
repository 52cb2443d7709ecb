#include "tests/failure/life.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/failure/faults.h"

enum { MOST_ATTEMPTS = 5000 };

static const char question[] = "Write is_odd(x), please: caf\xc3\xa9.";
static const char model_folder[] = RF_SOURCE_DIR "/tests/golden/tiny";

static const struct rf_session_desc *rounds_desc(void)
{
    static const char *const stops[] = {"never said"};
    static const struct rf_session_desc desc = {.size = sizeof desc,
                                                .settings = {.preset = "demo", .max_tokens = 16},
                                                .stops = stops,
                                                .stop_count = 1,
                                                .deterministic = true};
    return &desc;
}

static void log_line(void *user, enum rf_log_level level, const char *line)
{
    (void)user, (void)level, (void)line;
}

static enum rf_status list_devices(struct life *life, struct rf_error *err)
{
    struct rf_device_info *infos;
    size_t count;
    (void)life;
    enum rf_status status = rf_devices_list(&infos, &count, err);
    if (!status)
        rf_free(infos);
    return status;
}

static enum rf_status create_context(struct life *life, struct rf_error *err)
{
    const struct rf_context_desc desc = {.size = sizeof desc,
                                         .debug_checks = true,
                                         .log = log_line,
                                         .allocator = {host_allocate, &life->context}};
    return rf_context_create(&life->context, &desc, err);
}

static enum rf_status load_tokenizer(struct life *life, struct rf_error *err)
{
    const struct rf_tokenizer_desc desc = {.size = sizeof desc, .allocator = {host_allocate, &life->tokenizer}};
    return rf_tokenizer_load(&life->tokenizer, model_folder, &desc, err);
}

static enum rf_status use_tokenizer(struct life *life, struct rf_error *err)
{
    uint32_t *tokens;
    size_t count;
    char *text = NULL;
    enum rf_status status =
        rf_tokenizer_encode(life->tokenizer, question, sizeof question - 1, true, &tokens, &count, err);
    if (status)
        return status;
    status = rf_tokenizer_decode(life->tokenizer, tokens, count, true, &text, NULL, err);
    if (!status)
        assert_string_equal(text, question);
    rf_free(text);
    rf_free(tokens);
    return status;
}

static enum rf_status estimate(struct life *life, struct rf_error *err)
{
    struct rf_memory_estimate estimate = {0};
    return rf_model_estimate(&estimate, life->context, model_folder, NULL, err);
}

static enum rf_status load_model(struct life *life, struct rf_error *err)
{
    const struct rf_model_desc desc = {.size = sizeof desc, .precision = RF_PRECISION_F32, .no_tune = true};
    return rf_model_load(&life->model, life->context, model_folder, &desc, err);
}

static enum rf_status create_session(struct life *life, struct rf_error *err)
{
    return rf_session_create(&life->session, life->model, rounds_desc(), err);
}

static enum rf_status begin(struct life *life, struct rf_error *err)
{
    const struct rf_message message = {"user", question};
    return rf_session_begin_chat(life->session, &message, 1, true, err);
}

/* A response that broke off says so, and is begun anew. */
static enum rf_status step_or_begin(rf_session *session, struct rf_error *err)
{
    const struct rf_message message = {"user", question};
    enum rf_status status = rf_session_step(session, NULL, NULL, err);
    if (status != RF_ERROR_ARGUMENT || !strstr(err->message, "begin it anew"))
        return status;
    *err = (struct rf_error){0};
    return rf_session_begin_chat(session, &message, 1, true, err);
}

static enum rf_status step(struct life *life, struct rf_error *err)
{
    return step_or_begin(life->session, err);
}

static enum rf_status save(struct life *life, struct rf_error *err)
{
    return rf_session_save(life->session, life->path, err);
}

static enum rf_status load(struct life *life, struct rf_error *err)
{
    enum rf_status status = rf_session_load(&life->other, life->model, life->path, rounds_desc(), err);
    if (!status)
        rf_session_destroy(life->other);
    life->other = NULL;
    return status;
}

static enum rf_status fork_session(struct life *life, struct rf_error *err)
{
    return rf_session_fork(&life->other, life->session, rounds_desc(), err);
}

/* The whole response: whatever failed in it, the session and the generation can be had anew. */
static enum rf_status generate(struct life *life, struct rf_error *err)
{
    const struct rf_message message = {"user", question};
    struct rf_update update;
    enum rf_status status = rf_session_begin_chat(life->other, &message, 1, true, err);
    if (!status)
        status = rf_generation_start(&life->generation, life->other, NULL, err);
    while (!status) {
        bool finished = rf_generation_wait(life->generation, UINT32_MAX);
        assert_true(finished);
        status = rf_generation_poll(life->generation, &update, err);
        assert_non_null(update.text);
        if (update.finished)
            break;
    }
    rf_generation_destroy(life->generation);
    life->generation = NULL;
    return status;
}

/* Tokens one by one, sampled on the host. */
static enum rf_status create_sequential(struct life *life, struct rf_error *err)
{
    const struct rf_session_desc desc = {
        .size = sizeof desc,
        .settings = {.decode = RF_DECODE_AR, .max_tokens = 3, .temperature = 1, .top_k = 5, .seed = 7}};
    return rf_session_create(&life->sequential, life->model, &desc, err);
}

static enum rf_status begin_sequential(struct life *life, struct rf_error *err)
{
    const struct rf_message message = {"user", question};
    return rf_session_begin_chat(life->sequential, &message, 1, true, err);
}

static enum rf_status step_sequential(struct life *life, struct rf_error *err)
{
    return step_or_begin(life->sequential, err);
}

typedef enum rf_status (*life_step)(struct life *life, struct rf_error *err);

/* False: the device is lost. */
static bool make(struct life *life, const char *name, life_step make_step)
{
    for (int attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        struct rf_error err = {0};
        const long strays = host_strays();
        enum rf_status status = make_step(life, &err);
        if (make_step != list_devices && host_strays() != strays)
            fail_msg("%s: %ld blocks are not of the allocator", name, host_strays() - strays);
        if (!status)
            return true;
        life->failed = name;
        life->error = err;
        life->failures++;
        if (getenv("RF_TEST_TELL"))
            fprintf(stderr, "    %s: %s: %s\n", name, rf_status_name(status), err.message);
        if (!err.message[0] || err.status != status)
            fail_msg("%s: status %d, error of status %d: \"%s\"", name, (int)status, (int)err.status,
                     err.message);
        if (status == RF_ERROR_DEVICE_LOST)
            return false;
        if (status != RF_ERROR_HOST_MEMORY && status != RF_ERROR_DEVICE_MEMORY)
            fail_msg("%s: %s: %s", name, rf_status_name(status), err.message);
    }
    fail_msg("%s failed %d times, the last with: %s", name, MOST_ATTEMPTS, life->error.message);
    return false;
}

static void keep_tokens(struct life *life, int which, const rf_session *session)
{
    const uint32_t *tokens = rf_session_tokens(session, &life->counts[which]);
    assert_true(life->counts[which] <= LIFE_TOKENS);
    if (tokens)
        memcpy(life->tokens[which], tokens, life->counts[which] * sizeof *tokens);
}

static bool make_all(struct life *life, rf_session **session, const char *name, life_step make_step)
{
    while (!rf_session_finished(*session))
        if (!make(life, name, make_step))
            return false;
    return true;
}

#define MAKE(name) make(life, #name, name)

void life_live(struct life *life)
{
    memset(life, 0, sizeof *life);
    snprintf(life->path, sizeof life->path, "failure.%ld.kv", (long)getpid());
    if (!MAKE(list_devices) || !MAKE(create_context) || !MAKE(load_tokenizer) || !MAKE(use_tokenizer) ||
        !MAKE(estimate) || !MAKE(load_model) || !MAKE(create_session) || !MAKE(begin) ||
        !make_all(life, &life->session, "step", step))
        return;
    keep_tokens(life, 0, life->session);
    if (!MAKE(save) || !MAKE(load) || !MAKE(fork_session) || !MAKE(generate))
        return;
    keep_tokens(life, 1, life->other);
    if (!MAKE(create_sequential) || !MAKE(begin_sequential) ||
        !make_all(life, &life->sequential, "step_sequential", step_sequential))
        return;
    keep_tokens(life, 2, life->sequential);
}

void life_end(struct life *life)
{
    const long strays = host_strays();
    rf_generation_destroy(life->generation);
    rf_session_destroy(life->sequential);
    rf_session_destroy(life->other);
    rf_session_destroy(life->session);
    rf_model_destroy(life->model);
    rf_tokenizer_destroy(life->tokenizer);
    uint64_t complaints = life->context ? rf_context_complaints(life->context) : 0;
    rf_context_destroy(life->context);
    remove(life->path);
    assert_int_equal(complaints, 0);
    assert_int_equal(host_strays(), strays);
}

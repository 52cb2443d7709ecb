/* The forward as it is recorded and as it computes: logits against the original network, barriers against the
 * hazard checker, dispatches against the architecture's budget, red zones and memory limits.
 * RF_PRECISION=f32|f16|int8 picks the path, int8 with RF_TEST_WEIGHTS=q8_0. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/gpu/hazard.h"
#include "engine/gpu/internal.h"
#include "engine/model/forward_internal.h"
#include "engine/model/int8.h"
#include "engine/model/tune.h"
#include "tests/decode/engine.h"
#include "tests/decode/golden.h"
#include "tests/reference/ref_model.h"

enum {
    LAST_ROWS = 12,
    LAYERS = 64,              /* room */
    DISPATCHES_PER_LAYER = 9, /* 8 and the attention's reduce */
    DISPATCHES_AROUND = 4
};

static VkResult VKAPI_CALL fail_to_end(VkCommandBuffer buffer)
{
    (void)buffer;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

/* The last `asked` rows' logits [asked][vocab] of one segment that begins the sequence. */
static void forward_logits(rf_session *s, const struct golden_tokens *tokens, const uint32_t *positions,
                           uint32_t asked, uint32_t flags, float *logits)
{
    struct rf_forward *f = engine.model->forward;
    struct rf_row *rows = s->memory.rows.host;
    uint32_t count = (uint32_t)tokens->count;
    require_ok(rf_session_cover(s, 0, count, err));
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct rf_row){.token = tokens->ids[i],
                                  .position = positions[i],
                                  .kv_row = i,
                                  .want = RF_NONE,
                                  .result = i + asked >= count ? i + asked - count : RF_NONE};
    *rf_forward_work(f, 0) = (struct rf_work){.piece_count = 1, .pieces = {{s->seq, 0, count}}};
    struct rf_forward_cmds cmds;
    uint64_t ticket;
    require_ok(engine_get_forward(engine.model, count, flags | RF_FORWARD_LOGITS, &cmds, err));
    require_ok(rf_gpu_submit(engine.model->gpu, cmds.items, cmds.count, &ticket, err));
    require_ok(rf_gpu_wait(engine.model->gpu, ticket, err));
    uint64_t bytes = (uint64_t)asked * engine.model->config.vocab * 4;
    require_ok(rf_gpu_read(engine.model->gpu, rf_forward_logits(f), logits, bytes, err));
}

static rf_session *any_session(void)
{
    rf_session *session = NULL;
    const uint32_t prompt[] = {0};
    require_ok(rf_session_create(&session, engine.model, NULL, err));
    require_ok(rf_session_begin(session, prompt, 1, err)); /* fills in its entry of the sequence table */
    return session;
}

static double relative_error(const float *have, const double *want, size_t count)
{
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < count; i++) {
        difference += (have[i] - want[i]) * (have[i] - want[i]);
        norm += want[i] * want[i];
    }
    return sqrt(difference / norm);
}

/* 1e-5: f32 sums of up to 768 products and a softmax, six layers deep, are measured at a tenth of that. 2e-3:
 * matmul inputs and KV rounded to 11 bits (4.9e-4 each) add up as a random walk over 6 layers. 1.5e-2:
 * weights in Q8_0 alone move the logits by 4e-3, and inputs rounded to 8 bits are off by 5e-3 each; measured
 * 8e-3. */
static double tolerance(void)
{
    if (engine.model->int8)
        return 1.5e-2;
    return engine.model->fp16 ? 2e-3 : 1e-5;
}

static void logits_equal_the_original_network(void **state)
{
    (void)state;
    const struct golden_logits *passes;
    size_t count = golden_logits(&passes);
    for (size_t i = 0; i < count; i++) {
        for (uint32_t flags = 0; flags <= RF_FORWARD_DETERMINISTIC; flags++) {
            const struct golden_logits *g = &passes[i];
            assert_int_equal(g->rows, LAST_ROWS);
            assert_int_equal(g->vocab, engine.model->config.vocab);
            float *logits = malloc(g->rows * g->vocab * sizeof *logits);
            rf_session *s = any_session();
            forward_logits(s, &g->tokens, g->positions.ids, LAST_ROWS, flags, logits);
            double error = relative_error(logits, g->logits, g->rows * g->vocab);
            printf("%s, %s pipelines: relative error %.2e (tolerance %.0e)\n", g->kind,
                   flags ? "deterministic" : "fast", error, tolerance());
            assert_true(error < tolerance());
            rf_session_destroy(s);
            free(logits);
        }
    }
}

/* Far positions: the golden logits stop at 88, so the f64 network of tests/reference is the judge. */
static void logits_at_the_end_of_the_context(void **state)
{
    (void)state;
    const struct golden_logits *passes;
    golden_logits(&passes);
    const struct golden_tokens *tokens = &passes[0].tokens;
    uint32_t first = 4096 - (uint32_t)tokens->count, vocab = engine.model->config.vocab;
    struct ref_model *network;
    require_ok(ref_model_load(&network, RF_SOURCE_DIR "/tests/golden/tiny", err));
    struct ref_row *rows = calloc(tokens->count, sizeof *rows);
    uint32_t *positions = malloc(tokens->count * sizeof *positions);
    for (uint32_t i = 0; i < tokens->count; i++) {
        positions[i] = first + i;
        rows[i] = (struct ref_row){.token = tokens->ids[i],
                                   .position = first + i,
                                   .index = i,
                                   .wants_result = i + LAST_ROWS >= tokens->count};
    }
    double *want = malloc(LAST_ROWS * vocab * sizeof *want);
    float *have = malloc(LAST_ROWS * vocab * sizeof *have);
    struct ref_session *reference = ref_session_create(network, 256, 32);
    ref_session_logits(reference, rows, tokens->count, want);
    rf_session *s = any_session();
    forward_logits(s, tokens, positions, LAST_ROWS, 0, have);
    double error = relative_error(have, want, LAST_ROWS * vocab);
    printf("positions %u..4095: relative error %.2e\n", first, error);
    assert_true(error < tolerance());
    rf_session_destroy(s);
    ref_session_free(reference);
    ref_model_free(network);
    free(rows);
    free(positions);
    free(want);
    free(have);
}

/* Takes the last 128 columns of qkv, which are v, from the f16 model, so that what precedes writes both
 * forms. */
static void mix_qkv(struct rf_weights *int8, const struct rf_weights *f16, uint32_t v_columns)
{
    for (uint32_t l = 0; l < int8->layer_count; l++) {
        struct rf_matrix *qkv = &int8->layers[l].qkv;
        struct rf_chunk v = f16->layers[l].qkv.chunks[0];
        uint64_t block = rf_weight_block_bytes(v.format, qkv->k);
        assert_int_equal(qkv->chunk_count, 1);
        qkv->chunks = rf_realloc(qkv->chunks, 2 * sizeof v);
        assert_non_null(qkv->chunks);
        v.first = qkv->columns - v_columns;
        v.columns = v_columns;
        v.span = rf_span_part(v.span, v.first / RF_COLUMNS * block, v_columns / RF_COLUMNS * block);
        qkv->chunks[0].columns = v.first;
        qkv->chunks[1] = v;
        qkv->chunk_count = 2;
    }
}

static void swap(struct rf_matrix *a, struct rf_matrix *b)
{
    struct rf_matrix kept = *a;
    *a = *b;
    *b = kept;
}

/* Files hold quantized and plain matrices side by side: v in f16 beside q and k, and down in f16 behind
 * quantized gates; o in f16 behind the attention. The other way round, gates in f16 before a quantized down,
 * is refused. */
static void mixed_weights_get_the_inputs_that_they_need(void **state)
{
    (void)state;
    if (!engine.model->int8)
        skip();
    const struct rf_model_desc f16 = {.precision = RF_PRECISION_F16, .weight_type = "f16", .no_tune = true};
    const struct rf_model_desc int8 = {
        .precision = RF_PRECISION_INT8, .weight_type = "q8_0", .no_tune = true};
    const struct golden_logits *g;
    struct rf_error failure;
    rf_model *kept = engine.model, *plain = NULL, *mixed = NULL;
    golden_logits(&g);
    float *logits = malloc(g->rows * g->vocab * sizeof *logits);
    require_ok(rf_model_load(&plain, engine.context, RF_SOURCE_DIR "/tests/golden/tiny", &f16, err));
    require_ok(rf_model_load(&mixed, engine.context, RF_SOURCE_DIR "/tests/golden/tiny", &int8, err));
    const struct rf_model_config *c = &mixed->config;
    mix_qkv(&mixed->weights, &plain->weights, c->kv_heads * c->head_dim);
    for (uint32_t l = 0; l < c->layers; l++) {
        swap(&mixed->weights.layers[l].down, &plain->weights.layers[l].down);
        if (l % 2)
            swap(&mixed->weights.layers[l].o, &plain->weights.layers[l].o);
    }
    require_ok(rf_int8_check(&mixed->weights, c, err));
    assert_int_equal(rf_int8_check(&plain->weights, c, &failure), RF_ERROR_UNSUPPORTED);
    assert_non_null(strstr(failure.message, "layer 0: down_proj is q8_0, but gate and up are f16"));
    engine.model = mixed;
    rf_session *s = any_session();
    forward_logits(s, &g->tokens, g->positions.ids, LAST_ROWS, 0, logits);
    double error = relative_error(logits, g->logits, g->rows * g->vocab);
    printf("v, down and o in f16: relative error %.2e\n", error);
    assert_true(error < tolerance());
    rf_session_destroy(s);
    engine.model = kept;
    rf_model_destroy(mixed);
    rf_model_destroy(plain);
    free(logits);
}

/* Records every bucket in every variant, and the slot shaders. */
static void record_all(void)
{
    struct rf_forward_cmds cmds;
    struct rf_cmd *slots;
    for (uint32_t rows = 1; rows <= RF_MAX_ROWS; rows *= 2)
        for (uint32_t flags = 0; flags < RF_FORWARD_VARIANTS; flags++)
            require_ok(engine_get_forward(engine.model, rows, flags, &cmds, err));
    for (int which = 0; which < RF_SLOT_SHADERS; which++)
        require_ok(rf_forward_slots(engine.model->forward, (enum rf_slot_shader)which, &slots, err));
}

struct hazard_tally {
    size_t buffers, barriers;
};

static void check_hazards(void *user, const struct rf_cmd *cmd, const char *label)
{
    struct hazard_tally *tally = user;
    size_t count;
    const struct rf_log_entry *log = rf_cmd_log(cmd, &count);
    struct rf_error err = {0};
    if (rf_hazard_check(log, count, RF_KEEP_ALL_BARRIERS, &err))
        fail_msg("%s: %s", label, err.message);
    for (uint32_t b = 0; b < rf_cmd_barrier_count(cmd); b++)
        if (!rf_hazard_check(log, count, (int)b, &err))
            fail_msg("%s: nobody misses barrier %u", label, b);
    tally->buffers++;
    tally->barriers += rf_cmd_barrier_count(cmd);
}

static void every_barrier_is_needed_and_none_is_missing(void **state)
{
    (void)state;
    struct hazard_tally tally = {0};
    record_all();
    rf_forward_visit(engine.model->forward, check_hazards, &tally);
    printf("%zu command buffers, %zu barriers, each removed in turn\n", tally.buffers, tally.barriers);
    assert_true(tally.barriers > 0);
}

/* By the labels of the log: layer l's are "Ll ...". A barrier counts for the layer of the dispatch that waits
 * at it. */
static void check_budget(void *user, const struct rf_cmd *cmd, const char *label)
{
    uint32_t *layers_seen = user;
    size_t count;
    const struct rf_log_entry *log = rf_cmd_log(cmd, &count);
    uint32_t dispatches[LAYERS] = {0}, barriers[LAYERS] = {0}, around = 0, layer, waiting = 0;
    for (size_t i = 0; i < count; i++) {
        bool in_layer = !log[i].is_barrier && sscanf(log[i].label, "L%u ", &layer) == 1;
        if (in_layer) {
            assert_true(layer < engine.model->config.layers && layer < LAYERS);
            dispatches[layer]++;
            barriers[layer] += waiting;
        } else if (!log[i].is_barrier) {
            around++;
        }
        waiting = log[i].is_barrier;
    }
    if (around > DISPATCHES_AROUND)
        fail_msg("%s: %u dispatches around the layers", label, around);
    for (uint32_t l = 0; l < LAYERS; l++) {
        if (dispatches[l] > DISPATCHES_PER_LAYER || barriers[l] > dispatches[l])
            fail_msg("%s: layer %u: %u dispatches, %u barriers", label, l, dispatches[l], barriers[l]);
        *layers_seen += dispatches[l] > 0;
    }
}

static void a_layer_is_eight_dispatches_and_the_reduce(void **state)
{
    (void)state;
    uint32_t layers = 0;
    record_all();
    rf_forward_visit(engine.model->forward, check_budget, &layers);
    assert_int_equal(layers, engine.model->config.layers * FORWARD_BUCKETS * RF_FORWARD_VARIANTS);
}

/* Trials of kernels record command buffers of their own, which these faults are not for. */
static const struct rf_model_desc untuned = {.no_tune = true};

/* Products of a plan that are split over k. Whatever follows one must add up as many partials as it leaves.
 * */
static uint32_t split_products(const struct rf_forward *f, uint32_t bucket, uint32_t flags)
{
    struct forward_plan plan = {.bucket = bucket, .flags = flags};
    uint32_t count = 0, pending = 1;
    rf_plan_forward(f, &plan);
    assert_false(plan.failed);
    for (uint32_t i = 0; i < plan.op_count; i++) {
        const struct rf_kernel_id *kernel = &plan.ops[i].kernel;
        uint32_t z = plan.grids[plan.ops[i].grid].z;
        if (strncmp(kernel->shader, "matmul", 6) == 0) {
            assert_int_equal(z > 1, kernel->specs[RF_SPEC_EPILOGUE] == RF_EPILOGUE_PARTIAL);
            assert_int_equal(pending, 1);
            count += z > 1;
            pending = z;
        } else {
            assert_int_equal(z, 1);
        }
        bool is_norm = strncmp(kernel->shader, "rmsnorm", 7) == 0;
        if (is_norm || strncmp(kernel->shader, "head_rope", 9) == 0) {
            assert_int_equal(kernel->specs[is_norm ? 1 : 0], pending);
            pending = 1;
        }
    }
    assert_int_equal(pending, 1);
    rf_free(plan.ops);
    return count;
}

/* CPU devices split only where RF_DISABLE=wholeK asks for it; then qkv, o and down of every layer, as long as
 * the partials hold as many rows. What is deterministic is never split. */
static void splits_are_added_up(void **state)
{
    (void)state;
    const struct rf_forward *f = engine.model->forward;
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(f->gpu);
    if (!caps->cpu)
        skip();
    for (uint32_t bucket = 1; bucket <= RF_MAX_ROWS; bucket *= 2)
        for (uint32_t flags = 0; flags < RF_FORWARD_VARIANTS; flags++) {
            bool forced =
                !caps->whole_k && !(flags & RF_FORWARD_DETERMINISTIC) && 2 * bucket <= RF_SPLIT_ROWS;
            assert_int_equal(split_products(f, bucket, flags), forced ? 3 * engine.model->config.layers : 0);
        }
}

struct trials {
    uint32_t split, whole, chosen, from_file;
    struct rf_matmul_shape choice;
};

static void count_trial(void *user, const struct rf_trial *trial)
{
    if (trial->product == RF_SPLIT_NONE)
        return;
    struct trials *trials = (struct trials *)user + trial->product;
    assert_true(trial->from_file || trial->seconds > 0.0);
    trials->split += !trial->chosen && trial->shape.splits > 1;
    trials->whole += !trial->chosen && trial->shape.splits == 1;
    trials->chosen += trial->chosen;
    trials->from_file += trial->from_file;
    if (trial->chosen)
        trials->choice = trial->shape;
}

static void remove_folder(const char *path)
{
    char file[512];
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        remove(file);
    }
    closedir(folder);
    assert_int_equal(rmdir(path), 0);
}

/* Splits by trial, or from the file that trials left. */
static void tune_splits(rf_context *context, struct trials trials[RF_SPLIT_PRODUCTS])
{
    rf_model *model = NULL;
    uint32_t want = 0;
    require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", NULL, err));
    require_ok(rf_tune_bucket(model->forward, 3, count_trial, trials, err));
    for (int p = 0; p < RF_SPLIT_PRODUCTS; p++) {
        assert_int_equal(trials[p].chosen, 1);
        want += trials[p].choice.splits > 1 ? model->config.layers : 0;
    }
    assert_int_equal(split_products(model->forward, 8, 0), want);
    rf_model_destroy(model);
}

/* This device, taken for a GPU with a thousand cores. Of the tiny model's products down alone is long enough
 * to be split by default. Trials go further, and the next model finds what they chose. */
static void large_devices_split(void **state)
{
    (void)state;
    char folder[] = "/tmp/refusion-splits-XXXXXX";
    rf_context *context = NULL;
    rf_model *model = NULL;
    struct trials first[RF_SPLIT_PRODUCTS] = {0}, next[RF_SPLIT_PRODUCTS] = {0};
    assert_non_null(mkdtemp(folder));
    require_ok(rf_context_create(&context,
                                 &(struct rf_context_desc){.cache_dir = folder, .debug_checks = true}, err));
    struct rf_gpu_caps *caps = &rf_context_gpu(context)->probe.caps;
    caps->cpu = caps->wide = false;
    caps->splits = caps->whole_k = true;
    caps->cores = 1000;
    require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", &untuned, err));
    assert_int_equal(split_products(model->forward, 8, 0), model->config.layers);
    rf_model_destroy(model);
    tune_splits(context, first);
    tune_splits(context, next);
    for (int p = 0; p < RF_SPLIT_PRODUCTS; p++) {
        assert_true(first[p].whole >= 1 && first[p].split >= (p == RF_SPLIT_DOWN ? 2 : 1));
        assert_int_equal(first[p].from_file, 0);
        assert_int_equal(next[p].split + next[p].whole, 0);
        assert_int_equal(next[p].from_file, 1);
        assert_memory_equal(&first[p].choice, &next[p].choice, sizeof first[p].choice);
    }
    assert_int_equal(rf_context_complaints(context), 0);
    rf_context_destroy(context);
    remove_folder(folder);
}

static void a_replay_records_nothing(void **state)
{
    (void)state;
    struct rf_forward_cmds first, again;
    require_ok(engine_get_forward(engine.model, 20, 0, &first, err));
    uint64_t recorded = rf_gpu_recorded_count(engine.model->gpu);
    rf_forward_cmds_init(&again);
    require_ok(rf_forward_get(engine.model->forward, 31, 0, 1, &again, err));
    assert_int_equal(again.count, 2);
    assert_ptr_equal(first.items[1], again.items[1]);
    assert_int_equal(rf_gpu_recorded_count(engine.model->gpu), recorded);
}

/* A device that takes fewer workgroups than a forward may want is refused before anything is recorded, and
 * tries that failed leave nothing behind. */
static void dispatches_fit_the_device(void **state)
{
    (void)state;
    rf_context *context = NULL;
    rf_model *model = NULL;
    struct rf_error failure;
    struct rf_forward_cmds cmds;
    require_ok(rf_context_create(&context, NULL, err));
    require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", &untuned, err));
    struct rf_gpu_caps *caps = &rf_context_gpu(context)->probe.caps;
    const struct rf_gpu_caps real = *caps;
    for (int d = 0; d < 3; d++) {
        static const uint32_t least[3] = {4, 256, 3}; /* less than vocab / 8, 512 rows, context / 512 want */
        char part[64];
        caps->max_workgroup_count[d] = least[d];
        assert_int_equal(engine_get_forward(model, RF_MAX_ROWS, 0, &cmds, &failure), RF_ERROR_UNSUPPORTED);
        snprintf(part, sizeof part, "workgroups in dimension %d, the device takes at most %u", d, least[d]);
        if (!strstr(failure.message, part))
            fail_msg("message \"%s\" does not contain \"%s\"", failure.message, part);
        *caps = real;
    }
    require_ok(engine_get_forward(model, RF_MAX_ROWS, 0, &cmds, err));
    rf_model_destroy(model);
    rf_context_destroy(context);
}

/* New lavapipe reads what matmul_wide's loop over k would read after its last step. */
static void inputs_may_be_stepped_over(void **state)
{
    (void)state;
    const struct rf_forward *f = engine.model->forward;
    const struct rf_span inputs[] = {f->spans.x, f->spans.act};
    const uint64_t step = 32 * RF_MAX_ROWS * (f->fp16 ? 2 : 4);
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        assert_true(inputs[i].offset + inputs[i].size + step <= inputs[i].block->size);
}

/* No room for command buffers, again and again: the spans of the first try serve the last. */
static void failed_recordings_leave_nothing(void **state)
{
    (void)state;
    rf_context *context = NULL;
    rf_model *model = NULL;
    struct rf_error failure;
    struct rf_forward_cmds cmds;
    require_ok(rf_context_create(&context, NULL, err));
    require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", &untuned, err));
    struct rf_gpu *gpu = rf_context_gpu(context);
    const struct rf_device_table real = gpu->vk;
    gpu->vk.vkEndCommandBuffer = fail_to_end;
    assert_int_equal(engine_get_forward(model, 1, 0, &cmds, &failure), RF_ERROR_HOST_MEMORY);
    const struct forward_variant first = model->forward->recordings[RF_MARK_NOTHING].variants[0][0];
    assert_true(first.grids.address && first.indirect.address && !first.parts && !first.gather[0]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(engine_get_forward(model, 1, 0, &cmds, &failure), RF_ERROR_HOST_MEMORY);
    gpu->vk = real;
    require_ok(engine_get_forward(model, 1, 0, &cmds, err));
    assert_int_equal(model->forward->recordings[RF_MARK_NOTHING].variants[0][0].grids.address,
                     first.grids.address);
    assert_int_equal(model->forward->recordings[RF_MARK_NOTHING].variants[0][0].indirect.address,
                     first.indirect.address);
    rf_model_destroy(model);
    rf_context_destroy(context);
}

/* A cap 8 MiB above what loading takes: sessions are refused with the numbers once it is reached, and room
 * that is given back can be taken again. */
static void a_full_device_refuses_and_recovers(void **state)
{
    (void)state;
    rf_context *context = NULL;
    rf_model *model = NULL;
    rf_session *sessions[64] = {0};
    const uint32_t prompt[] = {1, 2, 3};
    struct rf_error failure = {0};
    require_ok(rf_context_create(&context, NULL, err));
    require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", NULL, err));
    const struct rf_context_desc desc = {.memory_limit =
                                             rf_gpu_memory_used(rf_context_gpu(context)) + (8u << 20)};
    rf_model_destroy(model);
    rf_context_destroy(context);
    require_ok(rf_context_create(&context, &desc, err));
    require_ok(rf_model_load(&model, context, RF_SOURCE_DIR "/tests/golden/tiny", NULL, err));
    int count = 0;
    for (enum rf_status status = RF_OK; !status && count < 64; count++) {
        status = rf_session_create(&sessions[count], model, NULL, &failure);
        if (!status)
            status = rf_session_begin(sessions[count], prompt, 3, &failure);
    }
    printf("session %d: %s\n", count, failure.message);
    assert_int_equal(failure.status, RF_ERROR_DEVICE_MEMORY);
    assert_non_null(strstr(failure.message, "limit"));
    for (int i = 0; i < 64; i++)
        rf_session_destroy(sessions[i]);
    require_ok(rf_session_create(&sessions[0], model, NULL, err));
    require_ok(rf_session_begin(sessions[0], prompt, 3, err));
    require_ok(rf_session_step(sessions[0], NULL, NULL, err));
    rf_session_destroy(sessions[0]);
    rf_model_destroy(model);
    rf_context_destroy(context);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_the_original_network),
        cmocka_unit_test(logits_at_the_end_of_the_context),
        cmocka_unit_test(mixed_weights_get_the_inputs_that_they_need),
        cmocka_unit_test(every_barrier_is_needed_and_none_is_missing),
        cmocka_unit_test(a_layer_is_eight_dispatches_and_the_reduce),
        cmocka_unit_test(splits_are_added_up),
        cmocka_unit_test(large_devices_split),
        cmocka_unit_test(a_replay_records_nothing),
        cmocka_unit_test(dispatches_fit_the_device),
        cmocka_unit_test(inputs_may_be_stepped_over),
        cmocka_unit_test(failed_recordings_leave_nothing),
        cmocka_unit_test(a_full_device_refuses_and_recovers),
    };
    return cmocka_run_group_tests(tests, engine_set_up, engine_tear_down);
}

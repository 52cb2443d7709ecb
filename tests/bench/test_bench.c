/* The bench on the tiny model: that it counts what a forward must read and multiply, that it compares
 * results, that scripted decoding accepts what it is told to, and that synthetic models run.
 * RF_PRECISION=f32|f16 picks the path. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/bench/bench_internal.h"
#include "tests/decode/engine.h"

static rf_bench *bench;
static struct rf_bench_ceilings ceilings;

static int open_bench(void **state)
{
    int failed = engine_set_up(state);
    require_ok(
        rf_bench_create(&bench, engine.model, &(struct rf_bench_desc){.cell_seconds = 0.02, .seed = 5}, err));
    return failed;
}

static int close_bench(void **state)
{
    rf_bench_destroy(bench);
    return engine_tear_down(state);
}

#define require_failure(call, wanted_status, part)                                                           \
    do {                                                                                                     \
        struct rf_error failure = {0};                                                                       \
        struct rf_error *err = &failure;                                                                     \
        assert_int_equal((call), (wanted_status));                                                           \
        if (!strstr(failure.message, part))                                                                  \
            fail_msg("\"%s\" does not tell \"%s\"", failure.message, part);                                  \
    } while (0)

static void forwards_want_ceilings_first(void **state)
{
    (void)state;
    struct rf_bench_forward cell;
    require_failure(rf_bench_run_forward(bench, 1, 0, &cell, err), RF_ERROR_ARGUMENT, "ceilings");
    require_failure(rf_bench_run_prefill(bench, 1, &cell, err), RF_ERROR_ARGUMENT, "ceilings");
}

static void ceilings_are_of_this_device(void **state)
{
    (void)state;
    struct rf_device_info info;
    rf_context_device(engine.context, &info);
    require_ok(rf_bench_run_ceilings(bench, &ceilings, err));
    printf("read %.2f GB/s (%s), f32 %.4f TFLOP/s (%s)\n", ceilings.read_gb_per_second, ceilings.read_kernel,
           ceilings.f32_tflops, ceilings.f32_kernel);
    /* Any machine that runs this reads more than 10 MB and multiplies more than 10 million numbers a second,
     * and none reads more than 100 TB. */
    assert_true(ceilings.read_gb_per_second > 0.01 && ceilings.read_gb_per_second < 1e5);
    assert_true(ceilings.read_model_gb_per_second >= ceilings.read_gb_per_second);
    assert_true(ceilings.read_model_bytes < ceilings.read_bytes);
    assert_true(ceilings.f32_tflops > 1e-5 && ceilings.f32_tflops < 1e4);
    assert_int_equal(ceilings.f16_tflops > 0.0, info.has_fp16);
    assert_int_equal(ceilings.int8_tops > 0.0, info.has_int8_dot);
    assert_true(ceilings.dispatch_us > 0.0 && ceilings.submission_us > 0.0);
}

/* From the config alone. */
static uint64_t wanted_flops(uint32_t rows, uint32_t cache, uint32_t outputs)
{
    const struct rf_model_config *c = &engine.model->config;
    uint64_t q = (uint64_t)c->heads * c->head_dim, kv = (uint64_t)c->kv_heads * c->head_dim, keys = 0;
    for (uint32_t i = 0; i < rows; i++)
        keys += cache + i + 1;
    uint64_t layer = (q + 2 * kv) * c->hidden + q * c->hidden + 3 * (uint64_t)c->ffn * c->hidden;
    return 2 * (c->layers * layer * rows + (uint64_t)c->vocab * c->hidden * outputs) +
           4 * c->layers * q * keys;
}

static void check_cell(uint32_t rows, uint32_t cache)
{
    struct rf_bench_forward cell;
    require_ok(rf_bench_run_forward(bench, rows, cache, &cell, err));
    rf_bench_get_ceilings(bench, &ceilings); /* which may have been raised */
    printf("%u rows over %u: %.3f ms, floor %.3f ms, error %.1e, %u repeats\n", rows, cache,
           cell.seconds * 1e3, cell.floor_seconds * 1e3, cell.error, cell.repeats);
    assert_int_equal(cell.rows, rows);
    assert_int_equal(cell.cache, cache);
    assert_true(cell.repeats >= 3 && cell.repeats <= 25);
    assert_true(cell.fastest > 0.0 && cell.fastest <= cell.seconds && cell.seconds <= cell.slowest);
    assert_true(cell.device_seconds <= cell.slowest);
    assert_true(cell.submit_seconds > 0.0 && cell.submit_seconds <= cell.slowest);
    assert_int_equal(cell.flops, wanted_flops(rows, cache, rows));
    assert_true(cell.submissions >= 1 && cell.dispatches > engine.model->config.layers);
    assert_true(cell.barriers <= cell.dispatches);
    double read = fmax(ceilings.read_gb_per_second, ceilings.read_model_gb_per_second) * 1e9;
    assert_true(cell.floor_seconds >= (double)cell.bytes / read * 0.999999);
    assert_true(cell.floor_seconds <= cell.seconds);
    assert_true(cell.error < (engine.model->int8 ? 3e-2 : engine.model->fp16 ? 1e-2 : 1e-4));
    const char *precision = engine.model->int8 ? "int8 " : engine.model->fp16 ? "fp16 " : "portable ";
    assert_int_equal(strncmp(cell.path, precision, strlen(precision)), 0);
}

static void forwards_are_checked_and_counted(void **state)
{
    (void)state;
    check_cell(1, 0);
    check_cell(7, 70);
    check_cell(33, 600);
}

/* More keys mean exactly the bytes of their KV rows more, and nothing else. */
static void bytes_are_weights_and_kv_rows(void **state)
{
    (void)state;
    const struct rf_model_config *c = &engine.model->config;
    struct rf_bench_forward short_cell, long_cell, wide_cell;
    require_ok(rf_bench_run_forward(bench, 2, 3, &short_cell, err));
    require_ok(rf_bench_run_forward(bench, 2, 103, &long_cell, err));
    require_ok(rf_bench_run_forward(bench, 3, 3, &wide_cell, err));
    uint64_t row = 2ull * c->layers * c->kv_heads * c->head_dim * (engine.model->fp16 ? 2 : 4);
    assert_int_equal(long_cell.bytes - short_cell.bytes, 100 * row);
    uint64_t embedding = wide_cell.bytes - short_cell.bytes - row;
    assert_true(embedding >= c->hidden / 2 && embedding <= 4ull * c->hidden); /* 4 to 32 bits a number */
    /* Everything else is weights, each once; the rotary table and the padding are not read. */
    assert_true(short_cell.bytes < engine.model->weights.bytes + 6 * row);
    assert_true(short_cell.bytes > engine.model->parameters / 2);
}

static void cells_outside_the_model_are_refused(void **state)
{
    (void)state;
    struct rf_bench_forward cell;
    require_failure(rf_bench_run_forward(bench, 0, 0, &cell, err), RF_ERROR_ARGUMENT,
                    "found 0, wanted 1 to 512");
    require_failure(rf_bench_run_forward(bench, 513, 0, &cell, err), RF_ERROR_ARGUMENT, "found 513");
    require_failure(rf_bench_run_forward(bench, 1, engine.model->context_length, &cell, err),
                    RF_ERROR_CONTEXT_FULL, "exceed the context length");
    require_failure(rf_bench_run_prefill(bench, engine.model->context_length + 1, &cell, err),
                    RF_ERROR_ARGUMENT, "prefill");
}

static void prefill_takes_as_many_forwards_as_it_needs(void **state)
{
    (void)state;
    struct rf_bench_forward cell;
    require_ok(rf_bench_run_prefill(bench, 530, &cell, err));
    assert_int_equal(cell.rows, 530);
    assert_true(cell.submissions >= 2);
    assert_int_equal(cell.flops, wanted_flops(530, 0, 1));
}

static void decode_once(const struct rf_bench_decode_desc *desc, struct rf_bench_decode *out)
{
    require_ok(rf_bench_run_decode(bench, desc, out, err));
    printf("accept rate %.2f: %u tokens, %llu forwards, %u rounds\n", desc->accept_rate, out->tokens,
           (unsigned long long)out->forwards, out->rounds);
    assert_int_equal(out->tokens, desc->settings.max_tokens);
    assert_true(out->decode_seconds > 0.0 && out->prefill_seconds > 0.0);
}

/* At rate 1 a block is a PLAN and a VERIFY; at rate 0 one slot is chosen at a time and takes a PLAN, a
 * VERIFY and k - 1 turns of two forwards. */
static void scripts_accept_what_they_are_told_to(void **state)
{
    (void)state;
    struct rf_bench_decode_desc desc = {.settings = {.max_tokens = 32, .slot_size = 8, .block = 16},
                                        .prompt = 20,
                                        .scripted = true,
                                        .accept_rate = 1.0};
    struct rf_bench_decode all, none, some, again;
    decode_once(&desc, &all);
    assert_int_equal(all.rounds, 2);
    assert_int_equal(all.forwards, 4);
    assert_int_equal(all.rows, 4 * 16);
    desc.accept_rate = 0.0;
    decode_once(&desc, &none);
    assert_int_equal(none.rounds, 4);
    assert_int_equal(none.forwards, 4 * (2 + 2 * 7));
    desc.accept_rate = 0.8;
    decode_once(&desc, &some);
    assert_true(some.forwards > all.forwards && some.forwards < none.forwards);
    assert_true(some.tokens_per_forward > none.tokens_per_forward);
    decode_once(&desc, &again); /* one seed, one script, however long what came before took */
    assert_int_equal(again.forwards, some.forwards);
    assert_int_equal(again.rounds, some.rounds);
    desc.accept_rate = 1.5;
    require_failure(rf_bench_run_decode(bench, &desc, &some, err), RF_ERROR_ARGUMENT,
                    "accept rate: found 1.5");
}

static void sequential_decoding_is_a_forward_a_token(void **state)
{
    (void)state;
    const struct rf_bench_decode_desc desc = {.settings = {.decode = RF_DECODE_AR, .max_tokens = 9},
                                              .prompt = 65};
    struct rf_bench_decode out;
    decode_once(&desc, &out);
    assert_int_equal(out.forwards, 9);
    assert_true(out.tokens_per_forward == 1.0);
}

/* The planted fault: a page of the measured sequence's cache is another one, of zeros. */
static void a_wrong_result_is_found(void **state)
{
    (void)state;
    struct rf_bench_forward cell;
    struct rf_kv_page *other;
    uint64_t *table = bench->measured.table.host, real = table[0];
    require_ok(rf_bench_run_forward(bench, 4, 64, &cell, err));
    require_ok(rf_kv_take(engine.model->pool, &other, err));
    require_ok(rf_gpu_fill(bench->gpu, rf_kv_span(other), 0, err));
    table[0] = rf_kv_span(other).address;
    require_failure(rf_bench_run_forward(bench, 4, 64, &cell, err), RF_ERROR_INTERNAL, "wrong results");
    table[0] = real;
    require_ok(rf_bench_run_forward(bench, 4, 64, &cell, err));
    rf_kv_release(engine.model->pool, other);
}

/* ---- Synthetic models ------------------------------------------------------------------------------- */

#define SMALL "qwen3-0.6b,layers=2,hidden=64,heads=4,kv_heads=2,head_dim=32,ffn=96,vocab=333,context=256"

static void wrong_shapes_are_told(void **state)
{
    (void)state;
    const struct {
        const char *shape, *part;
    } wrong[] = {
        {"qwen3-7b", "found the shape \"qwen3-7b\""},
        {"", "found the shape \"\""},
        {"qwen3-0.6b,", "found \"\", wanted KEY=VALUE"},
        {"qwen3-0.6b,depth=3", "found \"depth=3\""},
        {"qwen3-0.6b,layers", "found \"layers\""},
        {"qwen3-0.6b,layers=", "layers: found \"\""},
        {"qwen3-0.6b,layers=0", "layers: found \"0\", wanted a whole number from 1"},
        {"qwen3-0.6b,layers=2x", "layers: found \"2x\""},
        {"qwen3-0.6b,vocab=99999999999", "vocab: found"},
        {"qwen3-0.6b,tied=2", "tied: found \"2\""},
        {"qwen3-0.6b,type=q3", "type: found \"q3\""},
        {"qwen3-0.6b,hidden=60", "hidden: found 60, wanted a multiple of 8"},
        {"qwen3-0.6b,type=q4_k,hidden=1040", "hidden: found 1040, wanted a multiple of Q4_K's block, 256"},
        {"qwen3-0.6b,heads=12", "heads: found 12, wanted a multiple of 8"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        rf_model *model = NULL;
        require_failure(rf_model_synthesize(&model, engine.context, wrong[i].shape, NULL, err),
                        RF_ERROR_ARGUMENT, wrong[i].part);
        assert_null(model);
    }
}

static void run_synthetic(const char *shape, bool tied, bool decodes)
{
    rf_model *model;
    rf_bench *small;
    struct rf_bench_forward cell;
    struct rf_model_desc desc = {.precision = engine.model->fp16 ? RF_PRECISION_F16 : RF_PRECISION_F32,
                                 .no_tune = true};
    require_ok(rf_model_synthesize(&model, engine.context, shape, &desc, err));
    assert_int_equal(model->weights.lm_head.chunks == model->weights.embed.chunks, tied);
    assert_null(rf_model_tokenizer(model));
    require_ok(rf_bench_create(&small, model, &(struct rf_bench_desc){.cell_seconds = 0.01}, err));
    small->ceilings = ceilings;
    small->has_ceilings = true;
    require_ok(rf_bench_run_forward(small, 5, 40, &cell, err));
    printf("%s: error %.1e\n", shape, cell.error);
    if (decodes) {
        struct rf_bench_decode out;
        const struct rf_bench_decode_desc decode = {
            .settings = {.max_tokens = 16, .slot_size = 4, .block = 8},
            .prompt = 3,
            .scripted = true,
            .accept_rate = 1.0};
        require_ok(rf_bench_run_decode(small, &decode, &out, err));
        assert_int_equal(out.tokens, 16);
    }
    rf_bench_destroy(small);
    rf_model_destroy(model);
}

static void synthetic_models_run(void **state)
{
    (void)state;
    run_synthetic(SMALL, true, true);
    if (getenv("RF_TEST_ONE_TYPE"))
        return;
    run_synthetic(SMALL ",type=f16,tied=0", false, false);
    run_synthetic(SMALL ",type=f32", true, false);
    run_synthetic(SMALL ",type=q8_0", true, false);
    run_synthetic(SMALL ",type=q4_0", true, false);
    run_synthetic(SMALL ",type=q4_k,hidden=256,head_dim=64,ffn=512", true, false);
    run_synthetic(SMALL ",type=q6_k,hidden=256,head_dim=64,ffn=512", true, false);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards_want_ceilings_first),
        cmocka_unit_test(ceilings_are_of_this_device),
        cmocka_unit_test(forwards_are_checked_and_counted),
        cmocka_unit_test(bytes_are_weights_and_kv_rows),
        cmocka_unit_test(cells_outside_the_model_are_refused),
        cmocka_unit_test(prefill_takes_as_many_forwards_as_it_needs),
        cmocka_unit_test(scripts_accept_what_they_are_told_to),
        cmocka_unit_test(sequential_decoding_is_a_forward_a_token),
        cmocka_unit_test(a_wrong_result_is_found),
        cmocka_unit_test(wrong_shapes_are_told),
        cmocka_unit_test(synthetic_models_run),
    };
    return cmocka_run_group_tests(tests, open_bench, close_bench);
}

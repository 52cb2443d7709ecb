/* refusion bench: ceilings, forwards, a prompt and decoding, each beside what the device can do. */
#include "apps/refusion/bench_report.h"
#include "apps/refusion/engine_open.h"
#include "apps/refusion/input.h"
#include "apps/refusion/interrupt.h"
#include "apps/refusion/program.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LIST = 64, MOST_ROWS = 512, LEAST_CONTEXT = 1024 };

static const uint64_t MOST_CACHE = UINT64_C(1) << 24;

struct list {
    uint32_t items[MOST_LIST], count;
};

struct plan {
    struct list rows, caches;
    bool tune, sweep;
    uint32_t prefill, ar, generate, prompt; /* tokens; 0: not asked for (prompt never is) */
    double accept_rate;                     /* < 0: not scripted */
};

/* "1,2,4": whole numbers from min to max. */
static bool parse_list(struct list *out, const char *name, const char *text, uint64_t min, uint64_t max)
{
    const char *at = text;
    out->count = 0;
    for (bool more = true; more; at++) {
        char *end = NULL;
        unsigned long long value = *at >= '0' && *at <= '9' ? strtoull(at, &end, 10) : 0;
        if (!end || (*end && *end != ',') || end - at > 9 || value < min || value > max) {
            complain("--%s: found \"%s\", wanted whole numbers from %" PRIu64 " to %" PRIu64
                     ", separated by commas",
                     name, text, min, max);
            return false;
        }
        if (out->count == MOST_LIST) {
            complain("--%s: found more than %d numbers, wanted at most %d", name, MOST_LIST, MOST_LIST);
            return false;
        }
        out->items[out->count++] = (uint32_t)value;
        at = end;
        more = *end == ',';
    }
    return true;
}

static uint32_t asked(const struct opt_uint *option, bool everything, uint32_t fallback)
{
    return option->given ? (uint32_t)option->value : everything ? fallback : 0;
}

static bool make_plan(struct plan *plan, const struct settings *s)
{
    bool forwards = s->rows || s->cache;
    bool everything = !forwards && !s->prefill.given && !s->ar.given && !s->generate.given;
    *plan = (struct plan){.accept_rate = s->synthetic ? 0.7 : -1.0};
    if (forwards || everything) {
        if (!parse_list(&plan->rows, "rows", s->rows ? s->rows : "1,2,4,8,16,32,64,128,256,512", 1,
                        MOST_ROWS) ||
            !parse_list(&plan->caches, "cache", s->cache ? s->cache : "0,512,2048", 0, MOST_CACHE))
            return false;
    }
    plan->tune = s->tune;
    plan->sweep = s->sweep;
    const char *trials = s->tune ? "tune" : "sweep";
    if ((s->tune || s->sweep) && !plan->rows.count) {
        complain("--%s: found it without --rows or --cache, wanted it with forwards", trials);
        return false;
    }
    if ((s->tune || s->sweep) && s->no_tune) {
        complain("--%s: found it beside --no-tune, wanted one of them", trials);
        return false;
    }
    plan->prefill = asked(&s->prefill, everything, 512);
    plan->ar = asked(&s->ar, everything, 32);
    plan->generate = asked(&s->generate, everything, 128);
    plan->prompt = asked(&s->prompt_tokens, true, 128);
    if (s->accept_rate.given)
        plan->accept_rate = s->accept_rate.value;
    if (s->accept_rate.given && !plan->generate) {
        complain("--accept-rate: found it without --generate, wanted both");
        return false;
    }
    if (s->synthetic && s->model) {
        complain("--synthetic: found it beside --model, wanted one of them");
        return false;
    }
    if (s->csv && s->json) {
        complain("--csv: found it beside --json, wanted one of them");
        return false;
    }
    return true;
}

static uint32_t largest(const struct list *list)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < list->count; i++)
        most = list->items[i] > most ? list->items[i] : most;
    return most;
}

/* What the measurements need: tables of the model's whole context would only take memory. */
static uint64_t needed_context(const struct plan *plan)
{
    const uint64_t needs[] = {LEAST_CONTEXT, (uint64_t)largest(&plan->rows) + largest(&plan->caches),
                              plan->prefill, (uint64_t)plan->prompt + plan->ar,
                              /* whole slots, of at most 64 */
                              (uint64_t)plan->prompt + plan->generate + 64};
    uint64_t most = 0;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
        most = needs[i] > most ? needs[i] : most;
    return most;
}

/* Nothing is faster than its floor: if it seems so, a ceiling is too low, and no percentage can be believed.
 * */
static enum rf_status check_floor(const struct rf_bench_forward *cell, struct rf_error *err)
{
    double seconds = rf_bench_shortest(cell);
    if (seconds >= cell->floor_seconds)
        return RF_OK;
    return rf_fail(err, RF_ERROR_INTERNAL,
                   "bench: rows %" PRIu32 ", cache %" PRIu32
                   ": found %.1f %% of the floor (%.4f ms, floor %.4f ms), "
                   "wanted at most 100: a ceiling is measured too low",
                   cell->rows, cell->cache, 100.0 * cell->floor_seconds / seconds, seconds * 1e3,
                   cell->floor_seconds * 1e3);
}

struct run {
    rf_bench *bench;
    const struct plan *plan;
    const struct settings *settings;
    struct bench_report report;
    struct rf_error broken; /* the first floor that was undercut */
};

static void note_floor(struct run *run, const struct rf_bench_forward *cell)
{
    struct rf_error now = {0};
    if (check_floor(cell, &now) && !run->broken.status)
        run->broken = now;
}

static void on_trial(void *user, const struct rf_bench_trial *trial)
{
    bench_report_trial(user, trial);
}

static enum rf_status run_tune(struct run *run, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t r = 0; !status && r < run->plan->rows.count; r++)
        status = rf_bench_run_tune(run->bench, run->plan->rows.items[r], on_trial, &run->report, err);
    return status;
}

static void on_sweep(void *user, const struct rf_bench_sweep *sweep)
{
    bench_report_sweep(user, sweep);
}

static enum rf_status run_sweep(struct run *run, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t r = 0; !status && r < run->plan->rows.count; r++)
        status = rf_bench_run_sweep(run->bench, run->plan->rows.items[r], on_sweep, &run->report, err);
    return status;
}

static enum rf_status run_forwards(struct run *run, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t c = 0; !status && c < run->plan->caches.count; c++) {
        for (uint32_t r = 0; !status && r < run->plan->rows.count; r++) {
            struct rf_bench_forward cell;
            status = interrupted() ? rf_fail(err, RF_ERROR_CANCELLED, "bench: interrupted")
                                   : rf_bench_run_forward(run->bench, run->plan->rows.items[r],
                                                          run->plan->caches.items[c], &cell, err);
            if (status)
                break;
            bench_report_forward(&run->report, &cell);
            note_floor(run, &cell);
        }
    }
    return status;
}

static enum rf_status run_prefill(struct run *run, struct rf_error *err)
{
    struct rf_bench_forward cell;
    enum rf_status status = rf_bench_run_prefill(run->bench, run->plan->prefill, &cell, err);
    if (status)
        return status;
    bench_report_prefill(&run->report, &cell);
    note_floor(run, &cell);
    return RF_OK;
}

static enum rf_status run_decode(struct run *run, enum rf_decode decode, struct rf_error *err)
{
    bool ar = decode == RF_DECODE_AR;
    struct rf_bench_decode_desc desc = {.settings = session_desc(run->settings).settings,
                                        .prompt = run->plan->prompt,
                                        .scripted = !ar && run->plan->accept_rate >= 0.0,
                                        .accept_rate = run->plan->accept_rate};
    desc.settings.decode = decode;
    desc.settings.max_tokens = ar ? run->plan->ar : run->plan->generate;
    struct rf_bench_decode result;
    enum rf_status status = rf_bench_run_decode(run->bench, &desc, &result, err);
    if (!status)
        bench_report_decode(&run->report, decode, &result, desc.scripted ? desc.accept_rate : -1.0);
    return status;
}

static enum rf_status run_all(struct run *run, struct rf_error *err)
{
    struct rf_bench_ceilings ceilings;
    enum rf_status status = rf_bench_run_ceilings(run->bench, &ceilings, err);
    if (status)
        return status;
    bench_report_begin(&run->report, &ceilings);
    if (run->plan->tune)
        status = run_tune(run, err);
    if (!status && run->plan->sweep)
        status = run_sweep(run, err);
    if (!status)
        status = run_forwards(run, err);
    if (!status && run->plan->prefill)
        status = run_prefill(run, err);
    if (!status && run->plan->ar)
        status = run_decode(run, RF_DECODE_AR, err);
    /* A model without a mask token is no ReFusion model: only an explicit --generate asks that of it. */
    bool skipped = run->report.info.mask_token == UINT32_MAX && !run->settings->generate.given;
    if (!status && run->plan->generate && !skipped)
        status = run_decode(run, RF_DECODE_REFUSION, err);
    return status;
}

static enum rf_status run_on(const struct engine *engine, struct run *run, struct rf_error *err)
{
    const struct settings *s = run->settings;
    const struct rf_bench_desc desc = {.cell_seconds = s->cell_seconds.value, .seed = s->seed.value};
    run->report.style = s->json ? BENCH_JSON : s->csv ? BENCH_CSV : BENCH_TABLE;
    run->report.model = s->synthetic ? s->synthetic : named_model(s) ? named_model(s) : "the tiny model";
    rf_context_device(engine->context, &run->report.device);
    rf_model_get_info(engine->model, &run->report.info);
    enum rf_status status = rf_bench_create(&run->bench, engine->model, &desc, err);
    if (!status)
        status = run_all(run, err);
    /* What was measured before a failure is worth having; without ceilings there is nothing. */
    struct rf_error late = {0};
    enum rf_status printed = RF_OK;
    if (run->report.begun)
        printed = bench_report_end(&run->report, run->bench, status ? err->message : NULL, &late);
    rf_bench_destroy(run->bench);
    fflush(stdout);
    if (!status && run->broken.status) {
        *err = run->broken;
        return err->status;
    }
    if (!status && printed)
        *err = late;
    return status ? status : printed;
}

int command_bench(const struct settings *given)
{
    struct plan plan;
    struct rf_error err = {0};
    struct settings settings = *given;
    if (!make_plan(&plan, &settings))
        return STATUS_USAGE;
    if (!settings.context.given)
        settings.context.value = needed_context(&plan);
    struct engine engine;
    interrupt_install();
    if (check_settings(&settings, &err) || engine_open(&engine, &settings, &err))
        return complain_error(&err);
    struct run run = {.plan = &plan, .settings = &settings};
    enum rf_status status = run_on(&engine, &run, &err);
    uint64_t complaints = engine_complaints(&engine);
    engine_close(&engine);
    if (status)
        return complain_error(&err);
    return complaints ? STATUS_FAILURE : STATUS_OK;
}

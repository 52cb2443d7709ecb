#include "engine/decode/profile.h"

#include <string.h>

#include "engine/allocate.h"
#include "engine/model/work.h"

struct rf_profiling {
    struct rf_profile_session sessions[RF_MAX_PIECES];
    uint32_t committed[RF_MAX_PIECES], produced[RF_MAX_PIECES]; /* rows, tokens before the submission */
    uint64_t recorded;                                          /* command buffers before it */
    struct rf_profile_dispatch *dispatches;
    uint32_t dispatch_count;
    double *counters;       /* [dispatches][counter_count] */
    uint32_t counter_count; /* 0: not with RF_PROFILE_COUNTERS */
    uint64_t *ticks;        /* of one command buffer */
    struct rf_key_run *runs;
    struct rf_load loads[2];
    uint64_t first_tick, last_tick;
    uint32_t groups, commits;      /* so far */
    int pass;                      /* -1: before the first gather */
    struct rf_profile_part *parts; /* as far as they have been read */
    uint32_t part_count;
    bool cut; /* the next command buffer is another submission's */
};

const char *rf_profile_phase_name(enum rf_profile_phase phase)
{
    static const char *const names[RF_PHASES] = {"prefill", "plan", "verify", "complete", "ar"};
    return (unsigned)phase < RF_PHASES ? names[phase] : "unknown";
}

enum rf_status rf_model_profile(rf_model *model, enum rf_profile_mode mode, rf_profile_fn on_record,
                                void *user, struct rf_error *err)
{
    static const enum rf_marking markings[] = {[RF_PROFILE_OFF] = RF_MARK_NOTHING,
                                               [RF_PROFILE_FREE] = RF_MARK_GROUPS,
                                               [RF_PROFILE_SERIAL] = RF_MARK_DISPATCHES,
                                               [RF_PROFILE_HOST] = RF_MARK_NOTHING,
                                               [RF_PROFILE_COUNTERS] = RF_MARK_COUNTERS};
    uint32_t counters;
    if (!model || (unsigned)mode > RF_PROFILE_COUNTERS || (mode != RF_PROFILE_OFF && !on_record))
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_model_profile: wanted a model, a known mode and, unless that is off, a callback");
    RF_ALLOCATE_FROM(rf_gpu_allocator(model->gpu));
    struct rf_device_info info;
    rf_gpu_get_info(model->gpu, &info);
    if (markings[mode] && rf_gpu_get_caps(model->gpu)->timestamp_period <= 0.0f)
        return rf_fail(err, RF_ERROR_UNSUPPORTED,
                       "device %u (%s) has no timestamps: a profile can only have times of the host",
                       info.index, info.name);
    rf_gpu_counters(model->gpu, &counters);
    if (mode == RF_PROFILE_COUNTERS && !counters)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "rf_model_profile: wanted counters, but rf_context_desc.counters named none");
    pthread_mutex_lock(&model->mutex);
    /* The lock comes before what is recorded under it and goes after it. */
    const bool held = model->profile_mode == RF_PROFILE_COUNTERS;
    enum rf_status status = mode == RF_PROFILE_COUNTERS ? rf_gpu_hold_counters(model->gpu, true, err) : RF_OK;
    const bool holds = mode == RF_PROFILE_COUNTERS && !status;
    if (!status)
        status = rf_forward_set_marking(model->forward, markings[mode], err);
    if (held && !holds)
        rf_forward_drop_marked(model->forward, RF_MARK_COUNTERS);
    if (holds && status)
        rf_gpu_hold_counters(model->gpu, false, NULL);
    if (held)
        rf_gpu_hold_counters(model->gpu, false, NULL);
    model->profile_mode = status ? RF_PROFILE_OFF : mode;
    for (int m = RF_MARK_NOTHING + 1; model->profile_mode == RF_PROFILE_OFF && m < RF_MARKINGS; m++)
        rf_forward_drop_marked(model->forward, (enum rf_marking)m);
    model->on_profile = on_record;
    model->profile_user = user;
    pthread_mutex_unlock(&model->mutex);
    return status;
}

/* ---- Before ----------------------------------------------------------------------------------------- */

static enum rf_profile_phase phase_of(const struct rf_session *s)
{
    switch (s->pass) {
    case RF_PASS_PLAN:
        return s->prefilled || s->prompt_count == s->committed ? RF_PHASE_PLAN : RF_PHASE_PREFILL;
    case RF_PASS_VERIFY:
        return RF_PHASE_VERIFY;
    case RF_PASS_AR:
        return s->prefilled ? RF_PHASE_AR : RF_PHASE_PREFILL;
    default:
        return RF_PHASE_COMPLETE;
    }
}

enum rf_status rf_profiling_begin(struct rf_profiling **out, const struct submission *sub,
                                  struct rf_error *err)
{
    *out = NULL;
    if (sub->model->profile_mode == RF_PROFILE_OFF)
        return RF_OK;
    struct rf_profiling *p = rf_calloc(1, sizeof *p);
    if (!p)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a profile");
    p->recorded = rf_gpu_recorded_count(sub->model->gpu);
    p->pass = -1;
    for (uint32_t i = 0; i < sub->session_count; i++) {
        struct rf_session *s = sub->sessions[i];
        p->committed[i] = s->committed;
        p->produced[i] = s->produced;
        p->sessions[i] = (struct rf_profile_session){.session = s,
                                                     .phase = phase_of(s),
                                                     .round = s->stats.rounds,
                                                     .rows = sub->counts[i],
                                                     .remaining_slots = s->remaining_count};
    }
    *out = p;
    return RF_OK;
}

void rf_profiling_free(struct rf_profiling *p)
{
    if (!p)
        return;
    rf_free(p->dispatches);
    rf_free(p->counters);
    rf_free(p->ticks);
    rf_free(p->parts);
    rf_free(p->runs);
    rf_free(p);
}

/* ---- After ------------------------------------------------------------------------------------------ */

/* Room for everything that the submission's command buffers hold. */
static enum rf_status reserve(struct rf_profiling *p, const struct rf_forward_cmds *cmds,
                              struct rf_error *err)
{
    uint32_t dispatches = 0, groups = 0;
    for (size_t i = 0; i < cmds->count; i++) {
        uint32_t count = 0;
        if (!cmds->items[i])
            continue;
        rf_cmd_marked(cmds->items[i], &count);
        dispatches += count;
        groups = rf_cmd_group_count(cmds->items[i]) > groups ? rf_cmd_group_count(cmds->items[i]) : groups;
    }
    p->dispatches = rf_calloc(dispatches + 1, sizeof *p->dispatches);
    p->counters = p->counter_count ? rf_calloc((dispatches + 1) * p->counter_count, sizeof *p->counters) : NULL;
    p->ticks = rf_malloc((groups + 1) * sizeof *p->ticks);
    p->runs = rf_malloc(2 * RF_MAX_ROWS * sizeof *p->runs);
    p->parts = rf_malloc((cmds->count + 1) * sizeof *p->parts);
    if (!p->dispatches || !p->ticks || !p->parts || !p->runs || (p->counter_count && !p->counters))
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a profile of %u dispatches",
                       dispatches);
    return RF_OK;
}

/* Rows that the next kv_commit of the submission moved: commits stand in the order of the sessions that end a
 * COMPLETE turn with it. */
static uint32_t committed_rows(struct rf_profiling *p, const struct submission *sub)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < sub->session_count; i++)
        if ((sub->sessions[i]->actions & RF_ACT_TURN) && seen++ == p->commits) {
            p->commits++;
            return sub->sessions[i]->committed - p->committed[i];
        }
    return 0;
}

static void describe(struct rf_profiling *p, const struct submission *sub, const struct rf_op_note *note,
                     struct rf_profile_dispatch *out)
{
    const struct rf_row *rows = rf_forward_gathered(sub->model->forward, p->pass > 0);
    if (note->begins_pass) {
        p->pass++;
        rows = rf_forward_gathered(sub->model->forward, p->pass > 0);
        rf_load_count(&p->loads[p->pass], rows, sub->rows[p->pass], p->runs);
    }
    struct rf_load load = p->loads[p->pass > 0];
    if (note->commits)
        load = (struct rf_load){.rows = committed_rows(p, sub)};
    struct rf_work_done done = rf_work_of(&note->work, &load, rows);
    out->op = note->op;
    out->layer = note->layer;
    out->rows = (uint32_t)done.rows;
    out->bytes_read = done.read;
    out->bytes_written = done.written;
    out->operations = done.operations;
}

/* A command buffer that began at `first` and ended at last_tick: a part of its own behind a cut. */
static void note_part(struct rf_profiling *p, const struct rf_gpu *gpu, uint64_t first)
{
    if (!p->part_count || p->cut) {
        p->parts[p->part_count++].begin = rf_gpu_ticks_between(gpu, p->first_tick, first);
        p->cut = false;
    }
    p->parts[p->part_count - 1].end = rf_gpu_ticks_between(gpu, p->first_tick, p->last_tick);
}

static enum rf_status read_cmd(struct rf_profiling *p, const struct submission *sub, const struct rf_cmd *cmd,
                               struct rf_error *err)
{
    const struct rf_gpu *gpu = sub->model->gpu;
    const struct rf_op_note *notes = rf_cmd_notes(cmd);
    uint32_t count, groups = rf_cmd_group_count(cmd);
    const struct rf_marked *marked = rf_cmd_marked(cmd, &count);
    if (!groups)
        return RF_OK;
    enum rf_status status = rf_cmd_read_marks(cmd, p->ticks, err);
    if (!status && p->counters)
        status = rf_cmd_read_counters(cmd, p->counters + (size_t)p->dispatch_count * p->counter_count, err);
    if (status)
        return status;
    if (p->groups == 0)
        p->first_tick = p->ticks[0];
    p->last_tick = p->ticks[groups];
    note_part(p, gpu, p->ticks[0]);
    for (uint32_t i = 0; i < count; i++) {
        struct rf_profile_dispatch *out = &p->dispatches[p->dispatch_count++];
        if (marked[i].note == UINT32_MAX)
            *out = (struct rf_profile_dispatch){.op = "profiler: rows", .layer = -1};
        else
            describe(p, sub, &notes[marked[i].note], out);
        out->shader = marked[i].kernel ? rf_kernel_name(marked[i].kernel) : "copy";
        out->pass = p->pass > 0;
        out->group = p->groups + marked[i].group;
        out->begin = rf_gpu_ticks_between(gpu, p->first_tick, p->ticks[marked[i].group]);
        out->end = rf_gpu_ticks_between(gpu, p->first_tick, p->ticks[marked[i].group + 1]);
    }
    p->groups += groups;
    return RF_OK;
}

/* On the host's clock. Without calibration all that is known is that the device began after the hand-over
 * began and ended before the wait did: the latest possible moment is taken. */
static enum rf_status place(const struct rf_profiling *p, const struct submission *sub,
                            struct rf_profile_record *record, struct rf_error *err)
{
    struct rf_gpu *gpu = sub->model->gpu;
    struct rf_clock_pair now;
    if (p->groups == 0)
        return RF_OK;
    double span = rf_gpu_ticks_between(gpu, p->first_tick, p->last_tick);
    enum rf_status status = rf_gpu_read_clocks(gpu, &now, &record->calibrated, err);
    if (status)
        return status;
    if (record->calibrated) {
        record->gpu_begin = now.host - rf_gpu_ticks_between(gpu, p->first_tick, now.ticks);
        record->clock_error = now.error;
    } else {
        double slack = record->read_begin - record->submit_begin - span;
        record->gpu_begin = record->read_begin - span;
        record->clock_error = slack > 0.0 ? slack : 0.0;
    }
    record->gpu_end = record->gpu_begin + span;
    return RF_OK;
}

static void finish_sessions(struct rf_profiling *p, const struct submission *sub)
{
    for (uint32_t i = 0; i < sub->session_count; i++) {
        const struct rf_session *s = sub->sessions[i];
        struct rf_profile_session *out = &p->sessions[i];
        bool plan = out->phase == RF_PHASE_PREFILL || out->phase == RF_PHASE_PLAN;
        bool planning = plan && s->pass == RF_PASS_PLAN; /* a prompt that takes several submissions */
        if (s->settings.decode == RF_DECODE_AR)
            out->committed_tokens = s->produced - p->produced[i];
        else if (!plan)
            out->committed_tokens = s->committed - p->committed[i];
        if (s->settings.decode == RF_DECODE_REFUSION && !planning)
            out->chosen_slots = s->chosen_count;
        for (uint32_t page = 0; page < s->page_slots; page++)
            out->kv_pages += s->pages[page] != NULL;
    }
}

enum rf_status rf_profiling_report(struct rf_profiling *p, const struct submission *sub, struct rf_error *err)
{
    if (!p)
        return RF_OK;
    rf_model *model = sub->model;
    struct rf_profile_record record = {.mode = model->profile_mode,
                                       .record_begin = sub->times.record,
                                       .submit_begin = sub->times.submit,
                                       .wait_begin = sub->times.wait,
                                       .read_begin = sub->times.read,
                                       .end = sub->times.end,
                                       .recorded = rf_gpu_recorded_count(model->gpu) != p->recorded,
                                       .rows = {sub->rows[0], sub->rows[1]},
                                       .device_memory = rf_gpu_memory_used(model->gpu),
                                       .sessions = p->sessions,
                                       .session_count = sub->session_count};
    enum rf_status status = RF_OK;
    finish_sessions(p, sub);
    if (model->profile_mode == RF_PROFILE_COUNTERS)
        rf_gpu_counters(model->gpu, &p->counter_count);
    if (rf_forward_marking(model->forward))
        status = reserve(p, &sub->cmds, err);
    for (size_t i = 0; !status && p->ticks && i < sub->cmds.count; i++) {
        p->cut = p->cut || !sub->cmds.items[i];
        if (sub->cmds.items[i])
            status = read_cmd(p, sub, sub->cmds.items[i], err);
    }
    if (!status)
        status = place(p, sub, &record, err);
    if (status)
        return status;
    for (int pass = 0; pass < 2; pass++)
        record.outputs[pass] = (uint32_t)p->loads[pass].outputs;
    record.dispatches = p->dispatches;
    record.dispatch_count = p->dispatch_count;
    record.counters = p->counters;
    record.parts = p->parts;
    record.part_count = p->part_count;
    record.counter_count = p->counter_count;
    model->on_profile(model->profile_user, &record);
    return RF_OK;
}

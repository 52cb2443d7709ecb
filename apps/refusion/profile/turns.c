#include "apps/refusion/profile/turns.h"

#include "apps/refusion/interrupt.h"
#include "apps/refusion/profile/aggregate.h"
#include "engine/context.h"
#include "engine/decode/session.h"
#include "engine/gpu/command.h"

struct half {
    struct profile *store;
    enum rf_profile_mode mode; /* of the model; of its run RF_PROFILE_OFF where that is RF_PROFILE_HOST */
    rf_session *session;
};

static enum rf_status begin(struct half *half, const struct turns *t, struct rf_error *err)
{
    struct rf_session_desc desc = session_desc(t->settings);
    /* First: a session's commit is recorded as it begins, with the marks of then. */
    enum rf_status status =
        rf_model_profile(t->engine->model, half->mode, profile_on_record, half->store, err);
    if (!status)
        status = rf_session_create(&half->session, t->engine->model, &desc, err);
    if (!status)
        status = prompt_begin(half->session, t->engine, t->prompt, t->settings, err);
    if (status)
        return status;
    if (!profile_begin_run(half->store, half->mode == RF_PROFILE_HOST ? RF_PROFILE_OFF : half->mode)) {
        *err = half->store->failure;
        return err->status;
    }
    profile_pause(half->store);
    return RF_OK;
}

/* Its next submission, if there is one. */
static enum rf_status submit(struct half *half, rf_model *model, struct rf_error *err)
{
    if (rf_session_finished(half->session))
        return RF_OK;
    enum rf_status status = rf_model_profile(model, half->mode, profile_on_record, half->store, err);
    if (status)
        return status;
    interrupt_watch(half->session);
    profile_resume(half->store);
    status = interrupted() ? rf_fail(err, RF_ERROR_CANCELLED, "interrupted")
                           : rf_session_submit(half->session, err);
    bool finished = !status && rf_session_finished(half->session);
    if (!status && (finished || half->session->round_over))
        status = profile_keep_events(half->store, half->session, err);
    if (!status && half->store->failure.status) {
        *err = half->store->failure;
        status = err->status;
    }
    if (!status && finished)
        profile_end_run(half->store, half->session);
    profile_pause(half->store);
    interrupt_watch(NULL);
    return status;
}

/* Who comes first changes from pair to pair: what a submission leaves in caches for the next one, and what drifts,
 * goes as often one way as the other. */
static enum rf_status take_turns(struct half halves[2], rf_model *model, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    for (uint32_t pair = profile_count_runs(halves[0].store, RF_PROFILE_FREE);
         !status && !(rf_session_finished(halves[0].session) && rf_session_finished(halves[1].session));
         pair++) {
        status = submit(&halves[pair % 2], model, err);
        if (!status)
            status = submit(&halves[1 - pair % 2], model, err);
    }
    return status;
}

enum rf_status turns_run(const struct turns *t, struct profile *kept, bool *recorded, struct rf_error *err)
{
    struct profile plain;
    struct half halves[2] = {{.store = kept, .mode = RF_PROFILE_FREE},
                             {.store = &plain, .mode = RF_PROFILE_HOST}};
    const uint32_t runs = kept->run_count;
    struct rf_gpu *gpu = rf_context_gpu(t->engine->context);
    uint64_t before = 0;
    profile_init(&plain);
    enum rf_status status = begin(&halves[0], t, err);
    if (!status)
        status = begin(&halves[1], t, err);
    before = rf_gpu_recorded_count(gpu);
    if (!status)
        status = take_turns(halves, t->engine->model, err);
    rf_session_destroy(halves[0].session);
    rf_session_destroy(halves[1].session);
    *recorded = rf_gpu_recorded_count(gpu) != before;
    if (kept->run_count > runs)
        profile_resume(kept);
    if (!status && !*recorded)
        status = profile_take_run(kept, &plain, err);
    else if (kept->run_count > runs)
        profile_drop_run(kept);
    profile_free(&plain);
    return status;
}

/* rf_selftest: every kernel on this device against plain f64 C, written from the layouts of shaders/shared.h
 * and not from the shaders. Two passes over the suites: one lists the pipelines, which are then made in one
 * batch, one runs. */
#include "engine/allocate.h"
#include "engine/context.h"
#include "engine/desc.h"
#include "engine/selftest/fixtures.h"

#include <time.h>

static void run_suites(struct rf_suite *suite)
{
    rf_selftest_rows(suite);
    rf_selftest_norms(suite);
    rf_selftest_attention(suite);
    rf_selftest_matmul(suite);
    rf_selftest_logits(suite);
    rf_selftest_sampling(suite);
}

static uint64_t clock_seed(void)
{
    struct timespec now = {0, 0};
    timespec_get(&now, TIME_UTC);
    return ((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec) % 1000000007u + 1;
}

static enum rf_status summary(const struct rf_harness *h, const struct rf_selftest_desc *desc,
                              struct rf_error *err)
{
    if (h->status != RF_OK)
        return h->status;
    if (h->cases == 0)
        return rf_fail(err, RF_ERROR_ARGUMENT,
                       "selftest: kernel \"%s\": no kernel that this device runs has such a name",
                       desc->kernel ? desc->kernel : "");
    if (h->failures)
        return rf_fail(err, RF_ERROR_INTERNAL, "selftest: %u of %u cases failed, first %s", h->failures,
                       h->cases, h->first_failure);
    return RF_OK;
}

enum rf_status rf_selftest(rf_context *context, const struct rf_selftest_desc *given,
                           rf_selftest_fn on_result, void *user, struct rf_error *err)
{
    struct rf_selftest_desc desc;
    struct rf_harness h;
    if (!context)
        return rf_fail(err, RF_ERROR_ARGUMENT, "selftest: context is NULL");
    RF_ALLOCATE_FROM(rf_gpu_allocator(rf_context_gpu(context)));
    enum rf_status status = RF_DESC_READ(&desc, rf_selftest_desc, given, err);
    if (status != RF_OK)
        return status;
    struct rf_gpu *gpu = rf_context_gpu(context);
    status = rf_harness_create(&h, gpu, &desc, on_result, user, err);
    if (status != RF_OK)
        return status;
    h.seed = desc.seed ? desc.seed : clock_seed();
    struct rf_suite suite = {&h, desc.thorough, rf_gpu_get_caps(gpu)->fp16};
    h.collecting = true;
    run_suites(&suite);
    h.collecting = false;
    h.status = rf_harness_create_kernels(&h);
    run_suites(&suite);
    status = summary(&h, &desc, err);
    rf_harness_destroy(&h);
    return status;
}

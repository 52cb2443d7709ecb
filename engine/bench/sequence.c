#include "engine/allocate.h"
#include "engine/bench/bench_internal.h"

#include <string.h>

#include "engine/model/synthetic.h"

enum rf_status rf_bench_sequence_init(struct bench_sequence *s, uint32_t rows, struct rf_error *err)
{
    s->page_room = (rows + RF_PAGE_ROWS - 1) / RF_PAGE_ROWS;
    s->pages = rf_calloc(s->page_room, sizeof(struct rf_kv_page *));
    s->upload = rf_arena_create(s->gpu, RF_MEMORY_UPLOAD, "bench rows");
    s->device = rf_arena_create(s->gpu, RF_MEMORY_DEVICE, "bench results");
    if (!s->pages || !s->upload || !s->device)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for a bench sequence");
    enum rf_status status =
        rf_arena_alloc(s->upload, &s->table, (uint64_t)s->page_room * 8, "bench page table", err);
    if (!status)
        status = rf_arena_alloc(s->upload, &s->rows, RF_MAX_ROWS * sizeof(struct rf_row), "bench rows", err);
    if (!status)
        status = rf_arena_alloc(s->device, &s->results, RF_MAX_ROWS * sizeof(struct rf_result),
                                "bench results", err);
    if (status)
        return status;
    memset(s->table.host, 0, s->table.size);
    rf_forward_seqs(s->forward)[s->seq] =
        (struct rf_seq){.pages = s->table.address, .rows = s->rows.address, .results = s->results.address};
    return RF_OK;
}

void rf_bench_sequence_destroy(struct bench_sequence *s)
{
    for (uint32_t p = 0; p < s->page_count; p++)
        rf_kv_release(s->pool, s->pages[p]);
    rf_free(s->pages);
    rf_arena_destroy(s->upload);
    rf_arena_destroy(s->device);
    memset(s, 0, sizeof *s);
}

static enum rf_status fill_page(struct bench_sequence *s, uint32_t page, uint32_t seed, struct rf_error *err)
{
    /* Keys leave a norm, and values are sums of as many products as their input has elements: both have a
     * variance of about 1, as sqrt(3) gives. */
    const struct rf_fill fill = {
        .kind = s->fp16 ? RF_FILL_F16 : RF_FILL_F16_AS_F32, .seed = seed + page, .amplitude = 1.7320508f};
    return rf_fill_span(s->gpu, rf_kv_span(s->pages[page]), &fill, err);
}

enum rf_status rf_bench_sequence_cover(struct bench_sequence *s, uint32_t rows, uint32_t seed,
                                       struct rf_error *err)
{
    uint32_t wanted = (rows + RF_PAGE_ROWS - 1) / RF_PAGE_ROWS;
    if (wanted > s->page_room)
        return rf_fail(err, RF_ERROR_ARGUMENT, "bench: %u KV rows exceed the context length", rows);
    enum rf_status status = RF_OK;
    for (; !status && s->page_count < wanted; s->page_count++) {
        status = rf_kv_take(s->pool, &s->pages[s->page_count], err);
        if (status)
            break;
        ((uint64_t *)s->table.host)[s->page_count] = rf_kv_span(s->pages[s->page_count]).address;
    }
    for (uint32_t page = 0; !status && page < wanted; page++)
        status = fill_page(s, page, seed, err);
    return status;
}

static void count_commands(const struct rf_forward_cmds *cmds, struct bench_time *time)
{
    time->submissions++;
    for (size_t i = 0; i < cmds->count; i++) {
        if (!cmds->items[i]) {
            time->submissions++;
            continue;
        }
        time->dispatches += rf_cmd_dispatch_count(cmds->items[i]);
        time->barriers += rf_cmd_barrier_count(cmds->items[i]);
    }
}

static enum rf_status run(struct bench_sequence *s, uint32_t rows, uint32_t flags,
                          const struct rf_timer *timer, struct bench_time *time, struct rf_error *err)
{
    struct rf_forward_cmds cmds;
    rf_forward_cmds_init(&cmds);
    if (timer)
        rf_forward_cmds_add(&cmds, rf_timer_start(timer));
    enum rf_status status = rf_forward_get(s->forward, rows, flags, 0, &cmds, err);
    if (status)
        return status;
    if (timer)
        rf_forward_cmds_add(&cmds, rf_timer_stop(timer));
    uint64_t ticket;
    double device = 0.0, start = rf_bench_now();
    status = rf_gpu_submit(s->gpu, cmds.items, cmds.count, &ticket, err);
    time->submit += rf_bench_now() - start;
    if (!status)
        status = rf_gpu_wait(s->gpu, ticket, err);
    double seconds = rf_bench_now() - start;
    time->wall += seconds;
    if (!status)
        status = rf_timer_seconds(timer, &device, err);
    if (!status)
        rf_forward_ran(&cmds, seconds);
    time->device += device;
    count_commands(&cmds, time);
    return status;
}

enum rf_status rf_bench_sequence_run(struct bench_sequence *s, uint32_t count, uint32_t max_keys,
                                     uint32_t flags, const struct rf_timer *timer, struct bench_time *time,
                                     struct rf_error *err)
{
    uint32_t most = rf_forward_max_rows(s->forward, max_keys);
    if (s->most_rows && s->most_rows < most)
        most = s->most_rows;
    enum rf_status status = RF_OK;
    for (uint32_t first = 0; !status && first < count; first += most) {
        uint32_t rows = count - first < most ? count - first : most;
        *rf_forward_work(s->forward, 0) =
            (struct rf_work){.piece_count = 1, .pieces = {{s->seq, first, rows}}};
        status = run(s, rows, flags, timer, time, err);
    }
    return status;
}

#include "engine/gpu/command.h"

#include <stdio.h>
#include <string.h>

#include "engine/allocate.h"
#include "engine/gpu/hazard.h"
#include "engine/gpu/internal.h"

/* Disjoint, sorted, non-touching device address intervals [begin, end). */
struct interval {
    uint64_t begin, end;
};

struct interval_list {
    struct interval *items;
    size_t count, room;
};

struct kernel_use {
    struct rf_kernel *kernel;
    uint32_t dispatches;
};

struct rf_cmd {
    struct rf_gpu *gpu;
    char label[64];
    VkCommandPool pool;
    VkCommandBuffer buffer;
    bool ended, trial;
    struct rf_marks *marks;     /* NULL: not marked */
    struct rf_queries *queries; /* NULL: no hardware counters */
    struct rf_crumbs *crumbs;   /* NULL: no labels */
    const void *notes;
    uint32_t dispatches, barriers;
    struct interval_list reads, writes; /* since the last barrier */
    struct rf_log_entry *log;
    size_t log_count, log_room;
    struct kernel_use *uses; /* a few, for all the dispatches of a forward */
    size_t use_count, use_room;
};

/* ---- Intervals -------------------------------------------------------------------------------------- */

/* Index of the first interval that ends at or behind `address`. */
static size_t first_reaching(const struct interval_list *list, uint64_t address)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (list->items[middle].end < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool overlaps(const struct interval_list *list, struct interval wanted)
{
    size_t i = first_reaching(list, wanted.begin);
    if (i < list->count && list->items[i].end == wanted.begin)
        ++i; /* only touches */
    return i < list->count && list->items[i].begin < wanted.end;
}

/* Adds an interval, merged with what it touches; false without host memory. */
static bool add_interval(struct interval_list *list, struct interval added)
{
    size_t first = first_reaching(list, added.begin), last = first;
    for (; last < list->count && list->items[last].begin <= added.end; ++last) {
        if (list->items[last].begin < added.begin)
            added.begin = list->items[last].begin;
        if (list->items[last].end > added.end)
            added.end = list->items[last].end;
    }
    if (first == last && list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 32;
        struct interval *grown = rf_realloc(list->items, room * sizeof *grown);
        if (!grown)
            return false;
        list->items = grown;
        list->room = room;
    }
    memmove(list->items + first + 1, list->items + last, (list->count - last) * sizeof *list->items);
    list->items[first] = added;
    list->count = list->count - (last - first) + 1;
    return true;
}

static struct interval interval_of(struct rf_span span)
{
    return (struct interval){span.address, span.address + span.size};
}

/* ---- Log and barriers ------------------------------------------------------------------------------- */

static struct rf_log_entry *new_entry(struct rf_cmd *cmd)
{
    if (cmd->log_count == cmd->log_room) {
        size_t room = cmd->log_room ? 2 * cmd->log_room : 32;
        struct rf_log_entry *grown = rf_realloc(cmd->log, room * sizeof *grown);
        if (!grown)
            return NULL;
        cmd->log = grown;
        cmd->log_room = room;
    }
    struct rf_log_entry *entry = &cmd->log[cmd->log_count++];
    memset(entry, 0, sizeof *entry);
    return entry;
}

static enum rf_status fail_memory(const struct rf_cmd *cmd, struct rf_error *err)
{
    return rf_fail(err, RF_ERROR_HOST_MEMORY, "command buffer \"%s\": out of host memory", cmd->label);
}

static enum rf_status note_use(struct rf_cmd *cmd, struct rf_kernel *kernel, struct rf_error *err)
{
    for (size_t i = 0; i < cmd->use_count; ++i) {
        if (cmd->uses[i].kernel == kernel) {
            ++cmd->uses[i].dispatches;
            return RF_OK;
        }
    }
    if (cmd->use_count == cmd->use_room) {
        size_t room = cmd->use_room ? 2 * cmd->use_room : 16;
        struct kernel_use *grown = rf_realloc(cmd->uses, room * sizeof *grown);
        if (!grown)
            return fail_memory(cmd, err);
        cmd->uses = grown;
        cmd->use_room = room;
    }
    cmd->uses[cmd->use_count++] = (struct kernel_use){kernel, 1};
    return RF_OK;
}

static bool conflicts(const struct rf_cmd *cmd, const struct rf_access *access)
{
    const struct interval wanted = interval_of(access->span);
    return overlaps(&cmd->writes, wanted) || ((access->mode & RF_WRITE) && overlaps(&cmd->reads, wanted));
}

/* Puts a barrier before the next command if one of its accesses conflicts, or if each dispatch is to be
 * measured by itself, then notes the accesses. */
static enum rf_status order(struct rf_cmd *cmd, const char *label, const struct rf_access *accesses,
                            uint32_t count, struct rf_error *err)
{
    uint32_t marked;
    rf_marks_items(cmd->marks, &marked);
    bool needed = rf_marks_marking(cmd->marks) >= RF_MARK_DISPATCHES && marked > 0;
    for (uint32_t i = 0; i < count; ++i)
        needed = needed || conflicts(cmd, &accesses[i]);
    if (needed) {
        const bool ticks = rf_marks_want_tick(cmd->marks);
        struct rf_log_entry *entry = new_entry(cmd);
        if (!entry)
            return fail_memory(cmd, err);
        entry->is_barrier = true;
        rf_record_barrier(cmd->gpu, cmd->buffer);
        enum rf_status status = ticks ? rf_marks_tick(cmd->marks, cmd->buffer, err) : RF_OK;
        if (status)
            return status;
        ++cmd->barriers;
        cmd->reads.count = cmd->writes.count = 0;
    }
    struct rf_log_entry *entry = new_entry(cmd);
    if (!entry)
        return fail_memory(cmd, err);
    snprintf(entry->label, sizeof entry->label, "%s", label);
    entry->access_count = count;
    memcpy(entry->accesses, accesses, count * sizeof *accesses);
    for (uint32_t i = 0; i < count; ++i) {
        const struct interval added = interval_of(accesses[i].span);
        if (((accesses[i].mode & RF_READ) && !add_interval(&cmd->reads, added)) ||
            ((accesses[i].mode & RF_WRITE) && !add_interval(&cmd->writes, added)))
            return fail_memory(cmd, err);
    }
    return RF_OK;
}

const struct rf_log_entry *rf_cmd_log(const struct rf_cmd *cmd, size_t *count)
{
    *count = cmd->log_count;
    return cmd->log;
}

/* ---- Recording -------------------------------------------------------------------------------------- */

/* An open command buffer without its first barrier. */
static enum rf_status open_buffer(struct rf_cmd **out, struct rf_gpu *gpu, const char *label,
                                  struct rf_error *err)
{
    *out = NULL;
    struct rf_cmd *cmd = rf_calloc(1, sizeof *cmd);
    if (!cmd)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "command buffer \"%s\": out of host memory", label);
    cmd->gpu = gpu;
    snprintf(cmd->label, sizeof cmd->label, "%s", label ? label : "unnamed");
    enum rf_status status = rf_command_pool_create(gpu, &cmd->pool, &cmd->buffer, err);
    if (!status) {
        VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                         .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT};
        VkResult result = gpu->vk.vkBeginCommandBuffer(cmd->buffer, &info);
        if (result != VK_SUCCESS)
            status = rf_vk_fail(err, result, "vkBeginCommandBuffer");
    }
    if (!status)
        status = rf_crumbs_create(&cmd->crumbs, gpu, err);
    if (status) {
        rf_cmd_destroy(cmd);
        return status;
    }
    rf_label_name(gpu, VK_OBJECT_TYPE_COMMAND_BUFFER, (uint64_t)(uintptr_t)cmd->buffer, cmd->label);
    *out = cmd;
    return RF_OK;
}

enum rf_status rf_cmd_begin(struct rf_cmd **out, struct rf_gpu *gpu, const char *label, struct rf_error *err)
{
    enum rf_status status = open_buffer(out, gpu, label, err);
    if (!status)
        rf_record_begin_barrier(gpu, (*out)->buffer);
    return status;
}

static enum rf_status check_open(const struct rf_cmd *cmd, const char *label, struct rf_error *err)
{
    if (!cmd->ended)
        return RF_OK;
    return rf_fail(err, RF_ERROR_ARGUMENT, "%s: command buffer \"%s\" has already ended", label, cmd->label);
}

static enum rf_status check_dispatch(const struct rf_cmd *cmd, const struct rf_dispatch *dispatch,
                                     const char *label, struct rf_error *err)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(cmd->gpu);
    if (!dispatch->kernel)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: no kernel", label);
    const char *kernel = rf_kernel_name(dispatch->kernel);
    if (dispatch->push_size != rf_kernel_push_size(dispatch->kernel) ||
        (dispatch->push_size && !dispatch->push))
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: %u bytes of push constants, kernel %s takes %u", label,
                       dispatch->push_size, kernel, rf_kernel_push_size(dispatch->kernel));
    if (dispatch->access_count > RF_DISPATCH_ACCESSES)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: %u accesses, at most %d", label, dispatch->access_count,
                       RF_DISPATCH_ACCESSES);
    for (uint32_t i = 0; i < dispatch->access_count; ++i) {
        const struct rf_access *access = &dispatch->accesses[i];
        if (!access->span.address || !access->span.size)
            return rf_fail(err, RF_ERROR_ARGUMENT, "%s: access %u of kernel %s is a null span", label, i,
                           kernel);
        if (!(access->mode & RF_READ_WRITE) || (access->mode & ~(unsigned)RF_READ_WRITE))
            return rf_fail(err, RF_ERROR_ARGUMENT, "%s: access %u of kernel %s neither reads nor writes",
                           label, i, kernel);
    }
    if (dispatch->indirect.address) {
        if (dispatch->indirect.size < sizeof(VkDispatchIndirectCommand) || dispatch->indirect.offset % 4 ||
            !dispatch->indirect.block)
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "%s: an indirect size of %llu bytes at %llu, wanted 12 at a multiple "
                           "of 4",
                           label, (unsigned long long)dispatch->indirect.size,
                           (unsigned long long)dispatch->indirect.offset);
        return RF_OK;
    }
    for (int i = 0; i < 3; ++i)
        if (dispatch->groups[i] > caps->max_workgroup_count[i])
            return rf_fail(err, RF_ERROR_ARGUMENT,
                           "%s: %u workgroups in dimension %d, the device takes at most %u", label,
                           dispatch->groups[i], i, caps->max_workgroup_count[i]);
    return RF_OK;
}

enum rf_status rf_cmd_dispatch(struct rf_cmd *cmd, const struct rf_dispatch *dispatch, struct rf_error *err)
{
    const char *label = dispatch->label ? dispatch->label : "dispatch";
    enum rf_status status = check_open(cmd, label, err);
    if (!status)
        status = check_dispatch(cmd, dispatch, label, err);
    if (status)
        return status;
    const bool indirect = dispatch->indirect.address != 0;
    if (!indirect && (!dispatch->groups[0] || !dispatch->groups[1] || !dispatch->groups[2]))
        return RF_OK;

    struct rf_access accesses[RF_DISPATCH_ACCESSES + 1];
    uint32_t count = dispatch->access_count;
    memcpy(accesses, dispatch->accesses, count * sizeof *accesses);
    if (indirect)
        accesses[count++] = (struct rf_access){
            rf_span_part(dispatch->indirect, 0, sizeof(VkDispatchIndirectCommand)), RF_READ};
    if ((status = order(cmd, label, accesses, count, err)) != RF_OK ||
        (status = note_use(cmd, dispatch->kernel, err)) != RF_OK)
        return status;
    if (cmd->marks && (status = rf_marks_add(cmd->marks, dispatch->kernel, dispatch->note, dispatch->seconds,
                                             err)) != RF_OK)
        return status;

    const struct rf_device_table *vk = &cmd->gpu->vk;
    rf_crumbs_drop(cmd->crumbs, cmd->gpu, cmd->buffer, label);
    rf_label_begin(cmd->gpu, cmd->buffer, label);
    vk->vkCmdBindPipeline(cmd->buffer, VK_PIPELINE_BIND_POINT_COMPUTE, rf_kernel_pipeline(dispatch->kernel));
    if (dispatch->push_size)
        vk->vkCmdPushConstants(cmd->buffer, cmd->gpu->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               dispatch->push_size, dispatch->push);
    if ((status = rf_queries_begin(cmd->queries, cmd->buffer, err)) != RF_OK)
        return status;
    if (indirect)
        vk->vkCmdDispatchIndirect(cmd->buffer, dispatch->indirect.block->buffer, dispatch->indirect.offset);
    else
        vk->vkCmdDispatch(cmd->buffer, dispatch->groups[0], dispatch->groups[1], dispatch->groups[2]);
    rf_queries_end(cmd->queries, cmd->buffer);
    rf_label_end(cmd->gpu, cmd->buffer);
    ++cmd->dispatches;
    return RF_OK;
}

enum rf_status rf_cmd_copy(struct rf_cmd *cmd, struct rf_span dst, struct rf_span src, uint64_t size,
                           const char *label, struct rf_error *err)
{
    if (!label)
        label = "copy";
    enum rf_status status = check_open(cmd, label, err);
    if (status)
        return status;
    if (!dst.block || !src.block)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: a null span", label);
    if (size > dst.size || size > src.size)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: %llu bytes, the source has %llu and the destination %llu",
                       label, (unsigned long long)size, (unsigned long long)src.size,
                       (unsigned long long)dst.size);
    if (!size)
        return RF_OK;
    if (dst.address < src.address + size && src.address < dst.address + size)
        return rf_fail(err, RF_ERROR_ARGUMENT, "%s: source and destination overlap", label);
    const struct rf_access accesses[] = {{rf_span_part(src, 0, size), RF_READ},
                                         {rf_span_part(dst, 0, size), RF_WRITE}};
    if ((status = order(cmd, label, accesses, 2, err)) != RF_OK)
        return status;
    if (cmd->marks && (status = rf_marks_add(cmd->marks, NULL, UINT32_MAX, 0.0, err)) != RF_OK)
        return status;
    VkBufferCopy region = {.srcOffset = src.offset, .dstOffset = dst.offset, .size = size};
    if ((status = rf_queries_begin(cmd->queries, cmd->buffer, err)) != RF_OK)
        return status;
    rf_label_begin(cmd->gpu, cmd->buffer, label);
    cmd->gpu->vk.vkCmdCopyBuffer(cmd->buffer, src.block->buffer, dst.block->buffer, 1, &region);
    rf_queries_end(cmd->queries, cmd->buffer);
    rf_label_end(cmd->gpu, cmd->buffer);
    return RF_OK;
}

bool rf_cmd_waits(const struct rf_cmd *cmd, const struct rf_dispatch *dispatch)
{
    bool waits = false;
    for (uint32_t i = 0; i < dispatch->access_count; ++i)
        waits = waits || conflicts(cmd, &dispatch->accesses[i]);
    const struct rf_access indirect = {dispatch->indirect, RF_READ};
    return waits || (dispatch->indirect.address && conflicts(cmd, &indirect));
}

static enum rf_status close_buffer(struct rf_cmd *cmd, struct rf_error *err)
{
    enum rf_status status;
    VkResult result = cmd->gpu->vk.vkEndCommandBuffer(cmd->buffer);
    if (result != VK_SUCCESS) {
        status = rf_vk_fail(err, result, "vkEndCommandBuffer");
        return rf_fail_within(err, status, "command buffer \"%s\"", cmd->label);
    }
    cmd->ended = true;
    atomic_fetch_add(&cmd->gpu->recorded, 1);
    if (!cmd->gpu->debug_checks)
        return RF_OK;
    struct rf_error found;
    status = rf_hazard_check(cmd->log, cmd->log_count, RF_KEEP_ALL_BARRIERS, &found);
    if (!status)
        return RF_OK;
    atomic_fetch_add(&cmd->gpu->sink.complaints, 1);
    rf_gpu_log(cmd->gpu, RF_LOG_ERROR, "command buffer \"%s\": %s", cmd->label, found.message);
    return rf_fail(err, status, "command buffer \"%s\": %.900s", cmd->label, found.message);
}

enum rf_status rf_cmd_end(struct rf_cmd *cmd, struct rf_error *err)
{
    enum rf_status status = check_open(cmd, "rf_cmd_end", err);
    if (!status && cmd->marks)
        status = rf_marks_tick(cmd->marks, cmd->buffer, err);
    if (status)
        return status;
    rf_record_end_barrier(cmd->gpu, cmd->buffer);
    return close_buffer(cmd, err);
}

enum rf_status rf_cmd_continue(struct rf_cmd **out, struct rf_cmd *cmd, struct rf_error *err)
{
    *out = NULL;
    enum rf_status status = check_open(cmd, "rf_cmd_continue", err);
    if (!status && cmd->marks)
        status = rf_marks_tick(cmd->marks, cmd->buffer, err);
    if (!status)
        status = close_buffer(cmd, err);
    if (!status)
        status = open_buffer(out, cmd->gpu, cmd->label, err);
    if (status)
        return status;
    rf_record_barrier(cmd->gpu, (*out)->buffer);
    (*out)->notes = cmd->notes;
    if (cmd->marks)
        status = rf_cmd_mark(*out, rf_marks_marking(cmd->marks), rf_queries_room(cmd->queries), err);
    if (status) {
        rf_cmd_destroy(*out);
        *out = NULL;
    }
    return status;
}

enum rf_status rf_cmd_mark(struct rf_cmd *cmd, enum rf_marking marking, uint32_t most, struct rf_error *err)
{
    if (marking == RF_MARK_NOTHING)
        return RF_OK;
    enum rf_status status = rf_marks_create(&cmd->marks, cmd->gpu, marking, cmd->buffer, err);
    if (!status && marking == RF_MARK_COUNTERS)
        status = rf_queries_create(&cmd->queries, cmd->gpu, most, err);
    return status;
}

const struct rf_marked *rf_cmd_marked(const struct rf_cmd *cmd, uint32_t *count)
{
    return rf_marks_items(cmd->marks, count);
}

uint32_t rf_cmd_group_count(const struct rf_cmd *cmd)
{
    return rf_marks_groups(cmd->marks);
}

enum rf_status rf_cmd_read_marks(const struct rf_cmd *cmd, uint64_t *ticks, struct rf_error *err)
{
    return rf_marks_read(cmd->marks, ticks, err);
}

enum rf_status rf_cmd_read_counters(const struct rf_cmd *cmd, double *values, struct rf_error *err)
{
    return rf_queries_read(cmd->queries, values, err);
}

void rf_cmd_set_notes(struct rf_cmd *cmd, const void *notes)
{
    cmd->notes = notes;
}

const void *rf_cmd_notes(const struct rf_cmd *cmd)
{
    return cmd->notes;
}

/* What is destroyed is through. */
static void forget_flight(struct rf_gpu *gpu, const struct rf_cmd *cmd)
{
    struct rf_faults *faults = &gpu->faults;
    pthread_mutex_lock(&gpu->queue_mutex);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < faults->flight_count; ++i)
        if (faults->flight[i].crumbs != cmd->crumbs)
            faults->flight[kept++] = faults->flight[i];
    faults->flight_count = kept;
    pthread_mutex_unlock(&gpu->queue_mutex);
}

void rf_cmd_destroy(struct rf_cmd *cmd)
{
    if (!cmd)
        return;
    if (cmd->crumbs)
        forget_flight(cmd->gpu, cmd);
    cmd->gpu->vk.vkDestroyCommandPool(cmd->gpu->device, cmd->pool, NULL);
    rf_marks_destroy(cmd->marks);
    rf_queries_destroy(cmd->queries);
    rf_crumbs_destroy(cmd->crumbs);
    rf_free(cmd->reads.items);
    rf_free(cmd->writes.items);
    rf_free(cmd->log);
    rf_free(cmd->uses);
    rf_free(cmd);
}

void rf_cmd_mark_trial(struct rf_cmd *cmd)
{
    cmd->trial = true;
}

uint32_t rf_cmd_dispatch_count(const struct rf_cmd *cmd)
{
    return cmd->dispatches;
}

uint32_t rf_cmd_barrier_count(const struct rf_cmd *cmd)
{
    return cmd->barriers;
}

VkCommandBuffer rf_cmd_buffer(const struct rf_cmd *cmd)
{
    return cmd->buffer;
}

/* Command buffers up to the next cut. */
static size_t run_length(struct rf_cmd *const *cmds, size_t count)
{
    size_t length = 0;
    while (length < count && cmds[length])
        ++length;
    return length;
}

static enum rf_status check_run(const struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                struct rf_error *err)
{
    if (!count || count > RF_SUBMIT_BUFFERS)
        return rf_fail(err, RF_ERROR_ARGUMENT, "submission of %zu command buffers, wanted 1 to %d", count,
                       RF_SUBMIT_BUFFERS);
    for (size_t i = 0; i < count; ++i)
        if (!cmds[i]->ended || cmds[i]->gpu != gpu)
            return rf_fail(err, RF_ERROR_ARGUMENT, "command buffer \"%s\": %s", cmds[i]->label,
                           cmds[i]->ended ? "of another device" : "submitted before its end");
    return RF_OK;
}

/* Those of submissions before may still run: the last 2 * RF_FLIGHT command buffers are kept. */
static void note_flight(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count)
{
    struct rf_faults *faults = &gpu->faults;
    _Static_assert((int)RF_FLIGHT == (int)RF_SUBMIT_BUFFERS, "a submission's command buffers");
    pthread_mutex_lock(&gpu->queue_mutex);
    if (faults->flight_count + count > 2 * RF_FLIGHT) {
        const size_t dropped = faults->flight_count + count - 2 * RF_FLIGHT;
        faults->flight_count -= (uint32_t)dropped;
        memmove(faults->flight, faults->flight + dropped, faults->flight_count * sizeof faults->flight[0]);
    }
    for (size_t i = 0; i < count; ++i) {
        rf_crumbs_clear(cmds[i]->crumbs);
        faults->flight[faults->flight_count].crumbs = cmds[i]->crumbs;
        faults->flight[faults->flight_count++].label = cmds[i]->label;
    }
    pthread_mutex_unlock(&gpu->queue_mutex);
}

static enum rf_status submit_run(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count,
                                 uint64_t *ticket, struct rf_error *err)
{
    VkCommandBuffer buffers[RF_SUBMIT_BUFFERS] = {VK_NULL_HANDLE};
    for (size_t i = 0; i < count; ++i) {
        buffers[i] = cmds[i]->buffer;
        rf_queries_clear(cmds[i]->queries);
    }
    if (gpu->labels.wanted)
        note_flight(gpu, cmds, count);
    enum rf_status status = rf_submit_buffers(gpu, buffers, count, ticket, err);
    if (status)
        return status;
    atomic_fetch_add(&gpu->submissions, 1);
    for (size_t i = 0; i < count; ++i)
        for (size_t u = 0; u < cmds[i]->use_count && !cmds[i]->trial; ++u)
            rf_kernel_count(cmds[i]->uses[u].kernel, cmds[i]->uses[u].dispatches);
    return RF_OK;
}

enum rf_status rf_gpu_submit(struct rf_gpu *gpu, struct rf_cmd *const *cmds, size_t count, uint64_t *ticket,
                             struct rf_error *err)
{
    enum rf_status status = RF_OK;
    size_t length;
    uint64_t over = 0;
    *ticket = 0;
    for (size_t first = 0; !status && first <= count; first += length + 1) {
        length = run_length(cmds + first, count - first);
        status = check_run(gpu, cmds + first, length, err);
    }
    for (size_t first = 0; !status && first < count; first += length + 1) {
        uint64_t before = *ticket;
        length = run_length(cmds + first, count - first);
        status = submit_run(gpu, cmds + first, length, ticket, err);
        if (status && before)
            rf_wait_ticket(gpu, before, NULL); /* the caller will free what it uses */
        over = before;
    }
    if (status)
        *ticket = over;
    return status;
}

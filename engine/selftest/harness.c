#include "engine/selftest/harness.h"
#include "engine/allocate.h"

#include <stdarg.h>
#include <stdio.h>

/* The poison of a byte. The first run's is NaN in every format, the second's large and finite in every format
 * (f16: above 57344); no byte is the same in both. It changes every 256 bytes, so that poison copied from
 * elsewhere shows. */
static unsigned char poison_byte(int run, size_t offset)
{
    unsigned low = (unsigned)(offset / 256 * 37 % 126 + 0x81); /* 0x81..0xfe */
    if (offset % 2)
        return run == 0 ? 0xff : 0x7b;
    return (unsigned char)(run == 0 ? low : low & 0x7f);
}

enum {
    POOL_BYTES = 64 << 20,
    GAP = 256 /* bytes of poison between regions, and the alignment that an arena gives */
};

enum rf_expectation_kind {
    EXPECT_F32 = RF_NUMBER_F32,
    EXPECT_F16 = RF_NUMBER_F16,
    EXPECT_BF16 = RF_NUMBER_BF16,
    EXPECT_WORD
};

/* An element may be this many times worse than the tolerance of the norm, related to its own size plus the
 * part's rms: finds one wrong element among a million, which the norm alone would not. */
static const double element_slack = 16.0;

enum rf_status rf_harness_create(struct rf_harness *h, struct rf_gpu *gpu,
                                 const struct rf_selftest_desc *desc, rf_selftest_fn on_result, void *user,
                                 struct rf_error *err)
{
    *h = (struct rf_harness){.gpu = gpu, .desc = desc, .on_result = on_result, .user = user, .err = err};
    uint64_t size = rf_gpu_max_span(gpu) < POOL_BYTES ? rf_gpu_max_span(gpu) : POOL_BYTES;
    h->arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "selftest");
    h->image = rf_malloc(size);
    h->mask = rf_calloc(size, 1);
    h->sent = rf_malloc(size);
    h->got[0] = rf_malloc(size);
    h->got[1] = rf_malloc(size);
    h->company = rf_malloc(size);
    if (!h->arena || !h->image || !h->mask || !h->sent || !h->got[0] || !h->got[1] || !h->company) {
        rf_harness_destroy(h);
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "selftest: no host memory for pools of %llu bytes",
                       (unsigned long long)size);
    }
    enum rf_status status = rf_arena_alloc(h->arena, &h->pool, size, "selftest pool", err);
    if (status != RF_OK)
        rf_harness_destroy(h);
    return status;
}

void rf_harness_destroy(struct rf_harness *h)
{
    rf_arena_destroy(h->arena);
    rf_free(h->image);
    rf_free(h->mask);
    rf_free(h->sent);
    rf_free(h->got[0]);
    rf_free(h->got[1]);
    rf_free(h->company);
    rf_free(h->expectations);
    rf_free(h->pairs);
    rf_free(h->ids);
    *h = (struct rf_harness){0};
}

/* Doubles *items until `count` + 1 fit. */
static bool make_room(struct rf_harness *h, void **items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return true;
    size_t wanted = *capacity ? *capacity * 2 : 256;
    void *grown = rf_realloc(*items, wanted * item_size);
    if (!grown) {
        h->status = rf_fail(h->err, RF_ERROR_HOST_MEMORY, "selftest: no host memory for %zu entries", wanted);
        return false;
    }
    *items = grown;
    *capacity = wanted;
    return true;
}

static bool same_kernel(const struct rf_kernel_id *a, const struct rf_kernel_id *b)
{
    return strcmp(a->shader, b->shader) == 0 && a->spec_count == b->spec_count &&
           a->subgroup_size == b->subgroup_size &&
           memcmp(a->specs, b->specs, a->spec_count * sizeof a->specs[0]) == 0;
}

static void collect(struct rf_harness *h, const struct rf_kernel_id *id)
{
    for (size_t i = 0; i < h->id_count; i++)
        if (same_kernel(&h->ids[i], id))
            return;
    void *ids = h->ids;
    if (make_room(h, &ids, h->id_count, &h->id_capacity, sizeof *h->ids)) {
        h->ids = ids;
        h->ids[h->id_count++] = *id;
    }
}

enum rf_status rf_harness_create_kernels(struct rf_harness *h)
{
    if (h->status != RF_OK || h->id_count == 0)
        return h->status;
    struct rf_kernel **kernels = rf_calloc(h->id_count, sizeof(struct rf_kernel *));
    if (!kernels)
        return rf_fail(h->err, RF_ERROR_HOST_MEMORY, "selftest: no host memory for %zu kernels", h->id_count);
    enum rf_status status = rf_kernels_get(h->gpu, h->ids, h->id_count, kernels, h->err);
    rf_free(kernels); /* each lives as long as its gpu */
    return status;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

bool rf_case_begin(struct rf_harness *h, struct rf_case *c, const struct rf_kernel_id *id, const char *shape,
                   ...)
{
    if (h->status != RF_OK || (h->desc->kernel && !strstr(id->shader, h->desc->kernel)))
        return false;
    if (h->collecting) {
        collect(h, id);
        return false;
    }
    *c = (struct rf_case){.h = h, .id = *id, .groups = {1, 1, 1}};
    va_list args;
    va_start(args, shape);
    vsnprintf(c->shape, sizeof c->shape, shape, args);
    va_end(args);
    c->random.state = hash_text(hash_text(0xcbf29ce484222325u ^ h->seed, id->shader), c->shape);
    h->expectation_count = 0;
    return true;
}

size_t rf_case_alloc(struct rf_case *c, const char *name, size_t size)
{
    struct rf_harness *h = c->h;
    size_t offset = c->used + GAP, end = (offset + size + GAP - 1) / GAP * GAP;
    if (end + GAP > h->pool.size || c->region_count == RF_CASE_REGIONS) {
        if (h->status == RF_OK)
            h->status =
                rf_fail(h->err, RF_ERROR_INTERNAL, "selftest: %s %s: %s of %zu bytes does not fit the pool",
                        c->id.shader, c->shape, name, size);
        return 0;
    }
    c->regions[c->region_count++] = (struct rf_region){name, offset, size};
    memset(h->mask + c->used, 0, end + GAP - c->used);
    c->used = end;
    return offset;
}

/* After a failed alloc sizes cannot be trusted: everything that is out of bounds is left alone. */
static bool in_pool(const struct rf_case *c, size_t offset, size_t size)
{
    return c->h->status == RF_OK && offset + size <= c->used;
}

void *rf_case_at(struct rf_case *c, size_t offset)
{
    return c->h->image + offset;
}

uint64_t rf_case_address(const struct rf_case *c, size_t offset)
{
    return c->h->pool.address + offset;
}

void rf_case_mark(struct rf_case *c, size_t offset, size_t size, enum rf_mark mark)
{
    if (!in_pool(c, offset, size))
        return;
    for (size_t i = 0; i < size; i++)
        c->h->mask[offset + i] |= (unsigned char)mark;
}

void rf_case_put(struct rf_case *c, size_t offset, const void *data, size_t size)
{
    if (!in_pool(c, offset, size))
        return;
    memcpy(c->h->image + offset, data, size);
    rf_case_mark(c, offset, size, RF_MARK_READ);
}

void rf_case_put_number(struct rf_case *c, size_t offset, enum rf_number number, double value)
{
    if (!in_pool(c, offset, rf_number_bytes(number)))
        return;
    rf_store_number(c->h->image + offset, number, value);
    rf_case_mark(c, offset, rf_number_bytes(number), RF_MARK_READ);
}

double rf_case_get_number(struct rf_case *c, size_t offset, enum rf_number number)
{
    return in_pool(c, offset, rf_number_bytes(number)) ? rf_load_number(c->h->image + offset, number) : 0.0;
}

static void expect(struct rf_case *c, size_t offset, size_t size, enum rf_expectation_kind kind, double value)
{
    struct rf_harness *h = c->h;
    void *items = h->expectations;
    if (!in_pool(c, offset, size) ||
        !make_room(h, &items, h->expectation_count, &h->expectation_capacity, sizeof *h->expectations))
        return;
    h->expectations = items;
    h->expectations[h->expectation_count++] =
        (struct rf_expectation){(uint32_t)offset, (uint8_t)kind, c->part, value};
    rf_case_mark(c, offset, size, RF_MARK_WRITE);
}

void rf_case_expect(struct rf_case *c, size_t offset, enum rf_number number, double value)
{
    expect(c, offset, rf_number_bytes(number), (enum rf_expectation_kind)number, value);
}

void rf_case_expect_word(struct rf_case *c, size_t offset, uint32_t word)
{
    expect(c, offset, 4, EXPECT_WORD, word);
}

void rf_case_set_push(struct rf_case *c, const void *push, uint32_t size)
{
    memcpy(c->push, push, size);
    c->push_size = size;
}

void rf_case_set_groups(struct rf_case *c, uint32_t x, uint32_t y, uint32_t z)
{
    c->groups[0] = x;
    c->groups[1] = y;
    c->groups[2] = z;
}

/* ---- Running ---------------------------------------------------------------------------------------- */

static enum rf_status run_once(struct rf_case *c, int run)
{
    struct rf_harness *h = c->h;
    size_t size = c->used + GAP;
    for (size_t i = 0; i < size; i++)
        h->sent[i] = h->mask[i] & RF_MARK_READ ? h->image[i] : poison_byte(run, i);
    struct rf_span span = rf_span_part(h->pool, 0, size);
    struct rf_dispatch dispatch = {
        .label = c->id.shader,
        .push = c->push,
        .push_size = c->push_size,
        .groups = {c->groups[0], c->groups[1], c->groups[2]},
        .access_count = 1,
        .accesses = {{span, RF_READ_WRITE}},
    };
    struct rf_cmd *cmd = NULL;
    uint64_t ticket;
    enum rf_status status = rf_kernels_get(h->gpu, &c->id, 1, &dispatch.kernel, h->err);
    if (status == RF_OK)
        status = rf_gpu_write(h->gpu, span, h->sent, size, h->err);
    if (status == RF_OK)
        status = rf_cmd_begin(&cmd, h->gpu, "selftest", h->err);
    if (status == RF_OK)
        status = rf_cmd_dispatch(cmd, &dispatch, h->err);
    if (status == RF_OK)
        status = rf_cmd_end(cmd, h->err);
    if (status == RF_OK)
        status = rf_gpu_submit(h->gpu, &cmd, 1, &ticket, h->err);
    if (status == RF_OK)
        status = rf_gpu_wait(h->gpu, ticket, h->err);
    if (status == RF_OK)
        status = rf_gpu_read(h->gpu, span, h->got[run], size, h->err);
    rf_cmd_destroy(cmd);
    return status;
}

/* Says where a byte lies, in words of the case. */
static const char *place_of(const struct rf_case *c, size_t offset, char *text, size_t size)
{
    const struct rf_region *nearest = NULL;
    for (uint32_t i = 0; i < c->region_count; i++)
        if (c->regions[i].offset <= offset)
            nearest = &c->regions[i];
    if (nearest)
        snprintf(text, size, "%s + %zu of %zu bytes", nearest->name, offset - nearest->offset, nearest->size);
    else
        snprintf(text, size, "before everything");
    return text;
}

static bool find_stray_write(const struct rf_case *c, const unsigned char *got, char *reason, size_t size)
{
    const struct rf_harness *h = c->h;
    char place[128];
    for (size_t i = 0; i < c->used + GAP; i++) {
        if (got[i] == h->sent[i] || h->mask[i] & (RF_MARK_WRITE | RF_MARK_ANY))
            continue;
        snprintf(reason, size, "writes what it does not declare: %s", place_of(c, i, place, sizeof place));
        return true;
    }
    return false;
}

/* A whole word, because a 16-bit weight that is poison becomes a number that is poison by half. */
static bool is_poison(const struct rf_harness *h, int run, size_t word)
{
    for (size_t i = word; i < word + 4; i++)
        if (h->got[run][i] != poison_byte(run, i))
            return false;
    return true;
}

static bool find_poison_influence(const struct rf_case *c, char *reason, size_t size)
{
    const struct rf_harness *h = c->h;
    char place[128];
    for (size_t i = 0; i < c->used; i++) {
        if (h->got[0][i] == h->got[1][i] || !(h->mask[i] & RF_MARK_WRITE) || h->mask[i] & RF_MARK_ANY)
            continue;
        bool left = is_poison(h, 0, i / 4 * 4) && is_poison(h, 1, i / 4 * 4);
        snprintf(reason, size, "%s: %s",
                 left ? "leaves an output unwritten" : "reads what it does not declare",
                 place_of(c, i, place, sizeof place));
        return true;
    }
    return false;
}

bool rf_case_execute(struct rf_case *c)
{
    struct rf_harness *h = c->h;
    char reason[200];
    if (h->status != RF_OK)
        return false;
    for (int run = 0; run < 2; run++) {
        h->status = run_once(c, run);
        if (h->status != RF_OK) {
            h->status = rf_fail_within(h->err, h->status, "selftest: %s %s", c->id.shader, c->shape);
            return false;
        }
        if (find_stray_write(c, h->got[run], reason, sizeof reason)) {
            rf_case_report(c, (double)INFINITY, reason);
            return false;
        }
    }
    if (find_poison_influence(c, reason, sizeof reason)) {
        rf_case_report(c, (double)INFINITY, reason);
        return false;
    }
    return true;
}

void rf_case_report(struct rf_case *c, double error, const char *reason)
{
    struct rf_harness *h = c->h;
    bool passed = error <= c->tolerance; /* false for a NaN, too */
    if (h->cases == 0) {
        size_t length = strlen(c->shape);
        snprintf(c->shape + length, sizeof c->shape - length, " seed=%llu", (unsigned long long)h->seed);
    }
    if (!passed && reason) {
        size_t length = strlen(c->shape);
        snprintf(c->shape + length, sizeof c->shape - length, " (%s)", reason);
    }
    h->cases++;
    if (!passed && h->failures++ == 0)
        snprintf(h->first_failure, sizeof h->first_failure, "%.60s %.180s", c->id.shader, c->shape);
    struct rf_selftest_result result = {c->id.shader, c->shape, error, c->tolerance, passed};
    if (h->on_result)
        h->on_result(h->user, &result);
}

/* ---- Comparing -------------------------------------------------------------------------------------- */

/* The worst error over the parts; *reason is set when one element is to blame. */
static double compare(struct rf_case *c, char *reason, size_t reason_size)
{
    struct rf_harness *h = c->h;
    double difference[RF_CASE_PARTS] = {0}, norm[RF_CASE_PARTS] = {0}, count[RF_CASE_PARTS] = {0};
    double rms[RF_CASE_PARTS] = {0}, worst = 0.0;
    char place[128];
    for (size_t i = 0; i < h->expectation_count; i++) {
        const struct rf_expectation *e = &h->expectations[i];
        if (e->kind == EXPECT_WORD) {
            uint32_t have;
            memcpy(&have, h->got[0] + e->offset, sizeof have);
            if (have == (uint32_t)e->value)
                continue;
            snprintf(reason, reason_size, "%s is %u, not %u", place_of(c, e->offset, place, sizeof place),
                     have, (uint32_t)e->value);
            return (double)INFINITY;
        }
        double d = rf_load_number(h->got[0] + e->offset, (enum rf_number)e->kind) - e->value;
        difference[e->part] += d * d;
        norm[e->part] += e->value * e->value;
        count[e->part] += 1.0;
    }
    for (int p = 0; p < RF_CASE_PARTS; p++) {
        if (count[p] == 0.0)
            continue;
        rms[p] = fmax(sqrt(norm[p] / count[p]), c->floors[p]);
        double error = difference[p] == 0.0 ? 0.0 : sqrt(difference[p] / count[p]) / rms[p];
        if (!(error <= worst))
            worst = isnan(error) ? (double)INFINITY : error;
    }
    for (size_t i = 0; i < h->expectation_count; i++) {
        const struct rf_expectation *e = &h->expectations[i];
        if (e->kind == EXPECT_WORD)
            continue;
        double have = rf_load_number(h->got[0] + e->offset, (enum rf_number)e->kind);
        if (have == e->value)
            continue;
        double error = fabs(have - e->value) / (fabs(e->value) + rms[e->part]) / element_slack;
        if (error <= c->tolerance)
            continue;
        snprintf(reason, reason_size, "%s is %g, not %g", place_of(c, e->offset, place, sizeof place), have,
                 e->value);
        return worst > error ? worst : error;
    }
    return worst;
}

bool rf_case_run(struct rf_case *c)
{
    char reason[200] = "";
    if (!rf_case_execute(c))
        return false;
    double error =
        compare(c, reason, sizeof reason); /* without expectations: nothing may be written, and nothing was */
    rf_case_report(c, error, reason[0] ? reason : NULL);
    return error <= c->tolerance;
}

/* ---- Alone and in company --------------------------------------------------------------------------- */

void rf_alone_begin(struct rf_case *c)
{
    struct rf_harness *h = c->h;
    memcpy(h->company, h->got[0], c->used);
    for (size_t i = 0; i < c->used; i++)
        h->mask[i] &= RF_MARK_READ;
    h->pair_count = 0;
}

void rf_alone_move(struct rf_case *c, size_t from, size_t to, size_t size)
{
    if (in_pool(c, from, size) && in_pool(c, to, size))
        memmove(c->h->image + to, c->h->image + from, size);
}

void rf_alone_expect(struct rf_case *c, size_t from, size_t to, size_t size)
{
    struct rf_harness *h = c->h;
    void *pairs = h->pairs;
    if (!in_pool(c, from, size) || !in_pool(c, to, size) ||
        !make_room(h, &pairs, h->pair_count, &h->pair_capacity, sizeof *h->pairs))
        return;
    h->pairs = pairs;
    h->pairs[h->pair_count++] = (struct rf_alone_pair){(uint32_t)from, (uint32_t)to, (uint32_t)size};
    rf_case_mark(c, to, size, RF_MARK_WRITE);
}

void rf_alone_run(struct rf_case *c)
{
    struct rf_harness *h = c->h;
    char reason[200], place[128];
    size_t length = strlen(c->shape);
    snprintf(c->shape + length, sizeof c->shape - length, " last row alone");
    c->tolerance = 0.0;
    if (!rf_case_execute(c))
        return;
    for (size_t i = 0; i < h->pair_count; i++) {
        const struct rf_alone_pair *pair = &h->pairs[i];
        if (memcmp(h->company + pair->from, h->got[0] + pair->to, pair->size) == 0)
            continue;
        snprintf(reason, sizeof reason, "differs from the row in company: %s",
                 place_of(c, pair->to, place, sizeof place));
        rf_case_report(c, (double)INFINITY, reason);
        return;
    }
    rf_case_report(c, 0.0, NULL);
}

/* Arenas, limits, copies of odd sizes, the staging ring, red zones. Everything also with memory that the
 * host cannot reach, which the drivers at hand only have by disable=unifiedMemory. */
#include <stdlib.h>
#include <string.h>

#include "engine/gpu/internal.h"
#include "tests/gpu/support.h"

static const char *const modes[] = {NULL, "unifiedMemory"};
enum { MODES = 2 };

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void fill_random(unsigned char *bytes, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; ++i)
        bytes[i] = (unsigned char)next_random(&seed);
}

static void test_arena(void **state)
{
    (void)state;
    struct rf_error err;
    enum { SPANS = 200 };
    static struct rf_span spans[3 * SPANS];
    static const enum rf_memory_kind kinds[] = {RF_MEMORY_DEVICE, RF_MEMORY_UPLOAD, RF_MEMORY_READBACK};
    for (int mode = 0; mode < MODES; ++mode) {
        struct rf_gpu *gpu = test_gpu(modes[mode], NULL);
        struct rf_arena *arenas[3];
        const uint64_t before = rf_gpu_memory_used(gpu);
        uint32_t seed = 7;
        for (int k = 0; k < 3; ++k) {
            arenas[k] = rf_arena_create(gpu, kinds[k], "spans");
            for (int i = 0; i < SPANS; ++i) {
                struct rf_span *span = &spans[k * SPANS + i];
                uint64_t size = 1 + next_random(&seed) % 20000;
                assert_rf_ok(rf_arena_alloc(arenas[k], span, size, "span", &err));
                assert_int_equal(span->size, size);
                assert_int_equal(span->address % 256, 0);
                assert_true((span->host != NULL) ==
                            (kinds[k] != RF_MEMORY_DEVICE || rf_gpu_get_caps(gpu)->unified_memory));
                if (kinds[k] != RF_MEMORY_DEVICE)
                    memset(span->host, k, size);
            }
        }
        for (int i = 0; i < 3 * SPANS; ++i)
            for (int j = 0; j < i; ++j)
                assert_true(spans[i].address + spans[i].size <= spans[j].address ||
                            spans[j].address + spans[j].size <= spans[i].address);
        assert_rf_ok(rf_gpu_check_red_zones(gpu, &err));
        assert_true(rf_gpu_memory_used(gpu) > before);
        for (int k = 0; k < 3; ++k)
            rf_arena_destroy(arenas[k]);
        rf_arena_destroy(NULL);
        assert_int_equal(rf_gpu_memory_used(gpu), before);
        rf_gpu_destroy(gpu);
    }
}

/* Memory as drivers describe it: types in the driver's order. */
struct described {
    const char *name;
    bool unified;
    uint32_t count;
    struct {
        VkMemoryPropertyFlags flags;
        uint32_t heap;
    } types[8];
    uint32_t device[4], upload[4], readback[4]; /* wanted orders */
    uint32_t device_count;
};

enum {
    LOCAL = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
    MAPPED = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    CACHED = VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
    ODD = VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD
};

/* What the device works on never lies in system memory unless that is its own; what the host writes lies
 * where both reach it, what it reads where it is cached. Only the leading entries of upload and readback are
 * compared. */
static void test_types(void **state)
{
    (void)state;
    static const struct described devices[] = {
        {"discrete, all of it behind a resizable BAR",
         false,
         5,
         {{0, 1}, {LOCAL, 0}, {MAPPED, 1}, {MAPPED | CACHED, 1}, {LOCAL | MAPPED, 0}},
         {1, 4},
         {4, 2, 3},
         {3, 2, 4},
         2},
        {"discrete with a window of 256 MiB",
         false,
         5,
         {{0, 1}, {LOCAL, 0}, {MAPPED, 1}, {MAPPED | CACHED, 1}, {LOCAL | MAPPED, 2}},
         {1, 4},
         {4, 2, 3},
         {3, 2, 4},
         2},
        {"discrete without a window",
         false,
         4,
         {{0, 1}, {LOCAL, 0}, {MAPPED, 1}, {MAPPED | CACHED, 1}},
         {1},
         {2, 3},
         {3, 2},
         1},
        {"APU",
         true,
         6,
         {{LOCAL, 1},
          {MAPPED, 0},
          {LOCAL | MAPPED, 1},
          {MAPPED | CACHED, 0},
          {LOCAL | MAPPED | ODD, 1},
          {MAPPED | ODD, 0}},
         {2, 0, 3, 1},
         {2, 1, 3},
         {3, 1, 2},
         4},
        {"CPU", true, 1, {{LOCAL | MAPPED | CACHED, 0}}, {0}, {0}, {0}, 1},
        {"CPU, as if it were not unified", false, 1, {{LOCAL | MAPPED | CACHED, 0}}, {0}, {0}, {0}, 1},
    };
    for (size_t d = 0; d < sizeof devices / sizeof devices[0]; ++d) {
        const struct described *want = &devices[d];
        VkPhysicalDeviceMemoryProperties memory = {.memoryTypeCount = want->count};
        uint32_t order[VK_MAX_MEMORY_TYPES];
        for (uint32_t i = 0; i < want->count; ++i)
            memory.memoryTypes[i] = (VkMemoryType){want->types[i].flags, want->types[i].heap};
        uint32_t count = rf_memory_types(&memory, RF_MEMORY_DEVICE, want->unified, ~0u, order);
        if (count != want->device_count || memcmp(order, want->device, count * sizeof *order) != 0)
            fail_msg("%s: %u types, the first is %u", want->name, count, order[0]);
        count = rf_memory_types(&memory, RF_MEMORY_UPLOAD, want->unified, ~0u, order);
        assert_true(count >= 1);
        assert_memory_equal(order, want->upload, (count < 3 ? count : 3) * sizeof *order);
        count = rf_memory_types(&memory, RF_MEMORY_READBACK, want->unified, ~0u, order);
        assert_true(count >= 1);
        assert_memory_equal(order, want->readback, (count < 3 ? count : 3) * sizeof *order);
        assert_int_equal(rf_memory_types(&memory, RF_MEMORY_DEVICE, want->unified, 0, order), 0);
    }
}

/* A longer tail makes the longest span shorter. */
static void test_tail(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_span span;
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "weights");
    const uint64_t most = rf_gpu_max_span(gpu);
    rf_arena_keep_tail(arena, 4096);
    assert_rf_status(rf_arena_alloc(arena, &span, most + 256 - 4096 + 1, "whale", &err),
                     RF_ERROR_DEVICE_MEMORY);
    assert_message(&err, "in one piece, the device gives at most");
    rf_arena_keep_tail(arena, most + 256);
    assert_rf_status(rf_arena_alloc(arena, &span, 1, "minnow", &err), RF_ERROR_DEVICE_MEMORY);
    rf_arena_keep_tail(arena, 4096);
    assert_rf_ok(rf_arena_alloc(arena, &span, 1, "minnow", &err));
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

static void test_parts(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_UPLOAD, "parts");
    struct rf_span span;
    assert_rf_ok(rf_arena_alloc(arena, &span, 1000, "whole", &err));
    struct rf_span part = rf_span_part(span, 100, 900);
    assert_int_equal(part.address, span.address + 100);
    assert_int_equal(part.size, 900);
    assert_ptr_equal(part.host, (unsigned char *)span.host + 100);
    assert_int_equal(rf_span_part(span, 100, 901).address, 0);
    assert_int_equal(rf_span_part(span, 1001, 0).address, 0);
    assert_int_equal(rf_span_part(span, 1, UINT64_MAX).address, 0);
    assert_rf_status(rf_arena_alloc(arena, &span, 0, "nothing", &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "\"nothing\" of \"parts\": zero bytes");
    assert_rf_status(rf_arena_alloc(arena, &span, rf_gpu_max_span(gpu) + 1, "whale", &err),
                     RF_ERROR_DEVICE_MEMORY);
    assert_message(&err, "\"whale\" of \"parts\" wants");
    assert_message(&err, "the device gives at most");
    assert_rf_status(rf_arena_alloc(arena, &span, UINT64_MAX, "ocean", &err), RF_ERROR_DEVICE_MEMORY);
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

static void test_limit(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu;
    struct rf_span span;
    struct rf_gpu_desc desc = {.memory_limit = 3 << 20};
    assert_rf_ok(rf_gpu_create(&gpu, &desc, &err));
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "weights");
    assert_rf_status(rf_arena_alloc(arena, &span, 4 << 20, "layer 7 q", &err), RF_ERROR_DEVICE_MEMORY);
    assert_message(&err,
                   "\"layer 7 q\" of \"weights\" wants 4194304 bytes; 0 bytes in 0 allocations are in use, "
                   "the limit is 3145728 bytes");
    assert_rf_ok(rf_arena_alloc(arena, &span, 1000, "small", &err));     /* a block of 64 KiB */
    assert_rf_ok(rf_arena_alloc(arena, &span, 1 << 20, "second", &err)); /* one of its own, and its tail */
    assert_int_equal(rf_gpu_memory_used(gpu), (64 << 10) + (1 << 20) + 256);
    assert_rf_status(rf_arena_alloc(arena, &span, 2 << 20, "third", &err), RF_ERROR_DEVICE_MEMORY);
    assert_message(&err, "1114368 bytes in 2 allocations are in use");
    assert_rf_ok(rf_arena_alloc(arena, &span, 1000, "still room", &err));
    rf_arena_destroy(arena);
    assert_int_equal(rf_gpu_memory_used(gpu), 0);
    rf_gpu_destroy(gpu);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct rf_error err;
    static const size_t sizes[] = {1, 2, 3, 5, 255, 256, 257, 4097, (8 << 20) - 1, (8 << 20) + 5};
    const size_t most = (8 << 20) + 16;
    unsigned char *data = malloc(most), *back = malloc(most);
    assert_true(data && back);
    for (int mode = 0; mode < MODES; ++mode) {
        struct rf_gpu *gpu = test_gpu(modes[mode], NULL);
        struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "trips");
        struct rf_span span, other;
        assert_rf_ok(rf_arena_alloc(arena, &span, most, "there", &err));
        assert_rf_ok(rf_arena_alloc(arena, &other, most, "copy", &err));
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i)
            for (uint64_t offset = 0; offset < 8; offset += 7) {
                const size_t size = sizes[i];
                fill_random(data, size, (uint32_t)(size + offset));
                assert_rf_ok(rf_gpu_write(gpu, rf_span_part(span, offset, size), data, size, &err));
                assert_rf_ok(rf_gpu_copy(gpu, rf_span_part(other, 3, size), rf_span_part(span, offset, size),
                                         size, &err));
                memset(back, 0, size);
                assert_rf_ok(rf_gpu_read(gpu, rf_span_part(other, 3, size), back, size, &err));
                assert_memory_equal(back, data, size);
            }
        assert_rf_ok(rf_gpu_write(gpu, span, data, 408, &err));
        assert_rf_ok(rf_gpu_fill(gpu, rf_span_part(span, 4, 400), 0x01020304, &err));
        assert_rf_ok(rf_gpu_read(gpu, span, back, 408, &err));
        for (size_t i = 4; i < 404; ++i)
            assert_int_equal(back[i], 4 - i % 4);
        assert_memory_equal(back, data, 4);
        assert_memory_equal(back + 404, data + 404, 4);
        rf_arena_destroy(arena);
        assert_int_equal(rf_gpu_complaints(gpu), 0);
        rf_gpu_destroy(gpu);
    }
    free(data);
    free(back);
}

static void test_copy_refusals(void **state)
{
    (void)state;
    struct rf_error err;
    unsigned char bytes[16] = {0};
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "refusals");
    struct rf_span span;
    assert_rf_ok(rf_arena_alloc(arena, &span, 15, "span", &err));
    assert_rf_status(rf_gpu_write(gpu, span, bytes, 16, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "rf_gpu_write: 16 bytes, the span has 15");
    assert_rf_status(rf_gpu_read(gpu, (struct rf_span){0}, bytes, 1, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "rf_gpu_read: a null span");
    assert_rf_status(rf_gpu_fill(gpu, span, 0, &err), RF_ERROR_ARGUMENT);
    assert_message(&err, "must be multiples of 4");
    assert_rf_status(rf_gpu_copy(gpu, rf_span_part(span, 0, 8), rf_span_part(span, 4, 8), 8, &err),
                     RF_ERROR_ARGUMENT);
    assert_message(&err, "overlap");
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

/* 40 MiB in places of odd sizes, more than the ring holds, against one expected image. */
static void test_upload(void **state)
{
    (void)state;
    struct rf_error err;
    const size_t total = 40 << 20;
    unsigned char *image = malloc(total), *back = malloc(total);
    assert_true(image && back);
    fill_random(image, total, 99);
    for (int mode = 0; mode < MODES; ++mode) {
        struct rf_gpu *gpu = test_gpu(modes[mode], NULL);
        struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "weights");
        struct rf_span span;
        struct rf_upload *up;
        void *place;
        uint32_t seed = 5;
        const uint64_t used = rf_gpu_memory_used(gpu);
        assert_rf_ok(rf_arena_alloc(arena, &span, total, "tensor", &err));
        const uint64_t with_span = rf_gpu_memory_used(gpu);
        assert_rf_ok(rf_upload_begin(&up, gpu, &err));
        assert_true(rf_upload_piece_bytes(up) >= 1 << 20);
        for (size_t done = 0; done < total;) {
            size_t size = 1 + next_random(&seed) % (done % 3 ? 100000 : rf_upload_piece_bytes(up));
            if (size > total - done)
                size = total - done;
            assert_rf_ok(rf_upload_place(up, span, done, size, &place, &err));
            memcpy(place, image + done, size);
            done += size;
        }
        assert_rf_status(rf_upload_place(up, span, 1, total, &place, &err), RF_ERROR_ARGUMENT);
        assert_message(&err, "wanted 1 to");
        assert_rf_ok(rf_upload_end(up, &err));
        assert_rf_ok(rf_gpu_read(gpu, span, back, total, &err));
        assert_memory_equal(back, image, total);
        assert_int_equal(rf_gpu_memory_used(gpu), with_span);
        rf_arena_destroy(arena);
        assert_int_equal(rf_gpu_memory_used(gpu), used);
        assert_int_equal(rf_gpu_complaints(gpu), 0);
        rf_gpu_destroy(gpu);
    }
    free(image);
    free(back);
}

/* An upload that is given up half way, as after a failed read of a file: nothing hangs, nothing stays. */
static void test_upload_given_up(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = test_gpu("unifiedMemory", NULL);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "weights");
    struct rf_span span;
    struct rf_upload *up;
    void *place;
    assert_rf_ok(rf_arena_alloc(arena, &span, 12 << 20, "tensor", &err));
    assert_rf_ok(rf_upload_begin(&up, gpu, &err));
    assert_rf_ok(rf_upload_place(up, span, 0, 5 << 20, &place, &err));
    assert_rf_ok(rf_upload_place(up, span, 5 << 20, 5 << 20, &place, &err));
    assert_rf_ok(rf_upload_end(up, &err));
    assert_rf_ok(rf_upload_begin(&up, gpu, &err));
    assert_rf_ok(rf_upload_end(up, &err));
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

/* A kernel writes one word too far, or one before its span: found once, with the label, and the zone is
 * whole again. */
static void test_red_zones(void **state)
{
    (void)state;
    struct rf_error err;
    static struct test_log log;
    for (int mode = 0; mode < MODES; ++mode) {
        struct rf_gpu *gpu = test_gpu(modes[mode], &log);
        struct rf_kernel *kernel = test_kernel(gpu, 1, 32);
        struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_DEVICE, "scratch");
        struct rf_span source, target;
        struct test_push push;
        assert_rf_ok(rf_arena_alloc(arena, &source, 400, "source", &err));
        assert_rf_ok(rf_arena_alloc(arena, &target, 396, "target", &err));
        struct rf_dispatch dispatch = test_dispatch(kernel, &push, source, target, 99, 1);
        assert_rf_ok(test_run(gpu, &dispatch, &err));
        assert_int_equal(rf_gpu_complaints(gpu), 0);

        dispatch = test_dispatch(kernel, &push, source, target, 100, 1);
        assert_rf_status(test_run(gpu, &dispatch, &err), RF_ERROR_INTERNAL);
        assert_message(&err, "red zone: \"target\" of \"scratch\" (396 bytes) was overrun");
        assert_message(&err, "the first 0 bytes behind its end");
        assert_non_null(strstr(log.text, "red zone: \"target\""));
        assert_int_equal(rf_gpu_complaints(gpu), 1);

        dispatch = test_dispatch(kernel, &push, source, target, 1, 1);
        push.target -= 4;
        assert_rf_status(test_run(gpu, &dispatch, &err), RF_ERROR_INTERNAL);
        assert_message(&err, "the first 4 bytes before its start");
        assert_int_equal(rf_gpu_complaints(gpu), 2);

        dispatch = test_dispatch(kernel, &push, source, target, 99, 1);
        assert_rf_ok(test_run(gpu, &dispatch, &err));
        assert_int_equal(rf_gpu_complaints(gpu), 2);
        rf_arena_destroy(arena);
        rf_gpu_destroy(gpu);
    }
}

/* The host, too, can write a single byte too far. */
static void test_red_zone_byte(void **state)
{
    (void)state;
    struct rf_error err;
    struct rf_gpu *gpu = test_gpu(NULL, NULL);
    struct rf_arena *arena = rf_arena_create(gpu, RF_MEMORY_UPLOAD, "host");
    struct rf_span span;
    assert_rf_ok(rf_arena_alloc(arena, &span, 397, "odd", &err));
    for (size_t i = 0; i < 397; ++i)
        assert_int_equal(((unsigned char *)span.host)[i], 0xCD); /* poisoned */
    ((unsigned char *)span.host)[397] = 1;
    assert_rf_status(rf_gpu_check_red_zones(gpu, &err), RF_ERROR_INTERNAL);
    assert_message(&err, "\"odd\" of \"host\" (397 bytes) was overrun: 1 bytes changed");
    assert_rf_ok(rf_gpu_check_red_zones(gpu, &err));
    rf_arena_destroy(arena);
    rf_gpu_destroy(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_copy_refusals),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_upload_given_up),
        cmocka_unit_test(test_red_zones),
        cmocka_unit_test(test_red_zone_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

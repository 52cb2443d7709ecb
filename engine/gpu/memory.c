#include "engine/allocate.h"
#include "engine/gpu/internal.h"

#include <stdio.h>
#include <string.h>

enum {
    SPAN_ALIGNMENT = 256,
    RED_ZONE = 256, /* bytes before and after a span */
    RED_ZONE_BYTE = 0xA5,
    BLOCK_TAIL = 256, /* see rf_arena_keep_tail */
    POISON_BYTE = 0xCD,
    LABEL = 48,
    FIRST_BLOCK = 64 << 10,
    LARGEST_BLOCK = 256 << 20 /* a bigger span gets a block of its own size */
};

/* The zones of one span: [offset - RED_ZONE, offset) and [offset + size, end), end being aligned and at
 * least RED_ZONE away, so that an overrun by a single byte is found. */
struct red_zone {
    struct rf_block *block;
    uint64_t offset, size, end;
    char label[LABEL];
};

struct rf_arena {
    struct rf_gpu *gpu;
    enum rf_memory_kind kind;
    bool counted; /* blocks have sizes and no memory */
    char label[LABEL];
    struct rf_block *blocks; /* newest first */
    uint64_t next_block, tail;
    struct red_zone *zones;
    size_t zone_count, zone_room;
    struct rf_arena *previous, *next;
};

static uint64_t align_up(uint64_t value)
{
    return (value + SPAN_ALIGNMENT - 1) & ~(uint64_t)(SPAN_ALIGNMENT - 1);
}

struct rf_arena *rf_arena_create(struct rf_gpu *gpu, enum rf_memory_kind kind, const char *label)
{
    struct rf_arena *arena = rf_calloc(1, sizeof *arena);
    if (!arena)
        return NULL;
    arena->gpu = gpu;
    arena->kind = kind;
    arena->next_block = FIRST_BLOCK;
    arena->tail = BLOCK_TAIL;
    snprintf(arena->label, sizeof arena->label, "%s", label ? label : "unnamed");
    pthread_mutex_lock(&gpu->arena_mutex);
    arena->next = gpu->arenas;
    if (arena->next)
        arena->next->previous = arena;
    gpu->arenas = arena;
    pthread_mutex_unlock(&gpu->arena_mutex);
    return arena;
}

struct rf_arena *rf_arena_create_counted(struct rf_gpu *gpu, enum rf_memory_kind kind, const char *label)
{
    struct rf_arena *arena = rf_arena_create(gpu, kind, label);
    if (arena)
        arena->counted = true;
    return arena;
}

uint64_t rf_arena_bytes(const struct rf_arena *arena)
{
    uint64_t bytes = 0;
    for (const struct rf_block *block = arena ? arena->blocks : NULL; block; block = block->next)
        bytes += block->size;
    return bytes;
}

static void destroy_block(struct rf_gpu *gpu, struct rf_block *block)
{
    if (block->buffer)
        gpu->vk.vkDestroyBuffer(gpu->device, block->buffer, NULL);
    if (block->memory) {
        gpu->vk.vkFreeMemory(gpu->device, block->memory, NULL); /* unmaps */
        atomic_fetch_sub(&gpu->memory_used, block->size);
        atomic_fetch_sub(&gpu->allocation_count, 1);
    }
    rf_free(block);
}

void rf_arena_keep_tail(struct rf_arena *arena, uint64_t bytes)
{
    arena->tail = bytes > BLOCK_TAIL ? bytes : BLOCK_TAIL;
}

void rf_arena_destroy(struct rf_arena *arena)
{
    if (!arena)
        return;
    struct rf_gpu *gpu = arena->gpu;
    pthread_mutex_lock(&gpu->arena_mutex);
    if (arena->previous)
        arena->previous->next = arena->next;
    else
        gpu->arenas = arena->next;
    if (arena->next)
        arena->next->previous = arena->previous;
    pthread_mutex_unlock(&gpu->arena_mutex);
    for (struct rf_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        destroy_block(gpu, block);
    }
    rf_free(arena->zones);
    rf_free(arena);
}

void rf_memory_destroy(struct rf_gpu *gpu)
{
    while (gpu->arenas) {
        rf_gpu_log(gpu, RF_LOG_WARNING, "arena \"%s\" outlived its users; freed with the device",
                   gpu->arenas->label);
        rf_arena_destroy(gpu->arenas);
    }
}

/* ---- Memory types ----------------------------------------------------------------------------------- */

/* How well a memory type serves a kind; 0: not at all. */
static int type_score(enum rf_memory_kind kind, bool unified, VkMemoryPropertyFlags flags)
{
    const VkMemoryPropertyFlags odd = VK_MEMORY_PROPERTY_PROTECTED_BIT |
                                      VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT |
                                      VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD;
    const bool local = (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0;
    const bool mapped =
        (flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) && (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    const bool cached = mapped && (flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
    if (flags & odd)
        return 0;
    switch (kind) {
    case RF_MEMORY_DEVICE:
        if (unified)
            return 1 + 4 * local + 2 * mapped + cached;
        return local ? 1 + (flags == VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) : 0;
    case RF_MEMORY_UPLOAD:
        return mapped ? 1 + 2 * local + !cached : 0;
    case RF_MEMORY_READBACK:
        return mapped ? 1 + 2 * cached + !local : 0;
    }
    return 0;
}

uint32_t rf_memory_types(const VkPhysicalDeviceMemoryProperties *memory, enum rf_memory_kind kind,
                         bool unified, uint32_t allowed, uint32_t order[VK_MAX_MEMORY_TYPES])
{
    uint32_t count = 0;
    for (int wanted = 8; wanted > 0; --wanted)
        for (uint32_t i = 0; i < memory->memoryTypeCount; ++i)
            if ((allowed >> i & 1) &&
                type_score(kind, unified, memory->memoryTypes[i].propertyFlags) == wanted)
                order[count++] = i;
    return count;
}

/* What the driver grants this process of the largest device-local heap, in bytes; 0: it does not tell. *used: what the
 * process has of that. */
static uint64_t local_budget(const struct rf_gpu *gpu, uint64_t *used)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
    if (!gpu->probe.caps.memory_budget)
        return 0;
    gpu->instance.get_memory2(gpu->probe.physical, &memory);
    uint64_t largest = 0, granted = 0;
    *used = 0;
    for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; ++i) {
        const VkMemoryHeap *heap = &memory.memoryProperties.memoryHeaps[i];
        if (!(heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) || heap->size <= largest)
            continue;
        largest = heap->size;
        granted = budget.heapBudget[i];
        *used = budget.heapUsage[i];
    }
    return granted;
}

uint64_t rf_gpu_memory_left(const struct rf_gpu *gpu)
{
    const uint64_t ours = atomic_load(&gpu->memory_used);
    uint64_t used, granted = local_budget(gpu, &used);
    if (!granted) {
        granted = gpu->probe.caps.memory_bytes;
        used = ours;
    }
    uint64_t left = granted > used ? granted - used : 0;
    uint64_t allowed = gpu->memory_limit > ours ? gpu->memory_limit - ours : 0;
    return left < allowed ? left : allowed;
}

/* ---- Blocks ----------------------------------------------------------------------------------------- */

static bool reserve(struct rf_gpu *gpu, uint64_t size)
{
    uint64_t used = atomic_load(&gpu->memory_used);
    do {
        if (size > gpu->memory_limit || used > gpu->memory_limit - size)
            return false;
    } while (!atomic_compare_exchange_weak(&gpu->memory_used, &used, used + size));
    if (atomic_fetch_add(&gpu->allocation_count, 1) < gpu->probe.caps.max_allocation_count)
        return true;
    atomic_fetch_sub(&gpu->allocation_count, 1);
    atomic_fetch_sub(&gpu->memory_used, size);
    return false;
}

static VkResult bind_memory(struct rf_arena *arena, struct rf_block *block)
{
    struct rf_gpu *gpu = arena->gpu;
    VkMemoryRequirements wanted;
    uint32_t order[VK_MAX_MEMORY_TYPES];
    gpu->vk.vkGetBufferMemoryRequirements(gpu->device, block->buffer, &wanted);
    uint32_t count = rf_memory_types(&gpu->probe.memory, arena->kind, gpu->probe.caps.unified_memory,
                                     wanted.memoryTypeBits, order);
    VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                       .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (uint32_t i = 0; i < count; ++i) {
        VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                     .pNext = &flags,
                                     .allocationSize = wanted.size,
                                     .memoryTypeIndex = order[i]};
        result = gpu->vk.vkAllocateMemory(gpu->device, &info, NULL, &block->memory);
        if (result != VK_SUCCESS) {
            block->memory = VK_NULL_HANDLE;
            continue; /* a full heap: the next best type may lie in another one */
        }
        VkMemoryPropertyFlags have = gpu->probe.memory.memoryTypes[order[i]].propertyFlags;
        bool map = arena->kind != RF_MEMORY_DEVICE || gpu->probe.caps.unified_memory;
        const VkMemoryPropertyFlags coherent =
            VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
        result = gpu->vk.vkBindBufferMemory(gpu->device, block->buffer, block->memory, 0);
        if (result == VK_SUCCESS && map && (have & coherent) == coherent) {
            void *host = NULL;
            result = gpu->vk.vkMapMemory(gpu->device, block->memory, 0, VK_WHOLE_SIZE, 0, &host);
            block->host = host;
            block->host_cached = (have & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) ||
                                 gpu->probe.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
        }
        return result;
    }
    return result;
}

/* Makes one block of exactly `size` bytes; the status tells a full device or a limit from other failures. */
static enum rf_status create_block(struct rf_arena *arena, uint64_t size, struct rf_block **out,
                                   struct rf_error *err)
{
    struct rf_gpu *gpu = arena->gpu;
    if (arena->counted) {
        *out = rf_calloc(1, sizeof **out);
        if (!*out)
            return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory counting device memory");
        (*out)->size = size;
        (*out)->address = SPAN_ALIGNMENT;
        return RF_OK;
    }
    if (!reserve(gpu, size))
        return rf_fail(err, RF_ERROR_DEVICE_MEMORY, "limit reached");
    struct rf_block *block = rf_calloc(1, sizeof *block);
    VkResult result = VK_ERROR_OUT_OF_HOST_MEMORY;
    if (block) {
        VkBufferCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
            .size = size,
            .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |
                     VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                     VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
            .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
        block->size = size;
        result = gpu->vk.vkCreateBuffer(gpu->device, &info, NULL, &block->buffer);
        if (result == VK_SUCCESS)
            result = bind_memory(arena, block);
    }
    if (result != VK_SUCCESS) {
        bool counted = block && block->memory; /* then destroy_block gives the reservation back */
        if (block)
            destroy_block(gpu, block);
        if (!counted) {
            atomic_fetch_sub(&gpu->memory_used, size);
            atomic_fetch_sub(&gpu->allocation_count, 1);
        }
        return rf_vk_fail(err, result, "allocation");
    }
    VkBufferDeviceAddressInfo address = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                         .buffer = block->buffer};
    block->address = gpu->vk.vkGetBufferDeviceAddress(gpu->device, &address);
    rf_label_name(gpu, VK_OBJECT_TYPE_BUFFER, (uint64_t)block->buffer, arena->label);
    *out = block;
    return RF_OK;
}

static enum rf_status fail_memory(struct rf_arena *arena, const char *label, uint64_t size,
                                  struct rf_error *err)
{
    struct rf_gpu *gpu = arena->gpu;
    const uint64_t used = atomic_load(&gpu->memory_used), limit = gpu->memory_limit;
    const bool limited = size + arena->tail > limit || used > limit - size - arena->tail;
    char room[160];
    if (limited)
        snprintf(room, sizeof room, "the limit is %llu bytes", (unsigned long long)limit);
    else
        snprintf(room, sizeof room, "the device has %llu bytes",
                 (unsigned long long)gpu->probe.caps.memory_bytes);
    uint64_t ours, granted = limited ? 0 : local_budget(gpu, &ours);
    if (granted) {
        size_t at = strlen(room);
        snprintf(room + at, sizeof room - at, ", of which the driver grants this process %llu",
                 (unsigned long long)granted);
    }
    return rf_fail(
        err, RF_ERROR_DEVICE_MEMORY,
        "device memory: \"%s\" of \"%s\" wants %llu bytes; %llu bytes in %u allocations are in use, %s",
        label, arena->label, (unsigned long long)size, (unsigned long long)used,
        (unsigned)atomic_load(&gpu->allocation_count), room);
}

static enum rf_status poison(struct rf_gpu *gpu, struct rf_block *block, struct rf_error *err)
{
    if (block->host) {
        memset(block->host, POISON_BYTE, block->size);
        return RF_OK;
    }
    return rf_region_fill(gpu, (struct rf_region){block, 0, block->size}, POISON_BYTE * 0x01010101u, err);
}

/* A block with at least `need` bytes free before its tail, made when there is none. */
static enum rf_status find_block(struct rf_arena *arena, uint64_t need, const char *label,
                                 struct rf_block **out, struct rf_error *err)
{
    const uint64_t wanted = need;
    need += arena->tail;
    for (struct rf_block *block = arena->blocks; block; block = block->next)
        if (block->size - block->used >= need) {
            *out = block;
            return RF_OK;
        }
    uint64_t size = need > arena->next_block ? need : arena->next_block;
    if (size > arena->gpu->probe.caps.max_allocation)
        size = need;
    enum rf_status status = create_block(arena, size, out, err);
    if (status == RF_ERROR_DEVICE_MEMORY && size > need)
        status = create_block(arena, need, out, err);
    if (status == RF_ERROR_DEVICE_MEMORY)
        return fail_memory(arena, label, wanted, err);
    if (status)
        return rf_fail_within(err, status, "device memory: \"%s\" of \"%s\" (%llu bytes)", label,
                              arena->label, (unsigned long long)wanted);
    if (arena->next_block < LARGEST_BLOCK)
        arena->next_block *= 2;
    if (arena->gpu->debug_checks && !arena->counted && (status = poison(arena->gpu, *out, err)) != RF_OK) {
        destroy_block(arena->gpu, *out);
        return status;
    }
    (*out)->next = arena->blocks;
    arena->blocks = *out;
    return RF_OK;
}

/* ---- Red zones -------------------------------------------------------------------------------------- */

/* [begin, end) of a block becomes zone bytes. The parts of a zone that are not whole words are only written
 * where the host can; check_unmapped leaves them out elsewhere. */
static enum rf_status paint(struct rf_gpu *gpu, struct rf_block *block, uint64_t begin, uint64_t end,
                            struct rf_error *err)
{
    if (block->host) {
        memset(block->host + begin, RED_ZONE_BYTE, end - begin);
        return RF_OK;
    }
    begin = (begin + 3) & ~UINT64_C(3);
    return rf_region_fill(gpu, (struct rf_region){block, begin, end - begin}, RED_ZONE_BYTE * 0x01010101u,
                          err);
}

static enum rf_status paint_zone(struct rf_gpu *gpu, const struct red_zone *zone, struct rf_error *err)
{
    enum rf_status status = paint(gpu, zone->block, zone->offset - RED_ZONE, zone->offset, err);
    return status ? status : paint(gpu, zone->block, zone->offset + zone->size, zone->end, err);
}

static enum rf_status add_zone(struct rf_arena *arena, const struct red_zone *zone, struct rf_error *err)
{
    enum rf_status status = paint_zone(arena->gpu, zone, err);
    if (status)
        return status;
    pthread_mutex_lock(&arena->gpu->arena_mutex);
    if (arena->zone_count == arena->zone_room) {
        size_t room = arena->zone_room ? 2 * arena->zone_room : 16;
        struct red_zone *zones = rf_realloc(arena->zones, room * sizeof *zones);
        if (zones) {
            arena->zones = zones;
            arena->zone_room = room;
        } else {
            status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for red zones");
        }
    }
    if (!status)
        arena->zones[arena->zone_count++] = *zone;
    pthread_mutex_unlock(&arena->gpu->arena_mutex);
    return status;
}

/* How many bytes of [begin, end) are not zone bytes; *first is the offset of the first of them. */
static uint64_t count_damage(const unsigned char *bytes, uint64_t size, uint64_t *first)
{
    uint64_t damage = 0;
    for (uint64_t i = 0; i < size; ++i)
        if (bytes[i] != RED_ZONE_BYTE) {
            if (!damage)
                *first = i;
            ++damage;
        }
    return damage;
}

/* Compares one zone, given its bytes before and behind the span; a damaged one is reported and painted
 * anew. */
static enum rf_status judge_zone(struct rf_arena *arena, const struct red_zone *zone,
                                 const unsigned char *before, const unsigned char *behind,
                                 uint64_t behind_skip, struct rf_error *err)
{
    uint64_t first = 0;
    uint64_t damage = count_damage(before, RED_ZONE, &first);
    const char *side = "before its start";
    uint64_t distance = RED_ZONE - first;
    if (!damage) {
        damage = count_damage(behind, zone->end - zone->offset - zone->size - behind_skip, &first);
        side = "behind its end";
        distance = first + behind_skip;
    }
    if (!damage)
        return RF_OK;
    struct rf_gpu *gpu = arena->gpu;
    atomic_fetch_add(&gpu->sink.complaints, 1);
    rf_fail(
        err, RF_ERROR_INTERNAL,
        "red zone: \"%s\" of \"%s\" (%llu bytes) was overrun: %llu bytes changed, the first %llu bytes %s",
        zone->label, arena->label, (unsigned long long)zone->size, (unsigned long long)damage,
        (unsigned long long)distance, side);
    rf_gpu_log(gpu, RF_LOG_ERROR, "%s", err->message);
    paint_zone(gpu, zone, NULL);
    return RF_ERROR_INTERNAL;
}

/* Zones that the host cannot see come over in one copy. */
static enum rf_status check_unmapped(struct rf_arena *arena, struct rf_error *err)
{
    size_t count = 0, total = 0;
    struct rf_region *regions = rf_calloc(2 * arena->zone_count, sizeof *regions);
    if (!regions)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for red zones");
    for (size_t i = 0; i < arena->zone_count; ++i) {
        const struct red_zone *zone = &arena->zones[i];
        if (zone->block->host)
            continue;
        uint64_t behind = (zone->offset + zone->size + 3) & ~UINT64_C(3);
        regions[count++] = (struct rf_region){zone->block, zone->offset - RED_ZONE, RED_ZONE};
        regions[count++] = (struct rf_region){zone->block, behind, zone->end - behind};
        total += RED_ZONE + (zone->end - behind);
    }
    enum rf_status status = RF_OK;
    unsigned char *bytes = count ? rf_malloc(total) : NULL;
    if (count && !bytes)
        status = rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for red zones");
    if (count && !status)
        status = rf_regions_read(arena->gpu, regions, count, bytes, err);
    const unsigned char *at = bytes;
    struct rf_error scratch;
    for (size_t i = 0; count && !status && i < arena->zone_count; ++i) {
        const struct red_zone *zone = &arena->zones[i];
        if (zone->block->host)
            continue;
        uint64_t skip = (4 - zone->size % 4) % 4;
        enum rf_status one = judge_zone(arena, zone, at, at + RED_ZONE, skip, &scratch);
        if (one && err)
            *err = scratch;
        if (one)
            status = one;
        at += RED_ZONE + (zone->end - zone->offset - zone->size - skip);
    }
    rf_free(bytes);
    rf_free(regions);
    return status;
}

static enum rf_status check_arena(struct rf_arena *arena, struct rf_error *err)
{
    enum rf_status status = RF_OK;
    bool unmapped = false;
    struct rf_error scratch;
    for (size_t i = 0; i < arena->zone_count; ++i) {
        const struct red_zone *zone = &arena->zones[i];
        const unsigned char *host = zone->block->host;
        unmapped = unmapped || !host;
        if (!host)
            continue;
        enum rf_status one = judge_zone(arena, zone, host + zone->offset - RED_ZONE,
                                        host + zone->offset + zone->size, 0, &scratch);
        if (one && err)
            *err = scratch;
        if (one)
            status = one;
    }
    if (unmapped) {
        enum rf_status rest = check_unmapped(arena, err);
        if (rest)
            status = rest;
    }
    return status;
}

enum rf_status rf_gpu_check_red_zones(struct rf_gpu *gpu, struct rf_error *err)
{
    if (!gpu->debug_checks)
        return RF_OK;
    enum rf_status status = RF_OK;
    pthread_mutex_lock(&gpu->arena_mutex);
    for (struct rf_arena *arena = gpu->arenas; arena; arena = arena->next) {
        enum rf_status one = check_arena(arena, err);
        if (one)
            status = one;
    }
    pthread_mutex_unlock(&gpu->arena_mutex);
    return status;
}

/* ---- Spans ------------------------------------------------------------------------------------------ */

/* rf_gpu_max_span counts on a tail of BLOCK_TAIL. */
static uint64_t max_span(const struct rf_arena *arena)
{
    const uint64_t most = rf_gpu_max_span(arena->gpu), more = arena->tail - BLOCK_TAIL;
    return most > more ? most - more : 0;
}

enum rf_status rf_arena_alloc(struct rf_arena *arena, struct rf_span *out, uint64_t size, const char *label,
                              struct rf_error *err)
{
    struct rf_gpu *gpu = arena->gpu;
    const uint64_t zone = gpu->debug_checks ? RED_ZONE : 0;
    *out = (struct rf_span){0};
    if (!label)
        label = "unnamed";
    if (!size)
        return rf_fail(err, RF_ERROR_ARGUMENT, "device memory: \"%s\" of \"%s\": zero bytes", label,
                       arena->label);
    const uint64_t most = max_span(arena);
    if (size > most)
        return rf_fail(
            err, RF_ERROR_DEVICE_MEMORY,
            "device memory: \"%s\" of \"%s\" wants %llu bytes in one piece, the device gives at most %llu",
            label, arena->label, (unsigned long long)size, (unsigned long long)most);
    if (gpu->capture) {
        /* Addresses are told apart, as those of real spans. */
        pthread_mutex_lock(&gpu->arena_mutex);
        *out = (struct rf_span){.address = SPAN_ALIGNMENT + gpu->captured_bytes, .size = size};
        gpu->captured_bytes += align_up(size);
        pthread_mutex_unlock(&gpu->arena_mutex);
        return RF_OK;
    }
    const uint64_t need = zone + align_up(size) + zone;
    struct rf_block *block;
    enum rf_status status = find_block(arena, need, label, &block, err);
    if (status)
        return status;
    uint64_t offset = block->used + zone;
    if (gpu->debug_checks && !arena->counted) {
        struct red_zone record = {block, offset, size, block->used + need, ""};
        snprintf(record.label, sizeof record.label, "%s", label);
        if ((status = add_zone(arena, &record, err)) != RF_OK)
            return status;
    }
    block->used += need;
    *out = (struct rf_span){.address = block->address + offset,
                            .size = size,
                            .host = block->host ? block->host + offset : NULL,
                            .block = block,
                            .offset = offset};
    return RF_OK;
}

struct rf_span rf_span_part(struct rf_span span, uint64_t offset, uint64_t size)
{
    if (!span.address || offset > span.size || size > span.size - offset)
        return (struct rf_span){0};
    span.address += offset;
    span.offset += offset;
    span.size = size;
    if (span.host)
        span.host = (unsigned char *)span.host + offset;
    return span;
}

uint64_t rf_gpu_max_span(const struct rf_gpu *gpu)
{
    uint64_t most = gpu->probe.caps.max_allocation & ~(uint64_t)(SPAN_ALIGNMENT - 1);
    return most > 2 * RED_ZONE + BLOCK_TAIL ? most - 2 * RED_ZONE - BLOCK_TAIL : 0;
}

uint64_t rf_gpu_memory_used(const struct rf_gpu *gpu)
{
    return atomic_load(&gpu->memory_used);
}

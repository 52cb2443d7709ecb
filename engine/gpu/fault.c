/* What was going on when a device was lost, with debug labels: the last dispatch that had begun, and what the
 * driver tells by VK_EXT_device_fault.
 *
 * Before each dispatch its command buffer writes a word of its own to memory that the host reads: a crumb. No
 * barrier orders crumbs and dispatches, so a crumb says that the queue had come to the dispatch, and one or two
 * before it may be the culprit. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/allocate.h"
#include "engine/gpu/command.h"
#include "engine/gpu/internal.h"

enum { MOST_CRUMBS = 1024, CRUMB_LABEL = 48, MOST_ADDRESSES = 4 };

struct rf_crumbs {
    struct rf_arena *arena;
    struct rf_span words; /* [MOST_CRUMBS], 1: its dispatch has been reached */
    uint32_t count;
    char labels[MOST_CRUMBS][CRUMB_LABEL];
};

enum rf_status rf_crumbs_create(struct rf_crumbs **out, struct rf_gpu *gpu, struct rf_error *err)
{
    *out = NULL;
    if (!gpu->labels.wanted)
        return RF_OK;
    struct rf_crumbs *crumbs = rf_calloc(1, sizeof *crumbs);
    if (!crumbs)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for the labels of a command buffer");
    crumbs->arena = rf_arena_create(gpu, RF_MEMORY_READBACK, "last dispatches");
    enum rf_status status =
        crumbs->arena ? rf_arena_alloc(crumbs->arena, &crumbs->words, 4 * MOST_CRUMBS, "last dispatches", err)
                      : rf_fail(err, RF_ERROR_HOST_MEMORY, "no host memory for an arena");
    if (status) {
        rf_crumbs_destroy(crumbs);
        return status;
    }
    *out = crumbs;
    return RF_OK;
}

void rf_crumbs_destroy(struct rf_crumbs *crumbs)
{
    if (!crumbs)
        return;
    rf_arena_destroy(crumbs->arena);
    rf_free(crumbs);
}

void rf_crumbs_drop(struct rf_crumbs *crumbs, struct rf_gpu *gpu, VkCommandBuffer buffer, const char *label)
{
    if (!crumbs || crumbs->count == MOST_CRUMBS)
        return;
    snprintf(crumbs->labels[crumbs->count], CRUMB_LABEL, "%s", label);
    gpu->vk.vkCmdFillBuffer(buffer, crumbs->words.block->buffer, crumbs->words.offset + 4ull * crumbs->count,
                            4, 1);
    crumbs->count++;
}

void rf_crumbs_clear(struct rf_crumbs *crumbs)
{
    if (crumbs)
        memset(crumbs->words.host, 0, 4ull * crumbs->count);
}

/* The label of the last crumb that is set; NULL: none is. */
static const char *last_crumb(const struct rf_crumbs *crumbs)
{
    const char *label = NULL;
    for (uint32_t i = 0; crumbs && i < crumbs->count; i++)
        if (((const volatile uint32_t *)crumbs->words.host)[i])
            label = crumbs->labels[i];
    return label;
}

/* Appends to a text that is cut where it is full. */
__attribute__((format(printf, 3, 4))) static void add(char *text, size_t room, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, room - used, format, args);
    va_end(args);
}

static void add_last_dispatch(const struct rf_gpu *gpu, char *text, size_t room)
{
    const char *label = NULL, *commands = NULL;
    for (uint32_t i = 0; i < gpu->faults.flight_count; i++) {
        const char *found = last_crumb(gpu->faults.flight[i].crumbs);
        if (found) {
            label = found;
            commands = gpu->faults.flight[i].label;
        }
    }
    if (label)
        add(text, room, "; the last dispatch that was reached is \"%s\" of \"%s\"", label, commands);
    else if (gpu->labels.wanted)
        add(text, room, "; no labelled dispatch was reached");
}

#ifdef VK_EXT_device_fault
static const char *address_kind(VkDeviceFaultAddressTypeEXT type)
{
    switch (type) {
    case VK_DEVICE_FAULT_ADDRESS_TYPE_READ_INVALID_EXT:
        return "invalid read of";
    case VK_DEVICE_FAULT_ADDRESS_TYPE_WRITE_INVALID_EXT:
        return "invalid write to";
    case VK_DEVICE_FAULT_ADDRESS_TYPE_EXECUTE_INVALID_EXT:
        return "invalid execution at";
    case VK_DEVICE_FAULT_ADDRESS_TYPE_INSTRUCTION_POINTER_FAULT_EXT:
        return "instruction that faulted at";
    default:
        return "at";
    }
}
#endif

static void add_driver_report(const struct rf_gpu *gpu, char *text, size_t room)
{
#ifdef VK_EXT_device_fault
    VkDeviceFaultAddressInfoEXT addresses[MOST_ADDRESSES] = {0};
    VkDeviceFaultVendorInfoEXT vendor = {0};
    VkDeviceFaultCountsEXT counts = {.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT};
    VkDeviceFaultInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT,
                                 .pAddressInfos = addresses,
                                 .pVendorInfos = &vendor};
    if (!gpu->faults.get_info || gpu->faults.get_info(gpu->device, &counts, NULL) < VK_SUCCESS)
        return;
    counts.addressInfoCount =
        counts.addressInfoCount < MOST_ADDRESSES ? counts.addressInfoCount : MOST_ADDRESSES;
    counts.vendorInfoCount = counts.vendorInfoCount ? 1 : 0;
    counts.vendorBinarySize = 0;
    if (gpu->faults.get_info(gpu->device, &counts, &info) < VK_SUCCESS)
        return;
    add(text, room, "; the driver says: %s", info.description);
    for (uint32_t i = 0; i < counts.addressInfoCount; i++)
        add(text, room, "; %s 0x%llx, to %llu bytes", address_kind(addresses[i].addressType),
            (unsigned long long)addresses[i].reportedAddress,
            (unsigned long long)addresses[i].addressPrecision);
    if (counts.vendorInfoCount)
        add(text, room, "; %s (code %llu, %llu)", vendor.description,
            (unsigned long long)vendor.vendorFaultCode, (unsigned long long)vendor.vendorFaultData);
#else
    (void)gpu, (void)text, (void)room;
#endif
}

void rf_fault_report(struct rf_gpu *gpu, char *text, size_t room)
{
    pthread_mutex_lock(&gpu->queue_mutex);
    if (!gpu->faults.told) {
        gpu->faults.told = true;
        add_last_dispatch(gpu, gpu->faults.report, sizeof gpu->faults.report);
        add_driver_report(gpu, gpu->faults.report, sizeof gpu->faults.report);
        for (char *c = gpu->faults.report; *c; c++)
            if (*c == '\n' || *c == '\r')
                *c = ' ';
    }
    snprintf(text, room, "%s", gpu->faults.report);
    pthread_mutex_unlock(&gpu->queue_mutex);
}

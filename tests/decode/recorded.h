/* What is recorded, call by call: the recording functions in a device's table are replaced by ones that
 * note what they were given. */
#ifndef RF_TESTS_DECODE_RECORDED_H
#define RF_TESTS_DECODE_RECORDED_H

#include "engine/gpu/internal.h"

enum call { BEGIN, END, BIND, PUSH, DISPATCH, INDIRECT, BARRIER, COPY, FILL, RESET, TIMESTAMP };

/* A call with what it was given, as bytes. */
struct entry {
    enum call call;
    uint32_t size;
    unsigned char bytes[168];
};

struct recording {
    VkCommandBuffer buffer;
    struct entry *entries;
    uint32_t count, room;
};

struct listing {
    struct recording *items;
    uint32_t count;
};

/* Query pools of the device whose calls are noted. */
extern uint32_t pools_made, pools_alive;

/* One device of the program; links with -Wl,--wrap=rf_cmd_dispatch. */
void recorded_interpose(struct rf_device_table *vk);
/* What was recorded since the last call; uploads, which dispatch nothing, left out. */
struct listing recorded_take(void);
void recorded_free(struct listing *list);

uint32_t recorded_count(const struct listing *list, enum call call);
bool recorded_same(const struct recording *a, const struct recording *b);
/* How many recordings of `a` do not stand in `b`; those that do are crossed out there. */
uint32_t recorded_cross_out(const struct listing *a, const struct listing *b, bool *crossed);
/* Takes out what a profile adds: resets, timestamps, and copies into the two buffers `to` with the barrier
 * before each. Returns how many copies there were. */
uint32_t recorded_strip(struct listing *list, const VkBuffer to[2]);
/* A marked forward is recorded beside the plain one, and once more as a submission's second, each with dispatch sizes
 * of its own: where they lie is made relative. */
void recorded_forget_places(struct listing *list);

#endif

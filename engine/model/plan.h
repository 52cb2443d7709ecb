/* A list of dispatches that grows: what a forward, or a trial of its kernels, will record. */
#ifndef RF_MODEL_PLAN_H
#define RF_MODEL_PLAN_H

#include "engine/allocate.h"
#include "engine/gpu/command.h"
#include "engine/model/work.h"
#include "shaders/shared.h"

/* One dispatch of a forward before its kernel exists. */
struct forward_op {
    struct rf_kernel_id kernel;
    struct rf_dispatch dispatch;
    unsigned char push[RF_PUSH_BYTES];
    char label[48];
    uint32_t grid; /* index into forward_plan.grids */
    uint64_t cost; /* its share of a forward's time: bytes of weights, or what takes as long */
    struct rf_op_note note;
};

struct forward_plan {
    uint32_t bucket, flags; /* rows that it is for */
    uint64_t piece;         /* most bytes of weights of one dispatch, where columns can be cut; 0: any */
    uint32_t pending;       /* more than 1: so many partials wait to be added to h, by the next norm */
    struct forward_op *ops; /* owned: rf_free() */
    uint32_t op_count, op_capacity;
    struct rf_grid grids[RF_MAX_GRIDS];
    uint32_t grid_count;
    bool failed; /* no host memory, or too many grids */
};

/* Index of a dispatch size, see struct rf_grid; z is 1, or what is given. */
uint32_t rf_plan_grid(struct forward_plan *plan, uint32_t x, uint32_t y_per, uint32_t source);
uint32_t rf_plan_grid_z(struct forward_plan *plan, uint32_t x, uint32_t y_per, uint32_t source, uint32_t z);
/* A new op with its push constants, valid until the next one; NULL when the host is out of memory
 * (plan->failed). `layer` -1: none. `name` is static. The functions below take that NULL. */
struct forward_op *rf_plan_add(struct forward_plan *plan, const char *shader, int layer, const char *name,
                               const void *push, uint32_t push_size, uint32_t grid_index);
void rf_op_access(struct forward_op *op, struct rf_span span, enum rf_access_mode mode);
void rf_op_spec(struct forward_op *op, uint32_t value);
void rf_op_cost(struct forward_op *op, uint64_t cost); /* of a new op: 1 */
void rf_op_work(struct forward_op *op, struct rf_work_terms work);

#define RF_PLAN_ADD(plan, shader, layer, name, push, grid_index)                                             \
    rf_plan_add(plan, shader, layer, name, &(push), (uint32_t)sizeof(push), grid_index)

#endif

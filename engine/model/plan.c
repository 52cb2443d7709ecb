#include "engine/model/plan.h"
#include "engine/allocate.h"

#include <stdio.h>
#include <string.h>

uint32_t rf_plan_grid(struct forward_plan *plan, uint32_t x, uint32_t y_per, uint32_t source)
{
    return rf_plan_grid_z(plan, x, y_per, source, 1);
}

uint32_t rf_plan_grid_z(struct forward_plan *plan, uint32_t x, uint32_t y_per, uint32_t source, uint32_t z)
{
    for (uint32_t g = 0; g < plan->grid_count; g++)
        if (plan->grids[g].x == x && plan->grids[g].y_per == y_per && plan->grids[g].source == source &&
            plan->grids[g].z == z)
            return g;
    if (plan->grid_count == RF_MAX_GRIDS) {
        plan->failed = true;
        return 0;
    }
    plan->grids[plan->grid_count] = (struct rf_grid){.x = x, .y_per = y_per, .source = source, .z = z};
    return plan->grid_count++;
}

struct forward_op *rf_plan_add(struct forward_plan *plan, const char *shader, int layer, const char *name,
                               const void *push, uint32_t push_size, uint32_t grid_index)
{
    if (plan->op_count == plan->op_capacity) {
        uint32_t capacity = plan->op_capacity ? plan->op_capacity * 2 : 64;
        struct forward_op *ops = rf_realloc(plan->ops, capacity * sizeof *ops);
        if (!ops) {
            plan->failed = true;
            return NULL;
        }
        plan->ops = ops;
        plan->op_capacity = capacity;
    }
    struct forward_op *op = &plan->ops[plan->op_count++];
    memset(op, 0, sizeof *op);
    op->kernel.shader = shader;
    op->grid = grid_index;
    op->cost = 1;
    op->note.op = name;
    op->note.layer = layer;
    op->dispatch.push_size = push_size;
    memcpy(op->push, push, push_size);
    if (layer >= 0)
        snprintf(op->label, sizeof op->label, "L%d %s", layer, name);
    else
        snprintf(op->label, sizeof op->label, "%s", name);
    return op;
}

void rf_op_access(struct forward_op *op, struct rf_span span, enum rf_access_mode mode)
{
    if (op)
        op->dispatch.accesses[op->dispatch.access_count++] = (struct rf_access){span, mode};
}

void rf_op_cost(struct forward_op *op, uint64_t cost)
{
    if (op)
        op->cost = cost;
}

void rf_op_work(struct forward_op *op, struct rf_work_terms work)
{
    if (op)
        op->note.work = work;
}

void rf_op_spec(struct forward_op *op, uint32_t value)
{
    if (op)
        op->kernel.specs[op->kernel.spec_count++] = value;
}

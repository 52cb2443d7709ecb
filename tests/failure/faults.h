/* Calls that fail when a test says so: allocations of the library, and Vulkan calls. While a kind is armed, the
 * first call of each place that makes one fails, and later calls by chance. */
#ifndef RF_TESTS_FAILURE_FAULTS_H
#define RF_TESTS_FAILURE_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gpu/vulkan.h"

enum { FAULT_SITES = 1024 };

/* A kind of calls. */
struct faults {
    const void *sites[FAULT_SITES]; /* where one failed since it was armed */
    size_t site_count, failed;
    bool armed;
    unsigned one_in, seed; /* of the later calls; 0: none fails */
    const char *only;      /* the one call that fails; NULL: all */
};

extern struct faults host_faults, vulkan_faults;

void fault_arm(struct faults *faults, const char *only, unsigned one_in, unsigned seed);
void fault_disarm(struct faults *faults);
/* Whether this call is to fail. */
bool fault_here(struct faults *faults, const char *name, const void *site);

/* Blocks that the library holds of malloc. */
long host_blocks(void);

/* What a failing Vulkan call returns. */
extern VkResult vulkan_failure;
/* The number of the submission or wait, counted over the process from lost_arm, that loses its device; it then
 * stays so. */
enum { LOST_NEVER = -1 };
void lost_arm(long call);
bool lost_fired(void);
size_t lost_calls(void);

#endif

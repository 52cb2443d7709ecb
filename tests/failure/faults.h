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

/* An rf_allocate_fn in which host_faults fail. It ends the program when a block is given back that it did not give out
 * for this `user`. */
void *host_allocate(void *user, void *block, size_t size);
/* For cJSON, whose blocks count as the library's. */
void *host_json_malloc(size_t size);
void host_json_free(void *block);
/* Blocks that the library holds. */
long host_blocks(void);
/* How often the library has turned to malloc, calloc or realloc itself. */
long host_strays(void);

/* What a failing Vulkan call returns. */
extern VkResult vulkan_failure;
/* The number of the submission or wait, counted over the process from lost_arm, that loses its device; it then
 * stays so. */
enum { LOST_NEVER = -1 };
void lost_arm(long call);
bool lost_fired(void);
size_t lost_calls(void);

#endif

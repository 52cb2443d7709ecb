#include "engine/model/split.h"

#include "engine/arithmetic.h"
#include "shaders/shared.h"

enum {
    /* A core hides memory's latency with so many subgroups of a few 128-bit loads each. */
    SUBGROUPS_A_CORE = 16,
    UNKNOWN_CORES = 32, /* of a device that does not tell: as a middling discrete GPU has */
    UNKNOWN_CORES_INTEGRATED = 8,
    DEFAULT_MOST = 8,
    DEFAULT_LEAST_K = 256, /* of a split: shorter ones do little but begin and end */
    FORCED = 3             /* no power of two, so that parts of k are uneven */
};

const char *rf_split_name(enum rf_split_product product)
{
    static const char *const names[] = {"qkv", "o", "down", "none"};
    return names[product];
}

bool rf_split_possible(const struct rf_gpu_caps *caps)
{
    return caps->splits && (!caps->cpu || !caps->whole_k);
}

uint32_t rf_split_octets(uint32_t k, uint32_t splits)
{
    if (splits == 0)
        return 0;
    uint32_t units = rf_divide_up(k, RF_SPLIT_K), part = rf_divide_up(units, splits);
    return rf_divide_up(units, part) == splits ? part * (RF_SPLIT_K / 8) : 0;
}

bool rf_split_legal(const struct rf_gpu_caps *caps, const struct rf_split_load *load, uint32_t splits)
{
    if (splits == 1)
        return true;
    return rf_split_possible(caps) && splits <= RF_MOST_SPLITS && splits <= caps->max_workgroup_count[2] &&
           load->rows * splits <= RF_SPLIT_ROWS && load->columns % RF_COLUMNS == 0 &&
           rf_split_octets(load->k, splits) != 0;
}

/* Partial sums are written and read once, mostly in the device's cache; weights are read from its memory.
 * Half as many bytes is where that stops being cheap. */
static bool is_cheap(const struct rf_split_load *load, uint32_t splits)
{
    uint64_t bytes = (uint64_t)load->rows * load->columns * splits * 2 * sizeof(float);
    return bytes <= load->weight_bytes / 2 && load->k / splits >= DEFAULT_LEAST_K;
}

uint32_t rf_split_default(const struct rf_gpu_caps *caps, const struct rf_split_load *load)
{
    uint32_t splits = 1;
    if (!rf_split_possible(caps))
        return 1;
    if (!caps->whole_k) {
        for (splits = FORCED; !rf_split_legal(caps, load, splits); splits--)
            ;
        return splits;
    }
    uint32_t cores = caps->cores            ? caps->cores
                     : caps->unified_memory ? UNKNOWN_CORES_INTEGRATED
                                            : UNKNOWN_CORES;
    while (2 * splits <= DEFAULT_MOST &&
           (uint64_t)load->subgroups * 2 * splits <= (uint64_t)cores * SUBGROUPS_A_CORE &&
           rf_split_legal(caps, load, 2 * splits) && is_cheap(load, 2 * splits))
        splits *= 2;
    return splits;
}

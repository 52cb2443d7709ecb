/* Medians, which a disturbed run does not move. */
#ifndef RF_APPS_PROFILE_STATISTICS_H
#define RF_APPS_PROFILE_STATISTICS_H

#include <stdint.h>

struct weighted {
    double value, weight;
};

/* Of at least one value. They sort what they are given. */
double median(double *values, uint32_t count);
double weighted_median(struct weighted *items, uint32_t count);

#endif

#include "apps/refusion/profile/statistics.h"

#include <stdlib.h>

/* Of struct weighted too, whose value comes first. */
static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

double weighted_median(struct weighted *items, uint32_t count)
{
    double whole = 0.0, sum = 0.0;
    uint32_t i = 0;
    qsort(items, count, sizeof *items, by_value);
    for (uint32_t n = 0; n < count; n++)
        whole += items[n].weight;
    while (i + 1 < count && (sum += items[i].weight) < 0.5 * whole)
        i++;
    return items[i].value;
}

/* Intervals of 95 %. */
#ifndef RF_APPS_EVAL_STATISTICS_H
#define RF_APPS_EVAL_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

struct interval {
    double low, high;
};

/* Of a share, by Wilson's score; n at least 1. */
struct interval wilson_interval(uint64_t right, uint64_t n);

/* Sums of a ratio's parts over samples, a / b. */
struct ratio {
    uint64_t n;
    double a, b, aa, ab, bb;
};
void ratio_add(struct ratio *ratio, double a, double b);
double ratio_value(const struct ratio *ratio); /* 0 when b is */
/* By the delta method: samples are drawn, and a and b vary together. Both ends are the value for one sample. */
struct interval ratio_interval(const struct ratio *ratio);

/* Of a difference of shares on the same n samples, of which `more` are right only the first way and `fewer` only the
 * second, by Agresti and Min: Wald's, with half a sample more in each of the four cells. */
struct interval paired_interval(uint64_t more, uint64_t fewer, uint64_t n);
/* McNemar's exact test, both sides: how likely such a difference is if both ways are as often right. */
double mcnemar_p(uint64_t more, uint64_t fewer);

/* By nearest rank, of at least one value, which it sorts; `share` in (0, 1]. */
double percentile(double *values, size_t count, double share);

#endif

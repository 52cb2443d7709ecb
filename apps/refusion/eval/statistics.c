#include "apps/refusion/eval/statistics.h"

#include <math.h>
#include <stdlib.h>

static const double z = 1.959963984540054; /* of the normal distribution, 2.5 % on each side */

struct interval wilson_interval(uint64_t right, uint64_t n)
{
    double count = (double)n, share = (double)right / count;
    double middle = (share + z * z / (2 * count)) / (1 + z * z / count);
    double half = z / (1 + z * z / count) * sqrt(share * (1 - share) / count + z * z / (4 * count * count));
    struct interval interval = {middle - half, middle + half};
    /* Rounding must not leave [0, 1], nor exclude what was found. */
    if (right == 0 || interval.low < 0)
        interval.low = 0;
    if (right == n || interval.high > 1)
        interval.high = 1;
    return interval;
}

void ratio_add(struct ratio *r, double a, double b)
{
    r->n++;
    r->a += a;
    r->b += b;
    r->aa += a * a;
    r->ab += a * b;
    r->bb += b * b;
}

double ratio_value(const struct ratio *r)
{
    return r->b > 0 ? r->a / r->b : 0;
}

struct interval ratio_interval(const struct ratio *r)
{
    double value = ratio_value(r);
    if (r->n < 2 || r->b <= 0)
        return (struct interval){value, value};
    /* The sum of (a - value * b)^2, whose mean is 0. */
    double squares = r->aa - 2 * value * r->ab + value * value * r->bb;
    double n = (double)r->n;
    double half = squares > 0 ? z * sqrt(squares * n / (n - 1)) / r->b : 0;
    return (struct interval){value > half ? value - half : 0, value + half};
}

struct interval paired_interval(uint64_t more, uint64_t fewer, uint64_t n)
{
    double b = (double)more + 0.5, c = (double)fewer + 0.5, count = (double)n + 2;
    double difference = (b - c) / count;
    double half = z * sqrt(b + c - (b - c) * (b - c) / count) / count;
    return (struct interval){fmax(difference - half, -1), fmin(difference + half, 1)};
}

double mcnemar_p(uint64_t more, uint64_t fewer)
{
    uint64_t n = more + fewer, least = more < fewer ? more : fewer;
    double count = (double)n, sum = 0;
    for (uint64_t k = 0; k <= least; k++) {
        double i = (double)k;
        sum += exp(lgamma(count + 1) - lgamma(i + 1) - lgamma(count - i + 1) - count * log(2));
    }
    return fmin(2 * sum, 1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double percentile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, by_value);
    size_t rank = (size_t)ceil(share * (double)count);
    return values[rank ? rank - 1 : 0];
}

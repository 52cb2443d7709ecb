#include "engine/selftest/int8_rows.h"
#include "engine/allocate.h"

#include <stdio.h>

bool rf_int8_runs(const struct rf_suite *suite)
{
    const struct rf_gpu_caps *caps = rf_gpu_get_caps(suite->h->gpu);
    return caps->dot_product && caps->fp16;
}

/* Bytes of a block of all rows: two planes of 16, then 8 a row, in whole 16. */
static size_t block_bytes(uint32_t ld)
{
    return 32 * (size_t)ld + ((size_t)ld * 8 + 15) / 16 * 16;
}

size_t rf_int8_bytes(uint32_t k, uint32_t ld)
{
    return k / RF_INT8_BLOCK_LENGTH * block_bytes(ld);
}

/* Where the first or second 16 numbers of a row's block are. */
static size_t numbers_at(size_t at, uint32_t ld, uint32_t row, uint32_t block, uint32_t second)
{
    return at + block * block_bytes(ld) + ((size_t)second * ld + row) * 16;
}

/* And its scale and scale times sum. */
static size_t scale_at(size_t at, uint32_t ld, uint32_t row, uint32_t block)
{
    return at + block * block_bytes(ld) + 32 * (size_t)ld + (size_t)row * 8;
}

void rf_int8_put(struct rf_case *c, size_t at, uint32_t ld, uint32_t row, uint32_t block, float scale,
                 double values[RF_INT8_BLOCK_LENGTH])
{
    int8_t numbers[RF_INT8_BLOCK_LENGTH];
    double sum = 0.0, top = 0.0;
    for (uint32_t i = 0; i < RF_INT8_BLOCK_LENGTH; i++)
        top = fmax(top, fabs(values[i]));
    if (scale == 0.0f)
        scale = (float)(top / 127.0);
    for (uint32_t i = 0; i < RF_INT8_BLOCK_LENGTH; i++) {
        numbers[i] = scale == 0.0f ? 0 : (int8_t)nearbyint(values[i] / (double)scale);
        values[i] = (double)scale * numbers[i];
        sum += numbers[i];
    }
    const float pair[2] = {scale, (float)((double)scale * sum)};
    rf_case_put(c, numbers_at(at, ld, row, block, 0), numbers, 16);
    rf_case_put(c, numbers_at(at, ld, row, block, 1), numbers + 16, 16);
    rf_case_put(c, scale_at(at, ld, row, block), pair, sizeof pair);
}

bool rf_int8_begin(struct rf_case *c, struct rf_int8_rows *out, uint32_t rows, uint32_t ld, uint32_t k)
{
    *out = (struct rf_int8_rows){.at = rf_case_alloc(c, "int8 blocks", rf_int8_bytes(k, ld)),
                                 .rows = rows,
                                 .ld = ld,
                                 .k = k,
                                 .values = rf_calloc((size_t)rows * k, sizeof *out->values),
                                 .is_written = rf_calloc(rows, sizeof *out->is_written)};
    if (!out->values || !out->is_written)
        c->h->status = rf_fail(c->h->err, RF_ERROR_HOST_MEMORY, "selftest: no host memory for %s %s",
                               c->id.shader, c->shape);
    return c->h->status == RF_OK;
}

void rf_int8_end(struct rf_int8_rows *out)
{
    rf_free(out->values);
    rf_free(out->is_written);
}

void rf_int8_expect(struct rf_case *c, struct rf_int8_rows *out, uint32_t row, uint32_t i, double value)
{
    uint32_t block = i / RF_INT8_BLOCK_LENGTH;
    out->values[(size_t)row * out->k + i] = value;
    out->is_written[row] = true;
    if (i % RF_INT8_BLOCK_LENGTH)
        return;
    rf_case_mark(c, numbers_at(out->at, out->ld, row, block, 0), 16, RF_MARK_WRITE);
    rf_case_mark(c, numbers_at(out->at, out->ld, row, block, 1), 16, RF_MARK_WRITE);
    rf_case_mark(c, scale_at(out->at, out->ld, row, block), 8, RF_MARK_WRITE);
}

static double larger(double a, double b)
{
    return b > a || isnan(b) ? b : a;
}

/* How far a block is from what it should be, see rf_int8_run. A block of zeros has scale 0; a number that is
 * not finite makes its scale a NaN. */
static double block_error(const struct rf_case *c, const struct rf_int8_rows *out, uint32_t row,
                          uint32_t block)
{
    const unsigned char *got = c->h->got[0];
    const double *want = out->values + (size_t)row * out->k + block * RF_INT8_BLOCK_LENGTH;
    float pair[2];
    double top = 0.0, worst = 0.0, sum = 0.0;
    bool finite = true;
    memcpy(pair, got + scale_at(out->at, out->ld, row, block), sizeof pair);
    double scale = (double)pair[0], scaled_sum = (double)pair[1];
    for (uint32_t i = 0; i < RF_INT8_BLOCK_LENGTH; i++) {
        finite = finite && isfinite(want[i]);
        top = fmax(top, fabs(want[i]));
    }
    if (!finite)
        return isnan(scale) && isnan(scaled_sum) ? 0.0 : (double)INFINITY;
    worst = top == 0.0 ? fabs(scale) : fabs(scale * 127.0 / top - 1.0);
    for (uint32_t i = 0; i < RF_INT8_BLOCK_LENGTH; i++) {
        int8_t number;
        memcpy(&number, got + numbers_at(out->at, out->ld, row, block, i / 16) + i % 16, 1);
        double steps = top == 0.0 ? fabs((double)number) + 0.5 : fabs(want[i] / scale - number);
        worst = larger(worst, fmax(steps - 0.5, 0.0) / 127.0);
        sum += number;
    }
    double most = top == 0.0 ? 1.0 : 127.0 * 32.0 * scale;
    return larger(worst, fabs(scaled_sum - scale * sum) / most);
}

bool rf_int8_run(struct rf_case *c, const struct rf_int8_rows *out)
{
    char reason[96] = "";
    double worst = 0.0;
    if (!rf_case_execute(c))
        return false;
    for (uint32_t row = 0; row < out->rows; row++)
        for (uint32_t b = 0; out->is_written[row] && b < out->k / RF_INT8_BLOCK_LENGTH; b++) {
            double error = block_error(c, out, row, b);
            if (!(error <= worst)) {
                worst = isnan(error) ? (double)INFINITY : error;
                snprintf(reason, sizeof reason, "block %u of row %u is wrong", b, row);
            }
        }
    rf_case_report(c, worst, reason);
    return worst <= c->tolerance;
}

void rf_int8_move(struct rf_case *c, size_t at, uint32_t ld, uint32_t k, uint32_t from, uint32_t to)
{
    for (uint32_t b = 0; b < k / RF_INT8_BLOCK_LENGTH; b++) {
        rf_alone_move(c, numbers_at(at, ld, from, b, 0), numbers_at(at, ld, to, b, 0), 16);
        rf_alone_move(c, numbers_at(at, ld, from, b, 1), numbers_at(at, ld, to, b, 1), 16);
        rf_alone_move(c, scale_at(at, ld, from, b), scale_at(at, ld, to, b), 8);
    }
}

void rf_int8_expect_alone(struct rf_case *c, const struct rf_int8_rows *out, uint32_t from, uint32_t to)
{
    for (uint32_t b = 0; b < out->k / RF_INT8_BLOCK_LENGTH; b++) {
        rf_alone_expect(c, numbers_at(out->at, out->ld, from, b, 0), numbers_at(out->at, out->ld, to, b, 0),
                        16);
        rf_alone_expect(c, numbers_at(out->at, out->ld, from, b, 1), numbers_at(out->at, out->ld, to, b, 1),
                        16);
        rf_alone_expect(c, scale_at(out->at, out->ld, from, b), scale_at(out->at, out->ld, to, b), 8);
    }
}

/* What every case of the self-test shares: one dispatch on a pool of device memory, in which each byte is
 * declared as read, written or neither.
 *
 * A case is run twice: all bytes that are not declared as read (outputs included) hold one poison first and
 * another then.
 *   - bytes that are not declared as written must come back unchanged   -> nothing undeclared is written
 *   - declared outputs must come back the same from both runs           -> nothing undeclared is read, and
 * every output is written (else the poisons would differ)
 *   - outputs must agree with the f64 reference within the tolerance
 * The error of a case is norm(difference) / norm(reference), the worst over its parts. */
#ifndef RF_SELFTEST_HARNESS_H
#define RF_SELFTEST_HARNESS_H

#include "engine/gpu/command.h"
#include "engine/refusion_profile.h"
#include "engine/selftest/numbers.h"

enum { RF_CASE_PARTS = 8, RF_CASE_REGIONS = 64, RF_SHAPE_LENGTH = 320 };

enum rf_mark {
    RF_MARK_READ = 1,
    RF_MARK_WRITE = 2,
    RF_MARK_ANY = 4 /* may be written with anything, or not */
};

struct rf_region {
    const char *name;
    size_t offset, size;
};

struct rf_expectation {
    uint32_t offset; /* in the pool */
    uint8_t kind;    /* enum rf_expectation_kind */
    uint8_t part;
    double value;
};

/* Bytes that must be the same for a row in company (`from`) and alone (`to`). */
struct rf_alone_pair {
    uint32_t from, to, size;
};

struct rf_harness {
    struct rf_gpu *gpu;
    const struct rf_selftest_desc *desc;
    rf_selftest_fn on_result;
    void *user;
    struct rf_error *err;
    enum rf_status status; /* sticky: the device or memory failed; no more cases are run */
    struct rf_arena *arena;
    struct rf_span pool;
    unsigned char *image;   /* [pool.size] what the case puts into memory */
    unsigned char *mask;    /* [pool.size] enum rf_mark of each byte */
    unsigned char *sent;    /* [pool.size] image and poison as uploaded last */
    unsigned char *got[2];  /* [pool.size] the pool after either run */
    unsigned char *company; /* [pool.size] the pool after the run that rf_alone_begin compares with */
    struct rf_expectation *expectations;
    size_t expectation_count, expectation_capacity;
    struct rf_alone_pair *pairs;
    size_t pair_count, pair_capacity;
    bool collecting; /* first pass: kernels are only listed, to be created in one batch */
    struct rf_kernel_id *ids;
    size_t id_count, id_capacity;
    uint64_t seed;
    uint32_t cases, failures;
    char first_failure[256];
};

/* One dispatch under test. Lives on the stack of the function that builds it; its data is the harness's. */
struct rf_case {
    struct rf_harness *h;
    struct rf_kernel_id id;
    char shape[RF_SHAPE_LENGTH];
    uint32_t groups[3];
    unsigned char push[RF_PUSH_BYTES];
    uint32_t push_size;
    double tolerance;
    double floors[RF_CASE_PARTS]; /* least rms to which a part's error is related: a sum that happens to
                                   * cancel is judged by the size of its terms */
    uint8_t part;                 /* that the next expectations belong to */
    struct rf_random
        random; /* seeded by the seed and the case's shape: a case is the same in every selection */
    size_t used;
    struct rf_region regions[RF_CASE_REGIONS];
    uint32_t region_count;
};

enum rf_status rf_harness_create(struct rf_harness *h, struct rf_gpu *gpu,
                                 const struct rf_selftest_desc *desc, rf_selftest_fn on_result, void *user,
                                 struct rf_error *err);
void rf_harness_destroy(struct rf_harness *h);
/* Creates the pipelines that the collecting pass listed. */
enum rf_status rf_harness_create_kernels(struct rf_harness *h);

/* False when the case is not wanted, the harness only collects, or something failed: then build nothing. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
bool rf_case_begin(struct rf_harness *h, struct rf_case *c, const struct rf_kernel_id *id, const char *shape,
                   ...);
/* A place in the pool, 256-byte aligned, poison on both sides. Returns its offset; on exhaustion h->status is
 * set and the offset stays valid to write to. */
size_t rf_case_alloc(struct rf_case *c, const char *name, size_t size);
void *rf_case_at(struct rf_case *c, size_t offset);
uint64_t rf_case_address(const struct rf_case *c, size_t offset);
void rf_case_mark(struct rf_case *c, size_t offset, size_t size, enum rf_mark mark);
/* Puts data there and declares it as read. */
void rf_case_put(struct rf_case *c, size_t offset, const void *data, size_t size);
void rf_case_put_number(struct rf_case *c, size_t offset, enum rf_number number, double value);
double rf_case_get_number(struct rf_case *c, size_t offset, enum rf_number number);
/* Declares an element as written, with its reference value. */
void rf_case_expect(struct rf_case *c, size_t offset, enum rf_number number, double value);
void rf_case_expect_word(struct rf_case *c, size_t offset, uint32_t word);
void rf_case_set_push(struct rf_case *c, const void *push, uint32_t size);
void rf_case_set_groups(struct rf_case *c, uint32_t x, uint32_t y, uint32_t z);

/* Runs, compares and reports. Whether it passed. */
bool rf_case_run(struct rf_case *c);
/* The two halves of it, for cases that judge the result themselves: runs twice and checks everything but the
 * expectations (false: something was wrong and has been reported, or h->status is set), leaving the outputs
 * in h->got[0]; and reports. */
bool rf_case_execute(struct rf_case *c);
void rf_case_report(struct rf_case *c, double error, const char *reason);

/* A row's result must not depend on its company. After rf_case_run: keeps the results, forgets which outputs
 * were declared. Then the row's inputs are moved to where row 0 has its own, counts patched (rf_case_put),
 * the outputs paired, the groups set, and the row is run alone; results must be the same to the bit. */
void rf_alone_begin(struct rf_case *c);
void rf_alone_move(struct rf_case *c, size_t from, size_t to, size_t size);
void rf_alone_expect(struct rf_case *c, size_t from, size_t to, size_t size);
void rf_alone_run(struct rf_case *c);

#endif

#include "loader/quantize.h"

#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/allocate.h"
#include "loader/file_out.h"
#include "loader/gguf_metadata.h"
#include "loader/model_files.h"
#include "loader/quant.h"

enum {
    SLICE = 1 << 18, /* elements that a thread converts at once: two arrays of f32 of them, 2 MB */
    MAX_THREADS = 16,
};

/* ---- Which type ---------------------------------------------------------------------------------------- */

enum rf_dtype rf_quantize_choose(enum rf_dtype wanted, bool pure, uint32_t rank, uint64_t row, bool is_table,
                                 const char **why)
{
    enum rf_dtype type = wanted;
    *why = NULL;
    if (rank < 2) {
        *why = wanted == RF_DTYPE_F32 ? NULL : "vectors stay F32";
        return RF_DTYPE_F32;
    }
    if (is_table && !pure && (wanted == RF_DTYPE_Q4_K || wanted == RF_DTYPE_Q4_0)) {
        type = wanted == RF_DTYPE_Q4_K ? RF_DTYPE_Q6_K : RF_DTYPE_Q8_0;
        *why = "embedding and head are kept finer";
    }
    if (row % rf_dtype_block_elements(type) == 0)
        return type;
    bool by_32 = row % rf_dtype_block_elements(RF_DTYPE_Q8_0) == 0;
    *why = by_32 ? "rows are no multiple of 256" : "rows are no multiple of 32";
    return by_32 ? RF_DTYPE_Q8_0 : RF_DTYPE_F16;
}

/* ---- Converting a slice -------------------------------------------------------------------------------- */

struct sums {
    double square, error_square, most_error;
    uint64_t underflow;
};

/* Elements [first, first + count) of a tensor, on a thread of its own. */
struct slice {
    const struct rf_tensor *tensor;
    enum rf_dtype to;
    uint64_t first, count;
    float *values, *back;  /* [SLICE] each */
    unsigned char *blocks; /* what comes out */
    struct sums sums;
    uint64_t bad; /* the first element that cannot be converted, or `count` */
};

static const unsigned char *source_of(const struct slice *slice, uint64_t element)
{
    return (const unsigned char *)slice->tensor->data +
           rf_dtype_bytes(slice->tensor->dtype, slice->first + element);
}

/* In lanes, so that compilers can make vectors of it. */
static void compare(struct slice *slice)
{
    enum { LANES = 8 };
    double square[LANES] = {0}, error_square[LANES] = {0}, most[LANES] = {0};
    uint64_t underflow = 0;
    for (uint64_t i = 0; i < slice->count; i += LANES) {
        uint64_t left = slice->count - i < LANES ? slice->count - i : LANES;
        for (uint64_t j = 0; j < left; j++) {
            double value = (double)slice->values[i + j], off = value - (double)slice->back[i + j];
            square[j] += value * value;
            error_square[j] += off * off;
            most[j] = fabs(off) > most[j] ? fabs(off) : most[j];
            underflow += (rf_float_bits(slice->values[i + j]) & 0x7fffffffu) != 0 &&
                         (rf_float_bits(slice->back[i + j]) & 0x7fffffffu) == 0;
        }
    }
    struct sums *sums = &slice->sums;
    for (int j = 0; j < LANES; j++) {
        sums->square += square[j];
        sums->error_square += error_square[j];
        sums->most_error = most[j] > sums->most_error ? most[j] : sums->most_error;
    }
    sums->underflow = underflow;
}

/* f16 is also what scales of blocks are: their elements get the same limit, though they could go some way
 * beyond it. No trained weight comes near. */
static uint64_t find_overflow(const struct slice *slice)
{
    bool limited = slice->to != RF_DTYPE_F32 && slice->to != RF_DTYPE_BF16;
    struct rf_half_loss loss = {0};
    if (limited)
        rf_half_count_loss(slice->values, slice->count, &loss);
    for (uint64_t i = 0; loss.overflow && i < slice->count; i++)
        if (fabsf(slice->values[i]) >= 65520.0f)
            return i;
    return rf_find_not_finite(slice->back, slice->count);
}

static void *convert_slice(void *argument)
{
    struct slice *slice = argument;
    slice->sums = (struct sums){0};
    rf_quant_decode(slice->tensor->dtype, source_of(slice, 0), slice->count, slice->values);
    slice->bad = rf_find_not_finite(slice->values, slice->count);
    if (slice->bad < slice->count)
        return NULL;
    rf_quant_encode(slice->to, slice->values, slice->count, slice->blocks);
    rf_quant_decode(slice->to, slice->blocks, slice->count, slice->back);
    slice->bad = find_overflow(slice);
    if (slice->bad == slice->count)
        compare(slice);
    return NULL;
}

/* ---- The run ------------------------------------------------------------------------------------------- */

struct run {
    const struct rf_quantize_desc *desc;
    struct rf_model_files files;
    struct rf_named_tensor *list;
    struct rf_quantize_report *reports; /* [count] as is the list */
    size_t count;
    struct rf_file_out file;
    struct slice slices[MAX_THREADS];
    uint32_t threads;
    uint64_t done, total; /* elements */
    double square, error_square;
    struct rf_error *err;
};

static enum rf_status advance(struct run *run, uint64_t elements)
{
    run->done += elements;
    if (run->desc->progress && !run->desc->progress(run->desc->user, run->done, run->total))
        return rf_fail(run->err, RF_ERROR_CANCELLED, "%s: interrupted, nothing was written", run->file.path);
    return RF_OK;
}

static enum rf_status bad_element(const struct run *run, const struct slice *slice)
{
    const struct rf_tensor *tensor = slice->tensor;
    double value = (double)slice->values[slice->bad];
    unsigned long long place = slice->first + slice->bad;
    if (!isfinite(value))
        return rf_fail(run->err, RF_ERROR_FORMAT, "%s: tensor %s: element %llu is %s, wanted finite numbers",
                       tensor->file, tensor->name, place, isnan(value) ? "NaN" : "infinite");
    return rf_fail(run->err, RF_ERROR_UNSUPPORTED, "%s: tensor %s: element %llu is %g, which %s cannot hold",
                   tensor->file, tensor->name, place, value, rf_dtype_name(slice->to));
}

/* Converts `count` slices, the last of them on this thread. */
static void convert_slices(struct run *run, uint32_t count)
{
    pthread_t threads[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    for (uint32_t i = 0; i + 1 < count; i++)
        started[i] = pthread_create(&threads[i], NULL, convert_slice, &run->slices[i]) == 0;
    convert_slice(&run->slices[count - 1]);
    for (uint32_t i = 0; i + 1 < count; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        else
            convert_slice(&run->slices[i]);
    }
}

static enum rf_status convert_tensor(struct run *run, const struct rf_tensor *tensor,
                                     struct rf_quantize_report *report)
{
    struct sums all = {0};
    uint64_t elements = rf_tensor_elements(tensor);
    enum rf_status status = RF_OK;
    for (uint64_t first = 0; first < elements && !status;) {
        uint32_t used = 0;
        uint64_t begin = first;
        for (; used < run->threads && first < elements; used++) {
            struct slice *slice = &run->slices[used];
            slice->tensor = tensor;
            slice->to = report->to;
            slice->first = first;
            slice->count = elements - first < SLICE ? elements - first : SLICE;
            first += slice->count;
        }
        convert_slices(run, used);
        for (uint32_t i = 0; i < used && !status; i++) {
            struct slice *slice = &run->slices[i];
            if (slice->bad < slice->count)
                return bad_element(run, slice);
            all.square += slice->sums.square;
            all.error_square += slice->sums.error_square;
            all.most_error = fmax(all.most_error, slice->sums.most_error);
            all.underflow += slice->sums.underflow;
            status = rf_file_out_write(&run->file, slice->blocks, rf_dtype_bytes(slice->to, slice->count),
                                       run->err);
        }
        rf_file_map_forget(source_of(&run->slices[0], 0), rf_dtype_bytes(tensor->dtype, first - begin));
        if (!status)
            status = advance(run, first - begin);
    }
    report->relative_error = all.square > 0 ? sqrt(all.error_square / all.square) : 0;
    report->most_error = all.most_error;
    report->underflow = all.underflow;
    run->square += all.square;
    run->error_square += all.error_square;
    return status;
}

/* A tensor that has its type already. It counts in the total by its values, without error. */
static enum rf_status copy_tensor(struct run *run, const struct rf_tensor *tensor)
{
    enum rf_status status = RF_OK;
    uint64_t elements = rf_tensor_elements(tensor);
    struct slice *slice = &run->slices[0];
    slice->tensor = tensor;
    for (slice->first = 0; slice->first < elements && !status; slice->first += slice->count) {
        slice->count = elements - slice->first < SLICE ? elements - slice->first : SLICE;
        uint64_t bytes = rf_dtype_bytes(tensor->dtype, slice->count);
        rf_quant_decode(tensor->dtype, source_of(slice, 0), slice->count, slice->values);
        slice->bad = rf_find_not_finite(slice->values, slice->count);
        if (slice->bad < slice->count)
            return bad_element(run, slice);
        for (uint64_t i = 0; i < slice->count; i++)
            run->square += (double)slice->values[i] * (double)slice->values[i];
        status = rf_file_out_write(&run->file, source_of(slice, 0), bytes, run->err);
        rf_file_map_forget(source_of(slice, 0), bytes);
        if (!status)
            status = advance(run, slice->count);
    }
    return status;
}

static enum rf_status write_tensors(struct run *run)
{
    static const unsigned char zeros[RF_GGUF_ALIGNMENT];
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < run->count && !status; i++) {
        const struct rf_tensor *tensor = run->list[i].tensor;
        struct rf_quantize_report *report = &run->reports[i];
        status = tensor->dtype == report->to ? copy_tensor(run, tensor) : convert_tensor(run, tensor, report);
        if (!status)
            status =
                rf_file_out_write(&run->file, zeros, rf_gguf_padded(report->bytes) - report->bytes, run->err);
        if (!status && run->desc->report)
            run->desc->report(run->desc->user, report);
    }
    return status;
}

/* ---- Before the first byte ----------------------------------------------------------------------------- */

static enum rf_status no_memory(const struct run *run, const char *path)
{
    return rf_fail(run->err, RF_ERROR_HOST_MEMORY, "%s: out of memory", path);
}

/* Renaming over a model that is being read would work, and leave nothing to go back to. */
static enum rf_status check_out(const struct run *run, const char *out)
{
    struct stat new, old;
    if (stat(out, &new) != 0)
        return RF_OK;
    for (uint32_t i = 0; i < run->files.shard_count; i++)
        if (stat(run->files.shards[i].path, &old) == 0 && old.st_dev == new.st_dev &&
            old.st_ino == new.st_ino)
            return rf_fail(run->err, RF_ERROR_ARGUMENT, "%s: is the model that is read, wanted another name",
                           out);
    return RF_OK;
}

static enum rf_status plan(struct run *run, const char *in)
{
    enum rf_status status = rf_model_files_list(&run->files, &run->list, &run->count, run->err);
    if (status)
        return status;
    run->reports = rf_calloc(run->count, sizeof *run->reports);
    if (!run->reports)
        return no_memory(run, in);
    for (size_t i = 0; i < run->count; i++) {
        const struct rf_tensor *tensor = run->list[i].tensor;
        struct rf_quantize_report *report = &run->reports[i];
        bool is_table = tensor == &run->files.embed || tensor == &run->files.lm_head;
        report->name = run->list[i].gguf;
        report->rank = tensor->rank;
        report->shape = tensor->shape;
        report->from = tensor->dtype;
        report->to = rf_quantize_choose(run->desc->type, run->desc->pure, tensor->rank,
                                        tensor->shape[tensor->rank - 1], is_table, &report->why);
        report->bytes = rf_dtype_bytes(report->to, rf_tensor_elements(tensor));
        run->total += rf_tensor_elements(tensor);
    }
    return RF_OK;
}

/* The last part of a path, without slashes at its end: "models/tiny/" is "tiny". */
static char *last_part(const char *path)
{
    char whole[PATH_MAX];
    const char *slash = realpath(path, whole) ? strrchr(whole, '/') : NULL;
    return rf_strdup(slash && slash[1] ? slash + 1 : "model");
}

static enum rf_status put_metadata(struct run *run, struct rf_gguf_metadata *metadata, const char *in)
{
    if (run->files.is_gguf) {
        const struct rf_shard *shard = &run->files.shards[0];
        struct rf_gguf gguf;
        enum rf_status status = rf_gguf_parse(&gguf, shard->path, shard->map.data, shard->map.size, run->err);
        if (!status)
            rf_gguf_put_copies(metadata, &gguf);
        rf_gguf_free(&gguf);
        return status;
    }
    rf_tokenizer *tokenizer = NULL;
    enum rf_status status = rf_tokenizer_open(&tokenizer, in, run->err);
    if (!status)
        status = rf_tokenizer_check_vocab(tokenizer, run->files.config.vocab, run->err);
    char *name = last_part(in);
    if (!status)
        status = name ? rf_gguf_put_model(metadata, name, &run->files.config, tokenizer, run->err)
                      : no_memory(run, in);
    rf_free(name);
    rf_tokenizer_destroy(tokenizer);
    return status;
}

static enum rf_status write_head(struct run *run, const char *in, const char *out)
{
    struct rf_gguf_metadata metadata = {0};
    struct rf_bytes head = {0};
    struct rf_gguf_new_tensor *tensors = rf_calloc(run->count, sizeof *tensors);
    if (!tensors)
        return no_memory(run, out);
    uint64_t bytes = 0;
    for (size_t i = 0; i < run->count; i++) {
        const struct rf_quantize_report *report = &run->reports[i];
        tensors[i] = (struct rf_gguf_new_tensor){report->name, report->to, report->rank, report->shape};
        bytes += rf_gguf_padded(report->bytes);
    }
    enum rf_status status = put_metadata(run, &metadata, in);
    if (!status) {
        rf_gguf_put_type(&metadata, run->desc->type);
        status = rf_gguf_write_head(&head, &metadata, tensors, run->count, out, run->err);
    }
    if (!status)
        status = rf_file_out_open(&run->file, out, head.length + bytes, run->err);
    if (!status)
        status = rf_file_out_write(&run->file, head.data, head.length, run->err);
    rf_gguf_metadata_free(&metadata);
    rf_free(head.data);
    rf_free(tensors);
    return status;
}

static enum rf_status reserve_slices(struct run *run, const char *out)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    run->threads = run->desc->threads ? run->desc->threads : processors > 0 ? (uint32_t)processors : 1;
    run->threads = run->threads < MAX_THREADS ? run->threads : MAX_THREADS;
    for (uint32_t i = 0; i < run->threads; i++) {
        struct slice *slice = &run->slices[i];
        slice->values = rf_malloc(SLICE * sizeof *slice->values);
        slice->back = rf_malloc(SLICE * sizeof *slice->back);
        slice->blocks = rf_malloc(SLICE * sizeof(float)); /* F32 is the widest */
        if (!slice->values || !slice->back || !slice->blocks)
            return no_memory(run, out);
    }
    return RF_OK;
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

static void sum_up(const struct run *run, struct rf_quantize_total *total)
{
    *total = (struct rf_quantize_total){.parameters = run->total, .tensors = (uint32_t)run->count};
    for (size_t i = 0; i < run->count; i++) {
        const struct rf_quantize_report *report = &run->reports[i];
        total->bytes_before += run->list[i].tensor->bytes;
        total->bytes_after += report->bytes;
        total->underflow += report->underflow;
        total->requantized += report->from != report->to && rf_dtype_block_elements(report->from) > 1;
    }
    total->relative_error = run->square > 0 ? sqrt(run->error_square / run->square) : 0;
}

static enum rf_status work(struct run *run, const char *in, const char *out)
{
    enum rf_status status = rf_model_files_open(&run->files, in, run->err);
    if (!status)
        status = check_out(run, out);
    if (!status)
        status = plan(run, in);
    if (!status)
        status = reserve_slices(run, out);
    if (!status)
        status = write_head(run, in, out);
    if (!status)
        status = write_tensors(run);
    if (!status)
        status = rf_file_out_commit(&run->file, run->err);
    return status;
}

enum rf_status rf_quantize(const char *in, const char *out, const struct rf_quantize_desc *desc,
                           struct rf_quantize_total *total, struct rf_error *err)
{
    struct run run = {.desc = desc, .file = {.fd = -1}, .err = err};
    enum rf_status status = work(&run, in, out);
    if (!status)
        sum_up(&run, total);
    rf_file_out_close(&run.file);
    for (uint32_t i = 0; i < MAX_THREADS; i++) {
        rf_free(run.slices[i].values);
        rf_free(run.slices[i].back);
        rf_free(run.slices[i].blocks);
    }
    rf_free(run.reports);
    rf_free(run.list);
    rf_model_files_close(&run.files);
    return status;
}

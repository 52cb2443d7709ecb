#include "loader/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/allocate.h"
#include "loader/growable.h"
#include "loader/utf8.h"

enum {
    MAX_ENTRIES = 1 << 20, /* metadata keys, and tensors; the largest models have some thousand */
    MAX_NAME = 255,        /* bytes of a key or a tensor's name; GGML itself stops at 63 for tensors */
    MAX_DIMENSIONS = 4,
    DEFAULT_ALIGNMENT = 32,
    MAX_ALIGNMENT = 1 << 16,
};

/* The least that an entry takes in the file: counts are checked against it before anything is allocated. */
enum { VALUE_BYTES = 8 + 1 + 4 + 1, TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

static const struct {
    const char *name;
    uint32_t bytes;
} types[RF_GGUF_TYPE_COUNT] = {
    [RF_GGUF_U8] = {"u8", 1},       [RF_GGUF_I8] = {"i8", 1},     [RF_GGUF_U16] = {"u16", 2},
    [RF_GGUF_I16] = {"i16", 2},     [RF_GGUF_U32] = {"u32", 4},   [RF_GGUF_I32] = {"i32", 4},
    [RF_GGUF_F32] = {"f32", 4},     [RF_GGUF_BOOL] = {"bool", 1}, [RF_GGUF_STRING] = {"string", 0},
    [RF_GGUF_ARRAY] = {"array", 0}, [RF_GGUF_U64] = {"u64", 8},   [RF_GGUF_I64] = {"i64", 8},
    [RF_GGUF_F64] = {"f64", 8},
};

/* GGML's numbers of tensor types. Those without a dtype are named, so that a message can say what a file
 * holds. */
static const struct {
    uint32_t number;
    enum rf_dtype dtype;
    const char *name;
} tensor_types[] = {
    {0, RF_DTYPE_F32, "F32"},      {1, RF_DTYPE_F16, "F16"},       {2, RF_DTYPE_Q4_0, "Q4_0"},
    {3, RF_DTYPE_NONE, "Q4_1"},    {6, RF_DTYPE_NONE, "Q5_0"},     {7, RF_DTYPE_NONE, "Q5_1"},
    {8, RF_DTYPE_Q8_0, "Q8_0"},    {9, RF_DTYPE_NONE, "Q8_1"},     {10, RF_DTYPE_NONE, "Q2_K"},
    {11, RF_DTYPE_NONE, "Q3_K"},   {12, RF_DTYPE_Q4_K, "Q4_K"},    {13, RF_DTYPE_NONE, "Q5_K"},
    {14, RF_DTYPE_Q6_K, "Q6_K"},   {15, RF_DTYPE_NONE, "Q8_K"},    {16, RF_DTYPE_NONE, "IQ2_XXS"},
    {17, RF_DTYPE_NONE, "IQ2_XS"}, {18, RF_DTYPE_NONE, "IQ3_XXS"}, {19, RF_DTYPE_NONE, "IQ1_S"},
    {20, RF_DTYPE_NONE, "IQ4_NL"}, {21, RF_DTYPE_NONE, "IQ3_S"},   {22, RF_DTYPE_NONE, "IQ2_S"},
    {23, RF_DTYPE_NONE, "IQ4_XS"}, {24, RF_DTYPE_I8, "I8"},        {25, RF_DTYPE_I16, "I16"},
    {26, RF_DTYPE_I32, "I32"},     {27, RF_DTYPE_I64, "I64"},      {28, RF_DTYPE_F64, "F64"},
    {29, RF_DTYPE_NONE, "IQ1_M"},  {30, RF_DTYPE_BF16, "BF16"},    {34, RF_DTYPE_NONE, "TQ1_0"},
    {35, RF_DTYPE_NONE, "TQ2_0"},  {39, RF_DTYPE_NONE, "MXFP4"},   {40, RF_DTYPE_NONE, "NVFP4"},
};
enum { TENSOR_TYPES = sizeof tensor_types / sizeof tensor_types[0] };

uint32_t rf_gguf_tensor_type(enum rf_dtype dtype)
{
    uint32_t number = 0;
    for (int i = 0; i < TENSOR_TYPES; i++)
        if (tensor_types[i].dtype == dtype)
            number = tensor_types[i].number;
    return number;
}

uint32_t rf_gguf_scalar_bytes(enum rf_gguf_type type)
{
    return types[type].bytes;
}

/* ---- Reading bytes ------------------------------------------------------------------------------------- */

struct reader {
    const char *file;
    const unsigned char *bytes;
    uint64_t size, at;
    char where[64 + RF_QUOTE_SIZE]; /* what is being read, for messages */
    struct rf_error *err;
};

static uint64_t little(const unsigned char *from, uint32_t bytes)
{
    uint64_t value = 0;
    for (uint32_t i = bytes; i-- > 0;)
        value = value << 8 | from[i];
    return value;
}

/* Moves past `bytes` bytes; *from is where they were. */
static enum rf_status take(struct reader *r, uint64_t bytes, const unsigned char **from)
{
    if (bytes > r->size - r->at)
        return rf_fail(r->err, RF_ERROR_FORMAT,
                       "%s: %s: wants %" PRIu64 " bytes at byte %" PRIu64
                       ", but the file ends at byte %" PRIu64 ": truncated?",
                       r->file, r->where, bytes, r->at, r->size);
    *from = r->bytes + r->at;
    r->at += bytes;
    return RF_OK;
}

static enum rf_status take_uint(struct reader *r, uint32_t bytes, uint64_t *out)
{
    const unsigned char *from = NULL;
    enum rf_status status = take(r, bytes, &from);
    if (!status)
        *out = little(from, bytes);
    return status;
}

static enum rf_status take_string(struct reader *r, struct rf_gguf_string *out)
{
    uint64_t length = 0;
    const unsigned char *from = NULL;
    enum rf_status status = take_uint(r, 8, &length);
    if (!status)
        status = take(r, length, &from);
    if (!status)
        *out = (struct rf_gguf_string){(const char *)from, (size_t)length};
    return status;
}

/* A key or a tensor's name; r->where becomes `kind` and the name. */
static enum rf_status take_name(struct reader *r, const char *kind, struct rf_gguf_string *out)
{
    enum rf_status status = take_string(r, out);
    if (status)
        return status;
    char quoted[RF_QUOTE_SIZE];
    rf_quote(quoted, out->text, out->length);
    if (out->length == 0 || out->length > MAX_NAME)
        return rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: its name %s has %zu bytes, wanted 1 to %d", r->file,
                       r->where, quoted, out->length, MAX_NAME);
    for (size_t i = 0; i < out->length; i++)
        if ((unsigned char)out->text[i] < 0x20 || out->text[i] == 0x7f)
            return rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: its name %s holds a control character", r->file,
                           r->where, quoted);
    if (rf_utf8_valid(out->text, out->length) < out->length)
        return rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: its name %s is no UTF-8", r->file, r->where, quoted);
    snprintf(r->where, sizeof r->where, "%s %s", kind, quoted);
    return RF_OK;
}

/* ---- Metadata ------------------------------------------------------------------------------------------ */

static enum rf_status take_type(struct reader *r, const char *what, enum rf_gguf_type *out)
{
    uint64_t number = 0;
    enum rf_status status = take_uint(r, 4, &number);
    if (!status && number >= RF_GGUF_TYPE_COUNT)
        status = rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: %s is %" PRIu64 ", wanted a number below %d",
                         r->file, r->where, what, number, RF_GGUF_TYPE_COUNT);
    *out = (enum rf_gguf_type)number;
    return status;
}

static enum rf_status take_array_head(struct reader *r, struct rf_gguf_value *value)
{
    enum rf_status status = take_type(r, "its items' type", &value->type);
    if (!status)
        status = take_uint(r, 8, &value->count);
    if (status)
        return status;
    if (value->type == RF_GGUF_ARRAY)
        return rf_fail(r->err, RF_ERROR_UNSUPPORTED, "%s: %s: is an array of arrays, wanted plain items",
                       r->file, r->where);
    uint64_t item = value->type == RF_GGUF_STRING ? 8 : types[value->type].bytes;
    if (value->count > (r->size - r->at) / item)
        return rf_fail(r->err, RF_ERROR_FORMAT,
                       "%s: %s: is said to have %" PRIu64 " items, but only %" PRIu64
                       " bytes follow: truncated?",
                       r->file, r->where, value->count, r->size - r->at);
    return RF_OK;
}

static enum rf_status take_items(struct reader *r, struct rf_gguf_value *value)
{
    value->data = r->bytes + r->at;
    enum rf_status status = RF_OK;
    if (value->type == RF_GGUF_STRING) {
        struct rf_gguf_string unused;
        for (uint64_t i = 0; i < value->count && !status; i++)
            status = take_string(r, &unused);
        return status;
    }
    const unsigned char *from = NULL;
    status = take(r, value->count * types[value->type].bytes, &from);
    for (uint64_t i = 0; value->type == RF_GGUF_BOOL && i < value->count && !status; i++)
        if (from[i] > 1)
            status = rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: is a bool of value %u, wanted 0 or 1", r->file,
                             r->where, from[i]);
    return status;
}

static enum rf_status parse_value(struct reader *r, struct rf_gguf_value *value)
{
    enum rf_status status = take_name(r, "metadata", &value->key);
    value->whole = r->bytes + r->at;
    value->count = 1;
    if (!status)
        status = take_type(r, "its type", &value->type);
    if (!status && value->type == RF_GGUF_ARRAY) {
        value->is_array = true;
        status = take_array_head(r, value);
    }
    if (!status)
        status = take_items(r, value);
    value->whole_bytes = (uint64_t)(r->bytes + r->at - value->whole);
    return status;
}

static int compare_strings(struct rf_gguf_string a, struct rf_gguf_string b)
{
    int order = memcmp(a.text, b.text, a.length < b.length ? a.length : b.length);
    return order ? order : (a.length > b.length) - (a.length < b.length);
}

static int compare_keys(const void *a, const void *b)
{
    return compare_strings(((const struct rf_gguf_value *)a)->key, ((const struct rf_gguf_value *)b)->key);
}

static enum rf_status parse_metadata(struct reader *r, struct rf_gguf *out, uint64_t count)
{
    out->values = rf_calloc(count ? (size_t)count : 1, sizeof *out->values);
    if (!out->values)
        return rf_fail(r->err, RF_ERROR_HOST_MEMORY, "%s: out of memory for %" PRIu64 " metadata keys",
                       r->file, count);
    enum rf_status status = RF_OK;
    for (uint64_t i = 0; i < count && !status; i++) {
        snprintf(r->where, sizeof r->where, "metadata key %" PRIu64 " of %" PRIu64, i + 1, count);
        status = parse_value(r, &out->values[out->value_count++]);
    }
    if (status)
        return status;
    qsort(out->values, out->value_count, sizeof *out->values, compare_keys);
    for (size_t i = 1; i < out->value_count; i++)
        if (compare_keys(&out->values[i - 1], &out->values[i]) == 0) {
            char quoted[RF_QUOTE_SIZE];
            return rf_fail(r->err, RF_ERROR_FORMAT,
                           "%s: metadata %s: stands there twice, wanted each key once", r->file,
                           rf_quote(quoted, out->values[i].key.text, out->values[i].key.length));
        }
    return RF_OK;
}

static enum rf_status read_alignment(struct rf_gguf *out, struct rf_error *err)
{
    uint64_t value = DEFAULT_ALIGNMENT;
    bool found;
    enum rf_status status = rf_gguf_uint(out, "general.alignment", 1, MAX_ALIGNMENT, &value, &found, err);
    if (!status && (value & (value - 1)) != 0)
        status = rf_fail(err, RF_ERROR_FORMAT,
                         "%s: metadata \"general.alignment\": is %" PRIu64 ", wanted a power of two",
                         out->file, value);
    out->alignment = value;
    return status;
}

/* ---- Tensors ------------------------------------------------------------------------------------------- */

/* What is known of a tensor before all infos are read. */
struct info {
    size_t name;     /* where it begins in the block of names */
    uint64_t offset; /* into the data section */
};

static enum rf_status take_shape(struct reader *r, struct rf_tensor *tensor)
{
    uint64_t rank = 0;
    enum rf_status status = take_uint(r, 4, &rank);
    if (!status && (rank < 1 || rank > MAX_DIMENSIONS))
        status = rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: has %" PRIu64 " dimensions, wanted 1 to %d",
                         r->file, r->where, rank, MAX_DIMENSIONS);
    if (status)
        return status;
    tensor->rank = (uint32_t)rank;
    for (uint32_t i = tensor->rank; i-- > 0 && !status;) { /* GGUF begins with the fastest */
        status = take_uint(r, 8, &tensor->shape[i]);
        if (!status && tensor->shape[i] == 0)
            status = rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: has a dimension of size 0", r->file, r->where);
    }
    return status;
}

static enum rf_status take_tensor_type(struct reader *r, struct rf_tensor *tensor)
{
    uint64_t number = 0;
    enum rf_status status = take_uint(r, 4, &number);
    if (status)
        return status;
    for (int i = 0; i < TENSOR_TYPES; i++) {
        if (tensor_types[i].number != number)
            continue;
        tensor->dtype = tensor_types[i].dtype;
        if (tensor->dtype != RF_DTYPE_NONE)
            return RF_OK;
        return rf_fail(r->err, RF_ERROR_UNSUPPORTED,
                       "%s: %s: type is %s, wanted F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K", r->file,
                       r->where, tensor_types[i].name);
    }
    return rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: type is %" PRIu64 ", which is no type of GGUF's",
                   r->file, r->where, number);
}

static enum rf_status count_bytes(struct reader *r, struct rf_tensor *tensor)
{
    uint64_t elements = 1, block = rf_dtype_block_elements(tensor->dtype),
             row = tensor->shape[tensor->rank - 1];
    if (row % block)
        return rf_fail(r->err, RF_ERROR_FORMAT,
                       "%s: %s: a row of shape %s has %" PRIu64 " elements, wanted a multiple of %" PRIu64
                       ", the block of %s",
                       r->file, r->where, rf_shape_describe(tensor->shape, tensor->rank).text, row, block,
                       rf_dtype_name(tensor->dtype));
    bool fits = true;
    for (uint32_t i = 0; i < tensor->rank; i++)
        fits = fits && !__builtin_mul_overflow(elements, tensor->shape[i], &elements);
    if (!fits || elements > INT64_MAX / 8) /* no type has more than 8 bytes an element */
        return rf_fail(r->err, RF_ERROR_FORMAT, "%s: %s: shape %s is larger than any file", r->file, r->where,
                       rf_shape_describe(tensor->shape, tensor->rank).text);
    tensor->bytes = rf_dtype_bytes(tensor->dtype, elements);
    return RF_OK;
}

static enum rf_status parse_info(struct reader *r, struct rf_tensor *tensor, struct info *info,
                                 struct rf_bytes *names)
{
    struct rf_gguf_string name;
    enum rf_status status = take_name(r, "tensor", &name);
    if (!status)
        status = take_shape(r, tensor);
    if (!status)
        status = take_tensor_type(r, tensor);
    if (!status)
        status = take_uint(r, 8, &info->offset);
    if (!status)
        status = count_bytes(r, tensor);
    if (status)
        return status;
    info->name = names->length;
    if (!rf_bytes_append(names, name.text, name.length) || !rf_bytes_append(names, "", 1))
        return rf_fail(r->err, RF_ERROR_HOST_MEMORY, "%s: out of memory for the tensors' names", r->file);
    return RF_OK;
}

static enum rf_status place_tensor(const struct rf_gguf *gguf, struct rf_tensor *tensor, uint64_t offset,
                                   const unsigned char *data, uint64_t data_size, struct rf_error *err)
{
    if (offset % gguf->alignment)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: tensor %s: begins at byte %" PRIu64 " of the data, wanted a multiple of %" PRIu64,
                       gguf->file, tensor->name, offset, gguf->alignment);
    if (offset > data_size || tensor->bytes > data_size - offset)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: tensor %s: has %" PRIu64 " bytes from byte %" PRIu64
                       " of the data, but the file holds %" PRIu64 ": truncated?",
                       gguf->file, tensor->name, tensor->bytes, offset, data_size);
    tensor->data = data + offset;
    return RF_OK;
}

static enum rf_status check_tensors(struct rf_gguf *gguf, struct rf_error *err)
{
    struct rf_tensor_table *table = &gguf->tensors;
    qsort(table->tensors, table->count, sizeof *table->tensors, rf_tensor_compare_places);
    for (size_t i = 1; i < table->count; i++) {
        const struct rf_tensor *before = &table->tensors[i - 1], *tensor = &table->tensors[i];
        if ((const unsigned char *)tensor->data < (const unsigned char *)before->data + before->bytes)
            return rf_fail(err, RF_ERROR_FORMAT, "%s: tensor %s: overlaps tensor %s", gguf->file,
                           tensor->name, before->name);
    }
    qsort(table->tensors, table->count, sizeof *table->tensors, rf_tensor_compare_names);
    for (size_t i = 1; i < table->count; i++)
        if (strcmp(table->tensors[i - 1].name, table->tensors[i].name) == 0)
            return rf_fail(err, RF_ERROR_FORMAT, "%s: tensor %s: stands there twice, wanted each name once",
                           gguf->file, table->tensors[i].name);
    return RF_OK;
}

/* The data section begins at the first multiple of the alignment behind the infos. */
static enum rf_status place_tensors(struct reader *r, struct rf_gguf *out, const struct info *infos)
{
    uint64_t start = (r->at + out->alignment - 1) / out->alignment * out->alignment;
    uint64_t data_size = start < r->size ? r->size - start : 0;
    enum rf_status status = RF_OK;
    for (size_t i = 0; i < out->tensors.count && !status; i++) {
        struct rf_tensor *tensor = &out->tensors.tensors[i];
        tensor->file = out->file;
        tensor->name = out->tensors.names + infos[i].name;
        status =
            place_tensor(out, tensor, infos[i].offset, r->bytes + (data_size ? start : 0), data_size, r->err);
    }
    return status ? status : check_tensors(out, r->err);
}

static enum rf_status parse_tensors(struct reader *r, struct rf_gguf *out, uint64_t count)
{
    struct rf_tensor_table *table = &out->tensors;
    struct rf_bytes names = {.data = table->names, .length = strlen(table->names) + 1};
    names.capacity = names.length;
    table->tensors = rf_calloc(count ? (size_t)count : 1, sizeof *table->tensors);
    struct info *infos = rf_calloc(count ? (size_t)count : 1, sizeof *infos);
    enum rf_status status = RF_OK;
    if (!table->tensors || !infos)
        status = rf_fail(r->err, RF_ERROR_HOST_MEMORY, "%s: out of memory for %" PRIu64 " tensors", r->file,
                         count);
    for (uint64_t i = 0; i < count && !status; i++) {
        snprintf(r->where, sizeof r->where, "tensor %" PRIu64 " of %" PRIu64, i + 1, count);
        status = parse_info(r, &table->tensors[i], &infos[i], &names);
        table->count++;
    }
    out->file = table->names = names.data;
    if (!status)
        status = place_tensors(r, out, infos);
    rf_free(infos);
    return status;
}

/* ---- The whole file ------------------------------------------------------------------------------------ */

bool rf_gguf_is_magic(const unsigned char *bytes, uint64_t size)
{
    return size >= 4 && memcmp(bytes, "GGUF", 4) == 0;
}

static enum rf_status check_version(struct reader *r, uint32_t *version)
{
    uint64_t number = 0;
    if (!rf_gguf_is_magic(r->bytes, r->size)) {
        char quoted[RF_QUOTE_SIZE];
        return rf_fail(r->err, RF_ERROR_FORMAT, "%s: begins with %s, wanted \"GGUF\": is this a GGUF file?",
                       r->file, rf_quote(quoted, (const char *)r->bytes, r->size < 4 ? (size_t)r->size : 4));
    }
    r->at = 4;
    snprintf(r->where, sizeof r->where, "the header");
    enum rf_status status = take_uint(r, 4, &number);
    if (!status && number != 0 && (number & 0xffff) == 0)
        return rf_fail(r->err, RF_ERROR_UNSUPPORTED, "%s: is a big-endian file, wanted little-endian",
                       r->file);
    if (!status && number != 2 && number != 3)
        return rf_fail(r->err, RF_ERROR_UNSUPPORTED, "%s: version is %" PRIu64 ", wanted 2 or 3", r->file,
                       number);
    *version = (uint32_t)number;
    return status;
}

static enum rf_status take_count(struct reader *r, const char *what, uint64_t least_bytes, uint64_t *count)
{
    enum rf_status status = take_uint(r, 8, count);
    if (status)
        return status;
    if (*count > MAX_ENTRIES)
        return rf_fail(r->err, RF_ERROR_FORMAT, "%s: is said to have %" PRIu64 " %s, wanted at most %d",
                       r->file, *count, what, MAX_ENTRIES);
    if (*count > (r->size - r->at) / least_bytes)
        return rf_fail(r->err, RF_ERROR_FORMAT,
                       "%s: is said to have %" PRIu64 " %s, but only %" PRIu64 " bytes follow: truncated?",
                       r->file, *count, what, r->size - r->at);
    return RF_OK;
}

enum rf_status rf_gguf_parse(struct rf_gguf *out, const char *file, const unsigned char *bytes, uint64_t size,
                             struct rf_error *err)
{
    *out = (struct rf_gguf){0};
    out->tensors.names = rf_strdup(file);
    if (!out->tensors.names)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory", file);
    out->file = out->tensors.names;
    struct reader r = {.file = file, .bytes = bytes, .size = size, .err = err};
    uint64_t tensors = 0, values = 0;
    enum rf_status status = check_version(&r, &out->version);
    if (!status)
        status = take_count(&r, "tensors", TENSOR_BYTES, &tensors);
    if (!status)
        status = take_count(&r, "metadata keys", VALUE_BYTES, &values);
    if (!status)
        status = parse_metadata(&r, out, values);
    if (!status)
        status = read_alignment(out, err);
    if (!status)
        status = parse_tensors(&r, out, tensors);
    if (status)
        rf_gguf_free(out);
    return status;
}

void rf_gguf_free(struct rf_gguf *gguf)
{
    rf_tensor_table_free(&gguf->tensors);
    rf_free(gguf->values);
    *gguf = (struct rf_gguf){0};
}

/* ---- Asking for values --------------------------------------------------------------------------------- */

const struct rf_gguf_value *rf_gguf_find(const struct rf_gguf *gguf, const char *key)
{
    struct rf_gguf_value wanted = {.key = {key, strlen(key)}};
    return gguf->value_count ? bsearch(&wanted, gguf->values, gguf->value_count, sizeof wanted, compare_keys)
                             : NULL;
}

static float f32_of(const unsigned char *from)
{
    uint32_t bits = (uint32_t)little(from, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double f64_of(const unsigned char *from)
{
    uint64_t bits = little(from, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool is_signed(enum rf_gguf_type type)
{
    return type == RF_GGUF_I8 || type == RF_GGUF_I16 || type == RF_GGUF_I32 || type == RF_GGUF_I64;
}

static bool is_unsigned(enum rf_gguf_type type)
{
    return type == RF_GGUF_U8 || type == RF_GGUF_U16 || type == RF_GGUF_U32 || type == RF_GGUF_U64;
}

static int64_t signed_of(const struct rf_gguf_value *value)
{
    uint64_t bits = little(value->data, types[value->type].bytes);
    uint64_t sign = UINT64_C(1) << (8 * types[value->type].bytes - 1);
    uint64_t extended = (bits ^ sign) - sign; /* two's complement */
    int64_t result;
    memcpy(&result, &extended, sizeof result);
    return result;
}

struct rf_gguf_words rf_gguf_describe(const struct rf_gguf_value *value)
{
    struct rf_gguf_words out = {"nothing"};
    if (!value)
        return out;
    const char *name = types[value->type].name;
    if (value->is_array) {
        snprintf(out.text, sizeof out.text, "an array of %" PRIu64 " %s", value->count, name);
    } else if (value->type == RF_GGUF_STRING) {
        const unsigned char *at = value->data;
        struct rf_gguf_string string = rf_gguf_next_string(&at);
        char quoted[RF_QUOTE_SIZE];
        snprintf(out.text, sizeof out.text, "string %s", rf_quote(quoted, string.text, string.length));
    } else if (value->type == RF_GGUF_BOOL) {
        snprintf(out.text, sizeof out.text, "bool %s", value->data[0] ? "true" : "false");
    } else if (value->type == RF_GGUF_F32) {
        snprintf(out.text, sizeof out.text, "f32 %g", (double)f32_of(value->data));
    } else if (value->type == RF_GGUF_F64) {
        snprintf(out.text, sizeof out.text, "f64 %g", f64_of(value->data));
    } else if (is_signed(value->type)) {
        snprintf(out.text, sizeof out.text, "%s %" PRId64, name, signed_of(value));
    } else {
        snprintf(out.text, sizeof out.text, "%s %" PRIu64, name,
                 little(value->data, types[value->type].bytes));
    }
    return out;
}

enum rf_status rf_gguf_uint(const struct rf_gguf *gguf, const char *key, uint64_t min, uint64_t max,
                            uint64_t *out, bool *found, struct rf_error *err)
{
    const struct rf_gguf_value *value = rf_gguf_find(gguf, key);
    if (found)
        *found = value != NULL;
    if (!value && found)
        return RF_OK;
    bool good = value && !value->is_array && (is_unsigned(value->type) || is_signed(value->type));
    if (good && is_signed(value->type) && signed_of(value) < 0)
        good = false;
    uint64_t number = good ? little(value->data, types[value->type].bytes) : 0;
    if (!good || number < min || number > max)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: metadata \"%s\": is %s, wanted a whole number from %" PRIu64 " to %" PRIu64,
                       gguf->file, key, rf_gguf_describe(value).text, min, max);
    *out = number;
    return RF_OK;
}

enum rf_status rf_gguf_number(const struct rf_gguf *gguf, const char *key, double min, double max,
                              double *out, struct rf_error *err)
{
    const struct rf_gguf_value *value = rf_gguf_find(gguf, key);
    bool good = value && !value->is_array && (value->type == RF_GGUF_F32 || value->type == RF_GGUF_F64);
    double number = !good                        ? 0
                    : value->type == RF_GGUF_F32 ? (double)f32_of(value->data)
                                                 : f64_of(value->data);
    if (!good || !(number >= min && number <= max))
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: metadata \"%s\": is %s, wanted a number (f32) from %g to %g", gguf->file, key,
                       rf_gguf_describe(value).text, min, max);
    *out = number;
    return RF_OK;
}

enum rf_status rf_gguf_bool(const struct rf_gguf *gguf, const char *key, bool fallback, bool *out,
                            struct rf_error *err)
{
    const struct rf_gguf_value *value = rf_gguf_find(gguf, key);
    *out = fallback;
    if (!value)
        return RF_OK;
    if (value->is_array || value->type != RF_GGUF_BOOL)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: metadata \"%s\": is %s, wanted a bool", gguf->file, key,
                       rf_gguf_describe(value).text);
    *out = value->data[0] != 0;
    return RF_OK;
}

enum rf_status rf_gguf_text(const struct rf_gguf *gguf, const char *key, struct rf_gguf_string *out,
                            struct rf_error *err)
{
    const struct rf_gguf_value *value = rf_gguf_find(gguf, key);
    *out = (struct rf_gguf_string){0};
    if (!value)
        return RF_OK;
    if (value->is_array || value->type != RF_GGUF_STRING)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: metadata \"%s\": is %s, wanted a string", gguf->file, key,
                       rf_gguf_describe(value).text);
    const unsigned char *at = value->data;
    *out = rf_gguf_next_string(&at);
    return RF_OK;
}

bool rf_gguf_equals(struct rf_gguf_string string, const char *text)
{
    return string.text && string.length == strlen(text) && memcmp(string.text, text, string.length) == 0;
}

enum rf_status rf_gguf_array(const struct rf_gguf *gguf, const char *key, enum rf_gguf_type type,
                             const struct rf_gguf_value **out, struct rf_error *err)
{
    *out = rf_gguf_find(gguf, key);
    if (!*out || ((*out)->is_array && (*out)->type == type))
        return RF_OK;
    return rf_fail(err, RF_ERROR_FORMAT, "%s: metadata \"%s\": is %s, wanted an array of %s", gguf->file, key,
                   rf_gguf_describe(*out).text, types[type].name);
}

struct rf_gguf_string rf_gguf_next_string(const unsigned char **at)
{
    size_t length = (size_t)little(*at, 8);
    struct rf_gguf_string out = {(const char *)*at + 8, length};
    *at += 8 + length;
    return out;
}

uint32_t rf_gguf_item_u32(const struct rf_gguf_value *value, uint64_t i)
{
    return (uint32_t)little(value->data + 4 * i, 4);
}

int32_t rf_gguf_item_i32(const struct rf_gguf_value *value, uint64_t i)
{
    uint32_t bits = rf_gguf_item_u32(value, i);
    int32_t item;
    memcpy(&item, &bits, sizeof item);
    return item;
}

#include "loader/safetensors.h"

#include "engine/allocate.h"
#include "loader/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_HEADER_BYTES = 100 * 1000 * 1000, /* the format's own limit */
    MAX_HEADER_VALUES = 1 << 20,          /* about 10 per tensor */
};

/* ---- One entry of the header --------------------------------------------------------------------------- */

/* Where a header's tensors point to. */
struct data_section {
    const char *file;
    const unsigned char *bytes;
    uint64_t size;
};

static enum rf_status parse_dtype(struct rf_tensor *tensor, struct rf_json_at at, struct rf_error *err)
{
    const cJSON *value = rf_json_member(at, "dtype");
    if (cJSON_IsString(value))
        for (int i = RF_DTYPE_NONE + 1; i < RF_DTYPE_SAFETENSORS_END; i++)
            if (strcmp(value->valuestring, rf_dtype_name((enum rf_dtype)i)) == 0) {
                tensor->dtype = (enum rf_dtype)i;
                return RF_OK;
            }
    return rf_fail(err, RF_ERROR_FORMAT,
                   "%s: tensor %sdtype is %s, wanted a safetensors type such as \"BF16\"", at.file, at.path,
                   rf_json_describe(value).text);
}

static enum rf_status parse_shape(struct rf_tensor *tensor, struct rf_json_at at, struct rf_error *err)
{
    const cJSON *value = rf_json_member(at, "shape");
    if (!cJSON_IsArray(value))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: tensor %sshape is %s, wanted an array of sizes", at.file,
                       at.path, rf_json_describe(value).text);
    for (const cJSON *size = value->child; size; size = size->next) {
        if (tensor->rank == RF_MAX_RANK)
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: tensor %sshape has more than %d dimensions, wanted at most %d", at.file,
                           at.path, RF_MAX_RANK, RF_MAX_RANK);
        if (!rf_json_is_uint(size, 0, UINT64_MAX, &tensor->shape[tensor->rank]))
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: tensor %sshape[%" PRIu32 "] is %s, wanted a whole number >= 0", at.file,
                           at.path, tensor->rank, rf_json_describe(size).text);
        tensor->rank++;
    }
    return RF_OK;
}

/* Refuses a product of sizes that overflows, or is no whole number of bytes. */
static enum rf_status count_bytes(struct rf_tensor *tensor, struct rf_json_at at, struct rf_error *err)
{
    uint64_t elements = 1, bytes = 0, block = rf_dtype_block_elements(tensor->dtype);
    bool fits = true;
    for (uint32_t i = 0; i < tensor->rank; i++)
        fits = fits && !__builtin_mul_overflow(elements, tensor->shape[i], &elements);
    fits = fits && !__builtin_mul_overflow(elements / block, rf_dtype_block_bytes(tensor->dtype), &bytes);
    if (!fits)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: tensor %sshape %s is larger than any file", at.file,
                       at.path, rf_shape_describe(tensor->shape, tensor->rank).text);
    if (elements % block)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: tensor %sshape %s of %s has %" PRIu64 " elements, wanted a multiple of %" PRIu64
                       ", which fill whole bytes",
                       at.file, at.path, rf_shape_describe(tensor->shape, tensor->rank).text,
                       rf_dtype_name(tensor->dtype), elements, block);
    tensor->bytes = bytes;
    return RF_OK;
}

static enum rf_status parse_range(struct rf_tensor *tensor, const struct data_section *data,
                                  struct rf_json_at at, struct rf_error *err)
{
    const cJSON *value = rf_json_member(at, "data_offsets");
    uint64_t begin, end;
    if (!cJSON_IsArray(value) || cJSON_GetArraySize(value) != 2 ||
        !rf_json_is_uint(value->child, 0, UINT64_MAX, &begin) ||
        !rf_json_is_uint(value->child->next, begin, UINT64_MAX, &end))
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: tensor %sdata_offsets is %s, wanted [begin, end], whole numbers, begin <= end",
                       at.file, at.path,
                       cJSON_IsArray(value) ? "something else" : rf_json_describe(value).text);
    if (end > data->size)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: tensor %sdata_offsets end at byte %" PRIu64 ", but the file holds %" PRIu64
                       " bytes of tensors: truncated?",
                       at.file, at.path, end, data->size);
    if (end - begin != tensor->bytes)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: tensor %sdata_offsets span %" PRIu64 " bytes, wanted %" PRIu64 " for %s %s",
                       at.file, at.path, end - begin, tensor->bytes, rf_dtype_name(tensor->dtype),
                       rf_shape_describe(tensor->shape, tensor->rank).text);
    tensor->data = data->bytes + begin;
    return RF_OK;
}

static enum rf_status parse_entry(struct rf_tensor *tensor, const cJSON *entry,
                                  const struct data_section *data, struct rf_error *err)
{
    char path[sizeof(struct rf_json_words) + 2];
    snprintf(path, sizeof path, "%s: ", rf_json_printable(entry->string).text);
    struct rf_json_at at = {.object = entry, .file = data->file, .path = path};
    if (!entry->string[0])
        return rf_fail(err, RF_ERROR_FORMAT, "%s: a tensor has an empty name", data->file);
    for (const char *c = entry->string; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return rf_fail(err, RF_ERROR_FORMAT, "%s: tensor %sa control character in its name", data->file,
                           path);
    if (!cJSON_IsObject(entry))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: tensor %sits entry is %s, wanted an object", data->file,
                       path, rf_json_describe(entry).text);
    for (const cJSON *field = entry->child; field; field = field->next)
        if (strcmp(field->string, "dtype") && strcmp(field->string, "shape") &&
            strcmp(field->string, "data_offsets"))
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: tensor %sunknown field \"%s\", wanted dtype, shape and data_offsets",
                           data->file, path, rf_json_printable(field->string).text);
    enum rf_status status = parse_dtype(tensor, at, err);
    if (!status)
        status = parse_shape(tensor, at, err);
    if (!status)
        status = count_bytes(tensor, at, err);
    if (!status)
        status = parse_range(tensor, data, at, err);
    return status;
}

static enum rf_status check_metadata(const cJSON *metadata, const char *file, struct rf_error *err)
{
    if (!cJSON_IsObject(metadata))
        return rf_fail(err, RF_ERROR_FORMAT, "%s: __metadata__ is %s, wanted an object of strings", file,
                       rf_json_describe(metadata).text);
    for (const cJSON *item = metadata->child; item; item = item->next)
        if (!cJSON_IsString(item))
            return rf_fail(err, RF_ERROR_FORMAT, "%s: __metadata__.%s is %s, wanted a string", file,
                           rf_json_printable(item->string).text, rf_json_describe(item).text);
    return RF_OK;
}

/* ---- The whole header ---------------------------------------------------------------------------------- */

static bool is_metadata(const cJSON *entry)
{
    return strcmp(entry->string, "__metadata__") == 0;
}

/* Allocates the tensor array and the block of names, and copies `file` into the latter; *next_name is the
 * free part. */
static enum rf_status reserve(struct rf_tensor_table *out, const cJSON *header, const char *file,
                              char **next_name, struct rf_error *err)
{
    size_t count = 0, name_bytes = strlen(file) + 1;
    for (const cJSON *entry = header->child; entry; entry = entry->next)
        if (!is_metadata(entry)) {
            count++;
            name_bytes += strlen(entry->string) + 1;
        }
    if (count == 0)
        return rf_fail(err, RF_ERROR_FORMAT, "%s: the header lists no tensor", file);
    out->tensors = rf_calloc(count, sizeof *out->tensors);
    out->names = rf_malloc(name_bytes);
    if (!out->tensors || !out->names)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "%s: out of memory for %zu tensors", file, count);
    strcpy(out->names, file);
    *next_name = out->names + strlen(file) + 1;
    return RF_OK;
}

static enum rf_status parse_entries(struct rf_tensor_table *out, const cJSON *header,
                                    const struct data_section *data, struct rf_error *err)
{
    char *name = NULL;
    enum rf_status status = reserve(out, header, data->file, &name, err);
    for (const cJSON *entry = header->child; entry && !status; entry = entry->next) {
        if (is_metadata(entry)) {
            status = check_metadata(entry, data->file, err);
            continue;
        }
        struct rf_tensor *tensor = &out->tensors[out->count++];
        status = parse_entry(tensor, entry, data, err);
        size_t length = strlen(entry->string) + 1;
        memcpy(name, entry->string, length);
        tensor->name = name;
        tensor->file = out->names;
        name += length;
    }
    return status;
}

/* The format wants every byte of the data section to belong to exactly one tensor. Sorts the tensors by
 * place. */
static enum rf_status check_coverage(struct rf_tensor_table *out, const struct data_section *data,
                                     struct rf_error *err)
{
    qsort(out->tensors, out->count, sizeof *out->tensors, rf_tensor_compare_places);
    uint64_t covered = 0;
    for (size_t i = 0; i < out->count; i++) {
        const struct rf_tensor *tensor = &out->tensors[i];
        uint64_t begin = (uint64_t)((const unsigned char *)tensor->data - data->bytes);
        if (begin < covered)
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: tensor %s: begins at byte %" PRIu64 ", overlapping %s, wanted byte %" PRIu64,
                           data->file, rf_json_printable(tensor->name).text, begin,
                           rf_json_printable(tensor[-1].name).text, covered);
        if (begin > covered)
            return rf_fail(err, RF_ERROR_FORMAT,
                           "%s: tensor %s: begins at byte %" PRIu64 ", leaving a gap, wanted byte %" PRIu64,
                           data->file, rf_json_printable(tensor->name).text, begin, covered);
        covered += tensor->bytes;
    }
    if (covered != data->size)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: %" PRIu64
                       " bytes follow the last tensor, wanted none: the header describes %" PRIu64
                       " of %" PRIu64 " bytes",
                       data->file, data->size - covered, covered, data->size);
    return RF_OK;
}

static enum rf_status read_header_length(uint64_t *out, const char *file, const unsigned char *bytes,
                                         uint64_t size, struct rf_error *err)
{
    if (size < 8)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: has %" PRIu64 " bytes, wanted at least 8 for the header's length", file, size);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > size - 8)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: the header is said to have %" PRIu64 " bytes, but only %" PRIu64 " follow", file,
                       length, size - 8);
    if (length > MAX_HEADER_BYTES)
        return rf_fail(err, RF_ERROR_FORMAT,
                       "%s: the header is said to have %" PRIu64 " bytes, wanted at most %d", file, length,
                       MAX_HEADER_BYTES);
    if (length < 2 || bytes[8] != '{')
        return rf_fail(err, RF_ERROR_FORMAT, "%s: the header is no JSON object: is this a safetensors file?",
                       file);
    *out = length;
    return RF_OK;
}

enum rf_status rf_safetensors_parse(struct rf_tensor_table *out, const char *file, const unsigned char *bytes,
                                    uint64_t size, struct rf_error *err)
{
    *out = (struct rf_tensor_table){0};
    uint64_t header_length = 0;
    enum rf_status status = read_header_length(&header_length, file, bytes, size, err);
    if (status)
        return status;
    cJSON *header;
    status =
        rf_json_parse(&header, file, (const char *)bytes + 8, (size_t)header_length, MAX_HEADER_VALUES, err);
    if (status)
        return status;
    struct data_section data = {file, bytes + 8 + header_length, size - 8 - header_length};
    status = parse_entries(out, header, &data, err);
    cJSON_Delete(header);
    if (!status)
        status = check_coverage(out, &data, err);
    if (status) {
        rf_tensor_table_free(out);
        return status;
    }
    qsort(out->tensors, out->count, sizeof *out->tensors, rf_tensor_compare_names);
    return RF_OK;
}

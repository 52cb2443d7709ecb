/* loader/safetensors: headers, right and wrong, from memory. */
#include "loader/safetensors.h"
#include "model_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Refused headers ----------------------------------------------------------------------------------- */

struct bad_header {
    const char *name; /* of the test */
    const char *header;
    uint64_t data_bytes;
    const char *words[3];
};

#define T(name, dtype, shape, range)                                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}"

static const struct bad_header bad_headers[] = {
    {"tensor cut short by the end of the file is refused",
     "{" T("w", "F32", "[2]", "[0,8]") "}",
     7,
     {"tensor w: data_offsets end at byte 8", "holds 7 bytes", "truncated"}},
    {"overlapping tensors are refused",
     "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[4,12]") "}",
     12,
     {"tensor b: begins at byte 4", "overlapping a", "wanted byte 8"}},
    {"tensors at one place are refused",
     "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[0,8]") "}",
     8,
     {"begins at byte 0", "overlapping", "wanted byte 8"}},
    {"gap between tensors is refused",
     "{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[8,12]") "}",
     12,
     {"tensor b: begins at byte 8", "leaving a gap", "wanted byte 4"}},
    {"gap before the first tensor is refused",
     "{" T("a", "F32", "[1]", "[4,8]") "}",
     8,
     {"tensor a: begins at byte 4", "leaving a gap", "wanted byte 0"}},
    {"bytes behind the last tensor are refused",
     "{" T("a", "F32", "[1]", "[0,4]") "}",
     6,
     {"2 bytes follow the last tensor", "wanted none", "4 of 6 bytes"}},
    {"range that does not fit the shape is refused",
     "{" T("a", "BF16", "[3,2]", "[0,10]") "}",
     10,
     {"tensor a: data_offsets span 10 bytes", "wanted 12", "BF16 [3, 2]"}},
    {"range that ends before it begins is refused",
     "{" T("a", "U8", "[1]", "[4,3]") "}",
     4,
     {"tensor a: data_offsets is", "begin <= end", ""}},
    {"range of one number is refused",
     "{" T("a", "U8", "[1]", "[1]") "}",
     1,
     {"a: data_offsets is", "[begin, end]", ""}},
    {"range of three numbers is refused",
     "{" T("a", "U8", "[1]", "[0,1,2]") "}",
     1,
     {"a: data_offsets", "[begin, end]", ""}},
    {"negative range is refused",
     "{" T("a", "U8", "[1]", "[-1,0]") "}",
     1,
     {"a: data_offsets", "whole numbers", ""}},
    {"range beyond 2^53 is refused",
     "{" T("a", "U8", "[1]", "[18446744073709551614,18446744073709551615]") "}",
     1,
     {"a: data_offsets", "whole numbers", ""}},
    {"range absent is refused",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}",
     1,
     {"a: data_offsets is nothing", "wanted", ""}},
    {"unknown dtype is refused",
     "{" T("a", "BF17", "[1]", "[0,2]") "}",
     2,
     {"tensor a: dtype is \"BF17\"", "wanted", ""}},
    {"dtype absent is refused",
     "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}",
     1,
     {"a: dtype is nothing", "wanted", ""}},
    {"dtype as a number is refused",
     "{\"a\":{\"dtype\":16,\"shape\":[1],\"data_offsets\":[0,1]}}",
     1,
     {"a: dtype is 16", "wanted", ""}},
    {"shape absent is refused",
     "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}",
     1,
     {"a: shape is nothing", "array", ""}},
    {"negative size is refused",
     "{" T("a", "U8", "[2,-1]", "[0,1]") "}",
     1,
     {"a: shape[1] is -1", "whole number >= 0", ""}},
    {"fractional size is refused",
     "{" T("a", "U8", "[1.5]", "[0,1]") "}",
     1,
     {"a: shape[0] is 1.5", "whole number", ""}},
    {"rank 9 is refused",
     "{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}",
     1,
     {"a: shape has more than 8", "at most 8", ""}},
    {"product of sizes that overflows is refused",
     "{" T("a", "F32", "[4294967296,4294967296]", "[0,0]") "}",
     1,
     {"a: shape [4294967296, 4294967296]", "larger than any file", ""}},
    {"product that overflows before a zero is refused",
     "{" T("a", "F32", "[4503599627370496,4503599627370496,0]", "[0,0]") "}",
     1,
     {"larger than any file", "", ""}},
    {"half a byte is refused",
     "{" T("a", "F4", "[3]", "[0,2]") "}",
     2,
     {"a: shape [3] of F4 has 3 elements", "whole bytes", ""}},
    {"tensor that is not an object is refused",
     "{\"a\":[]}",
     0,
     {"tensor a: its entry is an array", "an object", ""}},
    {"unknown field is refused",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"strides\":[1]}}",
     1,
     {"tensor a: unknown field \"strides\"", "wanted dtype, shape and data_offsets", ""}},
    {"tensor that is listed twice is refused",
     "{" T("a", "U8", "[1]", "[0,1]") "," T("a", "U8", "[1]", "[1,2]") "}",
     2,
     {"a: the key appears twice", "wanted once", ""}},
    {"empty name is refused", "{" T("", "U8", "[1]", "[0,1]") "}", 1, {"empty name", "", ""}},
    {"name with a newline is refused",
     "{" T("a\\nb", "U8", "[1]", "[0,1]") "}",
     1,
     {"a?b", "control character", ""}},
    {"header without tensors is refused", "{\"__metadata__\":{}}", 0, {"lists no tensor", "", ""}},
    {"metadata that is no text is refused",
     "{\"__metadata__\":{\"a\":1}," T("a", "U8", "[1]", "[0,1]") "}",
     1,
     {"__metadata__.a is 1", "a string", ""}},
    {"metadata that is no object is refused",
     "{\"__metadata__\":3," T("a", "U8", "[1]", "[0,1]") "}",
     1,
     {"__metadata__ is 3", "an object", ""}},
    {"header that is no JSON is refused", "{\"a\":", 0, {"line 1, column 6", "not valid JSON", ""}},
    {"header that is no object is refused", "[]", 0, {"no JSON object", "safetensors", ""}},
    {"space before the header is refused", " {}", 0, {"no JSON object", "", ""}},
    {"empty header is refused", "", 0, {"no JSON object", "", ""}},
};

static void refuses(void **state)
{
    const struct bad_header *bad = *state;
    uint64_t size;
    unsigned char *bytes = make_safetensors(bad->header, bad->data_bytes, &size);
    struct rf_tensor_table file;
    struct rf_error err = {0};
    enum rf_status status = rf_safetensors_parse(&file, "x.safetensors", bytes, size, &err);
    ASSERT_FAILURE(status, err, RF_ERROR_FORMAT, "x.safetensors: ", bad->words[0], bad->words[1],
                   bad->words[2]);
    assert_null(file.tensors);
    free(bytes);
}

static void set_header_length(unsigned char *bytes, uint64_t length)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(length >> (8 * i));
}

static void header_longer_than_the_file_is_refused(void **state)
{
    (void)state;
    uint64_t size;
    unsigned char *bytes = make_safetensors("{" T("a", "U8", "[1]", "[0,1]") "}", 1, &size);
    struct rf_tensor_table file;
    struct rf_error err = {0};
    set_header_length(bytes, size - 7);
    ASSERT_FAILURE(rf_safetensors_parse(&file, "x", bytes, size, &err), err, RF_ERROR_FORMAT,
                   "x: the header is said to have 55 bytes, but only 54 follow");
    set_header_length(bytes, UINT64_MAX);
    ASSERT_FAILURE(rf_safetensors_parse(&file, "x", bytes, size, &err), err, RF_ERROR_FORMAT,
                   "said to have 18446744073709551615 bytes, but only 54 follow");
    free(bytes);
}

static void file_shorter_than_its_length_field_is_refused(void **state)
{
    (void)state;
    const unsigned char bytes[7] = {2};
    struct rf_tensor_table file;
    struct rf_error err = {0};
    for (uint64_t size = 0; size <= sizeof bytes; size++)
        ASSERT_FAILURE(rf_safetensors_parse(&file, "x", bytes, size, &err), err, RF_ERROR_FORMAT,
                       "at least 8");
}

/* Only the size is looked at, so the header need not be there: the limit comes before any allocation. */
static void header_above_the_limit_is_refused(void **state)
{
    (void)state;
    unsigned char bytes[16] = {0};
    set_header_length(bytes, 100000001);
    struct rf_tensor_table file;
    struct rf_error err = {0};
    ASSERT_FAILURE(rf_safetensors_parse(&file, "x", bytes, 1u << 30, &err), err, RF_ERROR_FORMAT,
                   "100000001 bytes, wanted at most 100000000");
}

/* Every prefix of a good file is refused, and none is read behind its end (the sanitizers watch). */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    uint64_t size;
    unsigned char *bytes = make_safetensors(
        "{" T("a", "F32", "[1,2]", "[0,8]") "," T("b", "BF16", "[]", "[8,10]") "}", 10, &size);
    for (uint64_t cut = 0; cut < size; cut++) {
        unsigned char *part = malloc((size_t)cut + 1);
        memcpy(part, bytes, (size_t)cut);
        struct rf_tensor_table file;
        struct rf_error err = {0};
        ASSERT_FAILURE(rf_safetensors_parse(&file, "x", part, cut, &err), err, RF_ERROR_FORMAT, "x: ");
        free(part);
    }
    free(bytes);
}

/* ---- Accepted ------------------------------------------------------------------------------------------ */

static void tensors_are_sorted_and_found(void **state)
{
    (void)state;
    uint64_t size;
    unsigned char *bytes = make_safetensors(
        "{" T("z", "F32", "[1,2]", "[10,18]") ",\"__metadata__\":{\"format\":\"pt\"}," T(
            "b", "BF16", "[]", "[8,10]") "," T("e", "I64", "[3,0]", "[8,8]") "," T("a", "U8", "[8]",
                                                                                   "[0,8]") "}  ",
        18, &size);
    struct rf_tensor_table file;
    struct rf_error err = {0};
    assert_int_equal(rf_safetensors_parse(&file, "x.safetensors", bytes, size, &err), RF_OK);
    assert_int_equal(file.count, 4);
    for (size_t i = 1; i < file.count; i++)
        assert_true(strcmp(file.tensors[i - 1].name, file.tensors[i].name) < 0);
    const struct rf_tensor *z = rf_tensor_table_find(&file, "z");
    assert_non_null(z);
    assert_int_equal(z->dtype, RF_DTYPE_F32);
    assert_int_equal(z->rank, 2);
    assert_int_equal(z->shape[1], 2);
    assert_int_equal(z->bytes, 8);
    assert_int_equal(*(const unsigned char *)z->data, 10);
    assert_string_equal(z->file, "x.safetensors");
    assert_int_equal(rf_tensor_table_find(&file, "b")->rank, 0);
    assert_int_equal(rf_tensor_table_find(&file, "e")->bytes, 0);
    assert_null(rf_tensor_table_find(&file, "c"));
    assert_null(rf_tensor_table_find(&file, "__metadata__"));
    rf_tensor_table_free(&file);
    free(bytes);
}

static void every_dtype_has_its_size(void **state)
{
    (void)state;
    const struct {
        const char *name;
        int bytes; /* of 8 elements */
    } sizes[] = {{"BOOL", 8},    {"U8", 8},      {"I8", 8},      {"F8_E4M3", 8}, {"F8_E5M2", 8},
                 {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"I16", 16},
                 {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
                 {"F32", 32},    {"F64", 64},    {"I64", 64},    {"U64", 64},    {"C64", 64}};
    assert_int_equal(sizeof sizes / sizeof sizes[0], RF_DTYPE_SAFETENSORS_END - 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char header[128];
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%d]}}",
                 sizes[i].name, sizes[i].bytes);
        uint64_t size;
        unsigned char *bytes = make_safetensors(header, (uint64_t)sizes[i].bytes, &size);
        struct rf_tensor_table file;
        struct rf_error err = {0};
        if (rf_safetensors_parse(&file, "x", bytes, size, &err))
            fail_msg("%s", err.message);
        assert_string_equal(rf_dtype_name(file.tensors[0].dtype), sizes[i].name);
        rf_tensor_table_free(&file);
        free(bytes);
    }
}

int main(void)
{
    enum { BAD = sizeof bad_headers / sizeof bad_headers[0], FIXED = 6 };
    struct CMUnitTest tests[FIXED + BAD] = {
        cmocka_unit_test(header_longer_than_the_file_is_refused),
        cmocka_unit_test(file_shorter_than_its_length_field_is_refused),
        cmocka_unit_test(header_above_the_limit_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(tensors_are_sorted_and_found),
        cmocka_unit_test(every_dtype_has_its_size),
    };
    for (size_t i = 0; i < BAD; i++)
        tests[FIXED + i] =
            (struct CMUnitTest){bad_headers[i].name, refuses, NULL, NULL, (void *)(uintptr_t)&bad_headers[i]};
    return cmocka_run_group_tests_name("loader/safetensors", tests, NULL, NULL);
}

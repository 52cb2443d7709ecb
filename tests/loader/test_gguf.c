/* loader/gguf: files, right and wrong, from memory. */
#include "gguf_builder.h"
#include "engine/allocate.h"
#include "model_writer.h"

#include <stdio.h>
#include <stdlib.h>

static enum rf_status parse(struct rf_gguf *out, const unsigned char *bytes, uint64_t size,
                            struct rf_error *err)
{
    *err = (struct rf_error){0};
    return rf_gguf_parse(out, "m.gguf", bytes, size, err);
}

/* The file is refused with all of the words in one line. */
#define REFUSED(file, status, ...)                                                                           \
    do {                                                                                                     \
        uint64_t refused_size;                                                                               \
        unsigned char *refused_bytes = build(file, &refused_size);                                           \
        refused_exactly(refused_bytes, refused_size, status, (const char *const[]){__VA_ARGS__, NULL});      \
    } while (0)

/* A copy of exactly this size, so that reading behind it is seen. */
static void refused_exactly(unsigned char *bytes, uint64_t size, enum rf_status wanted,
                            const char *const *words)
{
    unsigned char *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    rf_free(bytes);
    struct rf_gguf gguf;
    struct rf_error err;
    assert_failure(parse(&gguf, exact, size, &err), &err, wanted, words);
    assert_null(gguf.values);
    assert_null(gguf.tensors.tensors);
    free(exact);
}

/* Metadata of every type and two tensors. */
static struct built_gguf sample(void)
{
    struct built_gguf f = {0};
    put_text(&f, "general.architecture", "qwen3");
    put_u32(&f, "a.u32", 7);
    put_f32(&f, "a.f32", 0.5f);
    put_bool(&f, "a.bool", true);
    put_head(&f, "a.u8", RF_GGUF_U8);
    add_raw(&f.values, "\xFF", 1);
    put_head(&f, "a.i8", RF_GGUF_I8);
    add_raw(&f.values, "\xFF", 1);
    put_head(&f, "a.u16", RF_GGUF_U16);
    add_raw(&f.values, "\x01\x80", 2);
    put_head(&f, "a.i16", RF_GGUF_I16);
    add_raw(&f.values, "\x01\x80", 2);
    put_head(&f, "a.i32", RF_GGUF_I32);
    add_u32(&f.values, 0xFFFFFFFEu);
    put_head(&f, "a.u64", RF_GGUF_U64);
    add_u64(&f.values, UINT64_MAX);
    put_head(&f, "a.i64", RF_GGUF_I64);
    add_u64(&f.values, UINT64_MAX);
    put_head(&f, "a.f64", RF_GGUF_F64);
    add_u64(&f.values, 0x3FF8000000000000u); /* 1.5 */
    put_array(&f, "a.texts", RF_GGUF_STRING, 3);
    add_string(&f.values, "one");
    add_string(&f.values, "");
    add_string(&f.values, "three");
    put_array(&f, "a.numbers", RF_GGUF_I32, 2);
    add_u32(&f.values, 5);
    add_u32(&f.values, 0xFFFFFFFFu);
    put_array(&f, "a.empty", RF_GGUF_F32, 0);
    put_tensor(&f, "w", 0, 3, 8, 96);
    put_tensor(&f, "b", 8, 2, 64, 136);
    return f;
}

/* ---- What is right ------------------------------------------------------------------------------------- */

static void every_type_is_described(void **state)
{
    (void)state;
    static const struct {
        const char *key, *words;
    } wanted[] = {
        {"a.u32", "u32 7"},
        {"a.f32", "f32 0.5"},
        {"a.bool", "bool true"},
        {"a.u8", "u8 255"},
        {"a.i8", "i8 -1"},
        {"a.u16", "u16 32769"},
        {"a.i16", "i16 -32767"},
        {"a.i32", "i32 -2"},
        {"a.u64", "u64 18446744073709551615"},
        {"a.i64", "i64 -1"},
        {"a.f64", "f64 1.5"},
        {"a.texts", "an array of 3 string"},
        {"a.none", "nothing"},
        {"a.empty", "an array of 0 f32"},
        {"general.architecture", "string \"qwen3\""},
    };
    struct built_gguf f = sample();
    struct rf_gguf gguf;
    struct rf_error err;
    uint64_t size;
    unsigned char *bytes = build(&f, &size);
    if (parse(&gguf, bytes, size, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        assert_string_equal(rf_gguf_describe(rf_gguf_find(&gguf, wanted[i].key)).text, wanted[i].words);
    assert_int_equal(gguf.version, 3);
    assert_int_equal(gguf.alignment, 32);
    rf_gguf_free(&gguf);
    rf_free(bytes);
}

static void values_are_read(void **state)
{
    (void)state;
    struct built_gguf f = sample();
    struct rf_gguf gguf;
    struct rf_error err;
    uint64_t size, number = 0;
    double real = 0;
    bool found, flag = false;
    struct rf_gguf_string text;
    const struct rf_gguf_value *array;
    unsigned char *bytes = build(&f, &size);
    assert_int_equal(parse(&gguf, bytes, size, &err), RF_OK);
    assert_int_equal(rf_gguf_uint(&gguf, "a.u16", 0, 99999, &number, NULL, &err), RF_OK);
    assert_int_equal(number, 32769);
    assert_int_equal(rf_gguf_uint(&gguf, "a.none", 0, 9, &number, &found, &err), RF_OK);
    assert_false(found);
    assert_int_equal(number, 32769);
    assert_int_equal(rf_gguf_number(&gguf, "a.f64", 0, 2, &real, &err), RF_OK);
    assert_true(real == 1.5);
    assert_int_equal(rf_gguf_bool(&gguf, "a.bool", false, &flag, &err), RF_OK);
    assert_true(flag);
    assert_int_equal(rf_gguf_text(&gguf, "general.architecture", &text, &err), RF_OK);
    assert_true(rf_gguf_equals(text, "qwen3") && !rf_gguf_equals(text, "qwen"));
    assert_int_equal(rf_gguf_array(&gguf, "a.texts", RF_GGUF_STRING, &array, &err), RF_OK);
    const unsigned char *at = array->data;
    assert_true(rf_gguf_equals(rf_gguf_next_string(&at), "one"));
    assert_true(rf_gguf_equals(rf_gguf_next_string(&at), ""));
    assert_true(rf_gguf_equals(rf_gguf_next_string(&at), "three"));
    assert_int_equal(rf_gguf_array(&gguf, "a.numbers", RF_GGUF_I32, &array, &err), RF_OK);
    assert_int_equal(rf_gguf_item_i32(array, 1), -1);
    /* Of another type, or out of range. */
    ASSERT_FAILURE(rf_gguf_uint(&gguf, "a.i64", 0, 9, &number, NULL, &err), err, RF_ERROR_FORMAT, "\"a.i64\"",
                   "i64 -1", "from 0 to 9");
    ASSERT_FAILURE(rf_gguf_uint(&gguf, "a.f32", 0, 9, &number, &found, &err), err, RF_ERROR_FORMAT,
                   "f32 0.5");
    ASSERT_FAILURE(rf_gguf_uint(&gguf, "a.none", 0, 9, &number, NULL, &err), err, RF_ERROR_FORMAT, "nothing");
    ASSERT_FAILURE(rf_gguf_number(&gguf, "a.u32", 0, 9, &real, &err), err, RF_ERROR_FORMAT, "u32 7",
                   "a number");
    ASSERT_FAILURE(rf_gguf_number(&gguf, "a.f32", 1, 9, &real, &err), err, RF_ERROR_FORMAT, "0.5",
                   "from 1 to 9");
    ASSERT_FAILURE(rf_gguf_bool(&gguf, "a.u8", false, &flag, &err), err, RF_ERROR_FORMAT, "u8 255", "a bool");
    ASSERT_FAILURE(rf_gguf_text(&gguf, "a.texts", &text, &err), err, RF_ERROR_FORMAT, "array of 3",
                   "a string");
    ASSERT_FAILURE(rf_gguf_array(&gguf, "a.numbers", RF_GGUF_STRING, &array, &err), err, RF_ERROR_FORMAT,
                   "array of 2 i32", "an array of string");
    rf_gguf_free(&gguf);
    rf_free(bytes);
}

/* Versions 2 and 3 are laid out alike. Shapes come slowest first. */
static void tensors_are_placed(void **state)
{
    (void)state;
    for (unsigned char version = 2; version <= 3; version++) {
        struct built_gguf f = sample();
        struct rf_gguf gguf;
        struct rf_error err;
        uint64_t size;
        unsigned char *bytes = build(&f, &size);
        bytes[4] = version;
        assert_int_equal(parse(&gguf, bytes, size, &err), RF_OK);
        assert_int_equal(gguf.tensors.count, 2);
        const struct rf_tensor *w = rf_tensor_table_find(&gguf.tensors, "w");
        const struct rf_tensor *b = rf_tensor_table_find(&gguf.tensors, "b");
        assert_non_null(w);
        assert_non_null(b);
        assert_int_equal(w->dtype, RF_DTYPE_F32);
        assert_int_equal(w->rank, 2);
        assert_int_equal(w->shape[0], 3);
        assert_int_equal(w->shape[1], 8);
        assert_int_equal(w->bytes, 96);
        assert_int_equal(b->dtype, RF_DTYPE_Q8_0);
        assert_int_equal(b->bytes, 136);
        assert_int_equal(rf_tensor_elements(b), 128);
        assert_ptr_equal(b->data, (const unsigned char *)w->data + 96);
        assert_ptr_equal(b->data, bytes + size - 160);
        assert_string_equal(w->file, "m.gguf");
        rf_gguf_free(&gguf);
        rf_free(bytes);
    }
}

/* ---- What is wrong ------------------------------------------------------------------------------------- */

static void wrong_beginnings_are_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        const char *bytes;
        size_t count;
        enum rf_status status;
        const char *words;
    } changes[] = {
        {0, "GGML", 4, RF_ERROR_FORMAT, "begins with \"GGML\", wanted \"GGUF\""},
        {4, "\x01", 1, RF_ERROR_UNSUPPORTED, "version is 1, wanted 2 or 3"},
        {4, "\x04", 1, RF_ERROR_UNSUPPORTED, "version is 4"},
        {4, "\0\0\0\x03", 4, RF_ERROR_UNSUPPORTED, "big-endian"},
        {8, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8, RF_ERROR_FORMAT, "18446744073709551615 tensors"},
        {8, "\0\0\x10", 3, RF_ERROR_FORMAT, "1048576 tensors, but only"},
        {16, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8, RF_ERROR_FORMAT, "18446744073709551615 metadata keys"},
        {16, "\0\0\x10", 3, RF_ERROR_FORMAT, "1048576 metadata keys, but only"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct built_gguf f = sample();
        uint64_t size;
        unsigned char *bytes = build(&f, &size);
        memcpy(bytes + changes[i].at, changes[i].bytes, changes[i].count);
        refused_exactly(bytes, size, changes[i].status,
                        (const char *const[]){"m.gguf: ", changes[i].words, NULL});
    }
}

/* Cut anywhere, the file is refused, and nothing is read behind its end. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct built_gguf f = sample();
    uint64_t size;
    unsigned char *bytes = build(&f, &size);
    for (uint64_t cut = 0; cut < size - 24; cut++) { /* the last 24 bytes are padding */
        unsigned char *copy = rf_malloc(cut + 1);
        assert_non_null(copy);
        memcpy(copy, bytes, cut);
        refused_exactly(copy, cut, RF_ERROR_FORMAT, (const char *const[]){"m.gguf: ", NULL});
    }
    rf_free(bytes);
}

static void wrong_metadata_is_refused(void **state)
{
    (void)state;
    struct built_gguf f = sample();
    put_u32(&f, "a.u32", 8);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"a.u32\": stands there twice");
    f = sample();
    put_head(&f, "a.what", 13);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"a.what\": its type is 13");
    f = sample();
    put_array(&f, "a.what", 77, 1);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"a.what\": its items' type is 77");
    f = sample();
    put_array(&f, "a.nested", RF_GGUF_ARRAY, 1);
    REFUSED(&f, RF_ERROR_UNSUPPORTED, "metadata \"a.nested\": is an array of arrays");
    f = sample();
    put_array(&f, "a.huge", RF_GGUF_U64, UINT64_C(1) << 61);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"a.huge\": is said to have 2305843009213693952 items",
            "truncated");
    f = sample();
    put_array(&f, "a.huge", RF_GGUF_STRING, 1000);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"a.huge\": is said to have 1000 items");
    f = sample();
    put_head(&f, "a.long", RF_GGUF_STRING);
    add_u64(&f.values, UINT64_MAX);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"a.long\": wants 18446744073709551615 bytes", "truncated");
    f = sample();
    put_head(&f, "a.bad", RF_GGUF_BOOL);
    add_raw(&f.values, "\x02", 1);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"a.bad\": is a bool of value 2");
    f = sample();
    put_u32(&f, "", 1);
    REFUSED(&f, RF_ERROR_FORMAT, "metadata key 16 of 16", "wanted 1 to 255");
    f = sample();
    put_u32(&f, "a\nb", 1);
    REFUSED(&f, RF_ERROR_FORMAT, "control character");
    f = sample();
    put_u32(&f, "a\xFF", 1);
    REFUSED(&f, RF_ERROR_FORMAT, "no UTF-8");
}

static void wrong_alignments_are_refused(void **state)
{
    (void)state;
    static const uint32_t wrong[] = {0, 3, 48, 1 << 17};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct built_gguf f = sample();
        put_u32(&f, "general.alignment", wrong[i]);
        REFUSED(&f, RF_ERROR_FORMAT, "metadata \"general.alignment\": is");
    }
    struct built_gguf f = sample();
    put_text(&f, "general.alignment", "32");
    REFUSED(&f, RF_ERROR_FORMAT, "metadata \"general.alignment\": is string \"32\"");
    f = sample();
    put_u32(&f, "general.alignment", 64); /* the second tensor begins at byte 96 */
    REFUSED(&f, RF_ERROR_FORMAT, "tensor b: begins at byte 96", "a multiple of 64");
}

static void wrong_tensors_are_refused(void **state)
{
    (void)state;
    static const uint64_t one[] = {8}, zero[] = {8, 0}, row[] = {40, 2};
    static const uint64_t huge[] = {1u << 31, 1u << 31, 1u << 31, 2, 2}, large[] = {UINT64_C(1) << 61, 1};
    static const struct {
        uint32_t rank, type;
        uint64_t offset;
        const uint64_t *dimensions;
        enum rf_status status;
        const char *words;
    } wrong[] = {
        {0, 0, 0, one, RF_ERROR_FORMAT, "tensor \"x\": has 0 dimensions, wanted 1 to 4"},
        {5, 0, 0, huge, RF_ERROR_FORMAT, "tensor \"x\": has 5 dimensions"},
        {2, 0, 0, zero, RF_ERROR_FORMAT, "tensor \"x\": has a dimension of size 0"},
        {1, 4, 0, one, RF_ERROR_FORMAT, "tensor \"x\": type is 4, which is no type"},
        {1, 4294967295u, 0, one, RF_ERROR_FORMAT, "type is 4294967295"},
        {1, 13, 0, one, RF_ERROR_UNSUPPORTED, "tensor \"x\": type is Q5_K, wanted F32, F16, BF16, Q8_0"},
        {2, 8, 0, row, RF_ERROR_FORMAT, "a row of shape [2, 40] has 40 elements, wanted a multiple of 32"},
        {4, 0, 0, huge, RF_ERROR_FORMAT, "is larger than any file"},
        {2, 27, 0, large, RF_ERROR_FORMAT, "is larger than any file"},
        {1, 0, 4, one, RF_ERROR_FORMAT, "tensor x: begins at byte 4 of the data, wanted a multiple of 32"},
        {1, 0, 0, one, RF_ERROR_FORMAT, "overlaps tensor"},
        {1, 0, 192, one, RF_ERROR_FORMAT, "tensor b: overlaps tensor x"},
        {1, 0, 256, one, RF_ERROR_FORMAT,
         "tensor x: has 32 bytes from byte 256 of the data, but the file holds 256"},
        {1, 0, UINT64_MAX - 31, one, RF_ERROR_FORMAT, "from byte 18446744073709551584 of the data"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct built_gguf f = {0};
        put_tensor(&f, "w", 0, 3, 8, 96);
        if (i == 11) { /* b begins in the middle of x */
            static const uint64_t four[] = {32};
            put_info(&f, "x", 1, four, 0, 96);
        }
        put_tensor(&f, "b", 8, 2, 64, 136);
        if (i != 11)
            put_info(&f, "x", wrong[i].rank, wrong[i].dimensions, wrong[i].type, wrong[i].offset);
        REFUSED(&f, wrong[i].status, wrong[i].words);
    }
    struct built_gguf f = sample();
    put_tensor(&f, "w", 0, 3, 8, 96);
    REFUSED(&f, RF_ERROR_FORMAT, "tensor w: stands there twice");
    f = sample();
    put_tensor(&f, "a\x01", 0, 3, 8, 96);
    REFUSED(&f, RF_ERROR_FORMAT, "tensor 3 of 3", "control character");
}

/* Each known type that we do not have is named. */
static void foreign_types_are_named(void **state)
{
    (void)state;
    static const uint32_t numbers[] = {3,  6,  7,  9,  10, 11, 13, 15, 16, 17, 18,
                                       19, 20, 21, 22, 23, 29, 34, 35, 39, 40};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct built_gguf f = {0};
        put_tensor(&f, "w", numbers[i], 1, 256, 256);
        REFUSED(&f, RF_ERROR_UNSUPPORTED, "tensor \"w\": type is ", ", wanted F32");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_described),      cmocka_unit_test(values_are_read),
        cmocka_unit_test(tensors_are_placed),           cmocka_unit_test(wrong_beginnings_are_refused),
        cmocka_unit_test(every_truncation_is_refused),  cmocka_unit_test(wrong_metadata_is_refused),
        cmocka_unit_test(wrong_alignments_are_refused), cmocka_unit_test(wrong_tensors_are_refused),
        cmocka_unit_test(foreign_types_are_named),
    };
    return cmocka_run_group_tests_name("loader/gguf", tests, NULL, NULL);
}

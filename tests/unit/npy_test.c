/* NPY headers as NumPy and others write them, damaged ones, and every value of the narrow types. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/npy.h"

static uint8_t file[70000];
static char why[256];

/* A file's beginning in the given format; its bytes. */
static size_t make(unsigned major, const char *dict)
{
    size_t length = strlen(dict), head = major == 1 ? 10 : 12;
    memcpy(file, "\x93NUMPY", 6);
    file[6] = (uint8_t)major;
    file[7] = 0;
    if (major == 1)
        store16(file + 8, (uint16_t)length);
    else
        store32(file + 8, (uint32_t)length);
    memcpy(file + head, dict, length);
    return head + length;
}

/* From an allocation of exactly its size, so that ASan sees a read past it. */
static enum error parse(size_t bytes, struct npy_header *header)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    memcpy(copy, file, bytes);
    why[0] = 0;
    enum error error = npy_parse(copy, bytes, header, why, sizeof why);
    free(copy);
    return error;
}

static void assert_header(unsigned major, const char *dict, enum npy_type type, uint64_t rows,
                          uint32_t dim)
{
    static const uint32_t sizes[] = {4, 8, 2, 1, 1};
    struct npy_header header;
    size_t bytes = make(major, dict);
    if (parse(bytes + 100, &header) != OK)
        fail_msg("%s: %s", dict, why);
    assert_int_equal(header.type, type);
    assert_int_equal(header.rows, rows);
    assert_int_equal(header.dim, dim);
    assert_int_equal(header.row_bytes, dim * sizes[type]);
    assert_int_equal(header.header_bytes, bytes);
    for (size_t cut = 0; cut < bytes; cut++)
        assert_int_equal(parse(cut, &header), ERROR_BUSY);
}

static void test_headers(void **state)
{
    (void)state;
    /* As NumPy 1 and 2 write it: padded with blanks and a newline. */
    assert_header(1,
                  "{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 768), }             "
                  "                                       \n",
                  NPY_FLOAT32, 1000, 768);
    assert_header(2, "{'descr': '<f2', 'fortran_order': False, 'shape': (3, 4), }\n", NPY_FLOAT16,
                  3, 4);
    assert_header(3, "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4), }\n", NPY_UINT8, 3,
                  4);
    assert_header(1, "{'descr': '|i1', 'fortran_order': False, 'shape': (0, 65536)}", NPY_INT8, 0,
                  65536);
    assert_header(1, "{\"shape\":(3,4),\"fortran_order\":False,\"descr\":\"=f4\"}", NPY_FLOAT32, 3,
                  4);
    assert_header(1, " { 'shape' : ( 3 , 4 , ) , 'descr' : 'u1' , 'fortran_order' : False , } \t\n",
                  NPY_UINT8, 3, 4);
    assert_header(1, "{'descr':'=f2','fortran_order':False,'shape':(3L,4L)}", NPY_FLOAT16, 3, 4);
    assert_header(1, "{'descr':'i1','fortran_order':False,'shape':(3,1)}", NPY_INT8, 3, 1);
    assert_header(1, "{'descr':'>u1','fortran_order':False,'shape':(3,4)}", NPY_UINT8, 3, 4);
    assert_header(1, "{'descr':'f4','fortran_order':False,'shape':(2305843009213693951,1)}",
                  NPY_FLOAT32, UINT64_C(2305843009213693951), 1);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dict, *why;
    } cases[] = {
        {"{'descr':'<c8','fortran_order':False,'shape':(3,4)}", "unknown dtype '<c8'"},
        {"{'descr':'>f8','fortran_order':False,'shape':(3,4)}", "'>f8' is big-endian"},
        {"{'descr':'|b1','fortran_order':False,'shape':(3,4)}", "unknown dtype '|b1'"},
        {"{'descr':'<i4','fortran_order':False,'shape':(3,4)}", "unknown dtype '<i4'"},
        {"{'descr':'|O','fortran_order':False,'shape':(3,4)}", "unknown dtype '|O'"},
        {"{'descr':'','fortran_order':False,'shape':(3,4)}", "unknown dtype ''"},
        {"{'descr':'<','fortran_order':False,'shape':(3,4)}", "unknown dtype '<'"},
        {"{'descr':'>f4','fortran_order':False,'shape':(3,4)}", "'>f4' is big-endian"},
        {"{'descr':'>f2','fortran_order':False,'shape':(3,4)}", "'>f2' is big-endian"},
        {"{'descr':[('a','<f4')],'fortran_order':False,'shape':(3,)}", "not a simple one"},
        {"{'descr':'<f4','fortran_order':True,'shape':(3,4)}", "Fortran order"},
        {"{'descr':'<f4','fortran_order':0,'shape':(3,4)}", "neither True nor False"},
        {"{'descr':'<f4','fortran_order':Falsey,'shape':(3,4)}", "not a dict"},
        {"{'descr':'<f4','fortran_order':False,'shape':(12,)}", "has 1 dimensions"},
        {"{'descr':'<f4','fortran_order':False,'shape':()}", "has 0 dimensions"},
        {"{'descr':'<f4','fortran_order':False,'shape':(1,2,3)}", "has 3 dimensions"},
        {"{'descr':'<f4','fortran_order':False,'shape':[3,4]}", "not a tuple"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3 4)}", "not a tuple of integers"},
        {"{'descr':'<f4','fortran_order':False,'shape':(-3,4)}", "not a tuple of integers"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,4", "not a tuple of integers"},
        {"{'descr':'<f4','fortran_order':False,'shape':(,)}", "not a tuple of integers"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,,4)}", "not a tuple of integers"},
        {"{'descr':'<f4','fortran_order':False,'shape':(99999999999999999999,4)}",
         "not a tuple of integers"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,0)}", "rows of 0 values"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,65537)}", "rows of 65537 values"},
        {"{'descr':'<f4','fortran_order':False,'shape':(18446744073709551615,4)}", "too many"},
        {"{'descr':'<f4','fortran_order':False,'shape':(2305843009213693952,1)}", "too many"},
        {"{'descr':'<f4','shape':(3,4)}", "lacks"},
        {"{}", "lacks"},
        {"{'descr':'<f4','descr':'<f4','fortran_order':False,'shape':(3,4)}", "key 'descr'"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,4),'x':1}", "key 'x'"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,4)} x", "goes on"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,4)}}", "goes on"},
        {"{'descr':'<f4' 'fortran_order':False,'shape':(3,4)}", "not a dict"},
        {"{'descr':'<f4',,'fortran_order':False,'shape':(3,4)}", "not a dict"},
        {"{,'descr':'<f4','fortran_order':False,'shape':(3,4)}", "not a dict"},
        {"{'descr':'<f4','fortran_order':False,'shape':(3,4)", "not a dict"},
        {"{'descr:'<f4'}", "not a dict"},
        {"{'descr", "not a dict"},
        {"['descr']", "not a dict"},
        {"", "not a dict"},
        {"   ", "not a dict"},
    };
    struct npy_header header;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned major = 1; major <= 3; major++) {
            enum error error = parse(make(major, cases[i].dict), &header);
            if (error != ERROR_INVALID || !strstr(why, cases[i].why))
                fail_msg("%s: %d %s", cases[i].dict, error, why);
        }
}

static void test_envelope(void **state)
{
    (void)state;
    struct npy_header header;
    const char *dict = "{'descr':'<f4','fortran_order':False,'shape':(3,4)}";
    size_t bytes = make(1, dict);
    file[0] = 'P';
    assert_int_equal(parse(bytes, &header), ERROR_INVALID);
    assert_int_equal(parse(1, &header), ERROR_INVALID); /* said at once, not after more bytes */
    make(1, dict);
    file[6] = 4;
    assert_int_equal(parse(bytes, &header), ERROR_INVALID);
    assert_non_null(strstr(why, "format 4.0"));
    make(1, dict);
    file[7] = 1;
    assert_int_equal(parse(bytes, &header), ERROR_INVALID);
    make(1, dict);
    file[6] = 0;
    assert_int_equal(parse(bytes, &header), ERROR_INVALID);
    make(2, dict);
    store32(file + 8, 0xffffffff);
    assert_int_equal(parse(12, &header), ERROR_INVALID); /* never wait for four gigabytes */
    assert_non_null(strstr(why, "too large"));
    make(2, dict);
    store32(file + 8, 65535);
    assert_int_equal(parse(12, &header), ERROR_BUSY);
    /* A text too small for the complaint is cut, not overrun. */
    char small[8];
    make(1, "['descr']");
    assert_int_equal(npy_parse(file, 19, &header, small, sizeof small), ERROR_INVALID);
    assert_int_equal(strlen(small), 7);
}

/* ---- rows ---- */

/* What a half means, by its definition. */
static double half_meaning(uint16_t half)
{
    int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
    double v = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return half & 0x8000 ? -v : v;
}

static void test_float16(void **state)
{
    (void)state;
    struct npy_header header = {.type = NPY_FLOAT16, .rows = 1, .dim = 1, .row_bytes = 2};
    for (uint32_t half = 0; half < 65536; half++) {
        uint8_t row[2];
        float out;
        uint32_t bad = 99;
        store16(row, (uint16_t)half);
        bool finite = (half & 0x7c00) != 0x7c00;
        assert_true(npy_row(&header, row, &out, &bad) == finite);
        if (!finite) {
            assert_int_equal(bad, 0);
            continue;
        }
        assert_true((double)out == half_meaning((uint16_t)half));
        assert_true((signbit(out) != 0) == (half >> 15 != 0));
    }
}

static void test_bytes(void **state)
{
    (void)state;
    uint8_t row[256];
    float out[256];
    uint32_t bad;
    for (int i = 0; i < 256; i++)
        row[i] = (uint8_t)i;
    struct npy_header header = {.type = NPY_UINT8, .rows = 1, .dim = 256, .row_bytes = 256};
    assert_true(npy_row(&header, row, out, &bad));
    for (int i = 0; i < 256; i++)
        assert_true(out[i] == (float)i);
    header.type = NPY_INT8;
    assert_true(npy_row(&header, row, out, &bad));
    for (int i = 0; i < 256; i++)
        assert_true(out[i] == (float)(i < 128 ? i : i - 256));
}

/* Rows at odd addresses, of every length, with each kind of bad value in each place. */
static void test_float32(void **state)
{
    (void)state;
    static const float kinds[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (uint32_t dim = 1; dim < 70; dim++) {
        uint8_t *memory = malloc(4 * (size_t)dim + 1), *row = memory + 1;
        struct npy_header header = {
            .type = NPY_FLOAT32, .rows = 1, .dim = dim, .row_bytes = 4 * dim};
        float out[70];
        uint32_t bad;
        for (uint32_t i = 0; i < dim; i++)
            store_float(row + 4 * (size_t)i, i % 3 ? (float)i : i % 2 ? 3.4028235e38f : -1e-45f);
        assert_true(npy_row(&header, row, out, &bad));
        assert_memory_equal(out, row, 4 * (size_t)dim);
        for (uint32_t place = 0; place < dim; place++) {
            float kept = load_float(row + 4 * (size_t)place);
            store_float(row + 4 * (size_t)place, kinds[place % 4]);
            assert_false(npy_row(&header, row, out, &bad));
            assert_int_equal(bad, place);
            store_float(row + 4 * (size_t)place, kept);
        }
        free(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_envelope), cmocka_unit_test(test_float16),
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_float32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

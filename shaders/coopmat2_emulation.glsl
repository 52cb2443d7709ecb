// What matmul_coopmat2.comp leaves to the driver, as loops over elements: factors in shared memory, an
// invocation has every LOCAL-th sum. Layouts, views, blocks and clamping follow
// GLSL_NV_cooperative_matrix2's definition of coopMatLoadTensorNV, for views without dimensions of their
// own, constant clamping to zero and up to three dimensions. For tests only: see EMULATE there.

struct tensor_layout {
    uint dimensions, dimension[3], stride[3], block[3], offset[3], span[3];
};

struct tensor_view {
    uint permutation[3];
};

// Where an element of a matrix lies: outside of the tensor, or in which block and where in it.
struct tensor_element {
    bool inside;
    uint index, block[3], within[3]; // index counts blocks
};

#define CLAMP 1
#define LAYOUT(DIMENSIONS) tensor_layout
#define VIEW_2(A, B) tensor_view
#define VIEW_3(A, B, C) tensor_view
#define createTensorLayoutNV emulated_layout
#define setTensorLayoutBlockSizeNV emulated_block_size
#define setTensorLayoutDimensionNV emulated_dimension
#define setTensorLayoutStrideNV emulated_stride
#define sliceTensorLayoutNV emulated_slice
#define createTensorViewNV emulated_view

tensor_layout emulated_layout(uint dimensions, uint clamp_mode)
{
    return tensor_layout(dimensions, uint[3](0, 0, 0), uint[3](0, 0, 0), uint[3](1, 1, 1), uint[3](0, 0, 0),
                         uint[3](0, 0, 0));
}

tensor_layout emulated_block_size(tensor_layout t, uint a, uint b)
{
    t.block = uint[3](a, b, 1);
    return t;
}

tensor_layout emulated_dimension(tensor_layout t, uint a, uint b, uint c)
{
    t.dimension = t.span = uint[3](a, b, c);
    uint stride = 1;
    for (int d = int(t.dimensions) - 1; d >= 0; d--) {
        t.stride[d] = stride;
        stride *= (t.dimension[d] + t.block[d] - 1) / t.block[d];
    }
    return t;
}

tensor_layout emulated_dimension(tensor_layout t, uint a, uint b)
{
    return emulated_dimension(t, a, b, 1);
}

tensor_layout emulated_stride(tensor_layout t, uint a, uint b, uint c)
{
    t.stride = uint[3](a, b, c);
    return t;
}

tensor_layout emulated_slice(tensor_layout t, uint first_a, uint span_a, uint first_b, uint span_b,
                             uint first_c, uint span_c)
{
    t.offset = uint[3](t.offset[0] + first_a, t.offset[1] + first_b, t.offset[2] + first_c);
    t.span = uint[3](span_a, span_b, span_c);
    return t;
}

tensor_layout emulated_slice(tensor_layout t, uint first_a, uint span_a, uint first_b, uint span_b)
{
    return emulated_slice(t, first_a, span_a, first_b, span_b, 0, 1);
}

tensor_view emulated_view(uint dimensions, bool has_dimensions, uint a, uint b, uint c)
{
    return tensor_view(uint[3](a, b, c));
}

tensor_view emulated_view(uint dimensions, bool has_dimensions, uint a, uint b)
{
    return tensor_view(uint[3](a, b, 2));
}

// `index`: of the matrix, row by row. Without dimensions of its own a view only changes their order.
tensor_element locate(tensor_layout t, tensor_view v, uint index)
{
    tensor_element e = tensor_element(true, 0, uint[3](0, 0, 0), uint[3](0, 0, 0));
    for (int d = int(t.dimensions) - 1; d >= 0; d--) {
        uint i = v.permutation[d], at = index % t.span[i] + t.offset[i];
        index /= t.span[i];
        e.inside = e.inside && at < t.dimension[i];
        e.block[i] = at / t.block[i];
        e.within[i] = at % t.block[i];
        e.index += e.block[i] * t.stride[i];
    }
    return e;
}

shared float16_t x_tile[ROWS * TILE_K];         // rows by k
shared float16_t w_tile[TILE_K * TILE_COLUMNS]; // k by columns
const uint SUMS = ROWS * TILE_COLUMNS / LOCAL;
float acc[SUMS]; // sum i is element i * LOCAL + invocation, rows by columns

#define DECLARE_MATRICES
#define CLEAR_SUMS() \
    [[dont_unroll]] for (uint i = 0; i < SUMS; i++) { \
        acc[i] = 0.0; \
    }

#define LOAD_X(ARRAY, TENSOR, VIEW) \
    [[dont_unroll]] for (uint i = gl_LocalInvocationID.x; i < ROWS * TILE_K; i += LOCAL) { \
        tensor_element e = locate(TENSOR, VIEW, i); \
        x_tile[i] = float16_t(0.0); \
        if (e.inside) { \
            x_tile[i] = ARRAY[e.index]; \
        } \
    }

#define LOAD_W(ARRAY, TENSOR, VIEW, DECODE) \
    [[dont_unroll]] for (uint i = gl_LocalInvocationID.x; i < TILE_K * TILE_COLUMNS; i += LOCAL) { \
        tensor_element e = locate(TENSOR, VIEW, i); \
        w_tile[i] = float16_t(0.0); \
        if (e.inside) { \
            w_tile[i] = DECODE(RfBlock(push.w), uint[2](e.block[0], e.block[1]), \
                               uint[2](e.within[0], e.within[1])); \
        } \
    }

// Eight of k at once: Mesa 22's lavapipe leaves a shader's loops after 65535 steps, all of them together.
// Unrolled, they would take it minutes to compile.
#define PRODUCT(K) float(x_tile[x_first + K]) * float(w_tile[w_first + K * TILE_COLUMNS])
#define MULTIPLY() \
    barrier(); \
    [[dont_unroll]] for (uint i = 0; i < SUMS; i++) { \
        uint e = i * LOCAL + gl_LocalInvocationID.x; \
        [[dont_unroll]] for (uint k = 0; k < TILE_K; k += 8) { \
            uint x_first = e / TILE_COLUMNS * TILE_K + k; \
            uint w_first = k * TILE_COLUMNS + e % TILE_COLUMNS; \
            acc[i] += PRODUCT(0) + PRODUCT(1) + PRODUCT(2) + PRODUCT(3); \
            acc[i] += PRODUCT(4) + PRODUCT(5) + PRODUCT(6) + PRODUCT(7); \
        } \
    } \
    barrier()

#define FOR_SUMS(FUNCTION, ARGUMENT) \
    [[dont_unroll]] for (uint i = 0; i < SUMS; i++) { \
        uint e = i * LOCAL + gl_LocalInvocationID.x; \
        acc[i] = FUNCTION(e / TILE_COLUMNS, e % TILE_COLUMNS, acc[i], ARGUMENT); \
    }

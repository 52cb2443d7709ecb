// What matmul_int8.comp and matmul_int8_few.comp share: blocks of 32 of k of four columns as int8, their
// product with a block of activations, and SwiGLU products as such blocks again. Included after
// matmul_sums.glsl. Integer sums are exact: |a sum over 32| <= 32 * 128 * 127.
#define INT8_TO_BITS
#include "int8.glsl"

// OpSDot of packed vectors, as an instruction: older compilers lack GL_EXT_integer_dot_product. Capabilities
// DotProduct and DotProductInput4x8BitPacked; the last operand is PackedVectorFormat4x8Bit.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int dot_4x8(int a, int b, spirv_literal int format);

// What int8 numbers of four columns are multiplied by: one factor for 32 of k, or one for each 16; Q4_K takes
// `minimum` times the activations' sum off.
#ifdef WEIGHT_Q6_K
const uint FACTORS = 2;
#else
const uint FACTORS = 1;
#endif
struct int8_block {
    uvec4 q[8]; // word i: k 4 i..4 i + 3 of each column
    vec4 factors[FACTORS];
    vec4 minimum;
};

// The octet's numbers, k 0..3 and 4..7. Where a format takes 8 or 32 off, the numbers less that are brought
// to the top of their bytes, 16 or 4 times as large, which the factors undo: exactly, and for an xor.
void octet_int8(WORDS u[OCTET_WORDS], out uvec4 low, out uvec4 high)
{
#if defined(WEIGHT_Q8_0)
    low = u[0];
    high = u[1];
#elif defined(WEIGHT_Q4_0)
    uvec4 v = u[0] ^ 0x88888888u;
    low = (v << 4) & 0xf0f0f0f0u;
    high = v & 0xf0f0f0f0u;
#elif defined(WEIGHT_Q4_K)
    low = u[0] & 0x0f0f0f0fu;
    high = (u[0] >> 4) & 0x0f0f0f0fu;
#elif defined(WEIGHT_Q6_K)
    low = ((u[0] << 2 & 0x3c3c3c3cu) | (u[1] << 6 & 0xc0c0c0c0u)) ^ 0x80808080u;
    high = ((u[0] >> 2 & 0x3c3c3c3cu) | (u[1] << 4 & 0xc0c0c0c0u)) ^ 0x80808080u;
#endif
}

// Factors of block b of columns 4 half_..4 half_ + 3; `base` is their block's first uvec4.
void load_factors(uint base, uint b, uint half_, out vec4 factors[FACTORS], out vec4 minimum)
{
    scale s = load_scale(push.w, base, push.k, 4 * b, half_);
    factors[0] = s.a;
    minimum = s.b;
#if defined(WEIGHT_Q4_0)
    factors[0] *= 0.0625;
#elif defined(WEIGHT_Q6_K)
    factors[0] *= 0.25;
    factors[1] = load_scale(push.w, base, push.k, 4 * b + 2, half_).a * 0.25;
#endif
}

ivec4 add_dots(ivec4 sum, uvec4 w, uint x)
{
    return sum + ivec4(dot_4x8(int(w.x), int(x), 0), dot_4x8(int(w.y), int(x), 0), dot_4x8(int(w.z), int(x), 0),
                       dot_4x8(int(w.w), int(x), 0));
}

ivec4 dots(uvec4 a, uvec4 b, uvec4 c, uvec4 d, uvec4 x, ivec4 sum)
{
    return add_dots(add_dots(add_dots(add_dots(sum, a, x.x), b, x.y), c, x.z), d, x.w);
}

// The block's part of four sums, for a row's 16 + 16 int8 and {scale, scale * sum}.
vec4 block_product(int8_block w, uvec4 low, uvec4 high, vec2 numbers)
{
    ivec4 sum = dots(w.q[0], w.q[1], w.q[2], w.q[3], low, ivec4(0));
#ifdef WEIGHT_Q6_K
    vec4 total = w.factors[0] * vec4(sum);
    total += w.factors[1] * vec4(dots(w.q[4], w.q[5], w.q[6], w.q[7], high, ivec4(0)));
#else
    vec4 total = w.factors[0] * vec4(dots(w.q[4], w.q[5], w.q[6], w.q[7], high, sum));
#endif
    total *= numbers.x;
#ifdef WEIGHT_Q4_K
    total -= w.minimum * numbers.y;
#endif
    return total;
}

vec2 int8_numbers(uvec4 two, uint m)
{
    return uintBitsToFloat(m % 2 == 0 ? two.xy : two.zw);
}

// SWIGLU_INT8: the 32 products of the tile of 64 columns from n on, as a block of the row.
void write_swiglu_int8(vec4 products[8], uint m, uint n)
{
    uvec4 low, high;
    uvec2 numbers;
    make_int8(products, low, high, numbers);
    uint at = 4 * ((push.column_first + n) / RF_LOGIT_TILE * RF_INT8_BLOCK(push.ldy));
    uint first = at + 4 * m, second = first + 4 * push.ldy, last = at + 8 * push.ldy + 2 * m;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        push.y.x[first + i] = low[i];
        push.y.x[second + i] = high[i];
    }
    push.y.x[last] = numbers.x;
    push.y.x[last + 1] = numbers.y;
}

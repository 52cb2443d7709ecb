// Activations as int8 blocks of 32 (layout: shared.h), written by whatever precedes a product: rmsnorm,
// attention, SwiGLU. scale = max |x| / 127, numbers rounded to nearest. A block whose largest number is below
// 1e-30 is zeros. A block with an infinity or a NaN gets a scale of NaN, and so does every sum of its row
// that it enters; other rows never see it. Included after refs.glsl.

const uint INT8_INFINITE = 0x7f800000u;
const uint INT8_LEAST = 0x0da24260u; // 1e-30: 127 / x is still finite

uint int8_word(vec4 v)
{
    uvec4 q = uvec4(ivec4(v)) & 255u;
    return q.x | q.y << 8 | q.z << 16 | q.w << 24;
}

// The block's 32 int8 and {scale, scale * sum}. Bits of absolute values are in the values' order, infinities
// and NaN on top.
void make_int8(vec4 v[8], out uvec4 low, out uvec4 high, out uvec2 numbers)
{
    uvec4 tops = uvec4(0);
    [[unroll]] for (uint i = 0; i < 8; i++) {
        tops = max(tops, floatBitsToUint(v[i]) & 0x7fffffffu);
    }
    uint top = max(max(tops.x, tops.y), max(tops.z, tops.w));
    bool empty = top < INT8_LEAST || top >= INT8_INFINITE;
    float most = uintBitsToFloat(empty ? 0x3f800000u : top), inverse = 127.0 / most;
    vec4 sum = vec4(0.0);
    [[unroll]] for (uint i = 0; i < 8; i++) {
        v[i] = empty ? vec4(0.0) : clamp(roundEven(v[i] * inverse), vec4(-127.0), vec4(127.0));
        sum += v[i];
    }
    low = uvec4(int8_word(v[0]), int8_word(v[1]), int8_word(v[2]), int8_word(v[3]));
    high = uvec4(int8_word(v[4]), int8_word(v[5]), int8_word(v[6]), int8_word(v[7]));
    float scale = empty ? 0.0 : most / 127.0;
    numbers = floatBitsToUint(vec2(scale, scale * (sum.x + sum.y + sum.z + sum.w)));
    if (top >= INT8_INFINITE) {
        numbers = uvec2(0x7fc00000u);
    }
}

#ifndef INT8_TO_BITS
// Block b of row m.
void store_int8(RfQuads to, vec4 v[8], uint b, uint m, uint ld)
{
    uvec4 low, high;
    uvec2 numbers;
    make_int8(v, low, high, numbers);
    uint at = b * RF_INT8_BLOCK(ld);
    to.x[at + m] = low;
    to.x[at + ld + m] = high;
    to.x[at + 2 * ld + m / 2][m % 2 * 2] = numbers.x;
    to.x[at + 2 * ld + m / 2][m % 2 * 2 + 1] = numbers.y;
}

// The same from 8 quads of an array in shared memory.
#define store_int8_quads(TO, FROM, AT, B, M, LD) \
    { \
        vec4 v[8]; \
        [[unroll]] for (uint i = 0; i < 8; i++) { \
            v[i] = FROM[(AT) + i]; \
        } \
        store_int8(TO, v, B, M, LD); \
    }
#endif

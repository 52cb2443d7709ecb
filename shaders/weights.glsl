// Eight consecutive weights of a row-major weight matrix as two vec4. One of WEIGHT_BF16, WEIGHT_F16,
// WEIGHT_F32 is defined. 16-bit weights come in pairs in 32-bit words, low half first: no 16-bit storage is
// needed. An "octet" is eight weights: octet o of a matrix [n][k] with k a multiple of 8 is row o / (k / 8),
// k = 8 (o % (k / 8)).

void load_octet(RfWeights w, uint octet, out vec4 low, out vec4 high)
{
#if defined(WEIGHT_F32)
    low = uintBitsToFloat(w.x[2 * octet]);
    high = uintBitsToFloat(w.x[2 * octet + 1]);
#else
    uvec4 v = w.x[octet];
#if defined(WEIGHT_BF16)
    // A bf16 is the upper half of the f32 of the same value.
    low = uintBitsToFloat(uvec4(v.x << 16, v.x & 0xffff0000u, v.y << 16, v.y & 0xffff0000u));
    high = uintBitsToFloat(uvec4(v.z << 16, v.z & 0xffff0000u, v.w << 16, v.w & 0xffff0000u));
#elif defined(WEIGHT_F16)
    low = vec4(unpackHalf2x16(v.x), unpackHalf2x16(v.y));
    high = vec4(unpackHalf2x16(v.z), unpackHalf2x16(v.w));
#else
#error "define WEIGHT_BF16, WEIGHT_F16 or WEIGHT_F32"
#endif
#endif
}

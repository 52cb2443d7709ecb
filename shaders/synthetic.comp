// words = random bits, or random numbers of a type (RF_FILL_...), a function of seed and index alone. Called
// for synthetic weights and for the KV cache of `refusion bench`; writes memory as fast as it goes, so that
// 16 GB of weights take seconds. Integers, and one f32 product a number.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"

layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_synthetic p; };

// A bijection of 32 bits in which every input bit moves every output bit (found by search, after C. Wellons).
uint scramble(uint x)
{
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ x >> 16;
}

// Element `i` in (-1, 1).
float uniform_number(uint i, uint key)
{
    return float(scramble(i ^ key) >> 8) * (1.0 / 8388608.0) - (8388607.5 / 8388608.0);
}

void main()
{
    uint key = scramble(p.seed);
    uint step = gl_NumWorkGroups.x * 64;
    for (uint w = p.begin + gl_GlobalInvocationID.x; w < p.end; w += step) {
        // The single f32 of this word, or its two halves.
        float whole = p.amplitude * uniform_number(w, key);
        vec2 pair = p.amplitude * vec2(uniform_number(2 * w, key), uniform_number(2 * w + 1, key));
        uint word = scramble(w ^ key);
        if (p.kind == RF_FILL_F32) word = floatBitsToUint(whole);
        if (p.kind == RF_FILL_F16) word = packHalf2x16(pair);
        uvec2 bits = floatBitsToUint(pair);
        if (p.kind == RF_FILL_BF16) word = bits.x >> 16 | bits.y & 0xffff0000u;
        vec2 scales = (0.5 * p.amplitude + 0.5 * abs(pair)) * vec2(1.0, p.ratio);
        if (p.kind == RF_FILL_SCALES) word = packHalf2x16(scales);
        if (p.kind == RF_FILL_F16_AS_F32) word = floatBitsToUint(unpackHalf2x16(packHalf2x16(vec2(whole))).x);
        uint within = w % p.part;
        p.words.x[p.first + w / p.part * p.stride + within / p.run * p.step + within % p.run] = word;
    }
}

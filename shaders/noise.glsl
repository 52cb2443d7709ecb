// Gumbel noise without state: a hash of (seed, position, draw, token), so that a row's draw depends neither
// on the kernel that makes it nor on the rows beside it. Integer arithmetic is modulo 2^32.

// A bijection of 32 bits; each input bit changes about half of the output bits.
uint rf_noise_mix(uint v)
{
    v ^= v >> 16;
    v *= 0x9e3779b1u;
    v ^= v >> 15;
    v *= 0xc2b2ae3du;
    v ^= v >> 13;
    v *= 0x27d4eb2fu;
    return v ^ (v >> 16);
}

// What one row's noise for all tokens starts from: 64 bits, so that two rows' streams are not shifts of each
// other.
uvec2 rf_noise_row(uint seed_low, uint seed_high, uint position, uint draw)
{
    uint a = rf_noise_mix(seed_low + 0x632be5abu);
    a = rf_noise_mix(a ^ seed_high);
    a = rf_noise_mix(a + position);
    a = rf_noise_mix(a ^ draw);
    uint b = rf_noise_mix(seed_high + 0x85157af5u);
    b = rf_noise_mix(b ^ seed_low);
    b = rf_noise_mix(b + draw);
    b = rf_noise_mix(b ^ position);
    return uvec2(a, b);
}

uint rf_noise_bits(uvec2 row, uint token)
{
    return rf_noise_mix(rf_noise_mix(row.x + token) ^ row.y);
}

// -log(-log(1 - v)) with v uniform in (0, 1), exclusive. The largest values come from the smallest v, where
// all 32 bits count; there -log(1 - v) is a series, because log near 1 is only absolutely exact (2^-21).
// Range about [-2.8, 22.9].
float rf_gumbel(uvec2 row, uint token)
{
    float v = min((float(rf_noise_bits(row, token)) + 0.5) * 2.3283064365386963e-10, 0.99999994);
    float e = v < 0.0625 ? v * (1.0 + v * (0.5 + v * (0.33333333 + v * (0.25 + v * 0.2)))) : -log(1.0 - v);
    return -log(e);
}

// Weight formats. One of WEIGHT_F32, WEIGHT_F16, WEIGHT_BF16, WEIGHT_Q8_0, WEIGHT_Q4_0, WEIGHT_Q4_K,
// WEIGHT_Q6_K is defined; include after refs.glsl.
//
// A matrix is a row of blocks of 8 columns. In a block, words of the 8 columns lie side by side: "word i" is
// 8 words of 32 bits (32 bytes, two uvec4), one a column. So four columns are one 128-bit load wherever lanes
// go over k, and a CPU driver makes one vector load of what 8 lanes read, each its own column. Numbers of 8
// to 32 bits stand in a word in order of k, the first in the lowest bits; of 4 bits, byte b of a word has k
// = b in its low bits and k = b + 4 in its high ones, and of 2 bits k = b, b + 4, b + 8, b + 12, so that a
// shift and a mask make four int8 (matmul_int8.glsl). K is a multiple of 8; of 32 for Q8_0 and Q4_0, of 256
// for Q4_K and Q6_K.
//   F32           word k
//   F16, BF16     word k / 2
//   Q8_0          word k / 4: int8; then, per 32 of k, one uvec4 of 8 f16 scales
//   Q4_0          word k / 8: 4 bits, less 8; then scales as in Q8_0
//   Q4_K          word k / 8: 4 bits; then, per 256 of k, four words: f16 d and f16 dmin; low 4 bits of 8
//                 scales; low 4 bits of 8 minima; high 2 bits of the scales, then of the minima.
//                 value = d scale q - dmin minimum, a scale and a minimum per 32 of k
//   Q6_K          word k / 8: low 4 bits; then word k / 16: high 2 bits; then, per 256 of k, four words of 16
//                 int8 scales and one uvec4 of 8 f16 d: value = d scale (q - 32), a scale per 16 of k
// Values and block sizes are those of GGML's formats of the same names; only the order is ours.
//
// WEIGHTS_BY_LANE: a lane has its own column (see pick in matmul_wide.comp, load_words in
// matmul_coopmat2.comp); otherwise 4 columns at once, `half_` choosing columns 0..3 or 4..7.

#ifdef WEIGHTS_BY_LANE
#define WORDS uint
#define NUMBERS float
#define INTEGERS int

uint load_words(RfWeights w, uint at, uint half_);
float load_halves(RfWeights w, uint at, uint half_);
#else
#define WORDS uvec4
#define NUMBERS vec4
#define INTEGERS ivec4

uvec4 load_words(RfWeights w, uint at, uint half_)
{
    return w.x[at + half_];
}

vec4 load_halves(RfWeights w, uint at, uint half_)
{
    uvec4 u = w.x[at];
    return half_ == 0 ? vec4(unpackHalf2x16(u.x), unpackHalf2x16(u.y))
                      : vec4(unpackHalf2x16(u.z), unpackHalf2x16(u.w));
}
#endif

float low_half(uint u)
{
    return unpackHalf2x16(u).x;
}

float high_half(uint u)
{
    return unpackHalf2x16(u).y;
}

vec4 low_half(uvec4 u)
{
    return vec4(low_half(u.x), low_half(u.y), low_half(u.z), low_half(u.w));
}

vec4 high_half(uvec4 u)
{
    return vec4(high_half(u.x), high_half(u.y), high_half(u.z), high_half(u.w));
}

// Size of a block of 8 columns in uvec4s.
uint block_size(uint k)
{
#if defined(WEIGHT_F32)
    return 2 * k;
#elif defined(WEIGHT_F16) || defined(WEIGHT_BF16)
    return k;
#elif defined(WEIGHT_Q8_0)
    return k / 2 + k / 32;
#elif defined(WEIGHT_Q4_0)
    return k / 4 + k / 32;
#elif defined(WEIGHT_Q4_K)
    return k / 4 + k / 32;
#elif defined(WEIGHT_Q6_K)
    return k / 4 + k / 8 + k / 256 * 9;
#else
#error "define a WEIGHT_ format"
#endif
}

// What a group of octets has in common: value = a q - b. SCALE_OCTETS octets (8 of k) share it.
struct scale {
    NUMBERS a, b;
};

#if defined(WEIGHT_Q8_0) || defined(WEIGHT_Q4_0) || defined(WEIGHT_Q4_K)
const uint SCALE_OCTETS = 4;
#elif defined(WEIGHT_Q6_K)
const uint SCALE_OCTETS = 2;
#else
const uint SCALE_OCTETS = 1; // none
#endif

// Scale of octet o; `base` is the block's first uvec4.
scale load_scale(RfWeights w, uint base, uint k, uint o, uint half_)
{
#if defined(WEIGHT_Q8_0)
    return scale(load_halves(w, base + k / 2 + o / 4, half_), NUMBERS(0.0));
#elif defined(WEIGHT_Q4_0)
    NUMBERS d = load_halves(w, base + k / 4 + o / 4, half_);
    return scale(d, d * 8.0);
#elif defined(WEIGHT_Q4_K)
    uint at = base + k / 4 + o / 32 * 8, group = o / 4 % 8;
    WORDS d = load_words(w, at, half_), scales = load_words(w, at + 2, half_);
    WORDS minima = load_words(w, at + 4, half_), high = load_words(w, at + 6, half_);
    WORDS s = (scales >> (4 * group) & 15u) | (high >> (2 * group) & 3u) << 4;
    WORDS m = (minima >> (4 * group) & 15u) | (high >> (16 + 2 * group) & 3u) << 4;
    return scale(low_half(d) * NUMBERS(s), high_half(d) * NUMBERS(m));
#elif defined(WEIGHT_Q6_K)
    uint at = base + k / 4 + k / 8 + o / 32 * 9, group = o / 2 % 16;
    WORDS scales = load_words(w, at + group / 4 * 2, half_);
    NUMBERS d = load_halves(w, at + 8, half_);
    NUMBERS a = d * NUMBERS(INTEGERS(scales << (24 - group % 4 * 8)) >> 24);
    return scale(a, a * 32.0);
#else
    return scale(NUMBERS(1.0), NUMBERS(0.0));
#endif
}

// Words of an octet, before they are numbers: a pipelined kernel holds them while it computes with earlier
// ones.
#if defined(WEIGHT_F32)
const uint OCTET_WORDS = 8;
#elif defined(WEIGHT_F16) || defined(WEIGHT_BF16)
const uint OCTET_WORDS = 4;
#elif defined(WEIGHT_Q8_0) || defined(WEIGHT_Q6_K)
const uint OCTET_WORDS = 2;
#else
const uint OCTET_WORDS = 1;
#endif

void load_octet_words(RfWeights w, uint base, uint k, uint o, uint half_, out WORDS u[OCTET_WORDS])
{
    uint at = base + o * OCTET_WORDS * 2;
#if defined(WEIGHT_Q6_K)
    u[0] = load_words(w, base + 2 * o, half_);
    u[1] = load_words(w, base + k / 4 + o / 2 * 2, half_) >> (o % 2 * 4);
#else
    u[0] = load_words(w, at, half_);
#if defined(WEIGHT_Q8_0) || defined(WEIGHT_F16) || defined(WEIGHT_BF16) || defined(WEIGHT_F32)
    u[1] = load_words(w, at + 2, half_);
#endif
#if defined(WEIGHT_F16) || defined(WEIGHT_BF16) || defined(WEIGHT_F32)
    u[2] = load_words(w, at + 4, half_);
    u[3] = load_words(w, at + 6, half_);
#endif
#ifdef WEIGHT_F32
    u[4] = load_words(w, at + 8, half_);
    u[5] = load_words(w, at + 10, half_);
    u[6] = load_words(w, at + 12, half_);
    u[7] = load_words(w, at + 14, half_);
#endif
#endif
}

// v[j] = weights of k = 8 o + j. All indices are constant: see matmul_sums.glsl.
void unpack_octet(WORDS u[OCTET_WORDS], scale s, out NUMBERS v[8])
{
#define ALL(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#if defined(WEIGHT_F32)
#define UNPACK(J) v[J] = uintBitsToFloat(u[J]);
#elif defined(WEIGHT_F16)
#define UNPACK(J) v[J] = J % 2 == 0 ? low_half(u[J / 2]) : high_half(u[J / 2]);
#elif defined(WEIGHT_BF16) // a bf16 is the upper half of the f32 of the same value
#define UNPACK(J) v[J] = uintBitsToFloat(J % 2 == 0 ? u[J / 2] << 16 : u[J / 2] & 0xffff0000u);
#elif defined(WEIGHT_Q8_0)
#define UNPACK(J) v[J] = NUMBERS(INTEGERS(u[J / 4] << (24 - J % 4 * 8)) >> 24) * s.a;
#elif defined(WEIGHT_Q4_0) || defined(WEIGHT_Q4_K)
#define UNPACK(J) v[J] = NUMBERS(INTEGERS(u[0] >> (J % 4 * 8 + J / 4 * 4) & 15u)) * s.a - s.b;
#elif defined(WEIGHT_Q6_K)
#define UNPACK(J) \
    v[J] = NUMBERS(INTEGERS((u[0] >> (J % 4 * 8 + J / 4 * 4) & 15u) | \
                            (u[1] >> (J % 4 * 8 + J / 4 * 2) & 3u) << 4)) * s.a - s.b;
#endif
    ALL(UNPACK)
#undef UNPACK
#undef ALL
}

void load_octet(RfWeights w, uint base, uint k, uint o, uint half_, scale s, out NUMBERS v[8])
{
    WORDS u[OCTET_WORDS];
    load_octet_words(w, base, k, o, half_, u);
    unpack_octet(u, s, v);
}

#ifdef WEIGHTS_BY_LANE
// One number, that of k = 8 o + j.
float load_number(RfWeights w, uint base, uint k, uint o, uint j, uint half_)
{
#if defined(WEIGHT_F32)
    return uintBitsToFloat(load_words(w, base + 16 * o + 2 * j, half_));
#elif defined(WEIGHT_F16)
    uint u = load_words(w, base + 8 * o + j / 2 * 2, half_);
    return j % 2 == 0 ? low_half(u) : high_half(u);
#elif defined(WEIGHT_BF16)
    uint u = load_words(w, base + 8 * o + j / 2 * 2, half_);
    return uintBitsToFloat(j % 2 == 0 ? u << 16 : u & 0xffff0000u);
#else
    scale s = load_scale(w, base, k, o, half_);
#if defined(WEIGHT_Q8_0)
    uint u = load_words(w, base + 4 * o + j / 4 * 2, half_);
    return float(int(u << (24 - j % 4 * 8)) >> 24) * s.a;
#elif defined(WEIGHT_Q6_K)
    uint low = load_words(w, base + 2 * o, half_) >> (j % 4 * 8 + j / 4 * 4) & 15u;
    uint high = load_words(w, base + k / 4 + o / 2 * 2, half_) >> (j % 4 * 8 + o % 2 * 4 + j / 4 * 2) & 3u;
    return float(low | high << 4) * s.a - s.b;
#else
    uint u = load_words(w, base + 2 * o, half_);
    return float(u >> (j % 4 * 8 + j / 4 * 4) & 15u) * s.a - s.b;
#endif
#endif
}
#endif

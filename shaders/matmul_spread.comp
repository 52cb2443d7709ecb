// y = epilogue(x w^T) for CPUs whose driver loads lane by lane whatever the address (stock lavapipe: a load of 8
// lanes costs as much as 20 multiplications): x [M][k] in quads [k / 4][ldx], w [columns][k] in blocks of 8
// columns (weights.glsl); f32 sums over k in ascending order. For more than 8 rows.
//
// Lanes are rows, as in matmul.comp, and no two lanes load the same word: of a block's octet of k, lane l reads
// column l's 8 weights, makes them numbers and spreads them to all lanes by broadcasts, one instruction each.
// Activations are loaded 64 bits at a time. 16 columns a pass with up to 4 rows a lane, 8 with 8 rows: 64 sums,
// more of them cost more to keep than loads save. A row's result depends neither on its index nor on the other
// rows.
//
// Workgroup: one subgroup of 8 or 16 lanes (LOCAL), all of them at work whatever the number of rows. Grid: (columns
// / (8 * BLOCKS), or / RF_LOGIT_TILE with REDUCE; rows / (LOCAL * ROWS)), both rounded up; splits with PARTIAL.
// -D: ACT_F16 (activations), WEIGHT_...
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_ballot : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#define WEIGHTS_BY_LANE
#include "refs.glsl"
#include "matmul.glsl"
#include "matmul_sums.glsl"

layout(constant_id = RF_SPEC_BLOCKS) const uint BLOCKS = 1;
const uint MAX_BLOCKS = 2;

// One quad.
#ifdef ACT_F16
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer RfLongs { uint64_t x[]; };
#else
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer RfLongs { u64vec2 x[]; };
#endif

vec4 load_quad(uint at)
{
#ifdef ACT_F16
    uvec2 u = unpackUint2x32(RfLongs(push.x).x[at]);
    return vec4(unpackHalf2x16(u.x), unpackHalf2x16(u.y));
#else
    u64vec2 u = RfLongs(push.x).x[at];
    return uintBitsToFloat(uvec4(unpackUint2x32(u.x), unpackUint2x32(u.y)));
#endif
}

uint lane_column()
{
    return gl_SubgroupInvocationID % RF_COLUMNS;
}

uint load_words(RfWeights w, uint at, uint half_)
{
    return w.x[at + lane_column() / 4][lane_column() % 4];
}

float load_halves(RfWeights w, uint at, uint half_)
{
    uint pair = w.x[at][lane_column() / 2];
    return unpackHalf2x16(lane_column() % 2 == 0 ? pair : pair >> 16).x;
}

// acc[row][column] += octet o of the blocks at `base` times octet o of the rows m.
void add_octet(inout float acc[MAX_ROWS * MAX_BLOCKS * RF_COLUMNS], uint m[MAX_ROWS], uint base[MAX_BLOCKS], uint o)
{
    float w[MAX_BLOCKS * RF_COLUMNS][8];
    [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
        float own[8];
        load_octet(push.w, base[b], push.k, o, 0, load_scale(push.w, base[b], push.k, o, 0), own);
        [[unroll]] for (uint c = 0; c < RF_COLUMNS; c++) {
            [[unroll]] for (uint j = 0; j < 8; j++) {
                w[b * RF_COLUMNS + c][j] = subgroupBroadcast(own[j], c);
            }
        }
    }
    uint at = 2 * o * push.ldx;
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        vec4 x = load_quad(at + m[r]), y = load_quad(at + push.ldx + m[r]);
        [[unroll]] for (uint c = 0; c < BLOCKS * RF_COLUMNS; c++) {
            float sum = acc[r * BLOCKS * RF_COLUMNS + c];
            sum += w[c][0] * x.x;
            sum += w[c][1] * x.y;
            sum += w[c][2] * x.z;
            sum += w[c][3] * x.w;
            sum += w[c][4] * y.x;
            sum += w[c][5] * y.y;
            sum += w[c][6] * y.z;
            sum += w[c][7] * y.w;
            acc[r * BLOCKS * RF_COLUMNS + c] = sum;
        }
    }
}

// Sums of the blocks from column n on, for the rows m. A block that does not exist is the last one again.
void multiply(out float acc[MAX_ROWS * MAX_BLOCKS * RF_COLUMNS], uint m[MAX_ROWS], uint n)
{
    uint base[MAX_BLOCKS], last = (push.columns - 1) / RF_COLUMNS;
    [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
        base[b] = min(n / RF_COLUMNS + b, last) * block_size(push.k);
    }
    [[unroll]] for (uint i = 0; i < ROWS * BLOCKS * RF_COLUMNS; i++) {
        acc[i] = 0.0;
    }
    for (uint o = octet_first(); o < octet_end(); o++) {
        add_octet(acc, m, base, o);
    }
}

void main()
{
    uint count = row_count(), rows_first = gl_WorkGroupID.y * gl_WorkGroupSize.x * ROWS;
    uint tile = EPILOGUE == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : BLOCKS * RF_COLUMNS;
    uint tile_first = gl_WorkGroupID.x * tile, tile_end = min(tile_first + tile, push.columns);
    if (rows_first >= count || tile_first >= tile_end) {
        return;
    }
    uint first = rows_first + gl_SubgroupInvocationID;

    // Rows past the last read the last row again and are not written.
    uint m[MAX_ROWS];
    draw draws[MAX_ROWS];
    rf_partial partials[MAX_ROWS];
    [[unroll]] for (uint r = 0; r < ROWS; r++) {
        m[r] = min(first + r * gl_WorkGroupSize.x, count - 1);
        if (EPILOGUE == RF_EPILOGUE_REDUCE) {
            draws[r] = row_draw(m[r]);
            partials[r] = empty_partial(push.column_first + tile_first);
        }
    }

    for (uint n = tile_first; n < tile_end; n += BLOCKS * RF_COLUMNS) {
        float acc[MAX_ROWS * MAX_BLOCKS * RF_COLUMNS];
        multiply(acc, m, n);
        [[unroll]] for (uint b = 0; b < BLOCKS; b++) {
            [[unroll]] for (uint r = 0; r < ROWS; r++) {
                uint i = (r * BLOCKS + b) * RF_COLUMNS, at = n + b * RF_COLUMNS;
                sums s = sums(vec4(acc[i], acc[i + 1], acc[i + 2], acc[i + 3]),
                              vec4(acc[i + 4], acc[i + 5], acc[i + 6], acc[i + 7]));
                if (at >= push.columns) {
                    // the last block again
                } else if (EPILOGUE == RF_EPILOGUE_REDUCE) {
                    take_logits(partials[r], draws[r], s, at);
                } else if (first + r * gl_WorkGroupSize.x < count) {
                    write_sums(s, m[r], at);
                }
            }
        }
    }

    if (EPILOGUE == RF_EPILOGUE_REDUCE) {
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            if (first + r * gl_WorkGroupSize.x < count) {
                write_partial(partials[r], m[r], tile_first);
            }
        }
    }
}

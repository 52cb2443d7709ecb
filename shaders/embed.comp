// h[m] = table[token of row m]: one row of the embedding as f32. The first dispatch
// of a forward; one dispatch per piece of a table that is split over allocations, each leaving rows of other
// pieces alone. Grid: (1, rows).  -D: WEIGHT_...
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#include "refs.glsl"
#include "weights.glsl"

layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_embed push; };

void main()
{
    uint m = gl_WorkGroupID.y;
    if (m >= push.counts.x.rows) {
        return;
    }
    uint token = push.rows.x[m].token;
    if (token < push.first || token - push.first >= push.count) {
        return;
    }
    uint n = token - push.first, base = n / RF_COLUMNS * block_size(push.hidden);
    uint half_ = n % RF_COLUMNS / 4, column = n % 4, octets = push.hidden / 8;
    for (uint o = gl_LocalInvocationID.x; o < octets; o += gl_WorkGroupSize.x) {
        vec4 w[8];
        load_octet(push.table, base, push.hidden, o, half_,
                   load_scale(push.table, base, push.hidden, o, half_), w);
        push.h.x[2 * (m * octets + o)] = vec4(w[0][column], w[1][column], w[2][column], w[3][column]);
        push.h.x[2 * (m * octets + o) + 1] = vec4(w[4][column], w[5][column], w[6][column], w[7][column]);
    }
}

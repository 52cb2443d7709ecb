// Moves what COMPLETE agreed on behind the committed rows: virtual rows scratch_first + i -> committed + i, i
// < commit_rows, in every layer, K and V. Copies bits; called after slot_accept with the grid that it left:
// (commit_rows, layers).
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#ifdef ACT_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "refs.glsl"

layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_kv_commit p; };

void main()
{
    uint i = gl_WorkGroupID.x;
    if (i >= p.seqs.x[p.seq].state.x.commit_rows) return;
    uint from = p.seqs.x[p.seq].scratch_first + i, to = p.seqs.x[p.seq].committed + i;
    RfKv source = p.seqs.x[p.seq].pages.x[from / RF_PAGE_ROWS].kv;
    RfKv target = p.seqs.x[p.seq].pages.x[to / RF_PAGE_ROWS].kv;
    from %= RF_PAGE_ROWS;
    to %= RF_PAGE_ROWS;
    uint quads = p.head_dim / 4;
    for (uint e = gl_LocalInvocationIndex; e < p.kv_heads * quads; e += 64) {
        uint head = e / quads, q = e % quads;
        uint k_base = (gl_WorkGroupID.y * p.kv_heads + head) * 2 * quads * RF_PAGE_ROWS;
        uint v_base = k_base + quads * RF_PAGE_ROWS;
        target.x[k_base + q * RF_PAGE_ROWS + to] = source.x[k_base + q * RF_PAGE_ROWS + from];
        target.x[v_base + to * quads + q] = source.x[v_base + from * quads + q];
    }
}

// Lays the rows of several sequences end to end and sizes the dispatches of the forward behind it.
//   rows[i] = pending row i over all pieces, in piece order; outputs = indices of the rows with a result,
//   ascending;
//   counts = {rows, outputs, most keys of a row}; indirect[g] = workgroups of grid g (see rf_grid).
// Called first in every forward. One workgroup; integers only.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#include "refs.glsl"

layout(local_size_x = 64) in;

layout(push_constant, scalar) uniform Push { rf_push_rows_gather p; };

shared uint wanted[64];     // per lane: rows with a result in the tile
shared uint max_keys;

uint divide_up(uint a, uint b) { return (a + b - 1) / b; }

// Copies row i of the forward; returns whether it wants a result.
bool gather_row(uint i)
{
    uint piece = 0, before = 0;
    while (i - before >= p.work.x.pieces[piece].count) before += p.work.x.pieces[piece++].count;
    uint seq = p.work.x.pieces[piece].seq;
    rf_row row = p.seqs.x[seq].rows.x[p.work.x.pieces[piece].first + i - before];
    row.seq = seq;
    p.rows.x[i] = row;
    atomicMax(max_keys, row.ctx_rows + row.kv_row - row.seg_first + 1);
    return row.result != RF_NONE;
}

void size_grid(uint g, uint rows, uint outputs)
{
    rf_grid grid = p.grids.x[g];
    uint base = grid.source & 3u;
    uint count = base == RF_GRID_ROWS ? rows : outputs;
    uint y = base == RF_GRID_FIXED ? grid.y_per : divide_up(count, grid.y_per);
    if ((grid.source & RF_GRID_REDUCE) != 0 && max_keys <= RF_SPLIT_KEYS) y = 0;
    p.indirect.x[3 * g] = y == 0 ? 0 : grid.x;
    p.indirect.x[3 * g + 1] = y;
    bool splits = (grid.source & RF_GRID_SPLITS) != 0;
    p.indirect.x[3 * g + 2] = splits ? divide_up(max_keys, RF_SPLIT_KEYS) : grid.z;
}

void main()
{
    uint lane = gl_LocalInvocationIndex;
    if (lane == 0) max_keys = 0;
    uint rows = 0, outputs = 0;
    for (uint i = 0; i < p.work.x.piece_count; i++) rows += p.work.x.pieces[i].count;
    barrier();
    for (uint tile = 0; tile < rows; tile += 64) {
        bool wants = tile + lane < rows && gather_row(tile + lane);
        wanted[lane] = wants ? 1 : 0;
        barrier();
        uint before = 0, total = 0;
        for (uint i = 0; i < 64; i++) {
            before += i < lane ? wanted[i] : 0;
            total += wanted[i];
        }
        if (wants) p.outputs.x[outputs + before] = tile + lane;
        outputs += total;
        barrier();
    }
    for (uint g = lane; g < p.grid_count; g += 64) size_grid(g, rows, outputs);
    if (lane == 0) {
        p.counts.x.rows = rows;
        p.counts.x.outputs = outputs;
        p.counts.x.max_keys = max_keys;
    }
}

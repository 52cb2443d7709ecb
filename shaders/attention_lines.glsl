// What attention_wide.comp and attention_spread.comp share: tiles of neighbouring rows, runs of keys, and the softmax
// between scores and values. Included after attention.glsl.
//
// A line is one head of one row; a workgroup, of one subgroup, has up to LINES of them, of rows that are neighbours in
// their segment and of the heads that share a kv head. Weights of the split's keys wait in shared memory, which is plain
// memory on a CPU.

layout(constant_id = 0) const uint GROUP = 1;     // 1..8
layout(constant_id = 1) const uint HEAD_DIM = 64; // a multiple of 8 up to 256
layout(local_size_x_id = 2) in;                   // lanes: one subgroup of 8 or 16
layout(constant_id = 3) const uint ROWS = 1;      // GROUP * ROWS <= 8

layout(push_constant, scalar) uniform Push { rf_push_attention push; };

const uint QUADS = HEAD_DIM / 4;
const uint LINES = GROUP * ROWS; // at most
const uint STRIDE = RF_SPLIT_KEYS + 16; // of a line's weights; a vector of them may reach past the last key
const uint TOP = STRIDE - 2, SUM = STRIDE - 1; // and what a line's softmax was made with
#ifdef ACT_F16
const uint QUAD_BYTES = 8;
#else
const uint QUAD_BYTES = 16;
#endif

// [line][key of the split]: score, then exp(score - top).
shared float weights[LINES * STRIDE];

uint lane; // gl_SubgroupInvocationID, taken before the first loop

uint lanes()
{
    return gl_WorkGroupSize.x;
}

// A run of keys: `count` of them from key t on, in virtual rows from `page_row` of the page at `kv` on.
struct run {
    uint64_t kv;
    uint page_row, count;
};

// Rows m, m + 1, ... of a segment: row `m + i` sees i keys more than the first.
struct tile {
    rf_row row; // the first
    uint m, rows, lines;
    uint first, end; // keys of the split, those of the last row
    uint k_first;    // quads of the kv head in a page
    uint head_first, heads;
};

// lavapipe runs what is behind a condition or a loop's end once more with all lanes off, and reads what is
// the same for all lanes all the same: no index may ever leave its array, so a key past the last one is the
// last one.
run find_run(tile t, uint key)
{
    key = min(key, t.end - 1);
    uint first = key_row(t.row, key), page_row = first % RF_PAGE_ROWS;
    uint last = key < t.row.ctx_rows ? min(t.end, t.row.ctx_rows) : t.end;
    return run(uint64_t(push.seqs.x[t.row.seq].pages.x[first / RF_PAGE_ROWS].kv), page_row,
               min(last - key, RF_PAGE_ROWS - page_row));
}

// Row of the tile and head that a line has. A tile may have fewer rows or heads; the other lines repeat its
// last.
uint line_row(tile t, uint line)
{
    return min(line / GROUP, t.rows - 1);
}

uint line_head(tile t, uint line)
{
    return t.head_first + min(line % GROUP, t.heads - 1);
}

// Scores become exp(score - top), and 0 behind the last key that a line's row sees. A line at a time
// keeps the code small, which every start goes through (SPEED.md).
void make_weights(tile t)
{
    uint keys = t.end - t.first, first_keys = row_keys(t.row) - t.first;
    for (uint line = 0; line < t.lines; line++) {
        uint base = line * STRIDE;
        int row_end = int(first_keys) + int(line_row(t, line));
        float top = weights[line * STRIDE + TOP], sum = 0.0;
        for (uint i = lane; i < keys; i += lanes()) {
            bool seen = int(i) < row_end;
            float weight = seen ? exp(weights[base + i] - top) : 0.0;
            weights[base + i] = weight;
            sum += weight;
        }
        weights[line * STRIDE + SUM] = subgroupAdd(sum);
    }
}

bool follows(uint before, uint after)
{
    rf_row a = push.rows.x[before], b = push.rows.x[after];
    return b.seq == a.seq && b.ctx_rows == a.ctx_rows && b.seg_first == a.seg_first &&
           b.kv_row == a.kv_row + 1;
}

// The rows that row m makes; none where another makes it. A tile begins at each ROWS-th row of a segment and
// where rows of an earlier forward end: it does not depend on the company.
uint find_tile(uint m, uint count)
{
    rf_row row = push.rows.x[m];
    uint place = row.kv_row - row.seg_first, rows = 1;
    if (place % ROWS != 0 && m > 0 && follows(max(m, 1) - 1, m)) {
        return 0;
    }
    bool more = true;
    [[unroll]] for (uint r = 1; r < ROWS; r++) {
        uint next = min(m + r, count - 1);
        more = more && m + r < count && (place + r) % ROWS != 0 && follows(next - 1, next);
        rows += more ? 1 : 0;
    }
    return rows;
}

// Neighbouring workgroups have the same kv head, whose K and V stay in the core's own cache: first row of the
// workgroup's tile (x; beyond the last one: none), and which heads are its (y).
uvec2 take_place()
{
    uint id = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    return uvec2(id % gl_NumWorkGroups.y, id / gl_NumWorkGroups.y);
}

// The tile of that place, one of `count` rows.
tile take_tile(uvec2 place, uint count)
{
    tile t;
    t.row = push.rows.x[place.x];
    t.m = place.x;
    t.rows = ROWS > 1 ? find_tile(place.x, count) : 1;
    uint keys = row_keys(t.row) + t.rows - 1;
    t.first = gl_WorkGroupID.z * RF_SPLIT_KEYS;
    t.end = min(t.first + RF_SPLIT_KEYS, keys);
    uint group = push.heads / push.kv_heads, blocks = (group + GROUP - 1) / GROUP;
    uint kv_head = place.y / blocks, group_first = place.y % blocks * GROUP; // head within the kv head's group
    t.head_first = kv_head * group + group_first;
    t.heads = min(GROUP, group - group_first);
    t.k_first = (push.layer * push.kv_heads + kv_head) * 2 * RF_PAGE_ROWS * QUADS;
    t.lines = t.rows * GROUP;
    return t;
}

bool is_empty(tile t)
{
    return t.rows == 0 || t.first >= t.end;
}

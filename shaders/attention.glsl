// What attention.comp and attention_reduce.comp share. Included after refs.glsl.

#include "activation.glsl"

const float LOWEST = -3.4028234e38;

// Number of keys that a row attends to: [0, ctx_rows) and [seg_first, kv_row].
uint row_keys(rf_row row)
{
    return row.ctx_rows + row.kv_row - row.seg_first + 1;
}

// Virtual row of a row's key t.
uint key_row(rf_row row, uint t)
{
    return t < row.ctx_rows ? t : row.seg_first + (t - row.ctx_rows);
}

// Index of a partial {max, sum, o[head_dim]} in [split][ld][heads].
uint partial_at(uint split, uint ld, uint m, uint heads, uint head, uint head_dim)
{
    return ((split * ld + m) * heads + head) * (head_dim + 2);
}

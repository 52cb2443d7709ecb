// The epilogues where sums go through shared memory (matmul_coopmat.comp, matmul_coopmat2.comp): a group is
// what an invocation takes of a row at a time, RF_COLUMNS columns or with REDUCE a RF_LOGIT_TILE. Included
// after matmul_sums.glsl.

// The including shader's: columns 8 g..8 g + 7 of a row in shared memory.
sums staged_sums(uint row, uint g);

uint group_columns()
{
    return epilogue() == RF_EPILOGUE_REDUCE ? RF_LOGIT_TILE : RF_COLUMNS;
}

// Neighbouring invocations write neighbouring rows of quads and partials, neighbouring columns of numbers.
bool neighbours_are_rows()
{
    return epilogue() == RF_EPILOGUE_REDUCE || epilogue() == RF_EPILOGUE_SWIGLU;
}

uint staged_groups(uint columns)
{
    return columns / group_columns();
}

// Row and group of the i-th of `rows` x `columns`.
uint staged_row(uint i, uint rows, uint columns)
{
    return neighbours_are_rows() ? i % rows : i / staged_groups(columns);
}

uint staged_group(uint i, uint rows, uint columns)
{
    return neighbours_are_rows() ? i / rows : i % staged_groups(columns);
}

void reduce_tile(uint row, uint m, uint tile, uint column_first)
{
    uint n = column_first + tile * RF_LOGIT_TILE;
    draw d = row_draw(m);
    rf_partial p = empty_partial(push.column_first + n);
    for (uint g = 0; g < RF_LOGIT_TILE / RF_COLUMNS && n + g * RF_COLUMNS < push.columns; g++) {
        take_logits(p, d, staged_sums(row, tile * (RF_LOGIT_TILE / RF_COLUMNS) + g), n + g * RF_COLUMNS);
    }
    write_partial(p, m, n);
}

// Group g of a row in shared memory, which is row m of the forward.
void finish_staged(uint row, uint m, uint g, uint column_first, uint count)
{
    if (m < count && column_first + g * group_columns() < push.columns) {
        if (epilogue() == RF_EPILOGUE_REDUCE) {
            reduce_tile(row, m, g, column_first);
        } else {
            write_sums(staged_sums(row, g), m, column_first + g * group_columns());
        }
    }
}

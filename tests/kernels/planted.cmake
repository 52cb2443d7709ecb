# Faults that the self-test must find, each one change in a shader of the library:
#   plant(NAME fault SHADER variant SOURCE file.comp [FILE file that is changed] FROM text TO text REASON text
#         [DEFINES ...])
# SOURCE is compiled to planted/NAME/SHADER.spv. FROM and TO hold no semicolon, and \\n for a new line.
# REASON is a part of what the failing case must say.

# Wrong numbers.
plant(NAME rmsnorm_without_eps SHADER rmsnorm SOURCE rmsnorm.comp
    FROM "+ push.eps" TO "" REASON "x +")
plant(NAME rmsnorm_gathers_nothing SHADER rmsnorm SOURCE rmsnorm.comp
    FROM "push.outputs.x[m]" TO "m" REASON "")
plant(NAME rmsnorm_misses_a_quad SHADER rmsnorm SOURCE rmsnorm.comp
    FROM "squares = workgroup_sum(squares)" TO "squares = 0.999999 * workgroup_sum(squares)" REASON "")
plant(NAME rope_turns_backwards SHADER head_rope SOURCE head_rope.comp
    FROM "a * cosine - b * sine" TO "a * cosine + b * sine" REASON "")
plant(NAME rope_writes_layer_0 SHADER head_rope SOURCE head_rope.comp
    FROM "(push.layer * push.kv_heads + kv_head)" TO "kv_head"
    REASON "writes what it does not declare: pages")
plant(NAME embed_shifts_its_chunk SHADER embed_bf16 SOURCE embed.comp DEFINES WEIGHT_BF16=1
    FROM "n = token - push.first" TO "n = token" REASON "reads what it does not declare: h")
plant(NAME attention_looks_ahead SHADER attention SOURCE attention.comp FILE attention.glsl
    FROM "row.seg_first + 1" TO "row.seg_first + 2" REASON "")
plant(NAME attention_forgets_itself SHADER attention SOURCE attention.comp FILE attention.glsl
    FROM "row.seg_first + 1" TO "row.seg_first" REASON "")
plant(NAME attention_ignores_segments SHADER attention SOURCE attention.comp FILE attention.glsl
    FROM "row.seg_first + (t - row.ctx_rows)" TO "t" REASON "")
plant(NAME attention_reads_one_head SHADER attention SOURCE attention.comp
    FROM "push.layer * push.kv_heads + kv_head" TO "push.layer * push.kv_heads" REASON "")
plant(NAME wide_attention_looks_ahead SHADER attention_wide SOURCE attention_wide.comp FILE attention_lines.glsl
    FROM "float weight = seen ?" TO "float weight = true ?" REASON "")
plant(NAME wide_attention_forgets_a_tile SHADER attention_wide SOURCE attention_wide.comp FILE attention_lines.glsl
    FROM "&& follows(max(m, 1) - 1, m)" TO "" REASON "mixed")
plant(NAME spread_attention_looks_ahead SHADER attention_spread SOURCE attention_spread.comp FILE attention_lines.glsl
    FROM "float weight = seen ?" TO "float weight = true ?" REASON "")
plant(NAME spread_attention_repeats_a_key SHADER attention_spread_act16 SOURCE attention_spread.comp
    DEFINES ACT_F16=1 FROM "own_key < r.count ? weight : 0.0" TO "weight" REASON "")
plant(NAME reduce_misses_a_split SHADER attention_reduce SOURCE attention_reduce.comp
    FROM "s < splits" TO "s < max(splits, 2u) - 1" REASON "y +")
plant(NAME matmul_without_last_term SHADER matmul_bf16 SOURCE matmul.comp FILE matmul_octets.glsl
    DEFINES WEIGHT_BF16=1
    FROM "ACC += W[7] * y.w" TO "ACC += vec4(0.0)" REASON "")
plant(NAME matmul_column_without_last_term SHADER matmul_f32 SOURCE matmul.comp FILE matmul_octets.glsl
    DEFINES WEIGHT_F32=1
    FROM "ACC[R].C += W[7].C * ys[R].w" TO "ACC[R].C += 0.0" REASON "")
plant(NAME spread_repeats_a_block SHADER matmul_spread_bf16 SOURCE matmul_spread.comp DEFINES WEIGHT_BF16=1
    FROM "n / RF_COLUMNS + b, last" TO "n / RF_COLUMNS, last" REASON "")
plant(NAME spread_reads_past_the_last_block SHADER matmul_spread_f32_act16 SOURCE matmul_spread.comp
    DEFINES WEIGHT_F32=1 ACT_F16=1
    FROM "at >= push.columns" TO "at > push.columns" REASON "")
plant(NAME weights_swapped SHADER matmul_few_f16 SOURCE matmul_few.comp FILE weights.glsl DEFINES WEIGHT_F16=1
    FROM "J % 2 == 0 ? low_half(u[J / 2])" TO "J % 2 == 1 ? low_half(u[J / 2])" REASON "")
plant(NAME q8_0_scale_of_neighbour SHADER matmul_q8_0 SOURCE matmul.comp FILE weights.glsl DEFINES WEIGHT_Q8_0=1
    FROM "base + k / 2 + o / 4" TO "base + k / 2" REASON "")
plant(NAME q4_0_without_offset SHADER matmul_few_q4_0 SOURCE matmul_few.comp FILE weights.glsl
    DEFINES WEIGHT_Q4_0=1
    FROM "d * 8.0" TO "d * 7.0" REASON "")
plant(NAME q4_k_minimum_loses_a_bit SHADER matmul_q4_k SOURCE matmul.comp FILE weights.glsl DEFINES WEIGHT_Q4_K=1
    FROM "(high >> (16 + 2 * group) & 3u)" TO "(high >> (16 + 2 * group) & 1u)" REASON "")
plant(NAME q6_k_scale_unsigned SHADER matmul_few_q6_k SOURCE matmul_few.comp FILE weights.glsl
    DEFINES WEIGHT_Q6_K=1
    FROM "NUMBERS(INTEGERS(scales << (24 - group % 4 * 8)) >> 24)"
    TO "NUMBERS(scales << (24 - group % 4 * 8) >> 24)" REASON "")
plant(NAME residual_overwrites SHADER matmul_few_bf16 SOURCE matmul_few.comp FILE matmul_sums.glsl
    DEFINES WEIGHT_BF16=1
    FROM "before + push.scale" TO "push.scale" REASON "")
plant(NAME swiglu_overflows SHADER matmul_bf16_act16 SOURCE matmul.comp FILE matmul_sums.glsl
    DEFINES WEIGHT_BF16=1 ACT_F16=1
    FROM "product = clamp(product, vec4(-65504.0), vec4(65504.0))" TO "product = product" REASON "amplitude=200")
if(RF_COOPMAT_SHADERS)
    plant(NAME coopmat_repeats_last_octet SHADER matmul_coopmat_bf16_act16 SOURCE matmul_coopmat.comp
        DEFINES WEIGHT_BF16=1 ACT_F16=1
        FROM "first_octet + o < push.k / 8 ? uvec4(" TO "true ? uvec4(" REASON "")
    plant(NAME coopmat_overflows SHADER matmul_coopmat_f32_act16 SOURCE matmul_coopmat.comp
        DEFINES WEIGHT_F32=1 ACT_F16=1
        FROM "clamp(vec2(a, b), vec2(-65504.0), vec2(65504.0))" TO "vec2(a, b)" REASON "huge")
    plant(NAME coopmat_attention_looks_ahead SHADER attention_coopmat_act16 SOURCE attention_coopmat.comp
        DEFINES ACT_F16=1
        FROM "min(row.kv_row + 1, row.seg_first + (end" TO "min(row.kv_row + 2, row.seg_first + (end" REASON "")
    plant(NAME coopmat_attention_keeps_sums SHADER attention_coopmat_act16 SOURCE attention_coopmat.comp
        DEFINES ACT_F16=1 FROM "acc[n] = acc[n] * decay" TO "acc[n] = acc[n]" REASON "")
    if(RF_COOPMAT2_SHADERS)
        plant(NAME coopmat2_keeps_maxima SHADER attention_coopmat2_act16 SOURCE attention_coopmat.comp
            DEFINES ACT_F16=1 COOPMAT2=1 FROM "tops = top" TO "tops = tops" REASON "")
    endif()
    plant(NAME coopmat_shifts_rounds SHADER matmul_coopmat_q4_0_act16 SOURCE matmul_coopmat.comp
        DEFINES WEIGHT_Q4_0=1 ACT_F16=1
        FROM "+ r0 * FRAGMENT_M + row % GROUP_ROWS" TO "+ r0 * FRAGMENT_M + (row ^ 1) % GROUP_ROWS" REASON "y +")
    plant(NAME coopmat_writes_every_row SHADER matmul_coopmat_f16_act16 SOURCE matmul_coopmat.comp
        FILE matmul_staged.glsl DEFINES WEIGHT_F16=1 ACT_F16=1
        FROM "m < count && column_first" TO "m < 4096 && column_first" REASON "writes what it does not declare")
endif()
plant(NAME ties_take_the_highest SHADER matmul_bf16 SOURCE matmul.comp FILE matmul_sums.glsl DEFINES WEIGHT_BF16=1
    FROM "key > p.best_key" TO "key >= p.best_key" REASON "partials +")
plant(NAME probability_above_one SHADER logits_reduce SOURCE logits_reduce.comp
    FROM "min(1.0, exp(best_logit - row_max) / row_sum)" TO "exp(best_logit - row_max) / row_sum"
    REASON "results +")
plant(NAME noise_without_draw SHADER matmul_bf16 SOURCE matmul.comp FILE matmul.glsl DEFINES WEIGHT_BF16=1
    FROM "push.seqs.x[seq].draw)" TO "0u)" REASON "neighbouring draws are not independent")
plant(NAME noise_without_position SHADER matmul_few_bf16 SOURCE matmul_few.comp FILE matmul.glsl
    DEFINES WEIGHT_BF16=1
    FROM "row.position," TO "0u," REASON "")
plant(NAME noise_is_uniform SHADER matmul_few_bf16 SOURCE matmul_few.comp FILE noise.glsl
    DEFINES WEIGHT_BF16=1
    FROM "return -log(e);" TO "return 2.0 * v;" REASON "")
plant(NAME gather_counts_wrong SHADER rows_gather SOURCE rows_gather.comp
    FROM "row.kv_row - row.seg_first + 1" TO "row.kv_row - row.seg_first" REASON "counts +")
plant(NAME commit_shifts_a_row SHADER kv_commit SOURCE kv_commit.comp
    FROM "scratch_first + i, to" TO "scratch_first + i + 1, to" REASON "pages +")

# Outputs left out, memory that is not the kernel's, inputs that it was not given.
plant(NAME matmul_skips_last_column SHADER matmul_f32 SOURCE matmul.comp FILE matmul_sums.glsl
    DEFINES WEIGHT_F32=1
    FROM "push.y.x[at + C] = floatBitsToUint(add"
    TO "if (n + C + 1 < push.columns) push.y.x[at + C] = floatBitsToUint(add"
    REASON "leaves an output unwritten: y")
plant(NAME matmul_writes_padding SHADER matmul_f32 SOURCE matmul.comp FILE matmul_sums.glsl DEFINES WEIGHT_F32=1
    FROM "push.y.x[at + C] = floatBitsToUint(add" TO "push.y.x[at + C + 1] = floatBitsToUint(add"
    REASON "writes what it does not declare: y")
plant(NAME maximum_over_padding SHADER matmul_few_bf16 SOURCE matmul_few.comp FILE matmul_sums.glsl
    DEFINES WEIGHT_BF16=1
    FROM "top = c < present ?" TO "top = true ?" REASON "")
plant(NAME embed_writes_every_row SHADER embed_f32 SOURCE embed.comp DEFINES WEIGHT_F32=1
    FROM "push.count) {\\n        return" TO "push.count) {\\n        token = push.first"
    REASON "writes what it does not declare: h")

# Int8 inputs.
set(int8 ACT_F16=1 ACT_INT8=1)
plant(NAME int8_truncates SHADER rmsnorm_int8 SOURCE rmsnorm.comp FILE int8.glsl DEFINES ${int8}
    FROM "roundEven(v[i] * inverse)" TO "trunc(v[i] * inverse)" REASON "block")
plant(NAME int8_hides_infinities SHADER rmsnorm_int8 SOURCE rmsnorm.comp FILE int8.glsl DEFINES ${int8}
    FROM "if (top >= INT8_INFINITE)" TO "if (false)" REASON "block")
plant(NAME int8_forgets_quads SHADER rmsnorm_int8 SOURCE rmsnorm.comp DEFINES ${int8}
    FROM "push.quads.x[2 * (q * push.ld + m) + 1] =" TO "uint unused =" REASON "leaves an output unwritten: quads")
plant(NAME int8_attention_shifts_heads SHADER attention_int8 SOURCE attention.comp DEFINES ${int8}
    FROM "head_first * (QUADS / 8) + b" TO "head_first * (QUADS / 8) + (b ^ 1)" REASON "block")
plant(NAME int8_reduce_misses_a_quad SHADER attention_reduce_int8 SOURCE attention_reduce.comp DEFINES ${int8}
    FROM "outputs[q] = acc / sum" TO "outputs[min(q, quads - 2)] = acc / sum" REASON "block")
plant(NAME int8_tile_reads_past_k SHADER matmul_int8_q8_0 SOURCE matmul_int8.comp DEFINES WEIGHT_Q8_0=1 ${int8}
    FROM "first_block + i / (ROWS / 2) < blocks ? numbers_part : uvec4(0)" TO "numbers_part" REASON "")
plant(NAME int8_q4_0_without_offset SHADER matmul_int8_few_q4_0 SOURCE matmul_int8_few.comp FILE matmul_int8.glsl
    DEFINES WEIGHT_Q4_0=1 ${int8}
    FROM "u[0] ^ 0x88888888u" TO "u[0] ^ 0x08888888u" REASON "")
plant(NAME int8_q4_k_minimum_once SHADER matmul_int8_q4_k SOURCE matmul_int8.comp FILE matmul_int8.glsl
    DEFINES WEIGHT_Q4_K=1 ${int8}
    FROM "w.minimum * numbers.y" TO "w.minimum * numbers.x" REASON "")
plant(NAME int8_q6_k_one_scale SHADER matmul_int8_few_q6_k SOURCE matmul_int8_few.comp FILE matmul_int8.glsl
    DEFINES WEIGHT_Q6_K=1 ${int8}
    FROM "4 * b + 2, half_" TO "4 * b, half_" REASON "")
plant(NAME int8_swiglu_shares_too_early SHADER matmul_int8_few_q8_0 SOURCE matmul_int8_few.comp
    DEFINES WEIGHT_Q8_0=1 ${int8}
    FROM "products[R * TILE_GROUPS + g] = product" TO "products[R * TILE_GROUPS] = product" REASON "block")
plant(NAME int8_tile_repeats_the_last_row SHADER matmul_int8_q6_k SOURCE matmul_int8.comp
    DEFINES WEIGHT_Q6_K=1 ${int8}
    FROM "if (m < count && n < push.columns)" TO "if (n < push.columns)" REASON "writes what it does not declare")

# Splits over k: one left out, parts that overlap or leave something out, a place that is not theirs.
plant(NAME norm_drops_a_split SHADER rmsnorm SOURCE rmsnorm.comp
    FROM "s < SPLITS" TO "s + 1 < SPLITS" REASON "splits=")
plant(NAME norm_keeps_the_sum SHADER rmsnorm_act16 SOURCE rmsnorm.comp DEFINES ACT_F16=1
    FROM "push.h.x[first + q] = h" TO "h = h" REASON "splits=")
plant(NAME norm_misplaces_splits SHADER rmsnorm SOURCE rmsnorm.comp
    FROM "s * push.ld * quads" TO "s * (push.ld - 1) * quads" REASON "splits=")
plant(NAME rope_repeats_a_split SHADER head_rope SOURCE head_rope.comp
    FROM "s * split_quads + at" TO "at" REASON "splits=")
plant(NAME split_reaches_too_far SHADER matmul_few_q8_0 SOURCE matmul_few.comp FILE matmul.glsl DEFINES WEIGHT_Q8_0=1
    FROM "min((gl_WorkGroupID.z + 1) * push.split_octets, octets)"
    TO "min((gl_WorkGroupID.z + 1) * push.split_octets + 1, octets)" REASON "splits=")
plant(NAME split_ends_too_early SHADER matmul_few_f16 SOURCE matmul_few.comp FILE matmul.glsl DEFINES WEIGHT_F16=1
    FROM "min((gl_WorkGroupID.z + 1) * push.split_octets, octets)"
    TO "min((gl_WorkGroupID.z + 1) * push.split_octets - 1, octets)" REASON "splits=")
plant(NAME splits_all_begin_at_0 SHADER matmul_f32 SOURCE matmul.comp FILE matmul.glsl DEFINES WEIGHT_F32=1
    FROM "? gl_WorkGroupID.z * push.split_octets : 0" TO "? 0 : 0" REASON "splits=")
plant(NAME splits_too_far_apart SHADER matmul_few_f32 SOURCE matmul_few.comp FILE matmul_sums.glsl
    DEFINES WEIGHT_F32=1
    FROM "gl_WorkGroupID.z * push.ldx + m" TO "gl_WorkGroupID.z * (push.ldx + 1) + m"
    REASON "writes what it does not declare")
plant(NAME int8_split_begins_at_0 SHADER matmul_int8_q4_0 SOURCE matmul_int8.comp DEFINES WEIGHT_Q4_0=1 ${int8}
    FROM "first = octet_first() / 4" TO "first = 0" REASON "splits=")
plant(NAME int8_split_never_ends SHADER matmul_int8_few_q6_k SOURCE matmul_int8_few.comp DEFINES WEIGHT_Q6_K=1 ${int8}
    FROM "b < octet_end() / 4" TO "b < push.k / 32" REASON "splits=")
plant(NAME split_without_scale SHADER matmul_bf16_act16 SOURCE matmul.comp FILE matmul_sums.glsl
    DEFINES WEIGHT_BF16=1 ACT_F16=1
    FROM "push.scale * s.low" TO "s.low" REASON "partial")
plant(NAME gather_ignores_splits SHADER rows_gather SOURCE rows_gather.comp
    FROM ": grid.z" TO ": 1" REASON "")
if(RF_COOPMAT_SHADERS)
    plant(NAME coopmat_split_never_ends SHADER matmul_coopmat_q8_0_act16 SOURCE matmul_coopmat.comp
        FILE matmul.glsl DEFINES WEIGHT_Q8_0=1 ACT_F16=1
        FROM "min((gl_WorkGroupID.z + 1) * push.split_octets, octets)" TO "octets" REASON "splits=")
    plant(NAME coopmat_split_begins_late SHADER matmul_coopmat_f16_act16 SOURCE matmul_coopmat.comp
        DEFINES WEIGHT_F16=1 ACT_F16=1
        FROM "first = octet_first(), end" TO "first = octet_first() + OCTETS, end" REASON "splits=")
endif()

# The emulation of matmul_coopmat2: addressing, tails, decode functions and epilogues.
foreach(fault IN ITEMS
        "swaps_view~f16~matmul_coopmat2.comp~VIEW_3(1, 0, 2) rows_first = createTensorViewNV(3, false, 1, 0, 2)~VIEW_3(0, 1, 2) rows_first = createTensorViewNV(3, false, 0, 1, 2)~"
        "ignores_ldx~f16~matmul_coopmat2.comp~4 * push.ldx, 4, 1~4 * count, 4, 1~"
        "reads_past_k~f16~matmul_coopmat2.comp~push.k / 4, count, 4~push.k, count, 4~"
        "clamps_nothing~f16~coopmat2_emulation.glsl~e.inside && at < t.dimension[i]~true~"
        "drops_last_block~bf16~matmul_coopmat2.comp~(push.columns + RF_COLUMNS - 1) / RF_COLUMNS~push.columns / RF_COLUMNS~"
        "swaps_block~q4_0~matmul_coopmat2.comp~coordinates[1], inside[1], inside[0]~coordinates[1], inside[0], inside[1]~"
        "overflows~f32~matmul_coopmat2.comp~value = clamp(value, -65504.0, 65504.0)~value = value~huge"
        "skips_a_step~q4_k~matmul_coopmat2.comp~uint o = octet_first()~uint o = octet_first() + TILE_K / 8~"
        "stages_too_few~q6_k~matmul_coopmat2.comp~row < first + STAGED_ROWS~row + 1 < first + STAGED_ROWS~"
        "shifts_rounds~q4_k~matmul_coopmat2.comp~row_first + first + row, group~row_first + row, group~"
        "split_never_ends~q8_0~matmul_coopmat2.comp~uint end = octet_end()~uint end = push.k / 8~splits="
        "reads_one_column~q8_0~matmul_coopmat2.comp~u = w.x[at][column / 2]~u = w.x[at][0]~"
        "q4_0_swaps_nibbles~q4_0~weights.glsl~(j % 4 * 8 + j / 4 * 4) & 15u) * s.a - s.b~(j % 4 * 8 + (1 - j / 4) * 4) & 15u) * s.a - s.b~"
        "q6_k_loses_high_bits~q6_k~weights.glsl~float(low | high << 4)~float(low | (high & 1u) << 4)~"
        "bf16_swaps_halves~bf16~weights.glsl~j % 2 == 0 ? u << 16 : u & 0xffff0000u~j % 2 == 1 ? u << 16 : u & 0xffff0000u~"
        "reduces_half_a_tile~bf16~matmul_staged.glsl~g < RF_LOGIT_TILE / RF_COLUMNS &&~g < RF_LOGIT_TILE / RF_COLUMNS / 2 &&~partials")
    string(REPLACE "~" ";" fault "${fault}")
    list(GET fault 0 name)
    list(GET fault 1 weight)
    list(GET fault 2 file)
    list(GET fault 3 from)
    list(GET fault 4 to)
    list(GET fault 5 reason)
    string(TOUPPER "WEIGHT_${weight}=1" define)
    plant(NAME coopmat2_${name} SHADER matmul_coopmat2_${weight}_act16 SOURCE matmul_coopmat2.comp FILE ${file}
        DEFINES ${define} ACT_F16=1 EMULATE=1 FROM "${from}" TO "${to}" REASON "${reason}")
endforeach()

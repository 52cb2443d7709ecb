# Every compiled shader: rf_shader(NAME name SOURCE file.comp [PATH portable|fp16|int8dot|coopmat|coopmat2] [DEFINES A=1 B=2])

# Integers only: the same on every path.
rf_shader(NAME rows_gather SOURCE rows_gather.comp)
rf_shader(NAME slot_select SOURCE slot_select.comp)
rf_shader(NAME slot_fill SOURCE slot_fill.comp)
rf_shader(NAME slot_accept SOURCE slot_accept.comp)

# Moves bits: by the size of a KV element.
rf_shader(NAME kv_commit SOURCE kv_commit.comp)
rf_shader(NAME kv_commit_act16 SOURCE kv_commit.comp PATH fp16 DEFINES ACT_F16=1)

# One source per operation: by the type of the weights, and by that of activations and KV (ACT_F16).
foreach(weight IN ITEMS bf16 f16 f32 q8_0 q4_0 q4_k q6_k)
    string(TOUPPER "WEIGHT_${weight}=1" define)
    rf_shader(NAME embed_${weight} SOURCE embed.comp DEFINES ${define})
    foreach(matmul IN ITEMS matmul matmul_few matmul_wide matmul_spread)
        rf_shader(NAME ${matmul}_${weight} SOURCE ${matmul}.comp DEFINES ${define})
        rf_shader(NAME ${matmul}_${weight}_act16 SOURCE ${matmul}.comp PATH fp16 DEFINES ${define} ACT_F16=1)
    endforeach()
    rf_shader(NAME matmul_coopmat_${weight}_act16 SOURCE matmul_coopmat.comp PATH coopmat
        DEFINES ${define} ACT_F16=1)
    rf_shader(NAME matmul_coopmat2_${weight}_act16 SOURCE matmul_coopmat2.comp PATH coopmat2
        DEFINES ${define} ACT_F16=1)
    if(weight MATCHES "^q")
        foreach(matmul IN ITEMS matmul_int8 matmul_int8_few)
            rf_shader(NAME ${matmul}_${weight} SOURCE ${matmul}.comp PATH int8dot DEFINES ${define} ACT_F16=1 ACT_INT8=1)
        endforeach()
    endif()
endforeach()

foreach(op IN ITEMS rmsnorm head_rope attention attention_wide attention_spread attention_reduce)
    rf_shader(NAME ${op} SOURCE ${op}.comp)
    rf_shader(NAME ${op}_act16 SOURCE ${op}.comp PATH fp16 DEFINES ACT_F16=1)
endforeach()

rf_shader(NAME attention_coopmat_act16 SOURCE attention_coopmat.comp PATH coopmat DEFINES ACT_F16=1)
rf_shader(NAME attention_coopmat2_act16 SOURCE attention_coopmat.comp PATH coopmat2 DEFINES ACT_F16=1 COOPMAT2=1)

foreach(op IN ITEMS rmsnorm attention attention_reduce)
    rf_shader(NAME ${op}_int8 SOURCE ${op}.comp PATH int8dot DEFINES ACT_F16=1 ACT_INT8=1)
endforeach()

rf_shader(NAME logits_reduce SOURCE logits_reduce.comp)

# Synthetic weights, and the ceilings that `refusion bench` measures.
rf_shader(NAME synthetic SOURCE synthetic.comp)
rf_shader(NAME bench_empty SOURCE bench_empty.comp)
rf_shader(NAME bench_script SOURCE bench_script.comp)
rf_shader(NAME bench_read SOURCE bench_read.comp)
rf_shader(NAME bench_read_uniform SOURCE bench_read.comp DEFINES UNIFORM=1)
rf_shader(NAME bench_math_f32 SOURCE bench_math.comp DEFINES MATH=0)
rf_shader(NAME bench_math_f32_muladd SOURCE bench_math.comp DEFINES MATH=1)
rf_shader(NAME bench_math_f16 SOURCE bench_math.comp PATH fp16 DEFINES MATH=2)
rf_shader(NAME bench_math_int8 SOURCE bench_math.comp PATH int8dot DEFINES MATH=3)
rf_shader(NAME bench_coopmat SOURCE bench_coopmat.comp PATH coopmat)

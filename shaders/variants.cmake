# Every compiled shader: rf_shader(NAME name SOURCE file.comp [PATH portable|fp16] [DEFINES A=1 B=2])

# Integers only: the same on every path.
rf_shader(NAME rows_gather SOURCE rows_gather.comp)
rf_shader(NAME slot_select SOURCE slot_select.comp)
rf_shader(NAME slot_fill SOURCE slot_fill.comp)
rf_shader(NAME slot_accept SOURCE slot_accept.comp)

# Moves bits: by the size of a KV element.
rf_shader(NAME kv_commit SOURCE kv_commit.comp)
rf_shader(NAME kv_commit_act16 SOURCE kv_commit.comp PATH fp16 DEFINES ACT_F16=1)

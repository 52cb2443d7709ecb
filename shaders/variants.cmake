# Every compiled shader: rf_shader(NAME name SOURCE file.comp [PATH portable|fp16] [DEFINES A=1 B=2])

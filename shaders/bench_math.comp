// The ceiling of multiply-adds in registers: 8 independent sums, s = s * factor + addend, 16 steps a turn of
// the loop. MATH 0: f32 fma; 1: f32 product and sum, for drivers whose fma is a call; 2: f16, two a vector;
// 3: four products of 8-bit integers and a sum. 256 operations a turn and invocation, with MATH 2 twice
// that, with MATH 3 four times. Any grid.
// -D: MATH
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#if MATH == 2
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define NUMBER f16vec2
#elif MATH == 3
#extension GL_EXT_spirv_intrinsics : require
#define NUMBER int
// OpSDot of packed vectors, as an instruction: older compilers lack GL_EXT_integer_dot_product. Capabilities
// DotProduct and DotProductInput4x8BitPacked; the last operand is PackedVectorFormat4x8Bit.
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019], id = 4450)
int dot_4x8(int a, int b, spirv_literal int format);
#else
#define NUMBER float
#endif
#include "refs.glsl"

layout(local_size_x_id = RF_SPEC_LOCAL) in;

layout(push_constant, scalar) uniform Push { rf_push_bench_math p; };

#if MATH == 1
#define ADD(S) S = S * m + c;
#elif MATH == 3
#define ADD(S) S = dot_4x8(S, m, 0) + S;
#else
#define ADD(S) S = fma(S, m, c);
#endif
#define STEP ADD(s0) ADD(s1) ADD(s2) ADD(s3) ADD(s4) ADD(s5) ADD(s6) ADD(s7)
#define FOUR_STEPS STEP STEP STEP STEP

void main()
{
#if MATH == 3
    int m = int(p.loops * 0x01030507u), c = 0x11223344;
#else
    NUMBER m = NUMBER(p.factor), c = NUMBER(p.addend);
#endif
    NUMBER s0 = NUMBER(float(gl_LocalInvocationID.x)), s1 = s0 + c, s2 = s1 + c, s3 = s2 + c;
    NUMBER s4 = s3 + c, s5 = s4 + c, s6 = s5 + c, s7 = s6 + c;
    for (uint i = 0; i < p.loops; i++) {
        FOUR_STEPS FOUR_STEPS FOUR_STEPS FOUR_STEPS
    }
    NUMBER sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
    // The sums converge to addend / (1 - factor); this is far from it.
#if MATH == 2
    if (sum.x + sum.y == float16_t(12345.0)) p.sink.x[0] = 1;
#elif MATH == 3
    if (sum == 123456) p.sink.x[0] = 1;
#else
    if (sum == 123456.0) p.sink.x[0] = 1;
#endif
}

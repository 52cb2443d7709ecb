// The ceiling of cooperative matrix products in registers: 8 independent sums c += a b of one subgroup, f16
// inputs [M][K] and [K][N], f32 sums. 32 M N K operations a turn of the loop and subgroup. The left inputs
// change in every turn, and all come from memory (`sink`, random f16), or a compiler for CPUs would take the
// products out of the loop and equal elements for one. Any grid.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#include "refs.glsl"

layout(local_size_x_id = RF_SPEC_LOCAL) in;
layout(constant_id = RF_SPEC_COOPMAT_M) const uint M = 16;
layout(constant_id = RF_SPEC_COOPMAT_N) const uint N = 16;
layout(constant_id = RF_SPEC_COOPMAT_K) const uint K = 16;

layout(push_constant, scalar) uniform Push { rf_push_bench_math p; };

#define A coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define B coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define C coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>

#define EIGHT \
    c0 = coopMatMulAdd(a0, b0, c0); \
    c1 = coopMatMulAdd(a0, b1, c1); \
    c2 = coopMatMulAdd(a0, b2, c2); \
    c3 = coopMatMulAdd(a0, b3, c3); \
    c4 = coopMatMulAdd(a1, b0, c4); \
    c5 = coopMatMulAdd(a1, b1, c5); \
    c6 = coopMatMulAdd(a1, b2, c6); \
    c7 = coopMatMulAdd(a1, b3, c7);

void main()
{
    A a0, a1;
    B b0, b1, b2, b3;
    uint left = M * K / 2, right = K * N / 2; // words of a matrix
    coopMatLoad(a0, p.sink.x, 0, K / 2, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(a1, p.sink.x, left, K / 2, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b0, p.sink.x, 2 * left, N / 2, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b1, p.sink.x, 2 * left + right, N / 2, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b2, p.sink.x, 2 * left + 2 * right, N / 2, gl_CooperativeMatrixLayoutRowMajor);
    coopMatLoad(b3, p.sink.x, 2 * left + 3 * right, N / 2, gl_CooperativeMatrixLayoutRowMajor);
    C c0 = C(1.0), c1 = C(2.0), c2 = C(3.0), c3 = C(4.0), c4 = C(5.0), c5 = C(6.0), c6 = C(7.0), c7 = C(8.0);
    A change = A(float16_t(0.25 * p.factor));
    for (uint i = 0; i < p.loops; i++) {
        EIGHT
        EIGHT
        a0 = a0 + change;
        a1 = a1 - change;
        change = -change;
    }
    c0 = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7;
    // Far from what the sums come to, but no compiler knows it.
    if (c0[0] == 123456.0) p.sink.x[0] = 1;
}

// Buffer reference types that shared.h names. Included by every shader, after the extensions and before
// shared.h's users. Activations and KV are f16 with ACT_F16, else f32; weights are WEIGHT_BF16, WEIGHT_F16 or
// WEIGHT_F32. Inputs of matmuls are int8 blocks with ACT_INT8, which goes with ACT_F16.

#ifdef ACT_F16
#define ACT float16_t
#define ACT4 f16vec4
#else
#define ACT float
#define ACT4 vec4
#endif

// Coherent: the slot shaders pass words between invocations of a workgroup through memory.
layout(buffer_reference, scalar, buffer_reference_align = 4) coherent buffer RfWords { uint x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfBits { uint x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RfFloats { float x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RfVec4s { vec4 x[]; };
#ifdef ACT_INT8
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RfQuads { uvec4 x[]; };
#else
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer RfQuads { ACT4 x[]; };
#endif
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RfWeights { uvec4 x[]; };
// Quads of K [head_dim / 4][row] and of V [row][head_dim / 4].
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer RfKv { ACT4 x[]; };
// A page table. The struct keeps glslang from declaring RuntimeDescriptorArray, as it does for an array of
// references.
struct rf_page { RfKv kv; };
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer RfPages { rf_page x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfSlots { uint x[]; };
layout(buffer_reference) buffer RfRows;
layout(buffer_reference) buffer RfResults;
layout(buffer_reference) buffer RfRoundState;
layout(buffer_reference) buffer RfStatus;
layout(buffer_reference) buffer RfSeqs;
layout(buffer_reference) buffer RfWork;
layout(buffer_reference) buffer RfActive;
layout(buffer_reference) buffer RfCounts;
layout(buffer_reference) buffer RfGrids;
layout(buffer_reference) buffer RfPartials;

#include "shared.h"

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfRows { rf_row x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfResults { rf_result x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer RfRoundState { rf_round_state x; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfStatus {
    rf_status_head x;
    uint words[];
};
layout(buffer_reference, scalar, buffer_reference_align = 8) buffer RfSeqs { rf_seq x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfWork { rf_work x; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfActive { rf_active x; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfCounts { rf_counts x; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfGrids { rf_grid x[]; };
layout(buffer_reference, scalar, buffer_reference_align = 4) buffer RfPartials { rf_partial x[]; };

#include "engine/gpu/spirv.h"
#include "engine/allocate.h"

#include <string.h>

/* Numbers of the SPIR-V specification, under its names. */
enum {
    Magic = 0x07230203,
    OpName = 5,
    OpEntryPoint = 15,
    OpExecutionMode = 16,
    OpCapability = 17,
    OpTypeBool = 20,
    OpTypeInt = 21,
    OpTypeFloat = 22,
    OpTypeVector = 23,
    OpTypeMatrix = 24,
    OpTypeArray = 28,
    OpTypeStruct = 30,
    OpTypePointer = 32,
    OpConstantTrue = 41,
    OpConstantFalse = 42,
    OpConstant = 43,
    OpSpecConstantTrue = 48,
    OpSpecConstantFalse = 49,
    OpSpecConstant = 50,
    OpConstantComposite = 44,
    OpSpecConstantComposite = 51,
    OpSpecConstantOp = 52,
    OpVariable = 59,
    OpDecorate = 71,
    OpMemberDecorate = 72,
    OpCompositeExtract = 81,
    OpBitcast = 124,
    OpIAdd = 128,
    OpISub = 130,
    OpIMul = 132,
    OpUDiv = 134,
    OpUMod = 137,
    OpLogicalOr = 166,
    OpLogicalAnd = 167,
    OpLogicalNot = 168,
    OpSelect = 169,
    OpIEqual = 170,
    OpINotEqual = 171,
    OpUGreaterThan = 172,
    OpUGreaterThanEqual = 174,
    OpULessThan = 176,
    OpULessThanEqual = 178,
    OpShiftRightLogical = 194,
    OpShiftLeftLogical = 196,
    OpBitwiseOr = 197,
    OpBitwiseXor = 198,
    OpBitwiseAnd = 199,
    OpExecutionModeId = 331,
    ModelGLCompute = 5,
    ModeLocalSize = 17,
    ModeLocalSizeId = 38,
    DecorationSpecId = 1,
    DecorationArrayStride = 6,
    DecorationBuiltIn = 11,
    DecorationOffset = 35,
    BuiltInWorkgroupSize = 25,
    StorageWorkgroup = 4,
    StoragePushConstant = 9,
    CapabilityFloat16 = 9,
    CapabilityFloat64 = 10,
    CapabilityInt64 = 11,
    CapabilityInt8 = 39,
    CapabilityStorageBuffer16BitAccess = 4433,
    CapabilityUniformAndStorageBuffer16BitAccess = 4434,
    CapabilityStorageBuffer8BitAccess = 4448,
    CapabilityCooperativeMatrixReductions = 5430,
    CapabilityCooperativeMatrixConversions = 5431,
    CapabilityCooperativeMatrixPerElementOperations = 5432,
    CapabilityCooperativeMatrixTensorAddressing = 5433,
    CapabilityCooperativeMatrixBlockLoads = 5434,
    CapabilityTensorAddressing = 5439,
    CapabilityDotProduct = 6019,
    CapabilityCooperativeMatrixKHR = 6022,
    HEADER_WORDS = 5,
    MOST_IDS = 1 << 20,
    MOST_NESTING = 32,
    MOST_EFFORT =
        1 << 14,     /* steps for constant expressions and shared types, which may refer to each other */
    MOST_SHARED = 32 /* variables */
};

/* What was said about one id. `at` is the word of the instruction that defined it, 0: none. */
struct id_entry {
    uint32_t at;
    uint32_t stride;  /* ArrayStride */
    uint32_t spec_id; /* plus one; 0: not a specialization constant */
    uint32_t name_at; /* the word of its OpName, 0: none */
};

struct reader {
    const uint32_t *words;
    size_t count;
    struct id_entry *ids;
    uint32_t bound;
    const uint32_t *specs;
    uint32_t spec_count;
    struct rf_spirv_info *out;
    uint32_t local_ids[3], workgroup_id; /* ids that hold the workgroup size; 0: literal */
    uint32_t push_struct;
    uint32_t shared_types[MOST_SHARED], shared_count; /* of the variables that a workgroup shares */
    uint32_t effort;
    bool entry_found, bad;
};

static uint32_t opcode(const struct reader *r, uint32_t at)
{
    return r->words[at] & 0xFFFF;
}

static uint32_t length(const struct reader *r, uint32_t at)
{
    return r->words[at] >> 16;
}

/* Operand `index` (from 1) of the instruction at `at`; a missing one marks the module as bad. */
static uint32_t operand(struct reader *r, uint32_t at, uint32_t index)
{
    if (index < length(r, at))
        return r->words[at + index];
    r->bad = true;
    return 0;
}

static struct id_entry *entry(struct reader *r, uint32_t id)
{
    if (id && id < r->bound)
        return &r->ids[id];
    r->bad = true;
    return &r->ids[0]; /* a place that nobody reads */
}

static void read_entry_point(struct reader *r, uint32_t at)
{
    if (operand(r, at, 1) != ModelGLCompute || r->entry_found || length(r, at) < 4)
        return;
    const char *name = (const char *)&r->words[at + 3];
    size_t room = (length(r, at) - 3) * sizeof(uint32_t);
    size_t size = strnlen(name, room);
    if (size == room || size >= sizeof r->out->entry) {
        r->bad = true;
        return;
    }
    memcpy(r->out->entry, name, size + 1);
    r->entry_found = true;
}

static void read_capability(struct reader *r, uint32_t capability)
{
    switch (capability) {
    case CapabilityFloat16:
        r->out->float16 = true;
        break;
    case CapabilityFloat64:
        r->out->float64 = true;
        break;
    case CapabilityInt64:
        r->out->int64 = true;
        break;
    case CapabilityInt8:
        r->out->int8 = true;
        break;
    case CapabilityStorageBuffer16BitAccess:
    case CapabilityUniformAndStorageBuffer16BitAccess:
        r->out->storage16 = true;
        break;
    case CapabilityStorageBuffer8BitAccess:
        r->out->storage8 = true;
        break;
    case CapabilityDotProduct:
        r->out->dot_product = true;
        break;
    case CapabilityCooperativeMatrixReductions:
    case CapabilityCooperativeMatrixConversions:
    case CapabilityCooperativeMatrixPerElementOperations:
        r->out->cooperative_matrix2 = true;
        break;
    case CapabilityCooperativeMatrixTensorAddressing:
    case CapabilityCooperativeMatrixBlockLoads:
    case CapabilityTensorAddressing:
        r->out->tensor_addressing = true;
        break;
    case CapabilityCooperativeMatrixKHR:
        r->out->cooperative_matrix = true;
        break;
    default:
        break;
    }
}

static void read_decoration(struct reader *r, uint32_t at)
{
    const uint32_t id = operand(r, at, 1), decoration = operand(r, at, 2);
    if (decoration == DecorationSpecId)
        entry(r, id)->spec_id = operand(r, at, 3) + 1;
    if (decoration == DecorationArrayStride)
        entry(r, id)->stride = operand(r, at, 3);
    if (decoration == DecorationBuiltIn && operand(r, at, 3) == BuiltInWorkgroupSize)
        r->workgroup_id = id;
}

static void read_variable(struct reader *r, uint32_t at)
{
    const uint32_t storage = operand(r, at, 3), pointer = entry(r, operand(r, at, 1))->at;
    if (!pointer || opcode(r, pointer) != OpTypePointer)
        return;
    if (storage == StoragePushConstant)
        r->push_struct = operand(r, pointer, 3);
    if (storage == StorageWorkgroup && r->shared_count++ < MOST_SHARED)
        r->shared_types[r->shared_count - 1] = operand(r, pointer, 3);
}

static void read_instruction(struct reader *r, uint32_t at)
{
    switch (opcode(r, at)) {
    case OpCapability:
        read_capability(r, operand(r, at, 1));
        break;
    case OpEntryPoint:
        read_entry_point(r, at);
        break;
    case OpExecutionMode:
        if (operand(r, at, 2) == ModeLocalSize)
            for (uint32_t i = 0; i < 3; ++i)
                r->out->local_size[i] = operand(r, at, 3 + i);
        break;
    case OpExecutionModeId:
        if (operand(r, at, 2) == ModeLocalSizeId)
            for (uint32_t i = 0; i < 3; ++i)
                r->local_ids[i] = operand(r, at, 3 + i);
        break;
    case OpDecorate:
        read_decoration(r, at);
        break;
    case OpName:
        entry(r, operand(r, at, 1))->name_at = at;
        break;
    case OpTypeBool:
    case OpTypeInt:
    case OpTypeFloat:
    case OpTypeVector:
    case OpTypeMatrix:
    case OpTypeArray:
    case OpTypeStruct:
    case OpTypePointer:
        entry(r, operand(r, at, 1))->at = at;
        break;
    case OpConstantTrue:
    case OpConstantFalse:
    case OpConstant:
    case OpSpecConstantTrue:
    case OpSpecConstantFalse:
    case OpSpecConstant:
    case OpConstantComposite:
    case OpSpecConstantComposite:
    case OpSpecConstantOp:
        entry(r, operand(r, at, 2))->at = at;
        break;
    case OpVariable:
        read_variable(r, at);
        break;
    default:
        break;
    }
}

/* What an OpSpecConstantOp makes of numbers and truths (0 and 1); false: not known here, or divided by 0. */
static bool operate(uint32_t op, const uint32_t v[3], uint32_t *out)
{
    switch (op) {
    case OpBitcast:
        *out = v[0];
        return true;
    case OpIAdd:
        *out = v[0] + v[1];
        return true;
    case OpISub:
        *out = v[0] - v[1];
        return true;
    case OpIMul:
        *out = v[0] * v[1];
        return true;
    case OpUDiv:
        *out = v[1] ? v[0] / v[1] : 0;
        return v[1] != 0;
    case OpUMod:
        *out = v[1] ? v[0] % v[1] : 0;
        return v[1] != 0;
    case OpLogicalOr:
    case OpBitwiseOr:
        *out = v[0] | v[1];
        return true;
    case OpLogicalAnd:
    case OpBitwiseAnd:
        *out = v[0] & v[1];
        return true;
    case OpBitwiseXor:
        *out = v[0] ^ v[1];
        return true;
    case OpLogicalNot:
        *out = !v[0];
        return true;
    case OpSelect:
        *out = v[0] ? v[1] : v[2];
        return true;
    case OpIEqual:
        *out = v[0] == v[1];
        return true;
    case OpINotEqual:
        *out = v[0] != v[1];
        return true;
    case OpUGreaterThan:
        *out = v[0] > v[1];
        return true;
    case OpUGreaterThanEqual:
        *out = v[0] >= v[1];
        return true;
    case OpULessThan:
        *out = v[0] < v[1];
        return true;
    case OpULessThanEqual:
        *out = v[0] <= v[1];
        return true;
    case OpShiftRightLogical:
        *out = v[1] < 32 ? v[0] >> v[1] : 0;
        return v[1] < 32;
    case OpShiftLeftLogical:
        *out = v[1] < 32 ? v[0] << v[1] : 0;
        return v[1] < 32;
    default:
        return false;
    }
}

/* Value of a 32-bit constant or constant expression, specialization applied; false: it is none that is
 * understood here. */
static bool evaluate(struct reader *r, uint32_t id, uint32_t *out, int depth)
{
    const struct id_entry *e = entry(r, id);
    uint32_t values[3] = {0};
    *out = 0;
    if (!e->at || depth > MOST_NESTING || ++r->effort > MOST_EFFORT)
        return false;
    const uint32_t op = opcode(r, e->at);
    bool given = e->spec_id && e->spec_id - 1 < r->spec_count;
    uint32_t value = given ? r->specs[e->spec_id - 1] : 0;
    switch (op) {
    case OpConstant:
    case OpSpecConstant:
        *out = given ? value : operand(r, e->at, 3);
        return true;
    case OpConstantTrue:
    case OpConstantFalse:
    case OpSpecConstantTrue:
    case OpSpecConstantFalse:
        *out = given ? value != 0 : op == OpConstantTrue || op == OpSpecConstantTrue;
        return true;
    case OpSpecConstantOp:
        break;
    default:
        return false;
    }
    if (operand(r, e->at, 3) == OpCompositeExtract) {
        const uint32_t from = entry(r, operand(r, e->at, 4))->at, index = operand(r, e->at, 5);
        return from && length(r, e->at) == 6 && index < length(r, from) &&
               (opcode(r, from) == OpConstantComposite || opcode(r, from) == OpSpecConstantComposite) &&
               evaluate(r, operand(r, from, 3 + index), out, depth + 1);
    }
    const uint32_t count = length(r, e->at) > 4 ? length(r, e->at) - 4 : 0;
    for (uint32_t i = 0; i < count; ++i)
        if (i == 3 || !evaluate(r, operand(r, e->at, 4 + i), &values[i], depth + 1))
            return false;
    return operate(operand(r, e->at, 3), values, out);
}

static uint32_t constant(struct reader *r, uint32_t id)
{
    uint32_t value;
    if (!evaluate(r, id, &value, 0))
        r->bad = true;
    return value;
}

static uint32_t type_bytes(struct reader *r, uint32_t id, uint32_t *alignment, int depth);

/* End of the last member of a struct by its Offset decorations, which may stand anywhere before the types. */
static uint32_t struct_bytes(struct reader *r, uint32_t id, uint32_t *alignment, int depth)
{
    uint32_t end = 0;
    const uint32_t at = entry(r, id)->at;
    for (uint32_t i = HEADER_WORDS; i < r->count && !r->bad; i += length(r, i)) {
        if (opcode(r, i) != OpMemberDecorate || operand(r, i, 1) != id ||
            operand(r, i, 3) != DecorationOffset)
            continue;
        const uint32_t member = operand(r, i, 2), offset = operand(r, i, 4);
        if (member > UINT16_MAX || offset > UINT16_MAX)
            r->bad = true;
        if (r->bad)
            break;
        const uint32_t bytes = type_bytes(r, operand(r, at, 2 + member), alignment, depth + 1);
        if (offset + bytes > end)
            end = offset + bytes;
    }
    return end;
}

static uint32_t type_bytes(struct reader *r, uint32_t id, uint32_t *alignment, int depth)
{
    const struct id_entry *e = entry(r, id);
    if (!e->at || depth > MOST_NESTING)
        r->bad = true;
    if (r->bad)
        return 0;
    uint32_t bytes = 0;
    switch (opcode(r, e->at)) {
    case OpTypeInt:
    case OpTypeFloat:
        bytes = operand(r, e->at, 2) / 8;
        break;
    case OpTypePointer:
        bytes = 8;
        break; /* a buffer reference */
    case OpTypeVector:
    case OpTypeMatrix:
        return operand(r, e->at, 3) % 32 * type_bytes(r, operand(r, e->at, 2), alignment, depth + 1);
    case OpTypeArray: {
        uint32_t elements = constant(r, operand(r, e->at, 3));
        uint32_t element = type_bytes(r, operand(r, e->at, 2), alignment, depth + 1);
        if (elements > UINT16_MAX || e->stride > UINT16_MAX)
            r->bad = true;
        return r->bad || !elements ? 0 : (elements - 1) * e->stride + element;
    }
    case OpTypeStruct:
        return struct_bytes(r, id, alignment, depth);
    default:
        r->bad = true;
        return 0;
    }
    if (bytes > *alignment)
        *alignment = bytes;
    return bytes;
}

/* Bytes of a type that a workgroup shares, its members without gaps; false: it is not understood here. */
static bool shared_bytes(struct reader *r, uint32_t id, uint64_t *bytes, int depth)
{
    const uint32_t at = entry(r, id)->at;
    uint64_t part;
    uint32_t count;
    if (!at || depth > MOST_NESTING || ++r->effort > MOST_EFFORT)
        return false;
    switch (opcode(r, at)) {
    case OpTypeBool:
        *bytes = 4;
        return true;
    case OpTypeInt:
    case OpTypeFloat:
        *bytes = operand(r, at, 2) / 8;
        return true;
    case OpTypeVector:
    case OpTypeMatrix:
    case OpTypeArray:
        count = operand(r, at, 3);
        if (opcode(r, at) == OpTypeArray && !evaluate(r, count, &count, 0))
            return false;
        if (!shared_bytes(r, operand(r, at, 2), &part, depth + 1) || part > UINT32_MAX)
            return false;
        *bytes = count * part;
        return true;
    case OpTypeStruct:
        *bytes = 0;
        for (uint32_t i = 2; i < length(r, at); ++i) {
            if (!shared_bytes(r, operand(r, at, i), &part, depth + 1))
                return false;
            *bytes += part;
        }
        return true;
    default:
        return false;
    }
}

static void resolve_shared(struct reader *r)
{
    uint64_t all = 0, bytes;
    bool known = r->shared_count <= MOST_SHARED;
    for (uint32_t i = 0; known && i < r->shared_count; ++i) {
        known = shared_bytes(r, r->shared_types[i], &bytes, 0) && bytes <= UINT32_MAX;
        all += known ? bytes : 0;
    }
    r->out->shared_bytes = known && all < RF_SHARED_UNKNOWN ? (uint32_t)all : RF_SHARED_UNKNOWN;
}

static void copy_name(struct reader *r, uint32_t at, char name[RF_SPIRV_NAME])
{
    const size_t room = length(r, at) > 2 ? (length(r, at) - 2) * sizeof(uint32_t) : 0;
    const size_t size = strnlen((const char *)&r->words[at + 2], room);
    if (size == room || size >= RF_SPIRV_NAME)
        return; /* longer than anything here is called */
    memcpy(name, &r->words[at + 2], size);
    name[size] = '\0';
}

/* The workgroup's size is a constant without a name. */
static void resolve_names(struct reader *r)
{
    uint32_t local = r->local_ids[0];
    if (r->workgroup_id && entry(r, r->workgroup_id)->at)
        local = operand(r, entry(r, r->workgroup_id)->at, 3);
    for (uint32_t id = 0; id < r->bound; ++id) {
        const struct id_entry *e = &r->ids[id];
        if (!e->spec_id || e->spec_id > RF_SPIRV_SPECS)
            continue;
        char *name = r->out->spec_names[e->spec_id - 1];
        if (id == local && !name[0])
            memcpy(name, "LOCAL", sizeof "LOCAL");
        if (e->name_at)
            copy_name(r, e->name_at, name);
    }
}

static void resolve(struct reader *r)
{
    if (r->workgroup_id) {
        const uint32_t at = entry(r, r->workgroup_id)->at;
        if (!at)
            r->bad = true;
        for (uint32_t i = 0; i < 3 && !r->bad; ++i)
            r->out->local_size[i] = constant(r, operand(r, at, 3 + i));
    } else if (r->local_ids[0]) {
        for (uint32_t i = 0; i < 3; ++i)
            r->out->local_size[i] = constant(r, r->local_ids[i]);
    }
    r->out->push_alignment = 4;
    if (r->push_struct)
        r->out->push_bytes = type_bytes(r, r->push_struct, &r->out->push_alignment, 0);
    resolve_shared(r);
    resolve_names(r);
}

static void read_all(struct reader *r)
{
    for (size_t at = HEADER_WORDS; at < r->count && !r->bad; at += length(r, (uint32_t)at)) {
        const uint32_t size = r->words[at] >> 16;
        if (!size || size > r->count - at)
            r->bad = true;
        else
            read_instruction(r, (uint32_t)at);
    }
    if (!r->bad)
        resolve(r);
}

enum rf_status rf_spirv_read(struct rf_spirv_info *out, const uint32_t *words, size_t count,
                             const uint32_t *specs, uint32_t spec_count, const char *name,
                             struct rf_error *err)
{
    *out = (struct rf_spirv_info){0};
    if (count < HEADER_WORDS || count > UINT32_MAX || words[0] != Magic)
        return rf_fail(
            err, RF_ERROR_FORMAT,
            "shader %s: no SPIR-V (%zu words, the first is 0x%08x; wanted at least %d, and 0x%08x first)",
            name, count, count ? words[0] : 0, HEADER_WORDS, Magic);
    struct reader r = {.words = words,
                       .count = count,
                       .bound = words[3],
                       .specs = specs,
                       .spec_count = spec_count,
                       .out = out};
    if (!r.bound || r.bound > MOST_IDS)
        return rf_fail(err, RF_ERROR_FORMAT, "shader %s: SPIR-V with an id bound of %u, wanted 1 to %d", name,
                       r.bound, MOST_IDS);
    r.ids = rf_calloc(r.bound, sizeof *r.ids);
    if (!r.ids)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of host memory for shader %s", name);
    read_all(&r);
    rf_free(r.ids);
    if (r.bad)
        return rf_fail(err, RF_ERROR_FORMAT, "shader %s: malformed SPIR-V", name);
    if (!r.entry_found)
        return rf_fail(err, RF_ERROR_FORMAT, "shader %s: SPIR-V without a compute entry point", name);
    const uint64_t invocations = (uint64_t)out->local_size[0] * out->local_size[1] * out->local_size[2];
    if (!invocations || out->local_size[0] > UINT16_MAX || out->local_size[1] > UINT16_MAX ||
        out->local_size[2] > UINT16_MAX)
        return rf_fail(err, RF_ERROR_FORMAT, "shader %s: a workgroup of %u x %u x %u invocations", name,
                       out->local_size[0], out->local_size[1], out->local_size[2]);
    return RF_OK;
}

/* ---- Freezing ---- */

/* The value given for constant `id`, or NULL when there is none. Its decoration comes before `end`. */
static const uint32_t *given_value(const uint32_t *words, size_t end, uint32_t id, const uint32_t *specs,
                                   uint32_t spec_count)
{
    for (size_t at = HEADER_WORDS; at < end; at += words[at] >> 16) {
        bool spec = (words[at] & 0xFFFF) == OpDecorate && words[at + 2] == DecorationSpecId;
        if (spec && words[at + 1] == id)
            return words[at + 3] < spec_count ? &specs[words[at + 3]] : NULL;
    }
    return NULL;
}

/* One instruction, already copied to `to`, of the module's words at `at`. */
static void freeze_instruction(uint32_t *to, const uint32_t *words, size_t at, const uint32_t *specs,
                               uint32_t spec_count)
{
    const uint32_t op = words[at] & 0xFFFF, size = words[at] >> 16;
    if (size < 3 || (op != OpSpecConstantTrue && op != OpSpecConstantFalse && op != OpSpecConstant))
        return;
    const uint32_t *value = given_value(words, at, words[at + 2], specs, spec_count);
    uint32_t frozen = OpConstant;
    if (op == OpSpecConstant) {
        if (value && size == 4)
            to[3] = *value;
    } else {
        frozen = (value ? *value != 0 : op == OpSpecConstantTrue) ? OpConstantTrue : OpConstantFalse;
    }
    to[0] = size << 16 | frozen;
}

enum rf_status rf_spirv_freeze(uint32_t **out, size_t *out_count, const uint32_t *words, size_t count,
                               const uint32_t *specs, uint32_t spec_count, struct rf_error *err)
{
    uint32_t *frozen = rf_malloc(count * sizeof *frozen);
    if (!frozen)
        return rf_fail(err, RF_ERROR_HOST_MEMORY, "out of memory: %zu words of SPIR-V", count);
    memcpy(frozen, words, HEADER_WORDS * sizeof *frozen);
    size_t end = HEADER_WORDS;
    for (size_t at = HEADER_WORDS; at < count; at += words[at] >> 16) {
        const uint32_t size = words[at] >> 16;
        if ((words[at] & 0xFFFF) == OpDecorate && words[at + 2] == DecorationSpecId)
            continue;
        memcpy(frozen + end, words + at, size * sizeof *frozen);
        freeze_instruction(frozen + end, words, at, specs, spec_count);
        end += size;
    }
    *out = frozen;
    *out_count = end;
    return RF_OK;
}

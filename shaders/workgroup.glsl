// Reductions over a workgroup of RF_GROUP invocations, or of another size up to RF_GROUP_MOST, for any
// subgroup size from 4 up. Every invocation must get here. The result is the same bits in all of them.

const uint RF_GROUP = 64;
#ifndef RF_GROUP_MOST
#define RF_GROUP_MOST RF_GROUP
#endif

shared uint workgroup_words[RF_GROUP_MOST / 4];

float workgroup_sum(float value)
{
    value = subgroupAdd(value);
    if (subgroupElect()) {
        workgroup_words[gl_SubgroupID] = floatBitsToUint(value);
    }
    barrier();
    float sum = 0.0;
    for (uint s = 0; s < gl_NumSubgroups; s++) {
        sum += uintBitsToFloat(workgroup_words[s]);
    }
    barrier();
    return sum;
}

float workgroup_max(float value)
{
    value = subgroupMax(value);
    if (subgroupElect()) {
        workgroup_words[gl_SubgroupID] = floatBitsToUint(value);
    }
    barrier();
    float top = uintBitsToFloat(workgroup_words[0]);
    for (uint s = 1; s < gl_NumSubgroups; s++) {
        top = max(top, uintBitsToFloat(workgroup_words[s]));
    }
    barrier();
    return top;
}

uint workgroup_min(uint value)
{
    value = subgroupMin(value);
    if (subgroupElect()) {
        workgroup_words[gl_SubgroupID] = value;
    }
    barrier();
    uint low = workgroup_words[0];
    for (uint s = 1; s < gl_NumSubgroups; s++) {
        low = min(low, workgroup_words[s]);
    }
    barrier();
    return low;
}

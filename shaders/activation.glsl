// Storing activations, K and V: they saturate where they are f16. Included after refs.glsl.

ACT4 to_act(vec4 value)
{
#ifdef ACT_F16
    value = clamp(value, vec4(-65504.0), vec4(65504.0));
#endif
    return ACT4(value);
}

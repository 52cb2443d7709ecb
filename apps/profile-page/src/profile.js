// Reading the profile that the page holds. Everything but the format and its version may be missing.
const object = (value) => (value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {});
const objects = (value) =>
    Array.isArray(value) ? value.filter((item) => item !== null && typeof item === 'object') : [];

const OBJECTS = ['device', 'model', 'settings', 'ceilings', 'totals'];
const LISTS = ['runs', 'shaders', 'layers', 'phases', 'rounds', 'costliest', 'events', 'submissions', 'pipelines'];

// Throws an Error with a line for the reader when this is no profile of version 1.
export function readProfile(text) {
    let data;
    try {
        data = JSON.parse(text);
    } catch (error) {
        throw new Error(`What this page holds is not JSON: ${error.message}`);
    }
    if (data?.format !== 'refusion-profile') {
        throw new Error('What this page holds is not a refusion profile.');
    }
    if (data.version !== 1) {
        throw new Error(`This page holds a profile of version ${data.version} and reads version 1.`);
    }
    const profile = { ...data };
    OBJECTS.forEach((name) => {
        profile[name] = object(data[name]);
    });
    LISTS.forEach((name) => {
        profile[name] = objects(data[name]);
    });
    const trace = object(data.trace);
    profile.trace = { ...trace, ops: objects(trace.ops), dispatches: objects(trace.dispatches) };
    const counters = object(data.counters);
    profile.counters = { list: objects(counters.list), shaders: objects(counters.shaders) };
    return profile;
}

// Shaders with a phase of their own; "all" sums the others up.
export const perPhase = (profile) => {
    const own = profile.shaders.filter((shader) => shader.phase !== 'all');
    return own.length > 0 ? own : profile.shaders;
};

export const PHASES = ['prefill', 'plan', 'verify', 'complete', 'ar'];

// The page of `refusion profile --html`: draws the profile that the page holds.
import { readProfile } from './profile.js';
import { section } from './dom.js';
import { drawSummary } from './summary.js';
import { drawTimeline } from './timeline.js';
import { drawRoofline } from './roofline.js';
import { drawLayers } from './heatmap.js';
import { drawSlots } from './slots.js';
import { drawTables } from './tables.js';

try {
    const profile = readProfile(section('profile').textContent);
    for (const draw of [drawSummary, drawTimeline, drawRoofline, drawLayers, drawSlots, drawTables]) {
        draw(profile);
    }
} catch (error) {
    section('failure').textContent = error.message;
    section('failure').hidden = false;
    document.querySelectorAll('main > section').forEach((element) => {
        element.hidden = true;
    });
    throw error;
}

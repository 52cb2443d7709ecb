#!/usr/bin/env python3
"""The page of `profile --html` in headless Chromium: test_page.py WRITE_PAGE FOLDER

WRITE_PAGE puts a JSON file into the page that the program carries; pages and screenshots go to FOLDER.
"""
import json
import os
import re
import subprocess
import sys
import time
import unittest

import browser
import make_sample

PHONE, DESKTOP = (390, 844), (1280, 800)
SAMPLES = {
    "one": lambda: make_sample.profile(1, 1),
    "usual": lambda: make_sample.profile(9, 4),
    "long": lambda: make_sample.profile(200, 36),
    "awkward": lambda: make_sample.profile(3, 2, awkward=True),
    "bare": lambda: {"format": "refusion-profile", "version": 1},
    "newer": lambda: {"format": "refusion-profile", "version": 2},
}
# Contrast of each text with the nearest ground behind it, by WCAG's formula: those under 4.5.
CONTRAST = """
(() => {
    const channels = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = (c) => channels(c).slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (e) => { const c = getComputedStyle(e).backgroundColor;
        return (channels(c)[3] ?? 1) === 1 ? c : e.parentElement ? ground(e.parentElement) : 'rgb(255,255,255)'; };
    const walker = document.createTreeWalker(document.querySelector('body'), NodeFilter.SHOW_TEXT), bad = new Set();
    let count = 0;
    for (let node; (node = walker.nextNode());) {
        const e = node.parentElement, style = getComputedStyle(e);
        if (!node.data.trim() || !e.getClientRects().length) continue;
        const [a, b] = [light(e instanceof SVGElement ? style.fill : style.color), light(ground(e))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        count++;
        if (contrast < 4.5) bad.add(`${e.tagName} ${e.className} ${contrast.toFixed(2)}: ${node.data.slice(0, 40)}`);
    }
    return [count, [...bad]];
})()"""
TIP = "[...document.querySelectorAll('#tip:not([hidden])')].map(e => e.innerText.replace(/\\s+/g, ' '))[0] ?? ''"


def page_of(name):
    """Writes the sample's page once; returns its path."""
    base = os.path.join(FOLDER, name)
    if not os.path.exists(base + ".html") or name not in page_of.made:
        with open(base + ".json", "w", encoding="utf-8") as file:
            json.dump(SAMPLES[name](), file, separators=(",", ":"))
        subprocess.run([WRITE_PAGE, base + ".json", base + ".html"], check=True)
        page_of.made.add(name)
    return base + ".html"


page_of.made = set()


def emptied(value):
    """The same shape, with null for every number and text."""
    if isinstance(value, dict):
        return {key: emptied(item) for key, item in value.items()}
    return [emptied(item) for item in value] if isinstance(value, (list, tuple)) else None


def three_digits(value):
    """As the page tells a time from a millisecond to 999 seconds."""
    value, unit = (value, "s") if value >= 1 else (value * 1e3, "ms")
    whole_digits = len(str(int(value)))
    return "%.*f %s" % (max(0, 3 - whole_digits), value, unit)


class PageTest(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.browser = browser.Browser(browser.find())

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def open(self, name, size=DESKTOP, scheme="light", touch=False):
        path = page_of(name)
        self.browser.open(path, *size, scheme, touch)
        return path

    def value(self, expression):
        return self.browser.value(expression)

    def box(self, selector, which=0):
        """Scrolls the element into view; its left, top, width and height in the window."""
        self.value("document.querySelectorAll(%r)[%d].scrollIntoView({block: 'center', inline: 'center'})" % (selector, which))
        self.browser.settle()
        return self.value("(r => [r.x, r.y, r.width, r.height])(document.querySelectorAll(%r)[%d].getBoundingClientRect())"
                          % (selector, which))

    def click_on(self, selector, which=0):
        x, y, width, height = self.box(selector, which)
        self.browser.click(x + width / 2, y + height / 2)

    def readout(self):
        return self.value("document.querySelector('.readout').textContent")

    # ---- What holds for every profile -------------------------------------------------------------------------------

    def test_opens_everywhere_without_a_complaint_or_a_request(self):
        for name in ("one", "usual", "long", "awkward", "bare"):
            for size in (PHONE, DESKTOP):
                for scheme in ("light", "dark"):
                    with self.subTest(name=name, size=size, scheme=scheme):
                        path = self.open(name, size, scheme, touch=size == PHONE)
                        self.assertEqual(self.browser.complaints, [])
                        self.assertEqual(self.browser.requests, ["file://" + path])
                        self.assertEqual(self.value("document.documentElement.scrollWidth"), size[0])
                        self.assertEqual(self.value("document.querySelectorAll('main > section').length"), 6)
                        picture = "%s/%s-%dx%d-%s.png" % (FOLDER, name, *size, scheme)
                        self.browser.screenshot(picture)
                        self.assertGreater(os.path.getsize(picture), 5000)

    def test_anything_may_be_missing(self):
        whole = SAMPLES["one"]()
        for key in whole:
            if key in ("format", "version"):
                continue
            for what, value in (("absent", None), ("null", None), ("emptied", emptied(whole[key]))):
                with self.subTest(key=key, what=what):
                    part = {**whole, key: value}
                    if what == "absent":
                        del part[key]
                    SAMPLES["part"] = lambda part=part: part
                    page_of.made.discard("part")
                    self.open("part")
                    self.assertEqual(self.browser.complaints, [])
                    self.assertEqual(self.value("document.getElementById('failure').hidden"), True)

    def test_all_text_can_be_read_in_both_schemes(self):
        for name in ("usual", "awkward"):
            for scheme in ("light", "dark"):
                self.open(name, DESKTOP, scheme)
                for metric in range(4):
                    self.value("document.querySelectorAll('#layers .choice button')[%d].click()" % metric)
                    count, bad = self.value(CONTRAST)
                    self.assertGreater(count, 500)
                    self.assertEqual(bad, [])

    def test_weighs_little(self):
        self.assertLess(os.path.getsize(page_of("long")), 3e6)
        self.assertLess(os.path.getsize(page_of("bare")), 300e3)

    def test_other_versions_are_told(self):
        self.open("newer")
        self.assertEqual(self.value("document.getElementById('failure').innerText"),
                         "This page holds a profile of version 2 and reads version 1.")
        self.assertEqual(self.value("[...document.querySelectorAll('main > section')].every(s => s.hidden)"), True)

        self.assertEqual(len(self.browser.complaints), 1) # and the console has the line, too
        self.assertIn("version 2", self.browser.complaints[0])

    def test_the_policy_forbids_requests_and_other_scripts(self):
        self.open("usual")
        self.assertEqual(self.value("fetch('https://refusion.invalid/').then(() => 'sent', () => 'refused')"), "refused")
        self.value("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.taken = 1' }))")
        self.assertEqual(self.value("typeof window.taken"), "undefined")
        refusals = [line for line in self.browser.complaints if "Content Security Policy" in line]
        self.assertTrue(any("refusion.invalid" in line for line in refusals), self.browser.complaints)
        self.assertTrue(any("inline script" in line for line in refusals), self.browser.complaints)

    def test_text_of_the_model_stays_text(self):
        self.open("awkward")
        self.assertTrue(self.value("document.title").startswith("refusion profile: "))
        self.assertEqual(self.value("document.scripts.length"), 2)
        self.assertIn(make_sample.HOSTILE, self.value("document.getElementById('slots-text').textContent"))

    # ---- Timeline ---------------------------------------------------------------------------------------------------

    def test_hovering_a_dispatch_tells_its_details(self):
        self.open("usual")
        profile = SAMPLES["usual"]()
        trace = profile["trace"]
        row = max(trace["dispatches"], key=lambda one: one[10] - one[9])
        op, shader = trace["ops"][row[1]]
        end = max(sum(s["host"][k] for k in ("begin", "record", "submit", "wait", "read")) for s in profile["submissions"])
        left, top, width, height = self.box("#timeline-canvas")
        x = left + 64 + (width - 64) * (row[9] + row[10]) / 2 / end
        seen = []
        for y in range(int(height) - 4, 0, -6):
            self.browser.mouse("mouseMoved", x, top + y)
            seen.append(self.value(TIP))
        found = next((tip for tip in seen if tip.startswith(op + " ")), None)
        self.assertIsNotNone(found, seen)
        for part in ("time " + three_digits(row[10] - row[9]), "shader " + shader, "layer outside the layers",
                     "rows %d" % row[5], "phase prefill", "GB/s", "TFLOP/s"):
            self.assertIn(part, found)
        # The tracks above it, at the same time.
        self.assertTrue(any(tip.startswith("prefill time on the GPU ") for tip in seen), seen)
        self.assertTrue(any(tip.startswith("prefill time on the host ") for tip in seen), seen)
        self.assertTrue(any(tip.startswith("wait time ") for tip in seen), seen)
        self.assertTrue(any(tip.startswith("round 0 ") for tip in seen), seen)
        self.browser.mouse("mouseMoved", 2, 2)
        self.assertEqual(self.value(TIP), "")

    def test_keys_walk_and_zoom(self):
        self.open("usual")
        all_of_it = self.readout()
        details = "document.getElementById('timeline-details').innerText.replace(/\\s+/g, ' ')"
        self.value("document.getElementById('timeline-canvas').focus()")
        self.browser.key("ArrowRight")
        # One group between two barriers: one slice that lists its members.
        self.assertRegex(self.value(details), "^rows gather \\+ embed .*measured together 2 dispatches 1 rows gather . rows_gather")
        self.browser.key("ArrowRight")
        self.assertRegex(self.value(details), "^input norm .*shader rmsnorm layer 0 ")
        self.browser.key("ArrowUp")
        self.assertRegex(self.value(details), "^layer 0 time ")
        self.browser.key("Enter")
        close = self.readout()
        self.assertNotEqual(close, all_of_it)
        self.browser.key("-")
        self.assertNotIn(self.readout(), (close, all_of_it))
        self.browser.key("0")
        self.assertEqual(self.readout(), all_of_it)

    def test_the_wheel_zooms_only_where_it_was_asked_to(self):
        self.open("usual")
        all_of_it = self.readout()
        x, y, width, height = self.box("#timeline-canvas")
        x, y = x + width / 2, y + height / 2
        before = self.value("scrollY")
        self.browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=60)
        end = time.monotonic() + 60
        while self.value("scrollY") <= before and time.monotonic() < end:
            time.sleep(0.1)
        self.assertGreater(self.value("scrollY"), before)
        self.assertEqual(self.readout(), all_of_it)
        x, y, width, height = self.box("#timeline-canvas")
        x, y = x + width / 2, y + height / 2
        self.browser.mouse("mouseWheel", x, y, deltaX=0, deltaY=-60, modifiers=2)
        self.assertNotEqual(self.readout(), all_of_it)
        zoomed = self.readout()
        self.browser.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        self.browser.mouse("mouseMoved", x - 120, y, button="left", buttons=1)
        self.browser.mouse("mouseReleased", x - 120, y, button="left", clickCount=1)
        moved = self.readout()
        self.assertNotEqual(moved, zoomed)
        self.assertEqual(moved.split(": ")[1], zoomed.split(": ")[1])

    def test_two_fingers_zoom_and_one_pans(self):
        self.open("usual", PHONE, touch=True)
        x, y, width, height = self.box("#timeline-canvas")
        x, y = x + width / 2, y + height - 20

        def touch(kind, *points):
            self.browser.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": px, "y": y, "id": i} for i, px in points])
            self.browser.settle()

        all_of_it = self.readout()
        touch("touchStart", (0, x - 20), (1, x + 20))
        for step in range(1, 5):
            touch("touchMove", (0, x - 20 - 15 * step), (1, x + 20 + 15 * step))
        touch("touchEnd")
        zoomed = self.readout()
        self.assertNotEqual(zoomed, all_of_it)
        touch("touchStart", (0, x))
        for step in range(1, 5):
            touch("touchMove", (0, x - 15 * step))
        touch("touchEnd")
        self.assertNotEqual(self.readout(), zoomed)
        self.assertEqual(self.readout().split(": ")[1], zoomed.split(": ")[1])

    def test_what_was_left_out_is_stated(self):
        self.open("long")
        text = self.value("document.getElementById('timeline').innerText")
        count = len(SAMPLES["long"]()["submissions"])
        self.assertIn("Sampled: dispatches of 12 of %d submissions are shown." % count, text)
        self.assertIn("within 1.2 µs (calibrated)", text)
        self.open("awkward")
        self.assertIn("The device has no timestamps", self.value("document.getElementById('timeline').innerText"))
        self.open("bare")
        self.assertIn("no times of submissions", self.value("document.getElementById('timeline').innerText"))

    def test_buttons_step_through_rounds_and_dispatches(self):
        self.open("long")
        profile = SAMPLES["long"]()
        known = sorted({row[0] for row in profile["trace"]["dispatches"]})
        begins = [min(row[9] for row in profile["trace"]["dispatches"] if row[0] == index) for index in known]
        shown = lambda: float(re.match(r"([\d.]+) (s|ms) to", self.readout()).group(1)) * (
            1e-3 if " ms to" in self.readout() else 1)
        self.value("document.querySelector('[title=\"Show the whole run\"]').click()")
        for begin in begins[:4]:
            self.value("document.querySelector('[title=\"Show the next dispatches\"]').click()")
            self.assertAlmostEqual(shown(), begin, delta=0.2)
        self.value("document.querySelector('[title=\"Show the dispatches before\"]').click()")
        self.assertAlmostEqual(shown(), begins[2], delta=0.2)
        self.value("document.querySelector('[title=\"Show the whole run\"]').click()")
        self.value("document.querySelector('[title=\"Show the round before\"]').click()")
        self.assertTrue(self.value("document.getElementById('timeline-details').innerText").startswith("round 199"))

    def test_the_summary_tells_the_median_run(self):
        self.open("usual")
        run = SAMPLES["usual"]()["runs"][0] # of three free-running ones the second in time
        text = self.value("document.querySelector('.figures').innerText")
        self.assertIn("%d tokens in %s, the median of 3 runs" % (run["tokens"], three_digits(run["seconds"])), text)
        self.assertIn("6.4 % over the span", text)

    # ---- The other drawings -----------------------------------------------------------------------------------------

    def test_every_kernel_with_operations_and_time_is_a_point(self):
        for name in ("usual", "awkward"):
            self.open(name)
            shaders = SAMPLES[name]()["shaders"]
            points = [s for s in shaders if s["operations"] > 0 and s["total"] > 0]
            self.assertLess(len(points), len(shaders))
            self.assertEqual(self.value("document.querySelectorAll('#roofline .kernel').length"), len(points))
            self.assertIn("%d kernels without" % (len(shaders) - len(points)), self.value("document.getElementById('roofline').innerText"))
        verify = [s for s in points if s["phase"] == "verify"]
        self.click_on("#roofline .choice button", 2)
        self.assertEqual(self.value("document.querySelectorAll('#roofline .kernel').length"), len(points) - len(verify))

    def test_points_lie_where_their_numbers_say(self):
        self.open("usual")
        # Two points and the decades of the axes tell the scales; the costliest comes first.
        shaders = sorted((s for s in SAMPLES["usual"]()["shaders"] if s["operations"] > 0), key=lambda s: -s["total"])
        places = self.value("[...document.querySelectorAll('#roofline .kernel')].map(e => e.getAttribute('transform').match(/[\\d.]+/g).map(Number))")
        ticks = self.value("[...document.querySelectorAll('#roofline .axis')].map((axis, i) => [...axis.querySelectorAll('.tick')]"
                           ".map(t => [t.textContent, Number(t.getAttribute('transform').match(/[\\d.]+/g)[i])]))")
        ticks = [{re.sub(r"\s", "", name): place for name, place in axis} for axis in ticks]
        import math
        for shader, (x, y) in zip(shaders, places):
            intensity = shader["operations"] / (shader["bytes_read"] + shader["bytes_written"])
            speed = shader["operations"] / shader["total"]
            self.assertAlmostEqual(x, ticks[0]["1"] + (ticks[0]["10"] - ticks[0]["1"]) * math.log10(intensity), delta=1)
            self.assertAlmostEqual(y, ticks[1]["1G"] + (ticks[1]["10G"] - ticks[1]["1G"]) * math.log10(speed / 1e9), delta=1)
        self.box("#roofline-plot")
        # Points lie on each other: the costliest whose middle is its own.
        index, x, y = self.value("[...document.querySelectorAll('#roofline .kernel')].map((e, i) => [i, e, e.getBoundingClientRect()])"
                                 ".map(([i, e, r]) => [i, r.x + r.width / 2, r.y + r.height / 2, e])"
                                 ".filter(([i, x, y, e]) => document.elementFromPoint(x, y) === e)[0].slice(0, 3)")
        self.browser.mouse("mouseMoved", x, y)
        self.assertTrue(self.value(TIP).startswith("%(op)s, %(phase)s shader %(shader)s phase" % shaders[index]), self.value(TIP))
        self.browser.mouse("mouseMoved", 2, 2)
        self.assertEqual(self.value(TIP), "")
        self.value("document.querySelector('#roofline .kernel').focus()")
        self.browser.key("ArrowRight")
        self.assertTrue(self.value(TIP).startswith("%s, %s " % (shaders[1]["op"], shaders[1]["phase"])))

    def test_the_heat_map_switches_its_number(self):
        self.open("long")
        cells = {(c["layer"], c["op"]): c for c in SAMPLES["long"]()["layers"]}
        ops = self.value("[...document.querySelectorAll('.heat thead th')].slice(1).map(e => e.textContent)")
        for button, (name, scale) in enumerate((("mean", 1e6), ("share", 100), ("gb_per_second", 1), ("percent_of_floor", 1))):
            self.value("document.querySelectorAll('#layers .choice button')[%d].click()" % button)
            rows = self.value("[...document.querySelectorAll('.heat tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
            self.assertEqual([row[0] for row in rows], [str(layer) for layer in range(36)])
            for row in rows:
                for op, text in zip(ops, row[1:]):
                    wanted = cells[int(row[0]), op][name] * scale
                    self.assertAlmostEqual(float(text.replace(",", "")), wanted, delta=0.051 * wanted)

    def test_slots_tell_what_was_decided_when(self):
        self.open("usual")
        profile = SAMPLES["usual"]()
        final = {e["position"]: e for e in profile["events"] if e["kind"] == "committed"}
        x, y, width, height = self.box("#slots-canvas")
        positions = 1 + max(e["position"] + e["count"] - 1 for e in profile["events"] if e["kind"] != "finished")
        cell, row = (width - 47) / positions, (height - 19) / 9
        event = final[max(final)]
        for offset, words in ((0, "decided in this round"), (-1, "drafted, and not kept in this round|masked")):
            self.browser.mouse("mouseMoved", x + 46 + (event["position"] + 0.5) * cell, y + 18 + (event["round"] + offset + 0.5) * row)
            self.assertRegex(self.value(TIP), "^Round %d, position %d .*state (%s)" % (event["round"] + offset, event["position"], words))
        self.assertIn("(%d)" % event["token"], self.value(TIP))
        text = self.value("document.getElementById('slots-text').textContent")
        self.assertEqual(text.replace("…", ""), "".join(final[p]["text"] for p in sorted(final)))
        self.value("document.getElementById('slots-canvas').focus()")
        self.browser.key("ArrowRight")
        self.assertTrue(self.value("document.getElementById('slots-details').innerText").startswith("Round 0, position 0"))
        self.open("usual", PHONE)
        self.value("document.getElementById('slots-canvas').focus()")
        for _ in range(positions):
            self.value("document.getElementById('slots-canvas').dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' }))")
        inside = self.value("(s => [s.scrollLeft + s.clientWidth, s.scrollWidth])(document.getElementById('slots-canvas').parentElement)")
        self.assertAlmostEqual(*inside, delta=3)

    # ---- Tables -----------------------------------------------------------------------------------------------------

    def column(self, table, index):
        return self.value("[...document.querySelectorAll('#%s tbody tr')].map(r => r.cells[%d].dataset.value)" % (table, index))

    def test_a_click_on_a_heading_sorts(self):
        self.open("usual")
        headings = self.value("[...document.querySelectorAll('#table-shaders thead th')].map(h => h.textContent)")
        calls = headings.index("calls")
        wanted = sorted((str(s["calls"]) for s in SAMPLES["usual"]()["shaders"]), key=int)
        for state in ("descending", "ascending"):
            self.click_on("#table-shaders thead button", calls)
            self.assertEqual(self.value("document.querySelectorAll('#table-shaders thead th')[%d].ariaSort" % calls), state)
            self.assertEqual(self.column("table-shaders", calls), wanted[::-1] if state == "descending" else wanted)

    def test_pipelines_and_counters(self):
        def cells(table):
            return self.value("[...document.querySelectorAll('#%s tr')].map(r => [...r.children].map(c => c.innerText.trim()))" % table)
        self.open("usual")
        self.assertFalse(self.value("document.getElementById('table-counters') !== null"))
        heads, *rows = cells("table-pipelines")
        self.assertEqual(heads, ["shader", "ops", "rows up to", "specialization", "subgroup", "workgroup", "SPIR-V words",
                                 "shared bytes", "Instruction Count", "VGPRs", "Spilled VGPRs"])
        self.assertEqual([r[0] for r in rows], sorted(r[0] for r in rows))
        self.assertEqual(rows[0][1:], ["qkv, o", "1, 2, 4", "LOCAL=64 #1=0", "8", "16 × 8 × 1", "900", "128", "–", "–", "–"])
        self.assertEqual(rows[1][3:], ["LOCAL=64 #1=1", "8", "64", "901", "128", "247", "83", "0"])
        self.open("awkward")
        heads, *rows = cells("table-counters")
        self.assertEqual(heads[:4] + heads[5:], ["op", "phase", "shader", "calls", "Waves", "Busy [percentage]"])
        self.assertEqual({r[6] for r in rows}, {"37.5"})
        self.assertEqual(sorted(float(r[5].replace(",", "")) for r in rows), [10.0 * i for i in range(len(rows))])

    def test_every_column_of_every_table_sorts(self):
        self.open("awkward")
        tables = self.value("[...document.querySelectorAll('.table')].map(t => [t.id, t.querySelectorAll('thead th').length])")
        self.assertEqual([name for name, _ in tables], ["table-" + name for name in (
            "runs", "shaders", "layers", "phases", "costliest", "rounds", "pipelines", "counters")])
        holes = 0
        for table, count in tables:
            for index in range(count):
                for _ in range(2):
                    self.value("document.querySelectorAll('#%s thead button')[%d].click()" % (table, index))
                    values = self.column(table, index)
                    known = [v for v in values if v != ""]
                    holes += len(values) - len(known)
                    self.assertEqual(values, known + [""] * (len(values) - len(known)), "what is missing comes last")
                    order = self.value("document.querySelectorAll('#%s thead th')[%d].ariaSort" % (table, index))
                    if all(re.fullmatch(r"-?[\d.]+(e-?\d+)?", v) for v in known):
                        self.assertEqual(known, sorted(known, key=float, reverse=order == "descending"), (table, index))
                    else: # runs of digits count as numbers, case does not matter
                        ends = (known[0], known[-1]) if order == "ascending" else (known[-1], known[0])
                        self.assertLessEqual(*[re.sub(r"\W", "", end).lower() for end in ends], (table, index))
        self.assertGreater(holes, 0)


if __name__ == "__main__":
    WRITE_PAGE, FOLDER = map(os.path.abspath, sys.argv[1:3])
    os.makedirs(FOLDER, exist_ok=True)
    if not browser.find():
        print("test_page: no Chromium here; scripts/setup.sh --tests installs it on Debian")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)

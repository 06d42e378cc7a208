"""Colours and type of everything drawn, for light and dark. Hues after Okabe and Ito: apart for all eyes."""

# Each replica has two shades (a, b) that its terms wear by turns, and an ink that is legible on both.
LIGHT = """
--ink:#1b2430;--dim:#5b6674;--page:#ffffff;--card:#f6f8fa;--line:#d9dfe6;--lane:#eef1f5;--link:#0b62a8;
--good:#13713f;--good-soft:#dff3e7;--bad:#b42318;--bad-soft:#fde7e4;--mute:#8a94a1;--mute-soft:#e9edf1;
--r0a:#0b66b5;--r0b:#2f86d2;--r0i:#ffffff;--r1a:#e08a00;--r1b:#f2ae45;--r1i:#201500;
--r2a:#0a7d5c;--r2b:#1f9673;--r2i:#ffffff;--r3a:#7f5539;--r3b:#9c6f51;--r3i:#ffffff;
--fault:#8e2aa3;--gap:#d1242f;--plate:#ffffff;
"""
DARK = """
--ink:#e6ebf1;--dim:#9aa6b4;--page:#0f141a;--card:#171e26;--line:#2b3541;--lane:#1b232c;--link:#6cb6ff;
--good:#56d08c;--good-soft:#12301f;--bad:#ff8a7d;--bad-soft:#3a1a17;--mute:#7d8895;--mute-soft:#232c36;
--r0a:#58a8ee;--r0b:#3b88cc;--r0i:#04121f;--r1a:#f0a030;--r1b:#c98220;--r1i:#1a1000;
--r2a:#3dc39b;--r2b:#2c9c7b;--r2i:#03140e;--r3a:#c79a7b;--r3b:#a67c5f;--r3i:#170c05;
--fault:#d68be6;--gap:#ff7b72;--plate:#0f141a;
"""

_TONES = "".join(
    f".r{replica}{shade}{{fill:var(--r{replica}{shade})}}.picture .r{replica}{shade}-ink{{fill:var(--r{replica}i)}}"
    for replica in range(4)
    for shade in "ab"
)

_BARS = "".join(
    f".bars.r{replica}{shade}{{fill:none;stroke:var(--r{replica}{shade})}}"
    for replica in range(4)
    for shade in "ab"
)

SHAPES = f"""
.picture text{{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}}
.picture .small{{font-size:10px}}
.picture .dim{{fill:var(--dim)}}
.picture .strong{{font-weight:600}}
.picture .title{{font-size:15px;font-weight:600}}
.mid{{text-anchor:middle}}.end{{text-anchor:end}}
.grid{{stroke:var(--line);stroke-width:.7;fill:none}}
.axis{{stroke:var(--dim);stroke-width:1}}
.lane{{fill:var(--lane)}}
{_TONES}
.hollow{{fill-opacity:.25}}
.picture .on{{font-weight:600}}
.others{{fill:var(--mute)}}
.bars,.bars.others{{fill:none;stroke:var(--mute)}}
{_BARS}
.bars.clipped{{fill:var(--dim);stroke:none}}
.fault{{fill:var(--fault);fill-opacity:.22}}
.struck{{fill:var(--fault)}}
.stretch.takeover,.stretch.pause{{fill:url(#hatch);stroke:var(--gap);stroke-width:1}}
.stretch.rest{{fill:var(--mute-soft);stroke:var(--mute);stroke-width:.7;stroke-dasharray:2 2}}
.shadow{{fill:var(--gap);fill-opacity:.1}}
.shadow.rest{{fill:var(--mute);fill-opacity:.1}}
.hatch-line{{stroke:var(--gap);stroke-width:2}}
.plate{{fill:var(--plate)}}
.scenario{{fill:var(--mute-soft);stroke:var(--line)}}
.scenario.failed{{fill:var(--bad-soft);stroke:var(--bad);stroke-width:1.5}}
.scenario.passed{{fill:var(--good-soft);stroke:var(--line)}}
"""

THEMES = f":root{{{LIGHT}}}@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}"

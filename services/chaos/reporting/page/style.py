"""How the page looks: one column of text, pictures as wide as the window allows, tables that scroll or fold."""

from chaos.reporting.drawing.style import SHAPES, THEMES

_PAGE = """
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0 auto;padding:0 clamp(12px,3vw,40px) 64px;max-width:1480px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere}
.patterns{position:absolute;width:0;height:0}
header{padding-top:28px}
.kicker{margin:0;color:var(--dim);font-size:13px;letter-spacing:.04em}
h1{margin:4px 0 14px;font-size:clamp(24px,4vw,38px);line-height:1.15;letter-spacing:-.01em}
h2{margin:44px 0 12px;font-size:20px;padding-top:10px;border-top:1px solid var(--line)}
p{margin:8px 0;max-width:78ch}
a{color:var(--link)}
code{font:13px/1.45 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace}
.good{color:var(--good)}.bad{color:var(--bad)}.mute{color:var(--dim)}
.chips{display:flex;flex-wrap:wrap;gap:6px;margin:0 0 16px;padding:0;list-style:none}
.chip{padding:2px 10px;border-radius:99px;font-weight:600;font-size:14px}
.chip.good{background:var(--good-soft)}.chip.bad{background:var(--bad-soft)}
.command code{padding:3px 8px;border-radius:5px;background:var(--card);border:1px solid var(--line);
-webkit-box-decoration-break:clone;box-decoration-break:clone}
.origin{color:var(--dim);font-size:14px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(135px,1fr));gap:10px;margin:20px 0}
.tiles div{display:flex;flex-direction:column-reverse;justify-content:flex-end;padding:10px 14px;border-radius:8px;
background:var(--card);border:1px solid var(--line)}
.tiles dt{color:var(--dim);font-size:13px}
.tiles dd{margin:0;font-size:clamp(19px,5.2vw,24px);white-space:nowrap;
font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:14px}
figure{margin:12px 0}
.picture{display:block;width:100%;height:auto}
.wide{display:block}.narrow{display:none}
.scroll{overflow-x:auto;margin:12px 0;overflow-wrap:normal}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
caption{padding:4px 0 6px;text-align:left;color:var(--dim);font-size:13px}
th,td{padding:5px 12px 5px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{color:var(--dim);font-weight:500;font-size:13px;white-space:nowrap}
.figure{text-align:right;white-space:nowrap}
tbody th{font-weight:500}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:8px 48px;align-items:start}
.histogram{min-width:260px}
.histogram td:first-child{white-space:nowrap;width:1%}
.histogram td:nth-child(2){width:99%;vertical-align:middle}
.histogram td{border:0;padding-top:3px;padding-bottom:3px}
.sign{white-space:nowrap}
.bar{display:block;height:14px;background:var(--r0a);border-radius:0 2px 2px 0}
.invariants td:nth-child(2){width:99%}
.takeovers td,.histogram td{white-space:nowrap}
.faults td:not(:last-child),.observations td:first-child{white-space:nowrap;width:1%}
.pairs th{white-space:nowrap;color:var(--dim);width:1%}
details>summary{cursor:pointer;color:var(--link);padding:4px 0}
.violations ul{margin:4px 0 12px;padding-left:20px}
.scenarios .group th{padding-top:22px;font-size:16px;font-weight:600}
.scenarios>tbody>tr>td{padding-top:8px}
.scenarios .scenario-row td{border-bottom:0}
.scenarios .scenario-row td:first-child{white-space:nowrap}
.scenarios .scenario-row td:nth-child(n+4){white-space:nowrap}
.scenarios .scenario-row td:nth-child(2){width:38%}
.scenario-row.skipped td{border-bottom:1px solid var(--line)!important}
.scenario-row:target{background:var(--card)}
.shows{display:block;color:var(--dim)}
.reason{color:var(--ink)}
.failed .reason{color:var(--bad)}
.more>td{padding-top:0}
.more summary{font-size:13px}
@media (max-width:859px){
.wide{display:none}.narrow{display:block;max-width:640px}
.scenarios,.scenarios>thead,.scenarios>tbody,.scenarios>tbody>tr,.scenarios>caption,.scenarios>tbody>tr>td,
.scenarios>tbody>tr>th{display:block;width:auto!important}
.scenarios>thead{position:absolute;width:1px!important;height:1px;overflow:hidden;clip-path:inset(50%)}
.scenarios>tbody>tr>td{border:0!important;padding:1px 0}
.scenario-row{padding-top:12px}
.scenario-row td[data-column]:not([data-column=scenario])::before{content:attr(data-column) ": ";color:var(--dim)}
.scroll th,.scroll td{padding-right:8px}
.scroll thead th{white-space:normal}
.more{border-bottom:1px solid var(--line);padding-bottom:8px}
}
@media print{details{display:block}.more{break-inside:avoid}}
"""

STYLE = THEMES + _PAGE + SHAPES

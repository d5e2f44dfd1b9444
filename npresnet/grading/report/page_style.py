"""The look of report pages: light and dark, on paper, without anything from elsewhere."""

CSS = """
:root { color-scheme: light dark; --ink: #1c1c1c; --faint: #595959; --paper: #fff; --line: #d6d6d6; --panel: #f6f6f4;
  --good: #00694b; --some: #8a5a00; --bad: #a8350a; --link: #005a96; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --faint: #b0b0b0; --paper: #17181a; --line: #44474c;
  --panel: #222428; --good: #4fd0a5; --some: #f0b94a; --bad: #ff9a70; --link: #7cc4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; color: var(--bad); }
a { color: var(--link); }
.total { font-size: 1.5rem; font-weight: 600; margin: .5rem 0; }
.faint, caption { color: var(--faint); }
caption { text-align: left; padding-bottom: .5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: middle; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bar { display: block; width: 8rem; height: .7rem; border: 1px solid currentColor; }
.bar span { display: block; height: 100%; background: currentColor; }
.good { color: var(--good); } .some { color: var(--some); } .bad { color: var(--bad); } .none { color: var(--faint); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 0 0 1rem; padding: .6rem .8rem;
  background: var(--panel); }
dt { color: var(--faint); } dd { margin: 0; }
code, pre { font-family: ui-monospace, Consolas, monospace; font-size: .92em; }
pre { background: var(--panel); padding: .6rem .8rem; overflow-x: auto; white-space: pre-wrap; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } .bar { width: 4rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } h2, h3 { break-after: avoid; }
  dl, tr { break-inside: avoid; } .bar, .bar span { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

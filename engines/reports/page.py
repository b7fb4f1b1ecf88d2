"""The HTML page around the sections: one file without scripts or links to other files, for screens and for print."""

from collections.abc import Iterable, Sequence

from engines.reports.colours import render_dark_style
from engines.reports.markup import Safe, join, tag

_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --text: #1c1c1e; --faint: #60646c; --rule: #dcdfe4; --shade: #f5f6f8;
  --good: #0a7a3f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --text: #e6e6e6; --faint: #a0a4ab; --rule: #34373d;
  --shade: #1f2228; --good: #5ccf8e; --bad: #ff8a80; } %(dark)s }
body { margin: 2rem auto; max-width: 80rem; padding: 0 1rem; background: var(--paper); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.3rem; margin: 2.2rem 0 .3rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .5rem; border-bottom: 1px solid var(--rule); }
p, figcaption { max-width: 52rem; } figcaption, .faint { color: var(--faint); font-size: .88rem; }
figure { margin: 1rem 0; } svg { max-width: 100%%; height: auto; }
nav { color: var(--faint); } a { color: inherit; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .8rem; } .facts table { font-size: .88rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--rule);
  max-width: 40rem; overflow-wrap: break-word; }
th { color: var(--faint); font-weight: 600; vertical-align: bottom; } td code { white-space: nowrap; font-size: .95em; }
.number { text-align: right; font-variant-numeric: tabular-nums; } td.number { white-space: nowrap; }
.facts td { max-width: 40rem; overflow-wrap: anywhere; } .facts td:first-child { color: var(--faint); min-width: 9rem; }
code, pre { font-family: ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', monospace; font-size: .86rem; }
pre { background: var(--shade); padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; direction: ltr;
  unicode-bidi: isolate; } details summary { cursor: pointer; color: var(--faint); }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } figure, tr, pre { break-inside: avoid; }
  h2, h3 { break-after: avoid; } nav { display: none; } .wide { overflow: visible; }
  table { font-size: 6.5pt; } .facts table { font-size: 9pt; } th, td { padding-right: .3rem; }
  td.number, td code { white-space: normal; } }
"""


def render_page(title: str, lead: object, sections: Sequence[Safe], contents: Iterable[tuple[str, str]] = ()) -> str:
    """Render a whole document. `contents` are the anchors and labels of its parts, if there are several."""
    links = join((tag("a", label, href=f"#{anchor}") for anchor, label in contents), " · ")
    head = tag(
        "head",
        Safe('<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>'),
        tag("meta", http_equiv="Content-Security-Policy", content="default-src 'none'; style-src 'unsafe-inline'"),
        tag("title", title),
        tag("style", Safe(_STYLE % {"dark": render_dark_style()})),
    )
    body = tag("body", tag("h1", title), lead, tag("nav", links) if links else "", *sections)
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en").replace("</section>", "</section>\n") + "\n"


def render_figure(svg: Safe, caption: str = "") -> Safe:
    """Render a plot with its caption."""
    return tag("figure", svg, *([tag("figcaption", caption)] if caption else []))

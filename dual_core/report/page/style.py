"""The looks of the page, and a slider over pictures for browsers that run scripts.

Without scripts the pictures of a slider stand one below the other.
"""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1b2430; --soft: #5a6675; --line: #dde2e8;
  --link: #0b5cad; --green: #1a7f37; --amber: #a85b00; --red: #c01c28; --none: #6b7683; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12161c; --card: #1c222b; --text: #e6eaf0; --soft: #a3afbd; --line: #333c48;
  --link: #79b8ff; --green: #4ac26b; --amber: #e8a33d; --red: #ff7b72; --none: #96a1af; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); overflow-wrap: break-word;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main, header, footer { max-width: 1200px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 0 0 4px; line-height: 1.25; }
h3 { font-size: 1.05rem; margin: 22px 0 4px; overflow-wrap: anywhere; }
p { margin: 6px 0; max-width: 78ch; }
.soft, figcaption, footer { color: var(--soft); }
figcaption, .soft, footer { font-size: .92rem; }
a { color: var(--link); }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 4px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 20px; margin: 18px 0; }
.cards { display: grid; gap: 14px; margin: 16px 0 4px;
  grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 16px; border-top: 4px solid var(--none); }
.card h2 { font-size: .95rem; color: var(--soft); font-weight: 600; }
.card .key { font-size: 1.35rem; font-weight: 650; line-height: 1.25; margin: 2px 0 4px; }
.card p { font-size: .95rem; }
.card.green { border-top-color: var(--green); } .card.amber { border-top-color: var(--amber); }
.card.red { border-top-color: var(--red); }
.card .light { white-space: normal; }
.light { font-weight: 650; white-space: nowrap; }
.light::before { content: ""; display: inline-block; width: .72em; height: .72em;
  border-radius: 50%; margin-right: .4em; background: var(--none); }
.light.green { color: var(--green); } .light.green::before { background: var(--green); }
.light.amber { color: var(--amber); } .light.amber::before { background: var(--amber); }
.light.red { color: var(--red); } .light.red::before { background: var(--red); }
figure { margin: 10px 0; min-width: 0; }
figcaption { margin-top: 4px; }
img { display: block; max-width: 100%; height: auto; border-radius: 4px; }
.paper { background: #ffffff; padding: 6px; border-radius: 6px; border: 1px solid var(--line); }
.panels { display: grid; gap: 10px; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.panels.three { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.panels.four { grid-template-columns: repeat(4, minmax(0, 1fr)); }
.panels figure { margin: 0; }
.panels figcaption { margin: 0 0 3px; font-weight: 600; color: var(--text); }
.panels img { width: 100%; outline: 1px solid var(--line); }
.picture { position: relative; }
.bar { position: absolute; left: 3%; bottom: 5px; border-bottom: 3px solid #fff; color: #fff;
  font-size: .72rem; line-height: 1.3; text-align: center; white-space: nowrap;
  text-shadow: 0 0 3px #000, 0 0 3px #000; filter: drop-shadow(0 0 1px #000); }
.charts { display: grid; gap: 14px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); }
.charts figure { margin: 0; }
.charts .paper img { width: 100%; max-width: 560px; margin: 0 auto; }
.wide { overflow-x: auto; } .wide img { min-width: 640px; width: 100%; }
.wide.tall { max-width: 614px; } .wide.tall img { min-width: 0; }
.slider { display: flex; align-items: center; gap: 12px; margin: 8px 0; }
.slider input { flex: 1; min-width: 0; max-width: 420px; height: 28px; }
.slider output { font-variant-numeric: tabular-nums; min-width: 9em; }
.frame > h4 { margin: 10px 0 4px; font-size: .95rem; font-weight: 600; }
.sliding .frame > h4 { display: none; }
.scroll { overflow-x: auto; margin: 8px 0; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; }
tbody th { font-weight: 500; }
.numbers { max-width: 820px; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; white-space: nowrap; }
.short td, .short th { white-space: nowrap; }
.numbers th small { display: block; color: var(--soft); font-weight: 400; }
.numbers td { font-variant-numeric: tabular-nums; }
.finding { border-left: 4px solid var(--none); padding: 2px 0 2px 14px; margin: 14px 0; }
.finding.green { border-color: var(--green); } .finding.amber { border-color: var(--amber); }
.finding.red { border-color: var(--red); }
.finding p { margin: 2px 0; }
.finding .head { display: flex; flex-wrap: wrap; gap: 0 16px; align-items: baseline; }
details { border-top: 1px solid var(--line); } details:last-of-type { padding-bottom: 0; }
summary { cursor: pointer; padding: 12px 0; font-weight: 600; }
.folded { padding-bottom: 14px; }
dl { margin: 0; } dl div { display: grid; grid-template-columns: 14em 1fr; gap: 0 14px;
  padding: 4px 0; border-bottom: 1px solid var(--line); }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
code, pre { font: .88rem/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--page); padding: 12px 14px;
  border: 1px solid var(--line); border-radius: 6px; margin: 8px 0; }
.note { border-left: 4px solid var(--amber); padding: 4px 14px; margin: 12px 0; }
footer { padding-top: 4px; padding-bottom: 32px; }
@media (max-width: 640px) {
  main, header, footer { padding-left: 12px; padding-right: 12px; }
  header { padding-top: 16px; }
  section { padding: 14px 12px; }
  .cards { grid-template-columns: 1fr; gap: 10px; }
  .panels.three, .panels.four { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 8px; }
  .panels.spectra { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  dl div { grid-template-columns: 1fr; }
}
@media print { details > .folded { display: block; } section { break-inside: avoid; } }
"""

SCRIPT = """
document.querySelectorAll(".frames").forEach(function (box) {
  var frames = Array.prototype.filter.call(box.children, function (child) {
    return child.classList.contains("frame");
  });
  if (frames.length < 2) { return; }
  box.classList.add("sliding");
  var label = document.createElement("label"), input = document.createElement("input"),
      told = document.createElement("output");
  label.className = "slider";
  input.type = "range"; input.min = 0; input.max = frames.length - 1; input.step = 1;
  input.value = box.getAttribute("data-start");
  input.setAttribute("aria-label", box.getAttribute("data-label"));
  label.append(input, told);
  function show() {
    frames.forEach(function (frame, number) { frame.hidden = number !== Number(input.value); });
    told.textContent = frames[input.value].getAttribute("data-name");
    input.setAttribute("aria-valuetext", told.textContent);
  }
  input.addEventListener("input", show);
  box.prepend(label);
  show();
});
"""

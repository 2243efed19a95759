//! The page, driven in a browser.

use crate::common::{SyntheticTrace, halted, header};
use crate::firmware::{recorded, report};
use std::path::{Path, PathBuf};
use std::process::Command;
use trapline_analyzer::{By, Comparison, Report, SymbolFile, Symbols};
use trapline_formats::{ExitKind, NamedRange, Space, Trace};

const HOSTILE: &str = "</script><script>window.hacked=1</script><img/src=x/onerror=hacked=1>";

/// The libraries, what they draw, the data, and the page's own.
const SCRIPTS: usize = 4;

/// Where nobody waits for time to pass, the browser draws a frame when it likes: transitions and pictures are of timers here.
const FRAMES: &str =
    "<script>window.requestAnimationFrame = act => setTimeout(() => act(performance.now()), 16);</script>";

/// How a user points at a picture. zrender, which draws those of ECharts, wants a click as a mouse makes it; of pointer events, for
/// those keep fractions of a pixel.
const POINTING: &str = r#"<script>
const found = [];
const check = (what, is) => { if (!is) found.push(what); };
const fail = text => { document.title = "ERROR " + text; };
window.addEventListener("error", e => fail(e.message));
window.addEventListener("securitypolicyviolation", e => found.push("policy: " + e.violatedDirective));
const turn = (ms = 50) => new Promise(done => setTimeout(done, ms));
const middle = node => { const b = node.getBoundingClientRect(); return { clientX: b.x + b.width / 2, clientY: b.y + b.height / 2 }; };
const send = (node, ...types) => types.forEach(type => node.dispatchEvent(new PointerEvent(type, { ...middle(node), bubbles: true })));
const tips = () => [...document.querySelectorAll(".tip")].filter(t => t.getClientRects().length).map(t => t.textContent);
const told = async node => { send(node, "mousemove", "mouseover"); await turn(); const all = tips(); send(node, "mouseout"); return all; };
const click = node => send(node, "mousemove", "mousedown", "mouseup", "click");
// What is filled with a colour of the page, as the SVG names it.
const painted = (box, name) => [...document.querySelectorAll(`${box} path`)].filter(p => p.getAttribute("fill") === colour(name));
const sum = numbers => numbers.reduce((all, n) => all + n, 0);
const series = (picture, id) => picture.getOption().series.find(s => s.id === id).data;
const drive = async act => {
  try { await act(); document.title = found.length ? "FOUND " + found.join("; ") : "FINE"; } catch (error) { fail(error.message); }
};
</script>"#;

/// What a user does, after the page's own script. Its findings are the title of the page.
const DRIVER: &str = r##"<script>
drive(async () => {
  const rows = () => [...document.querySelectorAll("#sites tbody tr")];
  const cells = (row, column) => rows()[row].children[column].textContent;
  const head = name => [...document.querySelectorAll("#sites th button")].find(b => b.textContent.startsWith(name));
  const all = data.sites.length;
  check("rows", rows().length === all && all > 1);
  check("dearest first", Number(cells(0, 0)) >= Number(cells(1, 0)));
  head("exits").click(); head("exits").click();
  const counts = rows().map(r => Number(r.children[2].textContent.replaceAll(",", "")));
  check("ascending exits", counts.every((n, i) => i === 0 || counts[i - 1] <= n));
  check("aria-sort", head("exits").parentElement.getAttribute("aria-sort") === "ascending");
  const filter = document.getElementById("filter");
  filter.value = "port-write"; filter.dispatchEvent(new Event("input"));
  check("filtered", rows().length > 0 && rows().length < all && rows().every(r => r.textContent.includes("port-write")));
  filter.value = "no such thing"; filter.dispatchEvent(new Event("input"));
  check("nothing left", rows().length === 0);
  filter.value = ""; filter.dispatchEvent(new Event("input"));
  rows()[0].click();
  check("chosen", rows()[0].classList.contains("chosen"));
  const shown = data.sites.find(s => String(s.site) === rows()[0].dataset.site);
  check("histograms", painted("#detail .histogram", "guest").length === shown.vmm_times.length + shown.run_times.length);
  check("a range's tip", (await told(painted("#detail .histogram", "guest")[0])).some(t => t.endsWith(`: ${group(shown.vmm_times[0][2])} exits`)));
  const cards = data.suggestions.filter(s => s.rule !== "recorder").length + (data.suggestions.some(s => s.rule === "recorder") ? 1 : 0);
  check("suggestions", document.querySelectorAll("#whatif .card").length === cards && cards > 0);

  const t = data.time;
  for (const kind of ["vmm", "path", "idle"]) {
    check(`sum of ${kind}`, sum(series(timeline_chart, kind).map(bar => bar[1])) === sum(t[kind]));
    check(`columns of ${kind}`, painted("#timeline", kind).length >= t[kind].filter(ns => ns > 0).length);
  }
  const high = (kind, i) => painted("#timeline", kind)[i].getBoundingClientRect().height;
  const most = Math.max(...t.exits.map((_, i) => t.vmm[i] + t.path[i])), dearest = t.exits.findIndex((_, i) => t.vmm[i] + t.path[i] === most);
  check("full height", Math.abs(high("vmm", dearest) + high("path", dearest) - 120) < 2);
  check("a column's tip", (await told(painted("#timeline", "vmm")[dearest])).includes(column(dearest)));
  check("phases", series(timeline_chart, "phases").length === data.phases.length && data.phases.length > 0);

  const strong = strokes(data.sites.filter(s => s.heat));
  check("heat", painted("#heat", "vmm").length === strong.length && strong.length > 0);
  const [, , row] = strong.at(-1), hot = data.sites.filter(s => s.heat)[row];
  check("a site's tip", (await told(painted("#heat", "vmm").at(-1))).some(tip => tip.startsWith(site_told(hot))));
  click(painted("#heat", "vmm").at(-1));
  check("heat leads to its site", document.querySelector("#detail h3").textContent === `Site ${hot.site}`);
  const window_of = picture => { const { start, end } = picture.getOption().dataZoom[0]; return `${start}..${end}`; };
  const press = key => document.getElementById("timeline").dispatchEvent(new KeyboardEvent("keydown", { key }));
  // Columns 1 and 11 stay in sight.
  const apart = () => middle(painted("#timeline", "vmm")[11]).clientX - middle(painted("#timeline", "vmm")[1]).clientX;
  const narrow = apart();
  press("+"); press("ArrowLeft"); press("ArrowLeft");
  await turn();
  check("zoomed in", window_of(timeline_chart) === "0..50" && window_of(heat_chart) === "0..50");
  check("columns are wider", apart() > 1.9 * narrow && apart() < 2.1 * narrow);
  heat_chart.dispatchAction({ type: "dataZoom", start: 20, end: 60 });
  await turn();
  check("both ways", window_of(timeline_chart) === "20..60");
  press("-"); press("-");
  await turn();
  check("all of it again", window_of(timeline_chart) === "0..100" && window_of(heat_chart) === "0..100");

  const frames = () => [...document.querySelectorAll("#flame .frame")], wide_frame = frame => Number(frame.querySelector("rect").getAttribute("width"));
  const named = name => frames().find(f => f.getAttribute("name") === name), leaf = () => frames().find(f => typeof f.__data__.data.site === "number");
  await turn(500);
  const before = frames().length, whole = sum(data.sites.filter(s => !s.idle).map(cost));
  check("root", named("all").__data__.data.value === whole);
  const inner = frames().find(f => f !== named("all") && f.__data__.data.site === undefined && wide_frame(f) < wide_frame(named("all")) - 1);
  const name = inner.getAttribute("name"), { value } = inner.__data__.data;
  check("as wide as its cost", Math.abs(wide_frame(inner) / wide_frame(named("all")) - value / whole) < 0.01);
  check("a frame's tip", (await told(inner)).some(t => t.startsWith(`${name}\n`)));
  click(inner);
  await turn(500);
  check("zoomed", Math.abs(wide_frame(inner) - wide_frame(named("all"))) < 1);
  click(named("all"));
  await turn(500);
  check("zoomed out", frames().length === before && Math.abs(wide_frame(inner) / wide_frame(named("all")) - value / whole) < 0.01);
  const { site } = leaf().__data__.data;
  click(leaf());
  check("a leaf leads to its site", document.querySelector("#detail h3").textContent === `Site ${site}`);
  const search = document.getElementById("search");
  search.value = "port-write"; search.dispatchEvent(new Event("input"));
  const wrote = sum(data.sites.filter(s => !s.idle && s.does.startsWith("port-write")).map(cost));
  check("searched", document.getElementById("found").textContent.endsWith(`, ${time(wrote)}, ${percent(wrote * 100 / whole)} %`));
  check("marked", frames().filter(f => f.__data__.highlight).length > 0);
  search.value = ""; search.dispatchEvent(new Event("input"));
  check("unmarked", frames().filter(f => f.__data__.highlight).length === 0);

  const paper = () => getComputedStyle(document.body).backgroundColor, ink = () => document.querySelector("#heat text").getAttribute("fill");
  const first = [paper(), ink(), colour("vmm")];
  document.getElementById("theme").click();
  await turn();
  check("other theme", paper() !== first[0] && ink() !== first[1] && painted("#heat", "vmm").length === strong.length && colour("vmm") !== first[2]);
  check("no wider than the window", document.documentElement.scrollWidth <= innerWidth);
  document.querySelector("main").style.maxWidth = "450px";
  window.dispatchEvent(new Event("resize"));
  await turn();
  check("less room", ["timeline", "heat", "flame"].every(id => document.querySelector(`#${id} svg`).getBoundingClientRect().width < 450));
  check("no hostile markup", !window.hacked && !document.querySelector("img"));
  check("hostile text " + HOSTILE, !HOSTILE || document.body.textContent.includes(HOSTILE));
  check("what it holds", document.getElementById("holds").textContent.includes("holds data of the guest"));
});
</script>"##;

/// A browser; whoever set TRAPLINE_REQUIRE_BROWSER does not want to miss what takes one.
pub fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let is_there =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    let found = names.into_iter().find(is_there).map(PathBuf::from);
    assert!(
        found.is_some() || std::env::var_os("TRAPLINE_REQUIRE_BROWSER").is_none(),
        "no browser: {names:?}"
    );
    found
}

/// Opens a page at a width, drives it, and gives back its title.
fn driven(browser: &Path, dir: &Path, page: &str, hostile: &str, width: u32) -> String {
    driven_by(&[POINTING, DRIVER].concat(), browser, dir, page, hostile, width)
}

pub fn driven_by(driver: &str, browser: &Path, dir: &Path, page: &str, hostile: &str, width: u32) -> String {
    let file = dir.join(format!("page-{width}.html"));
    let driver = driver.replacen(
        "<script>",
        &format!(
            "<script>const HOSTILE = {};",
            serde_json::json!(hostile).to_string().replace('<', "\\u003c")
        ),
        1,
    );
    let page = page.replacen("<head>", &format!("<head>{FRAMES}"), 1);
    std::fs::write(&file, page.replace("</body>", &format!("{driver}</body>"))).unwrap();
    let dom = shown(browser, &dir.join(format!("profile-{width}")), &file, width);
    let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    title.unwrap_or_else(|| panic!("no title: {dom}")).0.to_owned()
}

/// What a browser makes of a file, its scripts having run; where that is nothing, what it complains of.
pub fn shown(browser: &Path, profile: &Path, file: &Path, width: u32) -> String {
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            // Timers run, and no time is waited.
            "--virtual-time-budget=60000",
            "--dump-dom",
            &format!("--window-size={width},1000"),
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let told = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&told).into_owned()
}

/// What a user does with a comparison.
const COMPARING: &str = r##"<script>
const found = [];
const check = (what, is) => { if (!is) found.push(what); };
window.addEventListener("error", e => { document.title = "ERROR " + e.message; });
try {
  const rows = () => [...document.querySelectorAll("#sites tbody tr")];
  const changed = document.getElementById("changed"), filter = document.getElementById("filter");
  check("changed only", rows().length === 2);
  check("new and gone", ["new", "gone"].every(word => document.getElementById("sites").textContent.includes(word)));
  changed.click();
  check("all", rows().length === data.pairs.length && rows().length === 3);
  document.querySelectorAll("#sites th button")[1].click();
  const counts = rows().map(r => Number(r.children[1].textContent.replaceAll(",", "")));
  check("descending", counts.every((n, i) => i === 0 || counts[i - 1] >= n));
  filter.value = "no such thing"; filter.dispatchEvent(new Event("input"));
  check("filtered", rows().length === 0);
  filter.value = ""; filter.dispatchEvent(new Event("input"));
  check("sums", document.getElementById("sums").textContent.includes("300 before, 400 now (+33.3 %)"));
  check("no hostile markup", !window.hacked && !document.querySelector("img"));
  check("hostile text", document.body.textContent.includes(HOSTILE));
  check("no wider than the window", document.documentElement.scrollWidth <= innerWidth);
  document.title = found.length ? "FOUND " + found.join("; ") : "FINE";
} catch (error) { document.title = "ERROR " + error.message; }
</script>"##;

#[test]
fn a_page_of_two_recordings_shows_what_changed_and_no_markup_of_the_guest() {
    let dir = tempfile::tempdir().unwrap();
    let written = |name: &str, sites: [u64; 2]| {
        let mut header = header();
        header.names = vec![NamedRange {
            space: Space::Port,
            start: 0x10,
            end: 0x20,
            device: HOSTILE.into(),
            register: HOSTILE.into(),
        }];
        let mut trace = SyntheticTrace::create(&dir.path().join(name), &header);
        for number in sites {
            let site =
                trace.site(ExitKind::PortRead, 0x10 + number, 1, 0x8000 + 16 * number, &[0xe4, number as u8]);
            (0..100 * (number + 1)).for_each(|_| trace.exit(site, &[0], 3000, 900));
        }
        report(&trace.end(halted()), By::Site)
    };
    let (before, now) = (written("before", [0, 1]), written("now", [0, 2]));
    let page = Comparison::of(&now, &before, 5.0).to_html(None).unwrap();
    assert_eq!(page.matches("<script").count(), 2, "the data and the page's own");
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no browser drives the page: `apt-get install chromium`");
        return;
    };
    for width in [1280, 500] {
        assert_eq!(driven_by(COMPARING, &browser, dir.path(), &page, HOSTILE, width), "FINE", "{width}");
    }
}

/// A trace whose names all try to be markup.
fn hostile(dir: &Path) -> PathBuf {
    let mut header = header();
    header.names = vec![NamedRange {
        space: Space::Port,
        start: 0x10,
        end: 0x20,
        device: HOSTILE.into(),
        register: HOSTILE.into(),
    }];
    header.entry = HOSTILE.into();
    header.files[0].name = HOSTILE.into();
    let mut trace = SyntheticTrace::create(&dir.join("<b>&run.trap"), &header);
    for i in 0..4 {
        let kind = if i % 2 == 0 { ExitKind::PortRead } else { ExitKind::PortWrite };
        let site = trace.site(kind, 0x10 + i, 1, 0x8000 + 16 * i, &[0xec]);
        (0..100 * (i + 1)).for_each(|n| trace.exit(site, &[0], 3000 + n, 900 + 7 * n));
    }
    trace.end(halted())
}

#[test]
fn a_page_sorts_filters_zooms_and_fits_its_window() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no browser drives the page: `apt-get install chromium`");
        return;
    };
    let (dir, path) = recorded();
    let page = report(&path, By::Site).to_html(&Trace::open(&path).unwrap(), None).unwrap();
    for width in [1280, 500] {
        assert_eq!(driven(&browser, dir.path(), &page, "", width), "FINE", "{width}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = hostile(dir.path());
    let map = dir.path().join("System.map");
    std::fs::write(&map, format!("0000000000008000 T {HOSTILE}\n0000000000009000 T end\n")).unwrap();
    let trace = Trace::open(&path).unwrap();
    let symbols = Symbols::load(&trace, &[SymbolFile { path: map, offset: None }]).unwrap();
    let report = Report::with_symbols(&trace, By::Site, symbols, &mut |_| {}).unwrap();
    let page = report.to_html(&trace, None).unwrap();
    assert_eq!(driven(&browser, dir.path(), &page, HOSTILE, 1280), "FINE");
}

/// Everywhere that a name is shown, and the name.
const NAMED: &str = r##"<script>
drive(async () => {
  const names = query => [...document.querySelectorAll(query)].some(e => e.textContent.includes(HOSTILE));
  await turn(1000);
  for (const query of ["#sites tbody td", "#flame .frame", "#code summary", "#phases span", "#facts dd"]) check(query, names(query));
  check("code", document.querySelectorAll("#code .hot").length === 8);
  for (const line of document.querySelectorAll("#code .hot")) line.click();
  check("detail", names("#detail dd"));
  // Everything in every picture that can be pointed at says what it is, and all of that is text.
  const all = {}, alike = new Set(["vmm", "path", "idle"].flatMap(kind => painted("#timeline", kind).slice(20)));
  for (const id of ["timeline", "heat", "flame", "detail"]) {
    all[id] = [];
    for (const node of document.querySelectorAll(`#${id} path, #${id} text, #${id} .frame`)) if (!alike.has(node)) all[id].push(...await told(node));
  }
  check("a phase's tip", all.timeline.some(t => t.startsWith(`${HOSTILE}\n`)));
  check("a column's tip", all.timeline.some(t => t.startsWith("from ")));
  check("a stroke's tip", all.heat.some(t => t.includes(HOSTILE) && t.includes("\nfrom ")));
  check("a row's tip", all.heat.some(t => t.includes(HOSTILE) && !t.includes("\nfrom ")));
  check("a frame's tip", all.flame.some(t => t.startsWith(`${HOSTILE}\n`)));
  check("a range's tip", all.detail.some(t => t.endsWith(" exits")));
  check("no hostile markup", !window.hacked && !document.querySelector("img"));
});
</script>"##;

/// A program with a function of a hostile name, linked for its place: `in al, 0x10` and seven more.
fn hostile_program(dir: &Path) -> PathBuf {
    let (source, program) = (dir.join("hostile.s"), dir.join("hostile<i>"));
    let code: Vec<_> = (0x10..0x18).map(|port| format!("in $0x{port:x}, %al\n")).collect();
    let code = code.concat();
    let name = format!("\"{HOSTILE}\"");
    let text =
        format!(".globl {name}\n.type {name}, @function\n{name}:\n{code}ret\n.size {name}, . - {name}\n");
    std::fs::write(&source, text).unwrap();
    let mut cc = Command::new("cc");
    cc.args([
        "-nostdlib",
        "-static",
        "-Wl,--build-id=none,-z,noseparate-code,-Ttext=0x500000,-e,0x500000",
        "-o",
    ]);
    assert!(cc.arg(&program).arg(&source).status().expect("the C compiler of the build").success());
    program
}

#[test]
fn a_function_with_a_hostile_name_is_text_in_pictures_and_in_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut header = header();
    header.files[0].name = HOSTILE.into();
    let mut trace = SyntheticTrace::create(&dir.path().join("<b>&run.trap"), &header);
    for port in 0x10..0x18 {
        let at = 0x50_0000 + 2 * (port - 0x10);
        let site = trace.site(ExitKind::PortRead, port, 1, at, &[0xe4, port as u8]);
        (0..30).for_each(|n| trace.exit(site, &[n as u8], 3000, 900));
    }
    let trace = Trace::open(&trace.end(halted())).unwrap();
    let file = SymbolFile { path: hostile_program(dir.path()), offset: None };
    let symbols = Symbols::load(&trace, &[file]).unwrap();
    assert_eq!(symbols.of(7).unwrap().name, HOSTILE, "{:?}", symbols.notes());
    let report = Report::with_symbols(&trace, By::Site, symbols, &mut |_| {}).unwrap();
    let page = report.to_html(&trace, None).unwrap();
    assert_eq!(page.matches("<script").count(), SCRIPTS);
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no browser drives the page: `apt-get install chromium`");
        return;
    };
    assert_eq!(driven_by(&[POINTING, NAMED].concat(), &browser, dir.path(), &page, HOSTILE, 1280), "FINE");
}

#[test]
fn a_page_holds_no_markup_of_the_guest_and_what_it_holds_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = hostile(dir.path());
    let page = report(&path, By::Site).to_html(&Trace::open(&path).unwrap(), None).unwrap();
    assert_eq!(page.matches("<script").count(), SCRIPTS);
    assert!(!page.contains("<img") && page.contains("<title>&lt;b&gt;&amp;run.trap"));
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let time = &data["time"];
    let sum = |name: &str| time[name].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("exits"), 1000);
    let spent = sum("vmm") + sum("path") + sum("guest") + sum("idle");
    assert!(spent.abs_diff(data["totals"]["total_ns"].as_u64().unwrap()) <= 2000, "{spent}");
    for site in data["sites"].as_array().unwrap() {
        for times in ["vmm_times", "run_times"] {
            let exits: f64 = site[times].as_array().unwrap().iter().map(|r| r[2].as_f64().unwrap()).sum();
            assert!((exits - site["count"].as_f64().unwrap()).abs() < 0.5, "{site}");
        }
    }
}

#[test]
fn a_trace_without_exits_makes_a_page_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = SyntheticTrace::create(&dir.path().join("a.trap"), &header()).end(halted());
    let page = report(&path, By::Site).to_html(&Trace::open(&path).unwrap(), None).unwrap();
    assert!(page.contains("\"sites\":[]"));
}

"use strict";
// Everything from the image becomes text here (textContent, attributes), never markup.
(() => {
const image = JSON.parse(document.getElementById("data").textContent);
const platforms = image.platforms;
const held = platforms.filter((platform) => platform.contents);
const several = platforms.length > 1;
const byId = (id) => document.getElementById(id);

// ---- Elements and texts

function el(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

// As `anatomy::human`.
function human(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1023.5 && unit + 1 < units.length) { bytes /= 1024; unit += 1; }
  const digits = unit === 0 ? 0 : bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0;
  return `${bytes.toFixed(digits)} ${units[unit]}`;
}

const number = (value) => value.toLocaleString("en");
const percent = (part, whole) => whole ? `${(100 * part / whole).toFixed(1)} %` : "";
const short = (digest) => digest.slice(0, 19);
const unique = (list) => [...new Set(list)];
const sum = (list) => list.reduce((total, value) => total + value, 0);
const title = (layer) =>
  (layer.comment && !layer.comment.startsWith("buildkit.") ? layer.comment : layer.created_by)
    .replace(/^\/bin\/sh -c #\(nop\) */, "");

// ---- Tables

// A cell is {text, value, title, kind}: `value` is what is sorted by; of kind "bytes", the text is made of it.
const bytes = (value) => ({ kind: "bytes", value });
const text = (value, kind = "", hint) => ({ text: value, value: String(value).toLowerCase(), kind, title: hint });
const amount = (value) => ({ text: number(value), value, kind: "num" });
const nothing = () => ({ text: "–", value: -1, kind: "num soft" });

function cell(content, column, tag = "td", marked = false) {
  const isBytes = content.kind === "bytes";
  const names = [isBytes ? "num" : content.kind, column.first ? "first" : "", marked && column.marks ? "mark" : ""].filter(Boolean).join(" ");
  const inner = isBytes
    ? el("data", { value: content.value, title: `${number(content.value)} bytes` }, human(content.value))
    : content.text;
  return el(tag, { class: names || undefined, title: content.title, scope: tag === "th" ? "row" : undefined }, inner);
}

const tables = [];

// Columns are {title, num, group}. Rows are {key, cells, search, differs}; `foot` is the cells of the last.
function fill(id, columns, rows, sorted, foot) {
  const table = byId(id);
  const head = el("thead");
  if (columns.some((column) => column.group)) {
    const groups = el("tr");
    for (let n = 0; n < columns.length;) {
      const { group } = columns[n];
      let span = 1;
      while (group && columns[n + span] && columns[n + span].group === group) span += 1;
      groups.append(el(group ? "th" : "td", { colspan: span, class: group ? "group" : undefined }, group || ""));
      n += span;
    }
    head.append(groups);
  }
  const titles = el("tr");
  const body = el("tbody");
  const made = rows.map((row) => {
    const element = el("tr", { "data-key": row.key, class: row.differs ? "differs" : undefined },
      ...row.cells.map((content, n) => cell(content, columns[n], n === 0 ? "th" : "td", row.differs)));
    return { ...row, element, search: (row.search || row.cells.map((it) => it.text || "").join(" ")).toLowerCase() };
  });
  const sortBy = (at, descending) => {
    const compare = (a, b) => {
      const [x, y] = [a.cells[at].value, b.cells[at].value];
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return descending ? -order : order;
    };
    body.append(...made.sort(compare).map((row) => row.element));
    [...titles.children].forEach((th, n) =>
      n === at ? th.setAttribute("aria-sort", descending ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
  };
  columns.forEach((column, n) => {
    const button = el("button", { type: "button" }, column.title);
    const names = [column.num ? "num" : "", column.first ? "first" : ""].filter(Boolean).join(" ");
    const th = el("th", { scope: "col", class: names || undefined }, button);
    button.addEventListener("click", () => {
      const now = th.getAttribute("aria-sort");
      sortBy(n, now ? now === "ascending" : Boolean(column.num));
    });
    titles.append(th);
  });
  head.append(titles);
  table.replaceChildren(head, body);
  if (foot) table.append(el("tfoot", {}, el("tr", {}, ...foot.map((content, n) => cell(content, columns[n], n === 0 ? "th" : "td")))));
  if (sorted) sortBy(...sorted); else body.append(...made.map((row) => row.element));
  tables.push(made);
}

const perPlatform = (columns) => held.flatMap((platform) =>
  columns.map((column, n) => ({ ...column, first: several && n === 0, group: several ? platform.platform : undefined })));

// ---- What each table shows

function head() {
  document.title = `${image.name} – oxcart`;
  byId("name").textContent = image.name;
  byId("digest").textContent = image.digest;
  const facts = Object.entries(image.annotations);
  if (image.lock) {
    const { state, file, differences } = image.lock;
    const texts = { same: `${file} has the same`, different: `${file} differs: ${differences.join("; ")}`, none: "the project has none" };
    facts.unshift(["lock", texts[state]]);
  }
  for (const it of image.attachments) facts.push([it.kind || "attachment", `${it.digest}${it.subject ? ` about ${short(it.subject)}` : ""}`]);
  byId("facts").append(...facts.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, value)]));
}

function platformTable() {
  const columns = [{ title: "Platform" }, { title: "Compressed", num: true }, { title: "As files", num: true },
    { title: "Files", num: true }, { title: "Layers", num: true }, { title: "Packages", num: true },
    { title: "System" }, { title: "Base" }, { title: "Created" }, { title: "Manifest" }];
  const rows = platforms.map((platform) => {
    const { contents, base } = platform;
    return {
      key: platform.platform,
      cells: [text(platform.platform, "nowrap"), bytes(platform.size),
        contents ? bytes(contents.size) : nothing(), contents ? amount(contents.files) : nothing(),
        amount(platform.layers.length), contents ? amount(contents.packages.length) : nothing(),
        text((contents && contents.os) || "–", "nowrap"), text(base ? base.name || short(base.digest) : "–", "nowrap", base && base.digest),
        text((platform.created || "–").slice(0, 10), "nowrap", platform.created),
        text(short(platform.digest), "mono nowrap", platform.digest)],
    };
  });
  fill("platforms", columns, rows);
}

const packageKey = (it) => `${it.ecosystem} ${it.ecosystem === "python" ? it.name.toLowerCase().replace(/[-_.]+/g, "-") : it.name}`;

// One row for each key, with what each platform has of it: [[key, [[...of the first], [...of the second]]], ...].
function sideBySide(listOf, keyOf) {
  const rows = new Map();
  held.forEach((platform, n) => {
    for (const item of listOf(platform)) {
      const key = keyOf(item, platform);
      if (!rows.has(key)) rows.set(key, held.map(() => []));
      rows.get(key)[n].push(item);
    }
  });
  return [...rows];
}

// In words, what tells the platforms apart; "" where nothing does. Machine code is never of one size, so sizes
// differ only from a fifth on, and from 256 KiB.
function difference(own, versionOf) {
  const having = held.filter((_, n) => own[n].length).map((platform) => platform.platform);
  if (having.length < held.length) return `only ${having.join(", ")}`;
  if (unique(own.map(versionOf)).length > 1) return "versions differ";
  const sizes = own.map((list) => sum(list.map((it) => it.size)));
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
  if (most - least < 262144 || most < 1.2 * least) return "";
  return `${human(most - least)} more on ${held[sizes.indexOf(most)].platform}`;
}

function packageTable() {
  const columns = [{ title: "Package", marks: true }, { title: "From" }, { title: "Layer" },
    ...perPlatform([{ title: "Version" }, { title: "Size", num: true }, { title: "Files", num: true }])];
  if (several) columns.push({ title: "Difference", marks: true });
  const version = (own) => unique(own.map((it) => it.version)).join(", ");
  const row = (key, name, from, own, differs) => ({
    key,
    differs: Boolean(differs),
    search: `${name} ${from} ${own.flat().map((it) => `${it.version || ""} layer ${it.layer}`).join(" ")} ${differs}`,
    cells: [text(name), text(from, "soft"),
      text(unique(own.flat().map((it) => it.layer)).join(" / "), "soft nowrap"),
      ...own.flatMap((list) => list.length
        ? [text(version(list), "nowrap"), bytes(sum(list.map((it) => it.size))), amount(sum(list.map((it) => it.files)))]
        : [text("–", "soft"), nothing(), nothing()]),
      ...(several ? [text(differs, "nowrap")] : [])],
  });
  const rows = sideBySide((platform) => platform.contents.packages, packageKey).map(([key, own]) => {
    const [first] = own.flat();
    return row(key, first.name, first.ecosystem, own, difference(own, version));
  });
  const layerOf = (it, platform) => title(platform.layers[it.layer - 1]);
  for (const [key, own] of sideBySide((platform) => platform.contents.unowned, layerOf)) {
    rows.push(row(`unowned ${key}`, `(no package) ${key}`, "–", own, ""));
  }
  const totals = held.flatMap(({ contents }) => [text(""), bytes(contents.size), amount(contents.files)]);
  fill("packages", columns, rows, held.length ? [4, true] : undefined,
    [text("All files"), text(""), text(""), ...totals, ...(several ? [text("")] : [])]);
}

function layerTable() {
  const columns = [{ title: "Layer", num: true }, ...(several ? [{ title: "Platforms", marks: true }] : []),
    { title: "What made it" }, { title: "Packages", num: true }, { title: "Compressed", num: true },
    { title: "As files", num: true }, { title: "Files", num: true }, { title: "Hidden", num: true }, { title: "diff_id" }];
  const rows = new Map();
  for (const platform of platforms) {
    platform.layers.forEach((layer, n) => {
      const key = `${layer.diff_id} ${layer.digest}`;
      const known = rows.get(key);
      if (known) known.platforms.push(platform.platform); // The same bytes hold the same.
      else rows.set(key, { layer, contents: platform.contents && platform.contents.layers[n], platforms: [platform.platform] });
    });
  }
  fill("layers", columns, [...rows].map(([key, { layer, contents, platforms: own }]) => {
    const differs = several && own.length < platforms.length;
    const packages = contents ? contents.packages : layer.members;
    return {
      key: `${own[0]} ${layer.number}`,
      differs,
      search: `layer ${layer.number} ${own.join(" ")} ${title(layer)} ${packages.join(" ")} ${key}`,
      cells: [{ ...amount(layer.number), text: String(layer.number) },
        ...(several ? [text(differs ? own.join(", ") : "all", differs ? "nowrap" : "nowrap soft")] : []),
        text(title(layer), "long"),
        { ...amount(packages.length), title: packages.slice(0, 40).join(", ") + (packages.length > 40 ? ", …" : "") },
        bytes(layer.size), contents ? bytes(contents.size) : nothing(), contents ? amount(contents.files) : nothing(),
        contents ? bytes(contents.hidden.size) : nothing(), text(short(layer.diff_id), "mono nowrap", layer.diff_id)],
    };
  }), [0, false]);
}

// Names of architectures in paths, so that libraries meet their like on the other platform.
const ARCHITECTURE = /x86[_-]64|amd64|aarch64|arm64|arm-linux-gnueabihf|armv7l|armhf/g;

function fileTable() {
  const columns = [{ title: "Path", marks: true }, { title: "Package" }, { title: "Type" },
    ...perPlatform([{ title: "Size", num: true }])];
  const listed = held.map((platform) => platform.contents.largest.length);
  const keys = new Map();
  const keyOf = (file, platform) => {
    const key = file.path.replace(ARCHITECTURE, "⟨arch⟩");
    const taken = `${platform.platform} ${key}`;
    if (!several || keys.has(taken)) return file.path;
    keys.set(taken, file.path);
    return key;
  };
  fill("files", columns, sideBySide((platform) => platform.contents.largest, keyOf).map(([key, own]) => {
    const all = own.flat();
    const paths = unique(all.map((file) => file.path));
    const differs = difference(own, () => "");
    const missing = { text: "–", value: -1, kind: "num soft", title: "not there" };
    return {
      key,
      differs: Boolean(differs),
      search: `${paths.join(" ")} ${all.map((file) => `${file.package || "no package"} ${file.type} layer ${file.layer}`).join(" ")}`,
      cells: [text(paths.length > 1 ? key : paths[0], "long mono", paths.join("\n")), text(all[0].package || "–"),
        text(all[0].type, "soft"), ...own.map((list) => list.length ? bytes(sum(list.map((it) => it.size))) : missing)],
    };
  }), held.length ? [3, true] : undefined);
  byId("rule").textContent = held.map((platform, n) => {
    const { files, size, largest } = platform.contents;
    const rest = size - sum(largest.map((file) => file.size));
    return `${platform.platform}: ${number(listed[n])} of ${number(files)} files are listed; the others, ${human(rest)} together, count in the tables and figures above.`;
  }).concat("Listed are the 500 largest files of each platform, and those that are among the 500 of another.").join(" ");
}

function configTable() {
  const fields = new Map();
  const put = (field, n, value) => {
    if (!fields.has(field)) fields.set(field, platforms.map(() => undefined));
    fields.get(field)[n] = typeof value === "string" ? value : JSON.stringify(value);
  };
  platforms.forEach((platform, n) => {
    for (const [field, value] of Object.entries(platform.config || {})) {
      if (value === null) continue;
      if (field === "Env" && Array.isArray(value)) {
        for (const pair of value.map(String)) put(`Env ${pair.split("=")[0]}`, n, pair.slice(pair.indexOf("=") + 1));
      } else if (typeof value === "object" && !Array.isArray(value)) {
        for (const [key, inner] of Object.entries(value)) put(`${field} ${key}`, n, inner);
      } else put(field, n, value);
    }
  });
  const columns = [{ title: "Field", marks: true }, ...platforms.map((platform) => ({ title: several ? platform.platform : "Value", marks: true }))];
  fill("config", columns, [...fields].map(([field, values]) => ({
    key: field,
    differs: unique(values).length > 1,
    cells: [text(field, "nowrap"), ...values.map((value) => text(value === undefined ? "–" : value, "long mono"))],
  })));
}

// ---- Treemaps

const HUES = { python: 245, debian: 35, alpine: 190, native: 250, bytecode: 110, script: 85, metadata: 310, development: 20,
  web: 60, media: 345, data: 200, translation: 165, documentation: 280 };
const hue = (group, view) => view === "type" && group === "python" ? 145 : HUES[group];

// Leaves {name, hint, size} in groups {name, size, leaves}, the largest first. What is smaller than 1/500 of
// the whole is one leaf of its group.
function grouped(platform, view) {
  const { contents } = platform;
  const groups = new Map();
  const put = (group, name, hint, size) => {
    if (!groups.has(group)) groups.set(group, new Map());
    const leaves = groups.get(group);
    const leaf = leaves.get(name) || { name, hint, size: 0 };
    leaf.size += size;
    leaves.set(name, leaf);
  };
  const all = [
    ...contents.packages.map((it) => [it.ecosystem, it.name, it.version, it]),
    ...contents.unowned.map((it) => ["no package", view === "type" ? "no package" : title(platform.layers[it.layer - 1]), "", it]),
  ];
  for (const [group, name, hint, it] of all) {
    if (view === "package") put(group, name, hint, it.size);
    else for (const [type, size] of Object.entries(it.types)) put(type, name, hint, size);
  }
  const least = contents.size / 500;
  return [...groups].map(([name, own]) => {
    const leaves = [...own.values()].filter((leaf) => leaf.size >= least);
    const small = [...own.values()].filter((leaf) => leaf.size < least && leaf.size > 0);
    if (small.length) leaves.push({ name: `${small.length} smaller`, hint: "", size: sum(small.map((leaf) => leaf.size)), small: true });
    leaves.sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
    return { name, size: sum(leaves.map((leaf) => leaf.size)), leaves };
  }).filter((group) => group.size > 0).sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
}

// Squarified treemap (Bruls, Huizing, van Wijk 2000): rows along the shorter side, each as long as its
// worst ratio gets better. Items have `size`, sorted; gives [item, x, y, width, height].
function squarify(items, x, y, width, height) {
  const placed = [];
  let scale = (width * height) / (sum(items.map((item) => item.size)) || 1);
  let at = 0;
  while (at < items.length) {
    const side = Math.min(width, height);
    let row = [], area = 0, worst = Infinity;
    while (at + row.length < items.length) {
      const next = items[at + row.length].size * scale;
      const total = area + next;
      const largest = row.length ? items[at].size * scale : next;
      const ratio = Math.max((side * side * largest) / (total * total), (total * total) / (side * side * next));
      if (ratio > worst) break;
      row.push(items[at + row.length]);
      area = total;
      worst = ratio;
    }
    const thick = side > 0 ? area / side : 0;
    let along = 0;
    for (const item of row) {
      const length = area > 0 ? side * (item.size * scale) / area : 0;
      placed.push(width < height ? [item, x + along, y, length, thick] : [item, x, y + along, thick, length]);
      along += length;
    }
    if (width < height) { y += thick; height -= thick; } else { x += thick; width -= thick; }
    at += row.length;
  }
  return placed;
}

const LABEL = 18; // Pixels of a group's name.

function drawMap(map, platform, view) {
  const { width, height } = map.getBoundingClientRect();
  const whole = platform.contents.size;
  // Parts of the whole, so that a print has all of it, whatever its size.
  const part = (value, all) => `${(100 * Math.max(value, 0) / (all || 1)).toFixed(3)}%`;
  const place = (element, x, y, w, h) => {
    Object.assign(element.style, { left: part(x, width), top: part(y, height), width: part(w, width), height: part(h, height) });
    return element;
  };
  const parts = [];
  for (const [group, gx, gy, gw, gh] of squarify(grouped(platform, view), 0, 0, width, height)) {
    const label = gh > 3 * LABEL && gw > 60 ? LABEL : 0;
    if (label) parts.push(place(el("div", { class: "area", "aria-hidden": "true" }, `${group.name}  ${human(group.size)}`), gx, gy, gw, label));
    for (const [leaf, x, y, w, h] of squarify(group.leaves, gx, gy + label, gw, gh - label)) {
      const said = `${leaf.name}${leaf.hint ? ` ${leaf.hint}` : ""} (${group.name}): ${human(leaf.size)}, ${number(leaf.size)} bytes, ${percent(leaf.size, whole)} of ${platform.platform}`;
      const tile = place(el("button", { type: "button", tabindex: parts.some((it) => it.tagName === "BUTTON") ? -1 : 0, title: said, "aria-label": said, "data-bytes": leaf.size }), x, y, w, h);
      const tone = hue(group.name, view);
      tile.style.setProperty("--hue", tone === undefined ? 250 : tone);
      if (tone === undefined) tile.className = "grey";
      if (w > 30 && h > 17) tile.append(el("span", {}, leaf.name));
      if (w > 60 && h > 32) tile.append(el("span", { class: "size" }, human(leaf.size)));
      tile.addEventListener("focus", () => { byId("told").textContent = said; });
      tile.addEventListener("mouseenter", () => { byId("told").textContent = said; });
      tile.addEventListener("click", () => { if (!leaf.small) { byId("filter").value = leaf.name; filter(); } });
      parts.push(tile);
    }
  }
  map.replaceChildren(...parts);
}

function maps() {
  const chosen = () => document.querySelector("input[name=view]:checked").value;
  const drawn = held.map((platform) => {
    const { contents } = platform;
    const map = el("div", { class: "map", role: "group", "aria-label": `${platform.platform}, sizes` });
    // One stop of the tab key for a map; arrows go from tile to tile.
    map.addEventListener("keydown", (event) => {
      const tiles = [...map.querySelectorAll("button")];
      const at = tiles.indexOf(document.activeElement);
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const to = event.key === "Home" ? 0 : event.key === "End" ? tiles.length - 1 : step && at + step;
      if (to === undefined || !tiles[to]) return;
      event.preventDefault();
      tiles.forEach((tile) => { tile.tabIndex = -1; });
      tiles[to].tabIndex = 0;
      tiles[to].focus();
    });
    byId("maps").append(el("figure", {},
      el("figcaption", {}, el("b", {}, platform.platform), ` ${human(contents.size)} in ${number(contents.files)} files`), map));
    return () => drawMap(map, platform, chosen());
  });
  const draw = () => drawn.forEach((one) => one());
  const rest = () => { byId("told").textContent = "An area is as large as its files. What takes less than 1/500 of a platform is drawn together. A click filters the tables."; };
  document.querySelectorAll("input[name=view]").forEach((input) => input.addEventListener("change", () => { draw(); rest(); }));
  let width = byId("maps").clientWidth;
  new ResizeObserver(() => {
    if (byId("maps").clientWidth !== width) { width = byId("maps").clientWidth; draw(); }
  }).observe(byId("maps"));
  draw();
  rest();
}

// ---- Filter

function filter() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const different = byId("different").checked;
  let shown = 0, all = 0;
  // The first table is that of the platforms, which stays whole.
  for (const row of tables.slice(1).flat()) {
    row.element.hidden = !row.search.includes(wanted) || (different && !row.differs);
    shown += row.element.hidden ? 0 : 1;
    all += 1;
  }
  byId("matches").textContent = wanted || different ? `${number(shown)} of ${number(all)} rows` : "";
}

head();
platformTable();
packageTable();
layerTable();
fileTable();
configTable();
maps();
byId("different").parentElement.hidden = !several;
byId("filter").addEventListener("input", filter);
byId("different").addEventListener("change", filter);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !(document.activeElement instanceof HTMLInputElement)) {
    event.preventDefault();
    byId("filter").focus();
  }
});
document.documentElement.dataset.ready = "true";
})();

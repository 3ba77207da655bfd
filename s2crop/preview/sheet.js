// The list of pictures and their crops: filters, order, and what was changed of it.

const find = (id) => document.getElementById(id);
const main = document.querySelector("main"), controls = find("controls");

// A crop as the page has it. Its JSON line is read when it is asked for: a page may have thousands.
class Crop {
  constructor(figure, article) {
    const { ratio, faults, score, worth, sizes } = figure.dataset;
    this.figure = figure;
    this.article = article;
    this.ratio = ratio;
    this.faults = faults;
    this.score = parseFloat(score); // NaN where there is none
    this.worth = parseFloat(worth);
    this.sizes = sizes ? sizes.split(" ") : [];
    this.isPadded = "padded" in figure.dataset;
    this.isRound = figure.classList.contains("round");
    this.isEnlarged = "enlarged" in figure.dataset;
    this.opener = figure.querySelector(".open"); // null where no box is known, or no picture
  }
  get canChange() { return this.opener !== null; }
  get line() { return this.read ??= JSON.parse(this.figure.dataset.line); }
  get size() { return [this.line.width, this.line.height]; }
  get ratioValue() { return ratioOf(this.line.ratio, ...this.size); }
  get picture() { return this.article.querySelector(".picture img"); }
}

const entries = [...main.children].map((article, place) => {
  const own = [...article.querySelectorAll(".crop")].map((figure) => new Crop(figure, article));
  for (const crop of own) { // the best of its ratio, of which it is one
    crop.siblings = own.filter((other) => other.ratio === crop.ratio);
    crop.margin = crop.siblings.length > 1 ? crop.siblings[0].worth - crop.siblings[1].worth : NaN;
  }
  return { article, place, crops: own, name: article.dataset.name, folded: article.dataset.name.toLowerCase(),
    statuses: article.dataset.status.split(" ") };
});
const crops = entries.flatMap((entry) => entry.crops);
crops.forEach((crop, number) => { crop.number = number; });
const byFigure = new Map(crops.map((crop) => [crop.figure, crop]));

// Filters

const MOST_SIZES = 12; // to choose from: more are the crops' own
const kinds = { // what a crop is to be, by the control that asks for it
  faults: { any: (crop) => crop.faults, none: (crop) => !crop.faults, cut: (crop) => crop.faults.includes("cut"),
    lost: (crop) => crop.faults.includes("lost") },
  padded: { yes: (crop) => crop.isPadded, no: (crop) => !crop.isPadded },
  changed: { any: (crop) => changes.has(crop.number),
    moved: (crop) => changes.get(crop.number)?.box && !isRefused(crop),
    refused: isRefused, none: (crop) => !changes.has(crop.number) },
};
const wantedSize = (size) => (crop) => (size === "enlarged" ? crop.isEnlarged : crop.sizes.includes(size));

function prepareFilters() {
  for (const option of find("status").querySelectorAll("option[value='']~option"))
    option.hidden = option.disabled = !entries.some((entry) => entry.statuses.includes(option.value));
  const sizes = [...new Set(crops.flatMap((crop) => crop.sizes))];
  if (sizes.length <= MOST_SIZES)
    find("size").append(...sizes.map((size) => new Option(size.replace("x", " × "), size)));
  const enlarged = find("size").querySelector("[value=enlarged]");
  enlarged.hidden = enlarged.disabled = !crops.some((crop) => crop.isEnlarged);
  for (const id of ["ratio", "status"]) // nothing to choose between
    find(id).parentElement.hidden = [...find(id).options].filter((option) => !option.disabled).length < 3;
  find("size").parentElement.hidden = enlarged.disabled && find("size").options.length < 4;
  for (const [id, is] of [["faults", (crop) => crop.faults], ["padded", (crop) => crop.isPadded],
    ["changed", (crop) => crop.canChange]])
    find(id).parentElement.hidden = !crops.some(is);
  for (const id of ["worth", "margin"]) prepareRange(id, crops.map((crop) => crop[id]).filter((value) => value >= 0));
}

// From the least to the greatest there is; at its right end a range asks for nothing.
function prepareRange(id, values) {
  const range = find(id), least = values.reduce((a, b) => Math.min(a, b), Infinity);
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity), differ = most > least;
  range.parentElement.hidden = !differ;
  for (const option of find("order").options) if (option.value === id) option.hidden = option.disabled = !differ;
  if (!differ) return;
  range.min = (Math.floor(least * 100) / 100).toFixed(2);
  range.max = range.value = (Math.floor(most * 100) / 100 + 0.01).toFixed(2);
}

function atMost(id) {
  const range = find(id), value = parseFloat(range.value);
  return range.parentElement.hidden || value > parseFloat(range.max) - 0.005 ? Infinity : value;
}

// The tests that a crop has to pass.
function wanted() {
  const tests = [], ratio = find("ratio").value, size = find("size").value, least = parseFloat(find("least").value);
  if (ratio) tests.push((crop) => crop.ratio === ratio);
  if (least > 1) tests.push((crop) => crop.score >= least);
  if (size) tests.push(wantedSize(size));
  for (const [id, kind] of Object.entries(kinds)) if (find(id).value) tests.push(kind[find(id).value]);
  for (const id of ["worth", "margin"]) {
    const most = atMost(id);
    find(`${id}-shown`).textContent = most < Infinity ? most.toFixed(2) : "any";
    if (most < Infinity) tests.push((crop) => crop[id] <= most);
  }
  find("least-shown").textContent = least.toFixed(2);
  return tests;
}

function show() {
  const text = find("name").value.trim().toLowerCase(), status = find("status").value, tests = wanted();
  let shown = 0;
  for (const entry of entries) {
    entry.best = -Infinity;
    entry.margin = Infinity;
    let left = 0;
    for (const crop of entry.crops) {
      const fits = tests.every((test) => test(crop));
      crop.figure.hidden = !fits;
      if (!fits) continue;
      left++;
      if (crop.worth > entry.best) entry.best = crop.worth;
      if (crop.margin < entry.margin) entry.margin = crop.margin;
    }
    const fits = (left || !tests.length) && entry.folded.includes(text) && (!status || entry.statuses.includes(status));
    entry.article.hidden = !fits;
    if (fits) shown++;
  }
  find("count").textContent = shown === entries.length ? `${shown} shown` : `${shown} of ${entries.length} shown`;
  find("nothing").hidden = shown > 0;
}

// Order

const orders = {
  "": (a, b) => a.place - b.place,
  best: (a, b) => (b.best > a.best) - (b.best < a.best) || a.place - b.place,
  worst: (a, b) => (a.best === -Infinity) - (b.best === -Infinity) || (a.best > b.best) - (a.best < b.best)
    || a.place - b.place,
  margin: (a, b) => (a.margin > b.margin) - (a.margin < b.margin) || a.place - b.place,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.place - b.place,
};

function sort() {
  main.append(...[...entries].sort(orders[find("order").value]).map((entry) => entry.article));
}

let sorted = "";
function update() {
  show();
  const order = find("order").value;
  const by = { best: "best", worst: "best", margin: "margin" }[order];
  const key = by ? order + entries.map((entry) => entry[by]) : order;
  if (key !== sorted) sort();
  sorted = key;
}

// The box of the crop that is pointed at, or has the focus, stands out.
function point(event) {
  const figure = event.target.closest?.(".crop");
  for (const svg of main.querySelectorAll("svg.chosen")) svg.classList.remove("chosen");
  const svg = figure?.parentElement.querySelector("svg");
  if (!svg) return;
  const place = [...figure.parentElement.querySelectorAll(".crop")].indexOf(figure);
  for (const rect of svg.children) rect.classList.toggle("on", rect.dataset.crop === `${place}`);
  svg.classList.add("chosen");
}

// What was changed

const span = (kind, text) => Object.assign(document.createElement("span"), { className: kind, textContent: text });

// In pixels of the picture.
function padsNow(crop, box) {
  const line = alike(crop, box)?.line;
  if (!line) return crop.line.padded ? padsAround(crop, box) : null;
  if (!line.padded || !line.output_width) return null;
  const scale = (box[2] - box[0]) / Math.max(1, line.output_width - line.padded[0] - line.padded[2]);
  return line.padded.map((pad) => pad * scale);
}

// A part of a picture, and what is to lie around it, on a canvas that shows it as large as there is room for.
function drawCrop(canvas, picture, crop, box, most) {
  const [width, height] = sidesOf(box), [left, top, right, bottom] = padsNow(crop, box) ?? [0, 0, 0, 0];
  const whole = [left + width + right, top + height + bottom], scale = Math.min(most[0] / whole[0], most[1] / whole[1]);
  const shown = whole.map((side) => Math.max(1, Math.round(side * scale)));
  const sharp = Math.max(1, Math.min(2, window.devicePixelRatio));
  [canvas.width, canvas.height] = shown.map((side) => Math.round(side * sharp));
  [canvas.style.width, canvas.style.height] = [`${shown[0]}px`, "auto"];
  canvas.style.aspectRatio = `${shown[0]} / ${shown[1]}`;
  const [x, y] = [picture.naturalWidth / crop.size[0], picture.naturalHeight / crop.size[1]];
  const [across, down] = [canvas.width / whole[0], canvas.height / whole[1]], pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, box[0] * x, box[1] * y, width * x, height * y,
    left * across, top * down, width * across, height * down);
}

// A thumbnail has no pads: they are left free around it.
function showPads(crop) {
  const { padded: [left, top, right, bottom], output_width: width, output_height: height } = crop.line;
  const image = crop.opener.querySelector("img");
  if (!image || !width) return;
  const scale = Math.min(320 / width, 160 / height, image.width / (width - left - right));
  image.style.width = `${(width - left - right) * scale}px`;
  crop.opener.style.padding = [top, right, bottom, left].map((pad) => `${pad * scale}px`).join(" ");
  crop.figure.classList.add("with-pads");
}

function showChange(crop) {
  const { figure, opener } = crop, change = changes.get(crop.number), caption = figure.querySelector("figcaption");
  const box = boxOf(crop), place = crop.article.querySelectorAll(".crop");
  figure.classList.toggle("moved", Boolean(change?.box));
  figure.classList.toggle("refused", isRefused(crop));
  for (const old of figure.querySelectorAll("canvas, .change")) old.remove();
  const line = crop.article.querySelector(`rect[data-crop="${[...place].indexOf(figure)}"]`);
  const [width, height] = sidesOf(box);
  for (const rect of [line, line.previousElementSibling]) { // with what is dark under it
    for (const [name, value] of Object.entries({ x: box[0], y: box[1], width, height })) rect.setAttribute(name, value);
    rect.classList.toggle("refused", isRefused(crop));
  }
  const names = ["Correct", crop.article.dataset.name, opener.dataset.crop, ...(change ? [said(crop)] : [])];
  opener.setAttribute("aria-label", names.join(", ").replace(",", ""));
  if (!change) return;
  caption.append(span("change", said(crop)));
  if (change.box) {
    caption.append(span("change sides", sidesOf(box).join(" × ")));
    const canvas = document.createElement("canvas"), picture = crop.picture;
    opener.append(canvas);
    picture.loading = "eager";
    picture.decode().then(() => drawCrop(canvas, picture, crop, box, [320, 160]), () => canvas.remove());
  }
}

// "refused", "#2 taken" or "moved"
function said(crop) {
  const box = boxOf(crop), other = alike(crop, box);
  return isRefused(crop) ? "refused" : other && other !== crop ? `#${other.line.rank} taken` : "moved";
}

function countChanges() {
  const count = changes.size, text = `${count} changed`;
  find("changes").textContent = isKept ? text : `${text}, lost on a reload: this browser keeps nothing for this page`;
  find("save").disabled = find("forget").disabled = !count;
  find("take-back").disabled = !steps.length;
}

function showChanges(changed) {
  for (const crop of changed) showChange(crop);
  countChanges();
  if (find("changed").value) update();
}

function undoLast() {
  const undone = undo();
  showChanges(undone);
  return undone[0];
}

function refuseOrNot(crop) {
  change([[crop, { ...changes.get(crop.number), refused: !isRefused(crop) }]]);
  showChanges([crop]);
}

function forget() {
  const changed = [...changes.keys()].map((number) => crops[number]);
  change(changed.map((crop) => [crop, undefined]));
  showChanges(changed);
}

// What another window with this page changed is taken over.
function takeOver(event) {
  if (event.key !== PLACE) return;
  const before = [...changes.keys()];
  restore();
  steps.length = 0;
  showChanges([...new Set([...before, ...changes.keys()])].map((number) => crops[number]));
}

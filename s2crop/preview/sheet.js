
"use strict";
const find = (id) => document.getElementById(id);
const main = document.querySelector("main"), controls = find("controls");
const entries = [...main.children].map((article, place) => ({
  article, place, name: article.dataset.name, folded: article.dataset.name.toLowerCase(), statuses: article.dataset.status.split(" "),
  crops: [...article.querySelectorAll(".crop")].map((figure) => (
    { figure, ratio: figure.dataset.ratio, score: parseFloat(figure.dataset.score) })), // NaN where there is none
}));

for (const option of find("status").querySelectorAll("option[value='']~option"))
  option.hidden = option.disabled = !entries.some((entry) => entry.statuses.includes(option.value));
for (const id of ["ratio", "status"]) // nothing to choose between
  find(id).parentElement.hidden = [...find(id).options].filter((option) => !option.disabled).length < 3;

function show() {
  const text = find("name").value.trim().toLowerCase(), ratio = find("ratio").value, status = find("status").value;
  const least = parseFloat(find("least").value), any = least <= 1;
  find("least-shown").textContent = least.toFixed(2);
  let shown = 0;
  for (const entry of entries) {
    entry.best = -1;
    let left = 0;
    for (const crop of entry.crops) {
      const fits = (!ratio || crop.ratio === ratio) && (any || crop.score >= least);
      crop.figure.hidden = !fits;
      if (!fits) continue;
      left++;
      if (crop.score > entry.best) entry.best = crop.score;
    }
    const all = !ratio && any;
    const fits = (left || all) && entry.folded.includes(text) && (!status || entry.statuses.includes(status));
    entry.article.hidden = !fits;
    if (fits) shown++;
  }
  find("count").textContent = shown === entries.length ? `${shown} shown` : `${shown} of ${entries.length} shown`;
  find("nothing").hidden = shown > 0;
}

const orders = {
  "": (a, b) => a.place - b.place,
  best: (a, b) => b.best - a.best || a.place - b.place,
  worst: (a, b) => (a.best < 0) - (b.best < 0) || a.best - b.best || a.place - b.place, // without a score: at the end
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.place - b.place,
};

function sort() {
  main.append(...[...entries].sort(orders[find("order").value]).map((entry) => entry.article));
}

let sorted = "";
function update() {
  show();
  const order = find("order").value;
  const key = order === "best" || order === "worst" ? order + find("ratio").value + find("least").value : order;
  if (key !== sorted) sort();
  sorted = key;
}

// The box of the crop that is pointed at stands out.
function point(event) {
  const figure = event.target.closest?.(".crop");
  for (const svg of main.querySelectorAll("svg.chosen")) svg.classList.remove("chosen");
  const svg = figure?.parentElement.querySelector("svg");
  if (!svg) return;
  const place = [...figure.parentElement.querySelectorAll(".crop")].indexOf(figure);
  for (const rect of svg.children) rect.classList.toggle("on", rect.dataset.crop === `${place}`);
  svg.classList.add("chosen");
}

main.addEventListener("pointerover", point);
main.addEventListener("pointerleave", point);
controls.addEventListener("input", update);
controls.addEventListener("submit", (event) => event.preventDefault());
controls.hidden = false;
update();

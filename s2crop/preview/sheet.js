
"use strict";
const find = (id) => document.getElementById(id);
const main = document.querySelector("main"), controls = find("controls");
const entries = [...main.children].map((article, place) => ({
  article, place, name: article.dataset.name, folded: article.dataset.name.toLowerCase(), statuses: article.dataset.status.split(" "),
  crops: [...article.querySelectorAll(".crop")].map((figure) => (
    { figure, ratio: figure.dataset.ratio, faults: figure.dataset.faults, // NaN where there is no score or worth
      score: parseFloat(figure.dataset.score), worth: parseFloat(figure.dataset.worth) })),
}));

for (const option of find("status").querySelectorAll("option[value='']~option"))
  option.hidden = option.disabled = !entries.some((entry) => entry.statuses.includes(option.value));
find("faults").parentElement.hidden = !entries.some((entry) => entry.crops.some((crop) => crop.faults));
for (const id of ["ratio", "status"]) // nothing to choose between
  find(id).parentElement.hidden = [...find(id).options].filter((option) => !option.disabled).length < 3;

function show() {
  const text = find("name").value.trim().toLowerCase(), ratio = find("ratio").value, status = find("status").value;
  const faults = find("faults").value;
  const least = parseFloat(find("least").value), any = least <= 1;
  find("least-shown").textContent = least.toFixed(2);
  let shown = 0;
  for (const entry of entries) {
    entry.best = -Infinity;
    let left = 0;
    for (const crop of entry.crops) {
      const fits = (!ratio || crop.ratio === ratio) && (any || crop.score >= least) &&
        (!faults || (faults === "any" ? crop.faults : faults === "none" ? !crop.faults : crop.faults.includes(faults)));
      crop.figure.hidden = !fits;
      if (!fits) continue;
      left++;
      if (crop.worth > entry.best) entry.best = crop.worth;
    }
    const all = !ratio && any && !faults;
    const fits = (left || all) && entry.folded.includes(text) && (!status || entry.statuses.includes(status));
    entry.article.hidden = !fits;
    if (fits) shown++;
  }
  find("count").textContent = shown === entries.length ? `${shown} shown` : `${shown} of ${entries.length} shown`;
  find("nothing").hidden = shown > 0;
}

const orders = {
  "": (a, b) => a.place - b.place,
  best: (a, b) => (b.best > a.best) - (b.best < a.best) || a.place - b.place,
  worst: (a, b) => (a.best === -Infinity) - (b.best === -Infinity) || (a.best > b.best) - (a.best < b.best) || a.place - b.place,
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.place - b.place,
};

function sort() {
  main.append(...[...entries].sort(orders[find("order").value]).map((entry) => entry.article));
}

let sorted = "";
function update() {
  show();
  const order = find("order").value;
  const key = order === "best" || order === "worst" ? order + find("ratio").value + find("least").value + find("faults").value : order;
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

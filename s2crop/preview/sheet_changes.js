// What was changed: kept in this browser, undone step by step, written as JSON lines for `s2crop --boxes`.

// A change is {box: [...]}, {refused: true} or both, under the number of its crop; a crop without one is as chosen.
const PLACE = `s2crop ${document.querySelector("header").dataset.sheet}`;
// What a line tells of its box; null where the box is another.
const OF_THE_BOX = ["score", "worth", "cut", "lost", "focus", "padded", "output_width", "output_height"];

let changes = new Map(); // of numbers
const steps = []; // what was before each, [[number, change or undefined], ...]
let isKept = true; // over a reload

function restore() {
  changes = new Map();
  try {
    for (const [number, change] of JSON.parse(localStorage.getItem(PLACE) ?? "[]"))
      if (crops[number]?.canChange) changes.set(number, change);
  } catch {
    isKept = false;
  }
}

function keep() {
  try {
    if (changes.size) localStorage.setItem(PLACE, JSON.stringify([...changes]));
    else localStorage.removeItem(PLACE);
    isKept = true;
  } catch {
    isKept = false;
  }
}

function put(crop, change) {
  const box = change?.box && !sameBox(change.box, crop.line.box) ? change.box : undefined;
  const kept = { ...(box && { box }), ...(change?.refused && { refused: true }) };
  if (box || kept.refused) changes.set(crop.number, kept);
  else changes.delete(crop.number);
}

// One step, of one crop or of several: [[crop, change or undefined], ...]; it may go on with the one before.
function change(changed, goesOn = false) {
  const before = changed.map(([crop]) => [crop.number, changes.get(crop.number)]);
  for (const [crop, to] of changed) put(crop, to);
  if (before.every(([number, was]) => JSON.stringify(was) === JSON.stringify(changes.get(number)))) return;
  if (!goesOn || steps.at(-1)?.[0][0] !== before[0][0]) steps.push(before);
  keep();
}

// The crops of the step that was taken back.
function undo() {
  const before = steps.pop() ?? [];
  for (const [number, was] of before) put(crops[number], was);
  keep();
  return before.map(([number]) => crops[number]);
}

const boxOf = (crop) => changes.get(crop.number)?.box ?? crop.line.box;
const isRefused = (crop) => Boolean(changes.get(crop.number)?.refused);
const alike = (crop, box) => crop.siblings.find((other) => other.line.box && sameBox(other.line.box, box));

// What lies around a box of a padded crop: nothing once it has the ratio.
function padsAround(crop, box) {
  const ratio = crop.ratioValue;
  return sameBox(toPixels(box, crop.size, ratio), box) ? null : padsOf(box, ratio, crop.isRound);
}

// The line of a changed crop. What its new box is worth is told if it is that of another of the best.
function fixedLine(crop) {
  const { box, refused } = changes.get(crop.number);
  if (refused) return { ...crop.line, refused };
  const line = { ...crop.line, box, was: crop.line.box, status: "planned" }, known = alike(crop, box)?.line;
  for (const name of OF_THE_BOX) if (name in line) line[name] = known?.[name] ?? null;
  if (!known && crop.line.padded) line.padded = padsAround(crop, box);
  line.object_position = objectPosition(box, crop.size);
  return line;
}

// In ASCII, as s2crop writes it: names that are not UTF-8 come back as they were.
const escaped = (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
const toLine = (told) => JSON.stringify(told).replace(/[\u007f-\uffff]/g, escaped);

function fixes() {
  const changed = [...changes.keys()].sort((a, b) => a - b).map((number) => crops[number]);
  return changed.map((crop) => `${toLine(fixedLine(crop))}\n`).join("");
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([fixes()], { type: "application/jsonl" }));
  link.download = "fixes.jsonl";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

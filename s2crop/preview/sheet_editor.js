// The place where one crop is corrected: its frame on the picture, the other crops to take, and what it would give.

const editor = find("editor"), stage = find("stage"), frame = find("frame");
const HANDLES = { nw: "top left corner", ne: "top right corner", se: "bottom right corner", sw: "bottom left corner",
  n: "top side", e: "right side", s: "bottom side", w: "left side" };
const MOST_ENLARGED = 2.5; // times its own pixels that the picture is shown at
const PREVIEW_WH = [280, 240];

let edited = null; // the crop
let inTurn = []; // the crops that were shown when the editor was opened
let whole = null; // its picture
let draft = null; // the box while it is dragged

const isOpen = () => editor.open;
// Padded crops have any shape until they have their ratio's.
function lockedRatio(box) {
  const ratio = edited.ratioValue;
  return ratio === null || (edited.line.padded && !sameBox(toPixels(box, edited.size, ratio), box)) ? null : ratio;
}

// Opening and going on

function edit(crop) {
  if (!crop?.canChange) return;
  if (!isOpen()) {
    inTurn = [...main.querySelectorAll(".crop")].map((figure) => byFigure.get(figure))
      .filter((one) => one.canChange && !one.figure.hidden && !one.article.hidden);
    editor.showModal();
  }
  edited = crop;
  draft = null;
  whole?.remove();
  whole = crop.picture.cloneNode();
  whole.loading = "eager";
  whole.alt = "";
  whole.draggable = false;
  stage.prepend(whole);
  showNames();
  fit();
  showOthers();
  showFrame();
  whole.decode().then(() => { if (edited === crop) { fit(); showFrame(); } }, () => {});
  const focused = document.activeElement; // who goes on by a button stays on it
  if (!focused.closest(".bar") || focused.disabled) frame.focus({ preventScroll: true });
}

function showNames() {
  const { line } = edited, at = inTurn.indexOf(edited);
  find("editor-name").textContent = edited.article.dataset.name;
  find("editor-crop").textContent = edited.opener.dataset.crop;
  frame.setAttribute("aria-label", `Frame of ${edited.article.dataset.name}, ${edited.opener.dataset.crop}: `
    + "arrow keys move it, plus and minus scale it");
  find("editor-place").textContent = at < 0 ? "" : `${at + 1} of ${inTurn.length}`;
  find("previous").disabled = at < 1;
  find("next").disabled = at < 0 || at === inTurn.length - 1;
  frame.classList.toggle("round", edited.isRound && !line.padded);
  find("after").classList.toggle("round", edited.isRound);
  find("fill").hidden = !line.padded;
}

const go = (by) => edit(inTurn[inTurn.indexOf(edited) + by]);

function close() {
  if (isOpen()) editor.close();
}

function closed() {
  if (isOpen()) return; // again, before this was told
  const { opener, article } = edited;
  whole?.remove();
  edited = whole = draft = null;
  (opener.getClientRects().length ? opener : find("name")).focus({ preventScroll: true });
  article.scrollIntoView({ block: "nearest" });
}

// The picture as large as there is room for it.
function fit() {
  if (!edited) return;
  const [width, height] = edited.size, style = getComputedStyle(stage.parentElement);
  const room = stage.parentElement.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const most = Math.max(160, window.innerHeight - (window.innerWidth < 800 ? 330 : 190));
  const own = Math.max(whole.naturalWidth, whole.width);
  const shown = Math.max(1, Math.min(room / width, most / height, own * MOST_ENLARGED / width) * width);
  stage.style.width = `${shown}px`;
  stage.style.aspectRatio = `${width} / ${height}`;
  const step = width / shown;
  const fine = step > 1
    ? `A pixel here is ${Number(step.toPrecision(2))} pixels of the picture, the least that a mouse moves a frame by. `
      + "Arrow keys move it by 1."
    : "Mouse and arrow keys reach every pixel of the picture.";
  find("exactness").textContent = `${fine} It has ${width} × ${height} and is shown from `
    + `${whole.naturalWidth || whole.width} × ${whole.naturalHeight || whole.height}.`;
}

// Frame, numbers and buttons

function showFrame() {
  const box = draft ?? boxOf(edited), [width, height] = edited.size, [w, h] = sidesOf(box), ratio = lockedRatio(box);
  for (const { style } of [frame, find("shade").firstElementChild]) {
    style.left = `${100 * box[0] / width}%`;
    style.top = `${100 * box[1] / height}%`;
    style.width = `${100 * w / width}%`;
    style.height = `${100 * h / height}%`;
  }
  for (const button of frame.querySelectorAll("button"))
    button.hidden = ratio !== null && button.dataset.handle.length === 1;
  stage.classList.toggle("refused", isRefused(edited));
  const state = changes.has(edited.number) ? said(edited) : "as chosen";
  find("reading").textContent = `${w} × ${h} at ${box[0]}, ${box[1]}`;
  find("state").textContent = draft ? "moving" : state;
  find("state").classList.toggle("is-changed", Boolean(draft) || changes.has(edited.number));
  find("refuse").setAttribute("aria-pressed", `${isRefused(edited)}`);
  find("undo").disabled = !steps.length;
  find("reset").disabled = !changes.has(edited.number);
  find("fill").disabled = ratio !== null;
  for (const button of find("others").children)
    button.setAttribute("aria-pressed", `${!isRefused(edited) && sameBox(crops[button.dataset.number].line.box, box)}`);
  if (whole.complete && whole.naturalWidth) drawCrop(find("after"), whole, edited, box, PREVIEW_WH);
}

function showOthers() {
  const others = edited.siblings.filter((other) => other.line.box);
  find("others").parentElement.hidden = others.length < 2;
  find("others").replaceChildren(...others.map((other) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const image = other.figure.querySelector("img")?.cloneNode();
    if (image) button.append(Object.assign(image, { alt: "", loading: "eager" }));
    const worth = other.line.worth === null ? "" : ` ${other.line.worth.toFixed(2)}`;
    button.append(span("", `#${other.line.rank}${worth}`));
    button.dataset.number = other.number;
    button.title = `Take the crop of rank ${other.line.rank}`;
    return button;
  }));
}

// A padded crop that nearly has its ratio gets it.
function settled(box) {
  const ratio = edited.ratioValue;
  if (!edited.line.padded || ratio === null || padsOf(box, ratio, edited.isRound)) return box;
  return toPixels(box, edited.size, ratio);
}

// Args: goesOn: as a key that is held does, with the step before.
function commit(box, goesOn = false) {
  draft = null;
  change([[edited, { box: settled(box) }]], goesOn);
  showChanges([edited]);
  showFrame();
}

function reset() {
  change([[edited, undefined]]);
  showChanges([edited]);
  showFrame();
}

function refuse() {
  refuseOrNot(edited);
  showFrame();
}

function undoHere() {
  const undone = undoLast();
  if (undone && undone !== edited) edit(undone);
  else showFrame();
}

function take(other) {
  if (other?.line.box) commit([...other.line.box]);
}

// A padded crop as one of its ratio: as large as the picture lets it be, about the same centre.
function fill() {
  const box = boxOf(edited), [width, height] = edited.size, ratio = edited.ratioValue;
  const [w, h] = width / ratio <= height ? [width, width / ratio] : [height * ratio, height];
  const middle = [box[0] + box[2], box[1] + box[3]];
  const around = [(middle[0] - w) / 2, (middle[1] - h) / 2, (middle[0] + w) / 2, (middle[1] + h) / 2];
  commit(toPixels(around, edited.size, ratio));
}

// Mouse and touch: one pointer moves the frame or a handle, a second one scales the frame

const pointers = new Map(); // where each is
let drag = null;

function apart() {
  const [a, b] = [...pointers.values()];
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

function press(event) {
  if (event.button || !event.target.closest("#frame") || pointers.size > 1) return;
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  event.target.setPointerCapture(event.pointerId);
  const box = draft ?? boxOf(edited), handle = event.target.dataset.handle ?? null;
  const from = [event.clientX, event.clientY];
  drag = pointers.size === 2 ? { box, apart: Math.max(1, apart()) } : { box, handle, from };
  event.target.focus({ preventScroll: true });
  event.preventDefault();
}

function drags(event) {
  if (!drag || !pointers.has(event.pointerId)) return;
  pointers.set(event.pointerId, [event.clientX, event.clientY]);
  const { box, handle, from } = drag, size = edited.size, ratio = lockedRatio(box);
  if (drag.apart) {
    const longer = Math.max(...sidesOf(box));
    draft = scaled(box, longer * apart() / drag.apart - longer, size, ratio);
  } else {
    const step = size[0] / stage.getBoundingClientRect().width;
    const dx = (event.clientX - from[0]) * step, dy = (event.clientY - from[1]) * step;
    draft = handle ? dragged(box, handle, dx, dy, size, ratio) : moved(box, dx, dy, size);
  }
  showFrame();
}

function release(event) {
  if (!pointers.delete(event.pointerId) || !drag) return;
  drag = null;
  pointers.clear();
  if (draft && event.type === "pointerup") commit(draft);
  else dropDraft();
}

function dropDraft() {
  drag = draft = null;
  pointers.clear();
  if (edited) showFrame();
}

// Keys

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const keys = { // Args: held: the key repeats itself
  n: () => go(1), p: () => go(-1), r: refuse, z: undoHere, 0: reset,
  "+": (held) => grow(1, held), "=": (held) => grow(1, held),
  "-": (held) => grow(-1, held), _: (held) => grow(-1, held),
  PageUp: (held) => grow(coarse(), held), PageDown: (held) => grow(-coarse(), held),
};

// Pixels of the picture that a large step takes: about ten of the page.
const coarse = () => Math.max(10, Math.round(10 * edited.size[0] / stage.getBoundingClientRect().width));

function grow(by, held) {
  const box = boxOf(edited);
  commit(scaled(box, by, edited.size, lockedRatio(box)), held);
}

function nudge(event, [x, y]) {
  const step = event.shiftKey ? coarse() : 1, box = boxOf(edited), handle = event.target.dataset?.handle;
  const by = [x * step, y * step];
  const size = edited.size;
  commit(handle ? nudged(box, handle, ...by, size, lockedRatio(box)) : moved(box, ...by, size), event.repeat);
}

function pressKey(event) {
  if (event.altKey || drag) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if ((event.ctrlKey || event.metaKey) && key !== "z") return;
  if (ARROWS[key]) nudge(event, ARROWS[key]);
  else if (keys[key]) keys[key](event.repeat);
  else if (/^[1-9]$/.test(key)) take(edited.siblings.find((other) => other.line.rank === Number(key)));
  else return;
  event.preventDefault();
}

// What people do on the page, bound to what it does.

const opened = (event) => byFigure.get(event.target.closest(".open")?.closest(".crop"));

// The smallest crop of a picture at a point of it.
function cropAt(event) {
  const picture = event.target.closest(".picture");
  if (!picture) return undefined;
  const { left, top, width, height } = picture.getBoundingClientRect();
  const holds = (crop) => {
    const x = (event.clientX - left) / width * crop.size[0], y = (event.clientY - top) / height * crop.size[1];
    const box = boxOf(crop);
    return box[0] <= x && x < box[2] && box[1] <= y && y < box[3];
  };
  const area = (crop) => sidesOf(boxOf(crop)).reduce((a, b) => a * b);
  const there = [...picture.parentElement.querySelectorAll(".crop")].map((figure) => byFigure.get(figure))
    .filter((crop) => crop.canChange && !crop.figure.hidden && holds(crop));
  return there.sort((a, b) => area(a) - area(b))[0];
}

main.addEventListener("pointerover", point);
main.addEventListener("pointerleave", point);
main.addEventListener("focusin", point);
main.addEventListener("click", (event) => edit(opened(event) ?? cropAt(event)));
main.addEventListener("keydown", (event) => {
  const crop = opened(event);
  if (crop && event.key.toLowerCase() === "r" && !event.ctrlKey && !event.metaKey && !event.altKey) refuseOrNot(crop);
});
document.addEventListener("keydown", (event) => {
  const asked = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey);
  if (!asked || isOpen() || event.target.closest("input")) return;
  event.preventDefault();
  undoLast();
});
controls.addEventListener("input", update);
controls.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("storage", takeOver);
window.addEventListener("resize", fit);

for (const [id, act] of Object.entries({ save, "take-back": undoLast, forget, previous: () => go(-1), next: () => go(1),
  done: close, refuse, undo: undoHere, reset, fill }))
  find(id).addEventListener("click", act);
find("others").addEventListener("click", (event) => take(crops[event.target.closest("button")?.dataset.number]));
editor.addEventListener("keydown", pressKey);
editor.addEventListener("close", closed);
editor.addEventListener("cancel", (event) => {
  if (!drag) return;
  event.preventDefault();
  dropDraft();
});
for (const [name, handle] of Object.entries(HANDLES)) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: name });
  button.dataset.handle = name;
  button.setAttribute("aria-label", `${handle}: arrow keys move it`);
  frame.append(button);
}
stage.addEventListener("pointerdown", press);
stage.addEventListener("pointermove", drags);
stage.addEventListener("pointerup", release);
stage.addEventListener("pointercancel", release);

restore();
for (const crop of crops) if (crop.isPadded && crop.canChange) showPads(crop);
prepareFilters();
const canCorrect = crops.some((crop) => crop.canChange);
for (const part of document.querySelectorAll(".correcting")) part.hidden = !canCorrect;
showChanges([...changes.keys()].map((number) => crops[number]));
controls.hidden = false;
update();

// Boxes [x1, y1, x2, y2] in whole pixels of the upright picture, by the rules of geometry/boxes.py and ratio.py.

const LEAST_SIDE = 16; // pixels of a frame's longer side that it can be made small to

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const sidesOf = (box) => [box[2] - box[0], box[3] - box[1]];
const sameBox = (a, b) => a.every((edge, i) => edge === b[i]);

// Halves go to the even neighbour, as in Python and NumPy.
function roundEven(value) {
  const low = Math.floor(value), rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

// Width over height of a ratio's label; null where any will do.
function ratioOf(label, width, height) {
  if (label === "free") return null;
  if (label === "original") return width / height;
  const [first, second] = label.split(":").map(Number);
  return second === undefined ? first : first / second;
}

// Whole sides nearest to a box of this ratio, the longer one leading, inside the most there is room for.
function wholeSides(width, height, ratio, most) {
  if (ratio < 1) return wholeSides(height, width, 1 / ratio, [most[1], most[0]]).reverse();
  width = Math.min(Math.max(1, roundEven(width)), most[0]);
  height = Math.max(1, roundEven(width / ratio));
  if (height > most[1]) {
    height = most[1];
    width = Math.min(Math.max(1, Math.floor(height * ratio + 0.5)), most[0]);
  }
  return [width, height];
}

// A box of any numbers as whole pixels inside a picture of this size [width, height]; a ratio of null keeps its shape.
function toPixels(box, size, ratio) {
  if (ratio === null) {
    const start = [0, 1].map((i) => clamp(roundEven(box[i]), 0, size[i] - 1));
    const end = [0, 1].map((i) => Math.min(Math.max(roundEven(box[i + 2]), start[i] + 1), size[i]));
    return [...start, ...end];
  }
  const sides = wholeSides(...sidesOf(box), ratio, size);
  const start = [0, 1].map((i) => clamp(roundEven((box[i] + box[i + 2] - sides[i]) / 2), 0, size[i] - sides[i]));
  return [...start, start[0] + sides[0], start[1] + sides[1]];
}

function moved(box, dx, dy, size) {
  const sides = sidesOf(box);
  const [x, y] = [dx, dy].map((by, i) => clamp(roundEven(box[i] + by), 0, size[i] - sides[i]));
  return [x, y, x + sides[0], y + sides[1]];
}

// Scaled about its centre by so many pixels of its longer side. Without a ratio it keeps the one that it has.
function scaled(box, by, size, ratio) {
  const [width, height] = sidesOf(box), shape = ratio ?? width / height;
  const longer = Math.max(width, height), side = Math.max(longer + by, Math.min(LEAST_SIDE, longer));
  const sides = shape >= 1 ? [side, side / shape] : [side * shape, side];
  const middle = [box[0] + box[2], box[1] + box[3]];
  const wanted = [...sides.map((s, i) => (middle[i] - s) / 2), ...sides.map((s, i) => (middle[i] + s) / 2)];
  return toPixels(wanted, size, shape);
}

// A handle is named by the sides that it moves: "nw" is the top left corner, "e" the right side.
const outwards = (handle, dx, dy) => [
  handle.includes("w") ? -dx : handle.includes("e") ? dx : 0,
  handle.includes("n") ? -dy : handle.includes("s") ? dy : 0,
];

// With a ratio the opposite corner stays where it is.
function cornered(box, handle, width, size, ratio) {
  const left = handle.includes("w"), top = handle.includes("n");
  const room = [left ? box[2] : size[0] - box[0], top ? box[3] : size[1] - box[1]];
  const wanted = Math.max(width, Math.min(LEAST_SIDE, ...sidesOf(box)) * Math.min(1, ratio));
  const [w, h] = wholeSides(wanted, wanted / ratio, ratio, room);
  const x = left ? box[2] - w : box[0], y = top ? box[3] - h : box[1];
  return [x, y, x + w, y + h];
}

// A handle dragged by so much: with a ratio, what of it goes along the diagonal.
function dragged(box, handle, dx, dy, size, ratio) {
  if (ratio !== null) {
    const [right, down] = outwards(handle, dx, dy);
    return cornered(box, handle, box[2] - box[0] + ratio * (ratio * right + down) / (ratio * ratio + 1), size, ratio);
  }
  const [w, h] = sidesOf(box).map((side) => Math.min(LEAST_SIDE, side)), at = [...box]; // the least sides
  if (handle.includes("w")) at[0] = clamp(roundEven(box[0] + dx), 0, box[2] - w);
  if (handle.includes("e")) at[2] = clamp(roundEven(box[2] + dx), box[0] + w, size[0]);
  if (handle.includes("n")) at[1] = clamp(roundEven(box[1] + dy), 0, box[3] - h);
  if (handle.includes("s")) at[3] = clamp(roundEven(box[3] + dy), box[1] + h, size[1]);
  return at;
}

// A handle moved by keys: with a ratio, its longer side grows or shrinks by so much, which is the finest step there is.
function nudged(box, handle, dx, dy, size, ratio) {
  if (ratio === null) return dragged(box, handle, dx, dy, size, ratio);
  const [right, down] = outwards(handle, dx, dy), [width, height] = sidesOf(box);
  return cornered(box, handle, ratio >= 1 ? width + right + down : (height + right + down) * ratio, size, ratio);
}

const NEARLY = 0.005; // of a side: a pad thinner than that would look like a mistake, so there is none

// What fills a box up to a ratio, or to a circle around it, [left, top, right, bottom] in its own pixels, or null.
function padsOf(box, ratio, isRound = false) {
  if (ratio === null) return null;
  const [width, height] = sidesOf(box), whole = Math.ceil(Math.hypot(width, height)), isWide = width / height > ratio;
  const across = isRound ? whole - width : isWide ? 0 : Math.max(0, roundEven(height * ratio) - width);
  const down = isRound ? whole - height : isWide ? Math.max(0, roundEven(width / ratio) - height) : 0;
  if (!isRound && across <= Math.max(1, NEARLY * width) && down <= Math.max(1, NEARLY * height)) return null;
  const left = Math.floor(across / 2), top = Math.floor(down / 2);
  return [left, top, across - left, down - top];
}

// To two digits, as Python rounds: only eighths lie halfway between two of them.
const twoDigits = (value) => (Number.isInteger(8 * value) ? roundEven(100 * value) / 100 : Number(value.toFixed(2)));

// Where a box lies in its picture, as CSS says it: "42% 37%".
function objectPosition(box, size) {
  return sidesOf(box).map((side, i) => {
    const room = size[i] - side;
    return `${room ? twoDigits(100 * box[i] / room) : 50}%`;
  }).join(" ");
}

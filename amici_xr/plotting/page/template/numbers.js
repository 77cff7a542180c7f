"use strict";
// What the file holds, decoded, and the two formulas that are computed here.

const TYPES = {
  float32: Float32Array, float64: Float64Array, int32: Int32Array, uint16: Uint16Array, uint8: Uint8Array,
};

/** An array in row-major order: at(i, j, …) is an element, row(i, …) what lies along the last axis. */
function decoded({dtype, shape, base64}) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const values = dtype === "share" ? shares(new Uint16Array(bytes.buffer)) : new TYPES[dtype](bytes.buffer);
  const position = (index) => index.reduce((before, one, axis) => before * shape[axis] + one, 0);
  return {
    values,
    shape,
    at: (...index) => values[position(index)],
    row: (...index) => {
      const length = shape.at(-1);
      const start = position(index) * length;
      return values.subarray(start, start + length);
    },
  };
}

/** Values from 0 to 1 out of the two bytes in which each is kept; the last stands for NaN. */
function shares(steps) {
  return Float32Array.from(steps, (step) => (step === 65_535 ? NaN : step / 65_534));
}

// Names come from people too, and an attribute may be named base64; but only arrays have a shape that is a list.
const content = JSON.parse(unpackedContent, (_, value) =>
  Array.isArray(value?.shape) && typeof value.base64 === "string" ? decoded(value) : value);

/** L = max(0, (u/p)(a − δ − logit t)): where the attention falls to the threshold t. */
function lengthScale(a, p, query, logit) {
  return Math.max(0, (query.unit_scale / p) * (a - query.delta - logit));
}

/** σ(a − p·d/u − δ): the attention at distance d. */
function attentionAt(a, p, query, d) {
  return 1 / (1 + Math.exp(p * (d / query.unit_scale) - (a - query.delta)));
}

/** Whether the artifact correction sets the length scales of a label in a head to 0. */
function isCorrected(query, label, head, stop) {
  return content.sample_threshold !== null &&
    !(query.reach.support.at(label, head, stop) >= content.sample_threshold);
}

/** Whether that changes anything: some of its cells had a reach. */
function isSetToZero(query, label, head, stop) {
  const status = content.statuses[query.reach.status.at(label, head, stop)];
  return isCorrected(query, label, head, stop) && !["absent", "no_reach"].includes(status);
}

/** Length scales of the cells that are shown, in one head; 0 where the correction says so. */
function lengthsOfPoints(query, head, stop) {
  const {label, a, p} = query.points;
  const corrected = content.labels.map((_, one) => isCorrected(query, one, head, stop));
  const scores = a.row(head), slopes = p.row(head), logit = content.logits[stop];
  return Float64Array.from(label.values, (one, i) =>
    corrected[one] ? 0 : lengthScale(scores[i], slopes[i], query, logit));
}

/** A number as people read it. */
function shown(value) {
  if (Number.isNaN(value)) return "–";
  return value === 0 ? "0" : Number(value.toPrecision(3)).toLocaleString("en", {maximumSignificantDigits: 3});
}

function percent(share) {
  return Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`;
}

function count(number) {
  return number.toLocaleString("en");
}

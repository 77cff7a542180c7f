// The figures: Python made them, empty; they are embedded when first shown, and filled here.

const FIGURES = document.getElementById("figures").textContent;
Bokeh.set_log_level("warn");
const KINDS = ["curves", "reach", "tissue"];
const embedded = new Map(); // "kind-head" → its Bokeh document, or a promise of it
const DOTS = 300; // cells of each label beside its box
const CELLS = 24_000; // cells on the tissue, in all panels: more make the page slow

/** The Bokeh document of one figure, embedded where that has not happened yet. */
function figure(kind, head) {
  const name = `${kind}-${head}`;
  if (!embedded.has(name)) {
    const own = JSON.parse(FIGURES.replace(/"(p\d+)"/g, `"$1-${head}"`)); // models with ids of their own
    embedded.set(name, Bokeh.embed.embed_item(own[kind], name)
      .then((views) => views.roots[0].model.document));
  }
  return embedded.get(name);
}

/** A panel with a title for each kind and head, hidden until the head is chosen. */
function makePanels() {
  for (const kind of KINDS) {
    for (const head of content.heads) {
      const panel = document.createElement("div");
      panel.className = "panel";
      panel.hidden = true;
      panel.dataset.head = head;
      const title = document.createElement("h3");
      title.textContent = `Head ${head}`;
      const place = document.createElement("div");
      place.id = `${kind}-${head}`;
      panel.append(title, place);
      document.getElementById(kind).append(panel);
    }
  }
}

const drawnFor = new Map(); // Bokeh document → what it shows

/** Whether a figure shows just this already. */
function isDrawn(doc, ...what) {
  const asked = JSON.stringify(what);
  const isSame = drawnFor.get(doc) === asked;
  drawnFor.set(doc, asked);
  return isSame;
}

function fill(doc, name, data) {
  doc.get_model_by_name(name).data = data;
}

function drawCurves(doc, state, head) {
  doc.get_model_by_name("threshold").location = content.thresholds[state.stop];
  if (isDrawn(doc, state.query.name, state.labels, state.band)) return;
  const {curves} = state.query;
  const distance = Array.from(content.distance.values);
  const lines = {xs: [], ys: [], color: [], label: []};
  const bands = {xs: [], ys: [], color: []};
  for (const label of state.labels) {
    let middle, low, high;
    if (state.band === "std") {
      middle = Array.from(curves.mean.row(label, head));
      const std = Array.from(curves.std.row(label, head), (one) => one || 0); // of one cell: none
      low = middle.map((one, i) => Math.max(0, one - std[i]));
      high = middle.map((one, i) => Math.min(1, one + std[i]));
    } else {
      [low, middle, high] = [0, 1, 2].map((q) => Array.from(curves.quantiles.row(label, head, q)));
    }
    lines.xs.push(distance);
    lines.ys.push(middle);
    lines.label.push(content.labels[label]);
    bands.xs.push([...distance, ...distance.slice().reverse()]);
    bands.ys.push([...low, ...high.reverse()]);
    for (const one of [lines, bands]) one.color.push(content.colors[label]);
  }
  fill(doc, "bands", bands);
  fill(doc, "lines", lines);
}

/** Words of a row: the name, the median, and what is to be known of it. */
function rowText(query, label, head, stop) {
  const median = query.reach.median.at(label, head, stop);
  const what = isSetToZero(query, label, head, stop) ? "set to 0" : shown(median);
  const name = content.labels[label];
  return `${name.length > 28 ? `${name.slice(0, 27)}…` : name}  ·  ${what}`;
}

function drawReach(doc, state, head) {
  const {query, stop} = state;
  const {reach} = query;
  const lengths = lengthsOfPoints(query, head, stop);
  const row = new Map(state.labels.map((label, place) => [label, -place]));
  const dots = {x: [], y: [], color: []};
  const drawn = new Map();
  query.points.label.values.forEach((label, i) => {
    const number = drawn.get(label) || 0;
    if (!row.has(label) || number >= DOTS) return;
    drawn.set(label, number + 1);
    dots.x.push(lengths[i]);
    dots.y.push(row.get(label) - 0.02 + 0.3 * (((number * 0.618034) % 1) - 0.5)); // spread evenly
    dots.color.push(content.colors[label]);
  });
  const boxes = {left: [], right: [], low: [], high: [], median: [], n: [], y: [], color: [], label: []};
  const intervals = {lower: [], upper: [], y: []};
  const crosses = {x: [], y: []};
  const names = {x: [], y: [], text: []};
  for (const label of state.labels) {
    const [low, left, median, right, high] = reach.quantiles.row(label, head, stop);
    const y = row.get(label);
    const color = content.colors[label];
    const own = {low, left, median, right, high, y, color, n: query.counts.at(label), label: content.labels[label]};
    for (const [name, value] of Object.entries(own)) boxes[name].push(value);
    intervals.lower.push(reach.lower.at(label, head, stop));
    intervals.upper.push(reach.upper.at(label, head, stop));
    intervals.y.push(y - 0.28);
    if (isSetToZero(query, label, head, stop)) {
      crosses.x.push(0);
      crosses.y.push(y);
    }
    names.x.push(0);
    names.y.push(y + 0.2);
    names.text.push(rowText(query, label, head, stop));
  }
  for (const [name, data] of Object.entries({dots, boxes, intervals, crosses, names})) fill(doc, name, data);
  const plot = doc.roots()[0];
  plot.height = 85 + 58 * Math.max(1, state.labels.length);
  plot.y_range.setv({start: 0.55 - Math.max(1, state.labels.length), end: 0.65});
  const end = endOfReach(state);
  if (plot.x_range.end !== end) plot.x_range.setv({start: -0.015 * end, end, reset_start: -0.015 * end, reset_end: end});
}

/** The axis of length scales: to the largest whisker at any stop, the same for all heads shown. */
function endOfReach({query, labels, heads}) {
  let end = 0;
  for (const label of labels) {
    for (const head of heads) {
      content.thresholds.forEach((_, stop) => {
        const high = query.reach.quantiles.at(label, head, stop, 4);
        if (high > end) end = high; // and so not NaN
      });
    }
  }
  return end > 0 ? 1.05 * end : 1;
}

/** Cells with the number that colors them, the largest last, to be on top; null where not known. */
function tissueCells(state, head) {
  const {query} = state;
  const isOfReceivers = state.quantity === "in_place";
  const {x, y, sample, attention, label, a, p} = isOfReceivers ? query.receivers : query.points;
  if (x === undefined || (isOfReceivers && attention === undefined)) return null;
  const distance = content.distance.values[state.distance];
  const values = {
    length_scale: () => lengthsOfPoints(query, head, state.stop),
    attention: () => Float64Array.from(label.values, (_, i) =>
      attentionAt(a.at(head, i), p.at(head, i), query, distance)),
    in_place: () => attention.row(head),
  }[state.quantity]();
  const isOfLabel = content.labels.map((_, one) => state.labels.includes(one));
  const isShown = (i) => (isOfReceivers || isOfLabel[label.values[i]]) &&
    (!sample || state.sample === sample.names[sample.codes.values[i]]);
  const chosen = Array.from(values.keys()).filter(isShown).slice(0, tissueLimit(state));
  const order = chosen.sort((i, j) => values[i] - values[j]);
  return {
    x: order.map((i) => x.values[i]),
    y: order.map((i) => y.values[i]),
    value: order.map((i) => values[i]),
    label: order.map((i) => (isOfReceivers ? query.name : content.labels[label.values[i]])),
  };
}

/** How many cells a panel holds: the first ones, since they lie in such an order that these are a sample. */
function tissueLimit({heads}) {
  return Math.floor(CELLS / Math.max(1, heads.length));
}

/** Cells of the other kind, in gray. */
function otherPlaces(state) {
  const {x, y, sample} = state.quantity === "in_place" ? state.query.points : state.query.receivers;
  if (x === undefined) return {x: [], y: []};
  const isShown = (_, i) => !sample || state.sample === sample.names[sample.codes.values[i]];
  const [xs, ys] = [x, y].map((one) => Array.from(one.values).filter(isShown).slice(0, tissueLimit(state)));
  return {x: xs, y: ys};
}

function drawTissue(doc, state, head) {
  const {query, labels, quantity, sample} = state;
  const moves = {length_scale: [state.stop, endOfReach(state)], attention: state.distance}[quantity];
  if (isDrawn(doc, query.name, labels, quantity, sample, tissueLimit(state), moves)) return;
  const cells = tissueCells(state, head);
  const high = quantity === "length_scale" ? endOfReach(state) : 1;
  doc.get_model_by_name("mapper").setv({low: 0, high});
  doc.get_model_by_name("bar").title = TISSUE_TITLES[quantity](state);
  const size = Math.min(7, Math.max(2.5, 250 / Math.sqrt(cells.x.length || 1)));
  const others = otherPlaces(state);
  shapeAs([cells, others], doc, head);
  fill(doc, "others", others);
  fill(doc, "cells", {...cells, size: cells.x.map(() => size)});
}

/** Give a map the shape of the tissue, neither higher than the screen nor wider than its card. */
function shapeAs(places, doc, head) {
  const [across, up] = ["x", "y"].map((axis) => {
    let [low, high] = [Infinity, -Infinity];
    for (const place of places) {
      for (const one of place[axis]) [low, high] = [Math.min(low, one), Math.max(high, one)];
    }
    return high - low;
  });
  const shape = Math.min(3, Math.max(0.45, across > 0 && up > 0 ? across / up : 1));
  doc.get_model_by_name("tissue").aspect_ratio = shape;
  document.getElementById(`tissue-${content.heads[head]}`).parentElement.style.maxWidth = `${Math.min(62, 4 + 42 * shape)}rem`;
}

const TISSUE_TITLES = {
  length_scale: () => "length scale",
  attention: (state) => `attention at distance ${shown(content.distance.values[state.distance])}`,
  in_place: () => "attention to all neighbors together",
};

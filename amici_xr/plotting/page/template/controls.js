// What is chosen, and drawing it anew when that changes.

const MANY = 8; // of more labels than these only the ones that reach farthest are shown at first
const byId = (id) => document.getElementById(id);
// heads and labels are chosen by their positions; labels lie in the order in which they are drawn
const state = {query: content.queries[0], heads: [], labels: [], stop: content.start, band: "std",
  quantity: "length_scale", distance: 0, sample: null};

const EVERY_HEAD = content.heads.map((_, head) => head);

/** Labels by their largest median over heads where the slider starts, the farthest first. */
function ordered(query, heads = EVERY_HEAD) {
  const {median, mean} = query.reach;
  const largest = (values, label) =>
    Math.max(...heads.map((head) => values.at(label, head, content.start) || 0));
  const present = content.labels.map((_, label) => label).filter((label) => query.counts.at(label) > 0);
  return present.sort((one, other) =>
    largest(median, other) - largest(median, one) || largest(mean, other) - largest(mean, one) || one - other);
}

/** The head with the largest median, where the slider starts, and that median. */
function farthest(query) {
  let [best, longest] = [0, 0];
  for (const label of ordered(query)) {
    content.heads.forEach((_, head) => {
      const median = query.reach.median.at(label, head, content.start);
      if (median > longest) [best, longest] = [head, median];
    });
  }
  return [best, longest];
}

function checkbox(text, isChecked, change) {
  const label = element("label", "", "choice");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = isChecked;
  box.addEventListener("change", () => change(box.checked));
  label.append(box, element("span", text));
  return label;
}

function makeHeads() {
  byId("heads").replaceChildren(...content.heads.map((name, head) =>
    checkbox(String(name), state.heads.includes(head), (isOn) => {
      state.heads = EVERY_HEAD.filter((one) => (one === head ? isOn : state.heads.includes(one)));
      draw();
    })));
}

function makeLabels() {
  const all = ordered(state.query);
  const choices = all.map((label) => {
    const choice = checkbox(content.labels[label], state.labels.includes(label), (isOn) => {
      state.labels = isOn ? [...state.labels, label] : state.labels.filter((one) => one !== label);
      draw();
    });
    const swatch = element("span", "", "swatch");
    swatch.style.background = content.colors[label];
    choice.children[0].after(swatch);
    choice.append(element("small", count(state.query.counts.at(label))));
    return choice;
  });
  byId("labels").replaceChildren(...choices);
}

function choose(query) {
  state.query = query;
  const labels = ordered(query);
  state.labels = labels.length > MANY ? labels.slice(0, MANY) : labels;
  state.heads = [farthest(query)[0]];
  const own = [query.points.sample, query.receivers.sample].filter(Boolean).flatMap((one) => one.names);
  const samples = [...new Set(own)].sort();
  state.sample = samples[0] ?? null;
  byId("sample").replaceChildren(...samples.map((name) => new Option(name, name)));
  byId("sample-field").hidden = samples.length < 2;
  byId("tissue-section").hidden = query.points.x === undefined;
  byId("quantity").querySelector("[value=in_place]").disabled = query.receivers.attention === undefined;
  if (query.receivers.attention === undefined && state.quantity === "in_place") {
    byId("quantity").value = state.quantity = "length_scale";
  }
  makeHeads();
  makeLabels();
}

/** The words that go with what is chosen. */
function write() {
  const {query, stop} = state;
  const threshold = content.thresholds[stop];
  byId("summary").textContent = `${count(query.n_neighbors)} neighbors of ${query.name}` +
    (query.n_receivers ? `, around ${count(query.n_receivers)} receivers. ` : ". ") +
    `Distances in ${content.unit}.`;
  byId("threshold-value").textContent = threshold;
  byId("threshold").setAttribute("aria-valuetext", String(threshold));
  byId("threshold-words").textContent = `Length scale: where attention has fallen to ${threshold}.`;
  for (const one of document.querySelectorAll(".at-threshold")) one.textContent = `at threshold ${threshold}`;
  for (const one of document.querySelectorAll(".unit")) one.textContent = content.unit;
  const distance = `${shown(content.distance.values[state.distance])} ${content.unit}`;
  byId("distance-value").textContent = distance;
  byId("distance").setAttribute("aria-valuetext", distance);
  byId("distance-field").hidden = state.quantity !== "attention";
  const points = query.points.label.values.length;
  const isSample = points < query.n_neighbors;
  const sample = isSample ? `a random sample of ${count(points)} of the ${count(query.n_neighbors)} neighbors, with as many of each cell type as fit` : "all neighbors";
  byId("dots-words").textContent = `Dots: single cells, up to ${DOTS} of each type${isSample ? " out of the sample" : ""}.`;
  const receivers = query.receivers.x?.values.length ?? 0;
  const some = receivers < query.n_receivers ? ` (${count(receivers)} of ${count(query.n_receivers)}, drawn at random)` : "";
  byId("tissue-words").textContent = {
    length_scale: `Cells: ${sample}. Gray: receivers${some}. Colors end where the axis of length scales ends.`,
    attention: `Cells: ${sample}. Gray: receivers${some}. Counterfactual attention: what it would be if each cell stood at this distance.`,
    in_place: `Cells: receivers${some}. Gray: neighbors. The share of a receiver's attention that goes to its neighbors at their real distances; the rest goes to none.`,
  }[state.quantity] + (tissueLimit(state) < points ? ` At most ${count(tissueLimit(state))} cells in each panel.` : "") + (query.no_attention ? ` Observed attention is missing: ${query.no_attention}.` : "");
  byId("shown").textContent = shownWords(query, sample);
}

/** What was left out, and what was not. */
function shownWords(query, sample) {
  const correction = content.sample_threshold !== null
    ? `Length scales of a cell type are set to 0 in a head where its support is below ${percent(content.sample_threshold)} (artifact correction).`
    : content.has_neighborhoods
      ? "Nothing was set to 0: this page was written without the artifact correction."
      : "This Dataset has no neighborhoods, so support is not known and nothing was set to 0: length scales may be extrapolated.";
  return `Curves, boxes, the table and its intervals are from all neighbors. Single cells on this page are ${sample}. ${correction}`;
}

let isAsked = false;
let drawing = Promise.resolve(); // tests wait for it

/** Draw all that is chosen, once however often it is asked for before the next frame. */
function draw() {
  if (isAsked) return;
  isAsked = true;
  drawing = drawing.then(() => new Promise(requestAnimationFrame)).then(() => {
    isAsked = false;
    return drawNow();
  });
}

async function drawNow() {
  state.labels = ordered(state.query, state.heads).filter((label) => state.labels.includes(label));
  write();
  drawTable(state);
  byId("nothing").hidden = state.heads.length > 0 && state.labels.length > 0;
  const chosen = state.heads.map((head) => String(content.heads[head]));
  for (const panel of document.querySelectorAll(".panel")) panel.hidden = !chosen.includes(panel.dataset.head);
  const drawers = {curves: drawCurves, reach: drawReach, tissue: drawTissue};
  const kinds = KINDS.filter((kind) => kind !== "tissue" || !byId("tissue-section").hidden);
  const jobs = kinds.flatMap((kind) => state.heads.map((head) => ({kind, head})));
  jobs.sort((one, other) => outOfSight(one) - outOfSight(other));
  for (const {kind, head} of jobs) {
    drawers[kind](await figure(kind, content.heads[head]), state, head);
    await new Promise((goOn) => setTimeout(goOn));
    if (isAsked) return; // something was changed meanwhile: that is drawn instead
  }
}

/** Whether a panel is scrolled away, and so drawn after those that one sees: 0 or 1. */
function outOfSight({kind, head}) {
  const {top, bottom} = byId(`${kind}-${content.heads[head]}`).parentElement.getBoundingClientRect();
  return Number(bottom < 0 || top > innerHeight);
}

/** Statuses and provenance, written once. */
function writeOnce() {
  for (const status of content.statuses) {
    const isNeverShown = status === "absent" || (status === "not_known") === content.has_neighborhoods;
    if (isNeverShown) continue;
    byId("statuses").append(element("dt", STATUS_WORDS[status][0]), element("dd", STATUS_WORDS[status][1]));
  }
  for (const [title, entries] of Object.entries(content.provenance)) {
    const list = document.createElement("dl");
    for (const [name, value] of Object.entries(entries)) list.append(element("dt", name), element("dd", value));
    byId("provenance").append(element("h3", title), list);
  }
}

function start() {
  makePanels();
  writeOnce();
  byId("query").replaceChildren(...content.queries.map((query, place) => new Option(query.name, place)));
  Object.assign(byId("threshold"), {max: content.thresholds.length - 1, value: state.stop});
  byId("distance").max = content.distance.values.length - 1;
  byId("distance").value = state.distance;
  const on = (id, event, change) => byId(id).addEventListener(event, (it) => { change(it.target.value); draw(); });
  on("query", "change", (value) => choose(content.queries[value]));
  on("threshold", "input", (value) => { state.stop = Number(value); });
  on("band", "change", (value) => { state.band = value; });
  on("quantity", "change", (value) => { state.quantity = value; });
  on("distance", "input", (value) => { state.distance = Number(value); });
  on("sample", "change", (value) => { state.sample = value; });
  on("all-labels", "click", () => { state.labels = ordered(state.query); makeLabels(); });
  on("no-labels", "click", () => { state.labels = []; makeLabels(); });
  const every = content.thresholds.map((_, stop) => stop);
  byId("download").addEventListener("click", () => download(csv(state, [state.stop]), "length_scales.csv"));
  byId("download-all").addEventListener("click", () => download(
    csv({query: state.query, heads: EVERY_HEAD, labels: ordered(state.query)}, every),
    "length_scales_all.csv"));
  writePairs();
  const [strongest] = content.evidence.pairs;
  if (strongest?.evidence === "supported") { // so that the page opens on a finding
    showPair(strongest.query, strongest.label);
    return;
  }
  const reaches = content.queries.map((query) => farthest(query)[1]);
  const first = reaches.indexOf(Math.max(...reaches));
  byId("query").value = first;
  choose(content.queries[first]);
  draw();
}

start();

// All pairs, those with evidence first. A click shows the pair.

const EVIDENCE_WORDS = {supported: "supported", not_supported: "not supported", not_tested: "not tested"};

function writtenQ(q) {
  return q < 1e-10 ? "< 1e-10" : q.toPrecision(2);
}

function pairRow({query, label, evidence, supported_by, q, may_be_spillover, genes, reach, effect_reach}) {
  const row = element("tr", "", evidence === "supported" ? "" : "doubtful");
  const cell = element("td", "", "text");
  const button = element("button", `${content.labels[label]} → ${content.queries[query].name}`);
  button.type = "button";
  button.addEventListener("click", () => showPair(query, label));
  cell.append(button);
  const words = EVIDENCE_WORDS[evidence] + (may_be_spillover ? ", may be spillover" : "");
  row.append(cell, element("td", words, "text"), element("td", supported_by.replaceAll(",", ", "), "text"));
  for (const kind of content.evidence.kinds) row.append(element("td", kind in q ? writtenQ(q[kind]) : "–"));
  for (const length of [reach, effect_reach]) row.append(element("td", length === null ? "–" : shown(length)));
  row.append(element("td", genes, "text"));
  return row;
}

/** Show the receiver of a pair, with the head in which the sender reaches farthest. */
function showPair(place, label) {
  byId("query").value = place;
  choose(content.queries[place]);
  const {median} = state.query.reach;
  const reach = (head) => median.at(label, head, content.start) || 0;
  state.heads = [EVERY_HEAD.reduce((best, head) => (reach(head) > reach(best) ? head : best), 0)];
  if (state.query.counts.at(label) > 0 && !state.labels.includes(label)) state.labels.push(label);
  makeHeads();
  makeLabels();
  draw();
}

function writePairs() {
  const {kinds, level, pairs, sentences} = content.evidence;
  byId("findings").replaceChildren(...sentences.map((sentence) => element("li", sentence)));
  if (kinds.length === 0) {
    byId("evidence-words").textContent = "No evidence was given, so nothing on this page says which pairs " +
      "interact: distance_response(adata, …) tests pairs, and report(…, evidence=…) lists them here.";
    byId("pairs-region").hidden = true;
    return;
  }
  const found = pairs.filter(({evidence}) => evidence === "supported").length;
  byId("evidence-words").textContent = `${found} of ${pairs.length} pairs are supported (q < ${level}) by evidence ` +
    `of the kinds: ${kinds.join(", ")}. A pair without evidence is pale, whatever its reach.`;
  const top = element("tr", "");
  const titles = ["sender → receiver", "evidence", "supported by", ...kinds.map((kind) => `q, ${kind}`),
    `reach at ${content.thresholds[content.start]} (${content.unit})`, `effect halves by (${content.unit})`, "genes"];
  titles.forEach((title, place) => {
    const cell = element("th", title, place < 3 || title === "genes" ? "text" : "");
    cell.scope = "col";
    top.append(cell);
  });
  const head = document.createElement("thead");
  head.append(top);
  const body = document.createElement("tbody");
  body.append(...pairs.map(pairRow));
  byId("pairs").replaceChildren(head, body);
}

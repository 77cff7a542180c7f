// The table of one threshold, and what is downloaded.

const STATUS_WORDS = {
  reachable: ["reachable", "Enough receivers have such a neighbor within its reach. It does not say that the pair interacts."],
  no_reach: ["no reach", "Every length scale is 0: attention is below the threshold even at contact."],
  median_zero: ["median is 0", "Some cells reach, but more than half do not, so the median is 0. The correction sets all to 0."],
  too_few_receivers: ["too few receivers", "Too few receivers have such a neighbor nearer than the median, so the reach is extrapolated, not observed. The correction sets all length scales to 0."],
  beyond_neighborhood: ["beyond the neighborhoods", "For over half of the receivers the median lies beyond their farthest recorded neighbor, so it is extrapolated. It is not set to 0: interpret it with care."],
  absent: ["no such neighbor", "No neighbor of the receiving type has this cell type."],
  not_known: ["not known", "This file has no neighborhoods, so support is unknown, and nothing was corrected."],
};

const COLUMNS = [ // title, name in the CSV, value, how it is written
  ["n", "n_neighbors", (query, label) => query.counts.at(label), count],
  ["median", "median_length_scale", ofReach("median"), shown],
  ["mean", "mean_length_scale", ofReach("mean"), shown],
  ["95 % interval from", "ci_lower", ofReach("lower"), shown],
  ["to", "ci_upper", ofReach("upper"), shown],
  ["median before correction", "median_before_correction", ofReach("median_before_correction"), shown],
  ["support", "support", ofReach("support"), percent],
  ["edge share", "edge_share", ofReach("edge_share"), percent],
];

function ofReach(name) {
  return (query, label, head, stop) => query.reach[name].at(label, head, stop);
}

function statusOf(query, label, head, stop) {
  return content.statuses[query.reach.status.at(label, head, stop)];
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text; // never markup: labels may hold anything
  made.className = className;
  return made;
}

function drawTable({query, heads, labels, stop}) {
  const table = document.getElementById("table");
  const top = element("tr", "");
  const titles = ["cell type", "head", ...COLUMNS.map(([title]) => title), "status"];
  titles.forEach((title, place) => {
    const cell = element("th", title, place === 0 || title === "status" ? "text" : "");
    cell.scope = "col";
    top.append(cell);
  });
  const rows = labels.flatMap((label) => heads.map((head) => tableRow(query, label, head, stop)));
  const head = document.createElement("thead");
  head.append(top);
  const body = document.createElement("tbody");
  body.append(...rows);
  table.replaceChildren(head, body);
}

function tableRow(query, label, head, stop) {
  const status = statusOf(query, label, head, stop);
  const row = element("tr", "", status === "reachable" || status === "not_known" ? "" : "doubtful");
  const name = element("td", "", "text");
  const swatch = element("span", "", "swatch");
  swatch.style.background = content.colors[label];
  name.append(swatch, content.labels[label]);
  row.append(name, element("td", content.heads[head]));
  for (const [, key, value, written] of COLUMNS) {
    const number = value(query, label, head, stop);
    const cell = element("td", written(number));
    cell.dataset.name = key;
    cell.dataset.value = number;
    row.append(cell);
  }
  const setToZero = isSetToZero(query, label, head, stop) ? "set to 0: " : "";
  const cell = element("td", setToZero + STATUS_WORDS[status][0], "text");
  cell.title = STATUS_WORDS[status][1];
  cell.dataset.name = "status";
  cell.dataset.value = status;
  row.append(cell);
  return row;
}

/** Text of one field: quoted where needed; what a spreadsheet would run as a formula gets a '. */
function field(value) {
  let text = typeof value === "number" && Number.isNaN(value) ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Comma-separated values at some stops of the slider, every number to its last digit. */
function csv({query, heads, labels}, stops) {
  const lines = [["query", "label", "head", "threshold", "unit", ...COLUMNS.map(([, name]) => name), "status"]];
  for (const stop of stops) {
    for (const label of labels) {
      for (const head of heads) {
        lines.push([
          query.name, content.labels[label], content.heads[head], content.thresholds[stop], content.unit,
          ...COLUMNS.map(([, , value]) => value(query, label, head, stop)), statusOf(query, label, head, stop),
        ]);
      }
    }
  }
  return lines.map((line) => `${line.map(field).join(",")}\n`).join("");
}

function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], {type: "text/csv;charset=utf-8"})); // the mark: for Excel
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

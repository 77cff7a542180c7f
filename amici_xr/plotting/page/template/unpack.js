"use strict";
// What the page holds lies in it compressed. When it is unpacked, Bokeh and the page's own script run.

let unpackedContent;

async function unpack(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

function run(text) {
  const script = document.createElement("script");
  script.textContent = text;
  document.body.append(script);
}

const ready = Promise.all([unpack("content"), unpack("bokeh")]).then(([content, bokeh]) => {
  unpackedContent = content;
  run(bokeh);
  run(document.getElementById("program").textContent);
}).catch((error) => {
  document.getElementById("too-old").hidden = typeof DecompressionStream !== "undefined";
  throw error;
});

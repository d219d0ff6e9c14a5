"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const made = (tag, content, name = "") => {
  const element = document.createElement(tag);
  element.append(...content);
  if (name) element.className = name;
  return element;
};
const ordinal = (n) => {
  const tens = n % 100, one = n % 10;
  const end = tens > 10 && tens < 14 ? "th" : one === 1 ? "st" : one === 2 ? "nd" : one === 3 ? "rd" : "th";
  return n + end;
};
const checked = (name) => document.querySelector(`input[name="${name}"]:checked`).value;
const isHit = ([, place]) => place < data.k;

// one of the found: its mark, its text, and what is known of it
const item = ([text, ], hit, mark, said, about) => {
  const sign = made("span", [mark]);
  sign.setAttribute("role", "img");
  sign.setAttribute("aria-label", said);
  return made("li", [sign, made("span", [data.texts[text], made("small", about)])], hit);
};

function show() {
  const query = data.queries[checked("query")], bytes = checked("bytes");
  const full = Object.keys(query.full)[0];
  const rows = { full: query.full[full], sign: query.sign[bytes], sigah: query.sigah[bytes] };
  at("query").textContent = query.text;
  for (const [name, found] of Object.entries(rows)) {
    const size = name === "full" ? full : bytes, cost = data.costs[name][size];
    at(`${name}-hits`).textContent = `${found.filter(isHit).length} of ${data.k}`;
    at(`${name}-mean`).textContent = name === "full" ? "exact" : `mean ${cost.mean} of ${data.k}`;
    at(`${name}-bytes`).textContent = `${Number(size).toLocaleString("en")} bytes`;
    at(`${name}-time`).textContent = `${cost.microseconds.toLocaleString("en")} µs`;
  }
  for (const name of ["sign", "sigah"]) {
    at(`${name}-list`).replaceChildren(...rows[name].map((one) => {
      const place = one[1] < data.depth ? `truly the ${ordinal(one[1] + 1)}` : `truly beyond the ${ordinal(data.depth)}`;
      return isHit(one)
        ? item(one, "found", "✓", "one of the true ten", [place])
        : item(one, "missed", "✗", "not one of the true ten", [place]);
    }));
  }
  at("full-list").replaceChildren(...rows.full.map((one, rank) => {
    const who = ["sign", "sigah"].map((name) => {
      const has = rows[name].some(([text]) => text === one[0]);
      return made("i", [`${has ? "✓" : "✗"} ${name === "sign" ? "signs" : name}`], has ? "won" : "lost");
    });
    return item(one, "", `${rank + 1}`, ordinal(rank + 1), who);
  }));
}

function filter() {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const label of at("queries").querySelectorAll("label")) {
    label.hidden = !words.every((word) => label.textContent.toLowerCase().includes(word));
    left += !label.hidden;
  }
  at("none").hidden = left > 0;
}

at("queries").append(...data.queries.map((query, number) => {
  const choice = document.createElement("input");
  Object.assign(choice, { type: "radio", name: "query", value: number, checked: number === 0 });
  return made("label", [choice, query.text]);
}));
at("filter").addEventListener("input", filter);
at("filter").addEventListener("keydown", (event) => {
  const first = at("queries").querySelector("label:not([hidden]) input");
  if (event.key === "Enter" && first) {
    first.checked = true;
    show();
  }
});
document.addEventListener("change", (event) => {
  if (event.target.name === "query" || event.target.name === "bytes") show();
});
show();

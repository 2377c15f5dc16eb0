// The panel of a cell, built from the page's data when it is opened.

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== null) node.setAttribute(name, value);
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

const panel = (() => {
  const { columns, lines, cells, shared, metrics, volumes = {} } = window.bench;
  const dialog = document.getElementById("panel"), body = dialog.querySelector(".panel-body");
  const names = Object.values(metrics);
  let shown = null;

  const interval = ([, low, high]) => low === null ? "" : ` [${written(low)}, ${written(high)}]`;

  function numbers(cell) {
    const methods = shared[cell.methods];
    return el("dl", { class: "numbers" }, ...cell.scores.map((score, place) =>
      el("div", {}, el("dt", {}, names[place]), el("dd", {},
        el("strong", {}, written(score[0])), el("span", {}, interval(score)),
        el("span", {}, methods[place] ? ` ${score[0] === null ? "" : "95 % interval: "}${methods[place]}` : "")))),
      el("div", {}, el("dt", {}, "Volumes"), el("dd", {}, cell.n === cell.of ? `all ${cell.n}` : `${cell.n} of ${cell.of}`)));
  }

  // Accuracy of this network over the severities of this perturbation, with intervals.
  function curve(cell) {
    const column = columns[cell.column];
    const own = cells.filter(one => one.line === cell.line && one.severity !== undefined && one.scores[0][0] !== null &&
      (columns[one.column].family === "clean" || columns[one.column].perturbation === column.perturbation))
      .sort((a, b) => a.severity - b.severity);
    if (column.family === "clean" || own.length < 2) return null;
    const [width, height, left, bottom] = [420, 220, 40, 40], most = own.at(-1).severity || 1;
    const evenly = columns.filter(one => one.perturbation === column.perturbation).length;
    const x = one => left + (width - left - 30) * (evenly ? own.indexOf(one) / (own.length - 1) : one.severity / most);
    const y = value => 10 + (height - bottom - 10) * (1 - value);
    const parts = [];
    const draw = (tag, attributes, text) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      if (text !== undefined) node.textContent = text;
      parts.push(node);
    };
    for (const tick of [0, .25, .5, .75, 1]) {
      draw("line", { x1: left, x2: width - 8, y1: y(tick), y2: y(tick), stroke: "var(--line)" });
      draw("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end", fill: "var(--soft)" }, tick.toFixed(2));
    }
    for (const one of own) if (one.scores[0][1] !== null)
      draw("line", { x1: x(one), x2: x(one), y1: y(one.scores[0][1]), y2: y(one.scores[0][2]), stroke: "var(--link)", "stroke-opacity": .45, "stroke-width": 2 });
    draw("polyline", { points: own.map(one => `${x(one)},${y(one.scores[0][0])}`).join(" "), fill: "none", stroke: "var(--link)", "stroke-width": 2 });
    for (const one of own) {
      const here = one === cell;
      draw("circle", { cx: x(one), cy: y(one.scores[0][0]), r: here ? 6 : 3.5, fill: here ? "var(--page)" : "var(--link)", stroke: "var(--link)", "stroke-width": here ? 3 : 1 });
      draw("text", { x: x(one), y: height - 20, "text-anchor": "middle", fill: here ? "var(--ink)" : "var(--soft)", "font-weight": here ? 700 : 400 }, columns[one.column].short || "clean");
    }
    draw("text", { x: (width + left) / 2, y: height - 4, "text-anchor": "middle", fill: "var(--soft)" }, column.severity.startsWith("ε") ? "ε" : column.severity.startsWith("level") ? "level" : "budget");
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("class", "curve");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `Accuracy over severities: ${own.map(one => `${columns[one.column].short || "clean"} ${written(one.scores[0][0])}`).join(", ")}`);
    svg.append(...parts);
    return el("figure", { style: "margin:0" }, svg);
  }

  const VERDICTS = { passed: ["✓ passed", "passed"], failed: ["✗ failed", "failed"] };
  function certificate(cell) {
    const found = shared[cell.certificate];
    if (!found.length) return el("p", { class: "caption" }, "No check applies to this cell.");
    const order = { failed: 0, passed: 1 };
    return el("ul", { class: "checks" }, ...[...found].sort((a, b) => (order[a[1]] ?? 2) - (order[b[1]] ?? 2)).map(([name, verdict, said]) => {
      const [word, kind] = VERDICTS[verdict] ?? [`– ${verdict}`, "verdictless"];
      return el("li", { class: kind }, el("b", {}, word), el("span", {}, name, said ? el("small", {}, said) : null));
    }));
  }

  const pairs = found => el("dl", { class: "facts" }, ...found.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  const fold = (title, found, open) => found.length
    ? el("details", open ? { open: "" } : {}, el("summary", {}, title), pairs(found)) : null;

  function strip(one) {
    const row = (title, image) => image ? el("div", { class: "row" }, el("span", {}, title),
      el("img", { src: volumes.images[image - 1], alt: `${title}: centre slices along three axes`, loading: "lazy" })) : null;
    return el("li", {}, el("figure", {},
      row("clean", one.clean), row("perturbed", one.perturbed), row(`difference ${one.scale}`, one.difference), row("heat map", one.map),
      el("figcaption", {}, `${one.label} → ${one.answer}`, el("small", {}, `margin ${one.margin} (clean ${one.before}) · ${one.id}`))));
  }

  function broken(place) {
    const found = volumes.cells?.[place] ?? [];
    const [broke, right] = cells[place].broke ?? [];
    const parts = [el("h3", {}, "Volumes it broke")];
    if (broke !== undefined) parts.push(el("p", {}, broke ? `${broke} of ${right} that are right when clean` + (found.length && found.length < broke ? `; ${found.length} shown.` : ".")
      : `None of the ${right} that are right when clean.`));
    if (found.length) parts.push(el("p", { class: "caption" }, volumes.caption), el("ul", { class: "volumes" }, ...found.map(strip)));
    else if (broke && volumes.note) parts.push(el("p", { class: "caption" }, volumes.note));
    const elsewhere = found.length ? [] : siblings(place);
    if (elsewhere.length) parts.push(el("p", { class: "others caption" }, "Volumes are shown of: ", ...elsewhere.flatMap((other, at) => {
      const button = el("button", { type: "button" }, title(cells[other]));
      button.addEventListener("click", () => walkTo(other));
      return at ? [" ", button] : [button];
    })));
    return parts;
  }

  // Cells of the same network and family that have volumes.
  function siblings(place) {
    const own = cells[place], family = columns[own.column].family;
    return Object.keys(volumes.cells ?? {}).map(Number).filter(other =>
      other !== place && cells[other].line === own.line && columns[cells[other].column].family === family).slice(0, 6);
  }

  const title = cell => [columns[cell.column].title, columns[cell.column].severity].filter(Boolean).join(", ");

  function fill(place) {
    const cell = cells[place], line = lines[cell.line], column = columns[cell.column];
    shown = place;
    document.getElementById("panel-title").textContent = title(cell);
    document.getElementById("panel-where").textContent =
      [line.model, line.recipe, line.dataset, line.seed].filter(Boolean).join(" · ");
    const plausible = cell.plausible === undefined ? [] : [["plausible here", cell.plausible ? "yes" : "no: a stress test, which the acquisition cannot produce"]];
    body.replaceChildren(
      ...[cell.suspect ? el("p", { class: "warning" }, el("b", {}, "Suspect, not ranked. "), cell.suspect) : null,
        cell.error ? el("p", { class: "warning" }, el("b", {}, "Failed. "), cell.error) : null,
        el("div", { class: "pair" }, numbers(cell), curve(cell)),
        ...(column.family === "clean" || cell.error ? [] : broken(place)),
        el("h3", {}, "Certificate"), certificate(cell),
        el("h3", {}, "How it was made"),
        fold("Parameters", [...plausible, ...shared[cell.parameters]], true),
        fold("What the perturbation reports", shared[cell.facts]),
        fold("Cost", shared[cell.cost]),
        fold("Provenance", [["cell", cell.identity], ...(cell.took ? [["measured", cell.took]] : []), ...shared[cell.provenance]]),
      ].filter(Boolean));
    for (const button of dialog.querySelectorAll("[data-key]"))
      button.disabled = !matrix.next(matrix.field(place), button.dataset.key);
    dialog.scrollTop = 0;
  }

  function walk(key) {
    const next = matrix.next(matrix.field(shown), key);
    if (next) walkTo(Number(next.dataset.cell));
  }

  function walkTo(place) {
    fill(place);
    matrix.remember(place);
    if (document.activeElement?.disabled || document.activeElement === document.body) dialog.querySelector("[data-close]").focus();
  }

  function open(place) {
    fill(place);
    matrix.remember(place);
    if (!dialog.open) dialog.showModal();
    dialog.querySelector("[data-close]").focus();
  }

  dialog.addEventListener("click", event => {
    const button = event.target.closest(".walk button");
    if (event.target === dialog || button?.dataset.close !== undefined) dialog.close();
    else if (button) walk(button.dataset.key);
  });
  dialog.addEventListener("keydown", event => {
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    walk(event.key);
  });
  // The focus goes back to the cell that was shown last.
  dialog.addEventListener("close", () => {
    matrix.remember();
    matrix.focus(matrix.field(shown));
  });
  return { open };
})();

window.bench.open = panel.open;
if (matrix.asked) {
  const place = window.bench.cells.findIndex(cell => cell.identity.startsWith(matrix.asked));
  if (place >= 0) window.bench.open(place);
}

// The matrix: filters, sorting, another metric, arrow keys. Its state is in the URL's fragment.

// A score as the tables write it: three decimals, more where they keep it apart from 0 and 1.
function written(value) {
  if (value === null || value === undefined) return "–";
  const gap = Math.min(Math.abs(value), Math.abs(1 - value));
  return value.toFixed(gap < 1e-9 || gap >= 5e-4 ? 3 : Math.min(6, -Math.floor(Math.log10(gap))));
}

const matrix = (() => {
  const { columns, lines, cells, metrics } = window.bench;
  const table = document.querySelector(".screen .matrix"), body = table.tBodies[0];
  const form = document.querySelector(".tools"), output = form.querySelector("output");
  const [families, kinds, levels] = table.tHead.rows;
  const corner = families.cells[0], rows = [...body.rows], names = Object.keys(metrics);
  const style = document.head.appendChild(document.createElement("style"));
  const places = new Map(rows.map((row, line) => [row, line]));
  let sort = "", current = null;

  // The cell of a row below a column: the first is the row's heading.
  const under = (row, column) => row.cells[column + 1];
  const heading = key => key === "model" ? corner : levels.cells[Number(key)];

  function state() {
    const found = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value && value !== names[0]) found.set(name, value);
    if (sort) found.set("sort", label(sort));
    return found;
  }

  // A column in the fragment is its condition, which stays the same when columns are added.
  function label(key) {
    const down = key.startsWith("-"), name = key.replace("-", "");
    return (down ? "-" : "") + (name === "model" ? name : columns[Number(name)].condition);
  }

  function unlabel(text) {
    const down = text.startsWith("-"), name = down ? text.slice(1) : text;
    const place = name === "model" ? name : columns.findIndex(column => column.condition === name);
    return place === -1 ? "" : (down ? "-" : "") + place;
  }

  function remember(cell) {
    const found = state();
    if (cell !== undefined) found.set("cell", cells[cell].identity.slice(0, 12));
    const text = found.toString();
    if (text || location.hash.startsWith("#matrix?"))
      history.replaceState(null, "", text ? `#matrix?${text}` : "#matrix");
  }

  function restore() {
    const [, text = ""] = location.hash.split("?");
    const found = new URLSearchParams(location.hash.startsWith("#matrix?") ? text : "");
    for (const field of form.elements) {
      if (!field.name || !found.has(field.name)) continue;
      if (field.type === "checkbox") field.checked = true;
      else if ([...field.options].some(option => option.value === found.get(field.name))) field.value = found.get(field.name);
    }
    if (found.has("sort")) sort = unlabel(found.get("sort"));
    return found.get("cell");
  }

  // Headings that span columns shrink with them.
  function span(row, visible) {
    let at = row === kinds ? columns.filter(column => column.family === "clean").length : 0;
    for (const cell of [...row.cells].filter(cell => cell !== corner)) {
      const all = Number(cell.dataset.all ??= cell.colSpan);
      const left = visible.slice(at, at + all).filter(Boolean).length;
      cell.hidden = left === 0;
      if (left) cell.colSpan = left;
      at += all;
    }
  }

  function filter() {
    const wanted = new FormData(form), is = name => wanted.get(name) || "";
    const plausible = is("plausible") === "only";
    const visible = columns.map(column =>
      column.family === "clean" || (
        (!is("family") || column.family === is("family")) &&
        (!is("levels") || column.strongest) &&
        !(plausible && column.plausible === false)));
    const hidden = visible.flatMap((shown, place) => shown ? [] : [place]);
    style.textContent = hidden.map(place =>
      `.screen .matrix tbody :nth-child(${place + 2}), .screen .matrix .levels :nth-child(${place + 1})`).join(",")
      + (hidden.length ? "{display:none}" : "")
      + (plausible ? ".screen .matrix td.unlikely{visibility:hidden}" : "");
    span(families, visible);
    span(kinds, visible);
    rows.forEach((row, place) => {
      const line = lines[place];
      row.hidden = ["model", "dataset", "recipe"].some(name => is(name) && line[name] !== is(name));
    });
    metric(is("metric") || names[0]);
    const shown = rows.filter(row => !row.hidden).length;
    output.textContent = shown * visible.filter(Boolean).length === 0 ? "Nothing matches"
      : `${shown} of ${rows.length} rows, ${visible.length - hidden.length} of ${columns.length} columns`;
  }

  let showing = names[0];
  function metric(name) {
    if (name === showing) return;
    showing = name;
    const place = names.indexOf(name);
    table.setAttribute("aria-label", `${metrics[name]} of every cell`);
    for (const field of body.querySelectorAll("td[data-cell]")) {
      const value = cells[field.dataset.cell].scores[place][0];
      const kept = field.querySelector("sup");
      if (field.dataset.text === undefined) {
        field.dataset.text = field.firstChild?.data ?? "";
        field.dataset.class = field.className;
      }
      const text = place === 0 ? field.dataset.text : written(value);
      const shade = value === null ? "gap" : `h${Math.min(8, Math.floor(value * 9))}`;
      field.className = place === 0 ? field.dataset.class
        : field.dataset.class.replace(/\bh\d\b|\bgap\b/, shade).replace(/\bbest\b/, "");
      field.dataset.order = value === null ? "" : value;
      field.replaceChildren(text, ...(kept ? [kept] : []));
    }
  }

  function order() {
    for (const cell of [corner, ...levels.cells]) cell.removeAttribute("aria-sort");
    if (!sort) { body.append(...rows); return; }
    const descending = sort.startsWith("-"), key = sort.replace("-", "");
    heading(key).setAttribute("aria-sort", descending ? "descending" : "ascending");
    const of = row => {
      const cell = key === "model" ? row.cells[0] : under(row, Number(key));
      return key === "model" ? { text: cell.textContent } : { order: cell.dataset.order ?? "", text: cell.textContent };
    };
    body.append(...[...rows].sort((a, b) => compareCells(of(a), of(b), descending)));
  }

  function sortBy(key) {
    sort = sort === `-${key}` ? key : sort === key ? "" : `-${key}`;
    order();
    remember();
  }

  [["model", corner], ...[...levels.cells].map((cell, place) => [String(place), cell])].forEach(([key, cell]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    cell.addEventListener("click", () => sortBy(key));
  });

  // One cell takes the focus of Tab; arrows go on from there to the next that is shown.
  function focus(field, move = true) {
    current?.removeAttribute("tabindex");
    current = field;
    if (!field) return;
    field.tabIndex = 0;
    if (move) field.focus();
  }

  const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  const open = field => field && !field.closest("tr").hidden && field.offsetParent !== null;

  // The next cell in a direction that is shown and was run; null at the edge.
  function next(field, key) {
    const [down, right] = STEPS[key];
    let row = field.parentNode, column = field.cellIndex;
    for (;;) {
      if (down) row = down > 0 ? row.nextElementSibling : row.previousElementSibling;
      column += right;
      const found = row?.cells[column];
      if (!found || column < 1) return null;
      if (found.dataset.cell !== undefined && open(found)) return found;
    }
  }

  body.addEventListener("click", event => {
    const field = event.target.closest("td[data-cell]");
    if (!field) return;
    focus(field);
    window.bench.open(Number(field.dataset.cell));
  });
  body.addEventListener("keydown", event => {
    const field = event.target.closest("td[data-cell]");
    if (!field) return;
    if (event.key === "Enter" || event.key === " ") window.bench.open(Number(field.dataset.cell));
    else if (STEPS[event.key]) focus(next(field, event.key) ?? field);
    else return;
    event.preventDefault();
  });

  table.setAttribute("role", "grid");
  form.hidden = false;
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("change", () => { filter(); order(); remember(); });
  form.addEventListener("reset", () => setTimeout(() => { sort = ""; filter(); order(); remember(); }));
  for (const name of ["model", "dataset", "recipe", "family"])
    if (form.elements[name].options.length < 3) form.elements[name].parentNode.hidden = true;
  if (columns.every(column => column.strongest)) form.elements.levels.parentNode.hidden = true;
  if (!columns.some(column => column.plausible === false)) form.elements.plausible.parentNode.hidden = true;
  // A wide matrix opens with the strongest severities, which fit a screen.
  if (columns.length > 24 && !location.hash.startsWith("#matrix?")) form.elements.levels.value = "strongest";
  const asked = restore();
  filter();
  order();
  focus(body.querySelector("td[data-cell]"), false);
  const field = cell => body.querySelector(`td[data-cell="${cell}"]`);
  return { field, next, focus, remember, asked };
})();

// Sorting by columns. A cell is { order, text }: `order` is the number it shows, "" where its value
// is missing, and undefined where it holds words.

// Words in pieces: numbers, with fractions such as 8/255 as their value, and what is between them.
function pieces(text) {
  return (text.match(/\d+(?:\.\d+)?(?:\/\d+(?:\.\d+)?)?|\D+/g) ?? []).map(piece => {
    const [above, below = "1"] = piece.split("/");
    const value = /^\d/.test(piece) ? Number(above) / Number(below) : NaN;
    return Number.isNaN(value) ? piece : value;
  });
}

function rank(a, b) { return a < b ? -1 : a > b ? 1 : 0; }

function compareWords(a, b) {
  const [left, right] = [pieces(a), pieces(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [one, other] = [left[i], right[i]];
    const found = typeof one === "number" && typeof other === "number" ? rank(one, other)
      : typeof one === "number" ? -1
      : typeof other === "number" ? 1
      : one.localeCompare(other, "en");
    if (found) return found;
  }
  return left.length - right.length || rank(a, b);
}

// Numbers by value, then words; missing values come last in both directions.
function compareCells(a, b, descending) {
  if (a.order === "" || b.order === "") return (a.order === "") - (b.order === "");
  const [left, right] = descending ? [b, a] : [a, b];
  const numbers = [left, right].map(cell => cell.order !== undefined);
  if (numbers[0] && numbers[1]) return rank(Number(left.order), Number(right.order));
  return numbers[1] - numbers[0] || compareWords(left.text, right.text);
}

if (typeof document !== "undefined") {
  // A click on a heading sorts by its column; a second click reverses. A button inside takes the
  // keyboard. The matrix sorts itself.
  for (const heading of document.querySelectorAll("table:not(.matrix) thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      const column = heading.cellIndex, body = heading.closest("table").tBodies[0];
      const cell = row => ({
        order: row.cells[column].dataset.order, text: row.cells[column].textContent.trim(),
      });
      const rows = [...body.rows].sort((a, b) => compareCells(cell(a), cell(b), descending));
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...rows);
    });
  }
}

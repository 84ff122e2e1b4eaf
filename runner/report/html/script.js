"use strict";
// The filters of a table of tests, and the tests that are not in it yet: a page with all of many would be slow to open.
const PAGE = 500;

function filtered(part) {
  const table = part.querySelector("table");
  const body = table.querySelector("tbody");
  const search = part.querySelector("input[type=search]");
  const more = part.querySelector("button");
  const shown = part.querySelector("[role=status]");
  const boxes = [...part.querySelectorAll("input[type=checkbox]")];
  const block = part.querySelector("script[type='application/json']");
  const rest = block ? JSON.parse(block.textContent) : [];
  let next = 0;

  function row([test, labels, cells]) {
    const line = document.createElement("tr");
    const name = line.insertCell();
    name.className = "test";
    name.textContent = test;
    line.dataset.labels = labels;
    for (const [words, text, trial] of cells) {
      const cell = line.insertCell();
      cell.className = words;
      if (trial === null) {
        cell.textContent = text;
      } else {
        const link = document.createElement("a");
        link.href = "#" + table.dataset.trials + trial;
        link.textContent = text;
        cell.append(link);
      }
    }
    return line;
  }

  function isWanted(line, text, words) {
    const name = line.cells[0].textContent.toLowerCase() + "\n" + (line.dataset.labels || "").toLowerCase();
    if (!name.includes(text)) return false;
    return [...line.cells].slice(1).some((cell) => words.some((word) => cell.classList.contains(word)));
  }

  function append(lines) {
    next += lines.length;
    for (const line of lines) body.append(row(line));
  }

  function filter() {
    const text = search.value.trim().toLowerCase();
    const words = boxes.filter((box) => box.checked).map((box) => box.value);
    // Whoever looks for something looks for it in all of them.
    if (text || words.length < boxes.length) append(rest.slice(next));
    let count = 0;
    for (const line of body.rows) {
      line.hidden = !isWanted(line, text, words);
      if (!line.hidden) count += 1;
    }
    shown.textContent = count + " of " + (body.rows.length + rest.length - next) + " tests";
    more.hidden = next >= rest.length;
  }

  part.querySelector(".filters").hidden = false;
  more.addEventListener("click", () => {
    append(rest.slice(next, next + PAGE));
    filter();
  });
  for (const input of [search, ...boxes]) input.addEventListener("input", filter);
  filter();
}

for (const part of document.querySelectorAll(".tests")) filtered(part);

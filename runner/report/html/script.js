"use strict";
// The filters of the table of tests, and the tests that are not in it yet: a page with all of many would be slow to open.
const PAGE = 500;
const body = document.querySelector("#tests tbody");
const search = document.querySelector("#search");
const more = document.querySelector("#more");
const shown = document.querySelector("#shown");
const boxes = [...document.querySelectorAll(".filters input[type=checkbox]")];
const block = document.querySelector("#rest");
const rest = block ? JSON.parse(block.textContent) : [];
let next = 0;

function row([test, tags, cells]) {
  const line = document.createElement("tr");
  const name = line.insertCell();
  name.className = "test";
  name.textContent = test;
  line.dataset.tags = tags;
  for (const [words, text, trial] of cells) {
    const cell = line.insertCell();
    cell.className = words;
    if (trial === null) {
      cell.textContent = text;
    } else {
      const link = document.createElement("a");
      link.href = "#trial-" + trial;
      link.textContent = text;
      cell.append(link);
    }
  }
  return line;
}

function isWanted(line, text, words) {
  const name = line.cells[0].textContent.toLowerCase() + " " + (line.dataset.tags || "").toLowerCase();
  if (!name.includes(text)) return false;
  return [...line.cells].slice(1).some((cell) => words.some((word) => cell.classList.contains(word)));
}

function append(lines) {
  next += lines.length;
  for (const line of lines) body.append(row(line));
}

function filter() {
  const text = search.value.toLowerCase();
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

if (body) {
  document.querySelector(".filters").hidden = false;
  more.addEventListener("click", () => {
    append(rest.slice(next, next + PAGE));
    filter();
  });
  for (const input of [search, ...boxes]) input.addEventListener("input", filter);
  filter();
}

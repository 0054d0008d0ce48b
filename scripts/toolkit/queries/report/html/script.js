// The page reads well without this: it makes the copy buttons work, counts what the
// filters leave, and opens what a link or the printer is sent to.
"use strict";

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

async function copy(button) {
  const block = button.parentElement.querySelector("pre code");
  let copied = false;
  try {
    await navigator.clipboard.writeText(block.textContent);
    copied = true;
  } catch {
    // A file's page may have no clipboard: the older way goes by the selection, which
    // stays for Ctrl-C where that is refused, too.
    getSelection().selectAllChildren(block);
    copied = document.execCommand("copy");
  }
  button.textContent = copied ? "Copied" : "Press Ctrl-C";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

const filters = document.querySelector("form.filters");
if (filters) {
  const shown = filters.querySelector(".shown");
  const all = [...document.querySelectorAll(".finding")];
  const count = () => {
    const left = all.filter((one) => one.checkVisibility()).length;
    shown.textContent = `${left} of ${all.length} shown`;
  };
  shown.hidden = false;
  filters.addEventListener("change", count);
  count();
}

function reveal() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", reveal);
reveal();

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => {
  for (const one of closed) one.open = false;
});

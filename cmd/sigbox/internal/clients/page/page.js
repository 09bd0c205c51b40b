"use strict";
// Without this script, or where it is refused, the text can be selected and downloaded as ever.
function select(pre) {
  const range = document.createRange();
  range.selectNodeContents(pre);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}
async function copy(button) {
  const pre = document.getElementById(button.dataset.copy);
  let done = true;
  try {
    await navigator.clipboard.writeText(pre.textContent);
  } catch (e) { // plain HTTP on another host has no clipboard
    select(pre);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
  document.getElementById("said").textContent = button.textContent;
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
}

// What a page can do beyond HTML: copy a command, and jump to the search with "/".
// Everything works without it.
"use strict";

for (const line of document.querySelectorAll(".command")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = document.body.dataset.copy;
  button.addEventListener("click", async () => {
    const command = line.querySelector("code");
    try {
      await navigator.clipboard.writeText(command.textContent);
    } catch {
      // Without TLS, browsers give the clipboard to a selection only.
      getSelection().selectAllChildren(command);
      document.execCommand("copy");
    }
    button.textContent = document.body.dataset.copied;
    setTimeout(() => { button.textContent = document.body.dataset.copy; }, 1500);
  });
  line.append(button);
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.getElementById("q").focus();
  }
});

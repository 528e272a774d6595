// Dropping, choosing and pasting files: each is sent by itself, as the body of a request, to the jobs of the server.
"use strict";
(() => {
  const zone = document.getElementById("drop"), said = document.getElementById("said");
  const say = (text, bad = false) => { said.textContent = text; said.classList.toggle("bad", bad); };
  let waiting = [], busy = false;

  async function send() {
    if (busy) return;
    busy = true;
    const problems = [];
    let taken = 0;
    while (waiting.length) {
      const file = waiting.shift();
      say(`Taking ${file.name}${waiting.length ? `, ${waiting.length} more` : ""} …`);
      const place = `jobs?tab=${encodeURIComponent(zone.dataset.tab)}&name=${encodeURIComponent(file.name)}`;
      try {
        const answer = await fetch(place, { method: "POST", body: file });
        if (answer.ok) taken += 1;
        else problems.push(await answer.text());
      } catch {
        problems.push(`${file.name}: could not be sent; is srgan-web still running, and the file still there?`);
      }
    }
    busy = false;
    const lines = problems.slice(0, 3);
    if (problems.length > 3) lines.push(`and ${problems.length - 3} more`);
    if (taken) lines.push(taken > 1 ? `${taken} files are in the list.` : "The file is in the list.");
    say(lines.join("\n"), problems.length > 0);
  }

  const add = (files) => { waiting.push(...files); send(); };
  window.addEventListener("cancelall", () => { waiting = []; });

  // What else lies in a folder is left alone, and its files come in the order of their names.
  const isKnown = (name) => !name.startsWith(".") && zone.dataset.kinds.split(" ").some((kind) => name.toLowerCase().endsWith(kind));
  const compare = (one, other) => one.localeCompare(other, undefined, { numeric: true });

  async function filesOf(entry, inner = false) {
    if (entry.isFile) return inner && !isKnown(entry.name) ? [] : [await new Promise((done, failed) => entry.file(done, failed))];
    const reader = entry.createReader(), found = [];
    for (let part; (part = await new Promise((done, failed) => reader.readEntries(done, failed))).length;) found.push(...part);
    found.sort((one, other) => compare(one.name, other.name));
    return (await Promise.all(found.filter((each) => !each.name.startsWith(".")).map((each) => filesOf(each, true)))).flat();
  }

  for (const input of zone.querySelectorAll("input")) {
    input.addEventListener("change", () => {
      let files = [...input.files];
      if (input.webkitdirectory) {
        files = files.filter((file) => isKnown(file.name) && !file.webkitRelativePath.includes("/."));
        files.sort((one, other) => compare(one.webkitRelativePath, other.webkitRelativePath));
      }
      add(files);
      input.value = "";
    });
  }
  for (const button of zone.querySelectorAll("button")) button.addEventListener("click", () => document.getElementById(button.dataset.for).click());
  function listen(page) {
    page.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("over"); });
    page.addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
    page.addEventListener("drop", async (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      if (!entries.length) return add([...event.dataTransfer.files]);
      try {
        add((await Promise.all(entries.map((entry) => filesOf(entry)))).flat());
      } catch {
        say("What was dropped could not be read.", true);
      }
    });
    page.addEventListener("paste", (event) => { if (event.clipboardData.files.length) add([...event.clipboardData.files]); });
  }
  listen(document);
  // What is dropped on the viewer, a page of its own, would be opened by the browser.
  document.addEventListener("load", (event) => { if (event.target.tagName === "IFRAME") listen(event.target.contentDocument); }, true);
  window.addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });  // files would not arrive

  // Who works by keyboard goes on in the same row when its button is replaced, and in the next one when the row is gone.
  let focused = null, byPointer = false;
  document.addEventListener("focusin", (event) => { focused = event.target; });
  document.addEventListener("pointerdown", () => { byPointer = true; }, true);
  document.addEventListener("keydown", () => { byPointer = false; }, true);
  new MutationObserver((changes) => {
    if (!focused || focused.isConnected) return;
    if (byPointer) return focused = null;
    const gone = changes.find((change) => [...change.removedNodes].some((node) => node.contains(focused)));
    const row = gone && (gone.target.closest(".job") ?? [gone.nextSibling, gone.previousSibling].find((each) => each?.matches?.(".job")));
    (row?.querySelector("a, button") ?? zone.querySelector("button")).focus();
  }).observe(document.body, { childList: true, subtree: true });
})();

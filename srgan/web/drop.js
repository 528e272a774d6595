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
    while (waiting.length) {
      const file = waiting.shift();
      say(`Taking ${file.name}${waiting.length ? `, ${waiting.length} more` : ""} …`);
      const place = `jobs?tab=${encodeURIComponent(zone.dataset.tab)}&name=${encodeURIComponent(file.name)}`;
      try {
        const answer = await fetch(place, { method: "POST", body: file });
        if (!answer.ok) problems.push(await answer.text());
      } catch {
        problems.push(`${file.name}: could not be sent; is srgan-web still running, and the file still there?`);
      }
    }
    busy = false;
    say(problems.slice(0, 3).join("\n") + (problems.length > 3 ? `\nand ${problems.length - 3} more` : ""), true);
  }

  const add = (files) => { waiting.push(...files); send(); };
  window.addEventListener("cancelall", () => { waiting = []; });

  async function filesOf(entry, depth = 0) {
    if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
    const reader = entry.createReader(), found = [];
    for (let part; (part = await new Promise((done, failed) => reader.readEntries(done, failed))).length;) found.push(...part);
    found.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
    const inner = await Promise.all(found.filter((each) => !each.name.startsWith(".")).map((each) => filesOf(each, depth + 1)));
    const known = zone.dataset.kinds.split(" ");  // what else lies in a folder is left alone
    return inner.flat().filter((file) => known.some((kind) => file.name.toLowerCase().endsWith(kind)));
  }

  for (const input of zone.querySelectorAll("input")) {
    input.addEventListener("change", () => {
      const known = zone.dataset.kinds.split(" ");
      let files = [...input.files];
      if (input.webkitdirectory) {
        const place = (file) => file.webkitRelativePath;
        files = files.filter((file) => !/(^|\/)\./.test(place(file)) && known.some((kind) => file.name.toLowerCase().endsWith(kind)));
        files.sort((one, other) => place(one).localeCompare(place(other), undefined, { numeric: true }));
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
})();

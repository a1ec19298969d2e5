"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const gallery = document.getElementById("gallery");
  const dialog = document.getElementById("detail");
  const hidden = new Set();

  // Outcome filter: one chip an outcome, acting on everything that stands for an episode.
  const applyFilter = () => all("[data-episode][data-outcome], .trace, .dot").forEach((node) => {
    const outcome = node.dataset.outcome || [...node.classList].find((name) => name.startsWith("o-")).slice(2);
    node.toggleAttribute("hidden", hidden.has(outcome));
  });
  all(".chip").forEach((chip) => chip.addEventListener("click", () => {
    const shown = chip.getAttribute("aria-pressed") === "true";
    chip.setAttribute("aria-pressed", String(!shown));
    hidden[shown ? "add" : "delete"](chip.dataset.filter);
    applyFilter();
  }));

  document.getElementById("order").addEventListener("change", (event) => {
    const key = event.target.value;
    all(".tile", gallery)
      .sort((a, b) => Number(a.dataset[key]) - Number(b.dataset[key]))
      .forEach((tile) => gallery.append(tile));
  });

  // One episode in large: its plan, its figures and, where there is one, its film.
  const open = (episode) => {
    const tile = gallery.querySelector(`[data-episode="${episode}"]`);
    if (!tile) return;
    const body = document.getElementById("detail-body");
    document.getElementById("detail-title").textContent = tile.dataset.title;
    const look = document.createElement("div");
    look.className = `look o-${tile.dataset.outcome}`;
    const plan = tile.querySelector("svg");
    if (plan) look.append(plan.cloneNode(true));
    const facts = document.createElement("dl");
    facts.className = "facts";
    Object.entries(JSON.parse(tile.dataset.facts)).forEach(([name, value]) => {
      facts.append(Object.assign(document.createElement("dt"), { textContent: name }));
      facts.append(Object.assign(document.createElement("dd"), { textContent: value }));
    });
    look.append(facts);
    body.replaceChildren(look);
    const film = document.querySelector(`.film[data-episode="${episode}"] video`);
    if (film) body.append(film.cloneNode(true));
    dialog.dataset.episode = episode;
    if (!dialog.open) dialog.showModal();
    history.replaceState(null, "", `#episode-${episode}`);
  };
  const move = (step) => {
    const tiles = all(".tile:not([hidden])", gallery);
    const at = tiles.findIndex((tile) => tile.dataset.episode === dialog.dataset.episode);
    const tile = tiles[(at + step + tiles.length) % tiles.length];
    if (tile) open(tile.dataset.episode);
  };
  document.addEventListener("click", (event) => {
    if (event.target.closest("video, dialog, th")) return;
    const node = event.target.closest("[data-episode]");
    if (node) open(node.dataset.episode);
  });
  document.getElementById("close").addEventListener("click", () => dialog.close());
  document.getElementById("previous").addEventListener("click", () => move(-1));
  document.getElementById("next").addEventListener("click", () => move(1));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    document.getElementById("detail-body").replaceChildren();
    history.replaceState(null, "", location.pathname + location.search);
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("video")) return;
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  });

  // Tables sort by the value of a cell, empty cells last in either direction.
  all("table.episodes th").forEach((head, column) => head.addEventListener("click", () => {
    const table = head.closest("table");
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const numbers = [Number(x), Number(y)];
      return sign * (numbers.some(Number.isNaN) ? x.localeCompare(y) : numbers[0] - numbers[1]);
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  }));

  const wanted = /^#episode-(\d+)$/.exec(location.hash);
  if (wanted) open(wanted[1]);
})();

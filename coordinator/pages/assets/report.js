// Ranks by other goals: every order was computed when this file was written, and is only looked up here.
"use strict";
(() => {
  const data = document.getElementById("orders");
  const form = document.getElementById("goals-form");
  if (!data || !form) return;
  const orders = JSON.parse(data.textContent);
  const selects = ["cost", "latency", "throughput"].map((name) => form.elements[name]);
  const rows = new Map();
  for (const row of document.querySelectorAll("tr[data-entry]")) rows.set(Number(row.dataset.entry), row);
  const show = () => {
    const chosen = selects.reduce((index, select) => index * 5 + select.selectedIndex, 0);
    const [places, ties] = orders[chosen];
    const body = rows.get(places[0][0]).parentNode;
    const next = [...body.children].find((row) => !("entry" in row.dataset)) || null;
    places.forEach(([entry, score, tied], place) => {
      const row = rows.get(entry);
      row.className = place === 0 ? "best" : "";
      row.querySelector(".rank").textContent = `${place + 1}${tied ? "=" : ""}`;
      row.querySelector(".score").textContent = score.toFixed(1);
      body.insertBefore(row, next);
    });
    for (const first of document.querySelectorAll("[data-first]")) {
      first.hidden = Number(first.dataset.first) !== places[0][0];
      const badge = first.querySelector(".ties");
      badge.hidden = ties.length === 0;
      badge.textContent = `tied with ${ties.map((rank) => `#${rank}`).join(", ")}`;
    }
    document.getElementById("ranked-by").textContent = "Ranked by the goals.";
  };
  // The address holds the choice, so that whoever gets the file and the address sees the same.
  const restore = () => {
    const chosen = new URLSearchParams(window.location.hash.slice(1));
    const known = selects.filter((select) => {
      const wanted = chosen.get(select.name);
      const found = [...select.options].some((option) => option.value === wanted);
      if (found) select.value = wanted;
      return found;
    });
    if (known.length > 0) show();
  };
  form.addEventListener("change", () => {
    const chosen = new URLSearchParams(selects.map((select) => [select.name, select.value]));
    window.history.replaceState(null, "", `#${chosen}`);
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", restore);
  document.getElementById("goals-section").hidden = false;
  restore();
})();

// Shows when the stream of a running job is lost, and when it is back. Everything else works without it.
"use strict";
(() => {
  const lost = (is) => {
    const notice = document.getElementById("stream-lost");
    if (notice) notice.hidden = !is;
  };
  document.addEventListener("htmx:sseError", () => lost(true));
  document.addEventListener("htmx:sseOpen", () => lost(false));
  // A job that has ended has another head: its page is read again, once.
  document.addEventListener("htmx:sseClose", (event) => {
    if (event.detail && event.detail.type === "message") window.location.reload();
  });
})();

// Shows when the stream of a running job is lost, and when it is back. Everything else works without it.
"use strict";
(() => {
  const lost = (is) => {
    const notice = document.getElementById("stream-lost");
    if (notice) notice.hidden = !is;
  };
  const failed = (text) => {
    const notice = document.getElementById("request-failed");
    notice.textContent = text;
    notice.hidden = false;
  };
  document.addEventListener("htmx:sseError", () => lost(true));
  document.addEventListener("htmx:sseOpen", () => lost(false));
  // A job that has ended has another head: its page is read again, once.
  document.addEventListener("htmx:sseClose", (event) => {
    if (event.detail && event.detail.type === "message") window.location.reload();
  });
  document.addEventListener("htmx:xhr:progress", (event) => {
    const bar = event.target.querySelector && event.target.querySelector("#upload");
    if (!bar || !event.detail.lengthComputable) return;
    bar.hidden = false;
    bar.value = (100 * event.detail.loaded) / event.detail.total;
  });
  // What a form that only asks has wrong is said by the page that it leads to.
  document.addEventListener("htmx:responseError", (event) => {
    const form = event.detail.elt.closest("form");
    if (form && form.method === "get") form.submit();
    else failed(`The request failed with status ${event.detail.xhr.status}. Load the page again.`);
  });
  document.addEventListener("htmx:sendError", () => failed("The coordinator cannot be reached."));
})();

"use strict";

// Keeps pages up to date. Every page works without it.

// Buttons that copy the text of an element: [data-copy="id of the element"].
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// Running timers: <span class="timer" data-since="…">.
const clock = (seconds) => {
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
};
const tick = () => {
  for (const timer of document.querySelectorAll(".timer[data-since]")) {
    const seconds = Math.floor((Date.now() - Date.parse(timer.dataset.since)) / 1000);
    timer.textContent = clock(Math.max(0, seconds));
  }
};
setInterval(tick, 1000);

// Parts that are fetched again and again: <div data-refresh="address">. What they contain is escaped by the server.
const REFRESH_INTERVAL = 2000;
const refresh = async (part) => {
  try {
    const response = await fetch(part.dataset.refresh, { redirect: "manual" });
    if (response.type === "opaqueredirect") {
      // The session has ended: the page leads to the sign-in.
      location.reload();
      return;
    }
    // A person who is inside with the keyboard keeps the place.
    if (response.ok && !part.contains(document.activeElement)) {
      part.innerHTML = await response.text();
      part.classList.remove("stale");
      tick();
    }
  } catch {
    part.classList.add("stale");
  }
  setTimeout(refresh, REFRESH_INTERVAL, part);
};
for (const part of document.querySelectorAll("[data-refresh]")) {
  setTimeout(refresh, REFRESH_INTERVAL, part);
}

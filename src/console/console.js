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
// What a person is doing inside is not disturbed: the keyboard's place, and a text that is being selected.
const isInUse = (part) => {
  const selection = getSelection();
  return part.contains(document.activeElement) || (!selection.isCollapsed && part.contains(selection.anchorNode));
};
// Lists stay where they were scrolled to.
const replace = (part, content) => {
  const lists = () => [...part.querySelectorAll(".scroll")];
  const places = new Map(lists().map((list) => [list.getAttribute("aria-label"), [list.scrollLeft, list.scrollTop]]));
  part.innerHTML = content;
  for (const list of lists()) {
    [list.scrollLeft, list.scrollTop] = places.get(list.getAttribute("aria-label")) ?? [0, 0];
  }
};
const refresh = async (part) => {
  try {
    const response = await fetch(part.dataset.refresh, { redirect: "manual" });
    if (response.type === "opaqueredirect") {
      // The session has ended: the page leads to the sign-in.
      location.reload();
      return;
    }
    const content = await response.text();
    if (response.ok && !isInUse(part)) {
      replace(part, content);
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

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

// Running timers: <span class="timer" data-seconds="…">, with the seconds that had passed at the server when it was shown.
const clock = (seconds) => {
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
};
const tick = () => {
  for (const timer of document.querySelectorAll(".timer[data-seconds]")) {
    // What is shown is old: the call may have ended.
    if (timer.closest(".stale")) continue;
    timer.began ??= performance.now() - Number(timer.dataset.seconds) * 1000;
    timer.textContent = clock(Math.floor((performance.now() - timer.began) / 1000));
  }
};
tick();
setInterval(tick, 1000);

// Parts that are fetched again and again: <div data-refresh="address">. What they contain is escaped by the server.
const REFRESH_INTERVAL = 2000;
// What a person is writing or selecting inside is not disturbed.
const isInUse = (part) => {
  const selection = getSelection();
  const writes = part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea");
  return writes || (!selection.isCollapsed && part.contains(selection.anchorNode));
};
// Lists stay where they were scrolled to, and the keyboard stays where it was: at a list, or at a link.
const replace = (part, content) => {
  const lists = () => [...part.querySelectorAll(".scroll")];
  const nameOf = (element) => element.getAttribute("aria-label") ?? element.getAttribute("href");
  const places = new Map(lists().map((list) => [nameOf(list), [list.scrollLeft, list.scrollTop]]));
  const focused = part.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  part.innerHTML = content;
  for (const list of lists()) {
    [list.scrollLeft, list.scrollTop] = places.get(nameOf(list)) ?? [0, 0];
  }
  if (focused !== null) {
    const again = [...part.querySelectorAll(".scroll, a")].find((element) => nameOf(element) === focused);
    again?.focus({ preventScroll: true });
  }
};
const refresh = async (part) => {
  let isFresh = false;
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
      tick();
      isFresh = true;
    }
  } catch {
    // The server can't be reached.
  }
  part.classList.toggle("stale", !isFresh);
  setTimeout(refresh, REFRESH_INTERVAL, part);
};
for (const part of document.querySelectorAll("[data-refresh]")) {
  setTimeout(refresh, REFRESH_INTERVAL, part);
}

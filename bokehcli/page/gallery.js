"use strict";
// Names and messages are only ever set as text and as attributes, never as markup.
const photos = JSON.parse(document.getElementById("facts").textContent);
const list = document.getElementById("photos");
const template = document.getElementById("card");
const cards = [];
const waiting = new Set();

const kindOf = (photo) => photo.status === "failed" ? "failed" : photo.subject === false ? "no-subject" : "rendered";
const isOf = (photo, kind) => kind === "all" || (kind === "unsure" ? photo.unsure && kindOf(photo) === "rendered" : kindOf(photo) === kind);
const counted = (count, one, many) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

function moveTo(frame, percent) {
  const range = frame.querySelector("input");
  range.value = Math.round(Math.min(100, Math.max(0, percent)));
  range.setAttribute("aria-valuetext", `${range.value} % before, ${100 - range.value} % after`);
  frame.style.setProperty("--at", `${range.value}%`);
}

function letDrag(frame) {
  const range = frame.querySelector("input");
  const follow = (event) => {
    const box = frame.getBoundingClientRect();
    moveTo(frame, 100 * (event.clientX - box.left) / box.width);
  };
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    frame.setPointerCapture(event.pointerId);
    range.focus({ preventScroll: true });
    event.preventDefault();
    follow(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });
  range.addEventListener("input", () => moveTo(frame, range.value));
}

function makeCard(photo, number) {
  const card = template.content.firstElementChild.cloneNode(true);
  const find = (selector) => card.querySelector(selector);
  const frame = find(".frame");
  find("h2").textContent = photo.name;
  find("h2").id = `n${number}`;
  find("article").setAttribute("aria-labelledby", `n${number}`);
  const facts = [];
  const stays = photo.unsure && photo.pictures !== null && !photo.pictures[0];
  if (photo.status !== "failed") facts.push(photo.subject === false ? "no clear subject, stays as it is" : stays ? "unsure of the subject, stays as it is" : photo.status === "skipped" ? "done earlier" : "rendered");
  if (photo.megapixels) facts.push(`${photo.megapixels} megapixels`);
  if (photo.status === "done") facts.push(`${photo.seconds} s`);
  find(".facts").textContent = facts.join(" \u00b7 ");
  find(".error").textContent = photo.error === null ? "" : `Failed: ${photo.error}`;
  for (const warning of photo.warnings) find(".warnings").appendChild(document.createElement("li")).textContent = warning;
  for (const side of ["before", "after"]) {
    const link = find(`.to-${side}`);
    if (photo[side] === null) link.remove();
    else link.href = photo[side];
  }
  find(".to-before").setAttribute("aria-label", `Photo, ${photo.source}`);
  if (find(".to-after")) find(".to-after").setAttribute("aria-label", `Result, ${photo.name}`);
  const button = find("button");
  if (photo.pictures === null) {
    frame.classList.add("empty");
    button.remove();
    return card;
  }
  const [hasAfter, hasMap] = photo.pictures;
  frame.style.setProperty("--shape", photo.size[1] / photo.size[0]);
  find(".before").alt = `${hasAfter ? "Before" : "Photo"}: ${photo.name}`;
  find(".map").alt = `What is in focus, white: ${photo.name}`;
  if (hasAfter) {
    find(".after").alt = `After: ${photo.name}`;
    frame.querySelector("input").setAttribute("aria-label", `Before and after, ${photo.name}`);
    moveTo(frame, 50);
    letDrag(frame);
  } else {
    frame.classList.add("alone");
    frame.querySelector("input").remove();
    find(".after").remove();
  }
  if (hasMap) {
    button.setAttribute("aria-label", `What is in focus, ${photo.name}`);
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", shown);
      frame.classList.toggle("mapped", shown);
      find(".map").hidden = !shown;
    });
  } else {
    button.remove();
  }
  return card;
}

// The pictures come after this script, as base64 in blocks of text, a line each: before, after, map.
function fill(number) {
  const block = document.getElementById(`p${number}`);
  if (block === null || (block.nextElementSibling === null && document.readyState === "loading")) return false;
  const lines = block.textContent.split("\n");
  ["before", "after", "map"].forEach((name, line) => {
    const picture = cards[number].querySelector(`.${name}`);
    const type = lines[line].startsWith("UklGR") ? "webp" : "jpeg"; // which begins with RIFF
    if (picture !== null && lines[line]) picture.src = `data:image/${type};base64,${lines[line]}`;
  });
  return true;
}

function fillWaiting() {
  for (const number of waiting) if (fill(number)) waiting.delete(number);
}

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    observer.unobserve(entry.target);
    const number = Number(entry.target.dataset.number);
    if (photos[number].pictures !== null && !fill(number)) waiting.add(number);
  }
}, { rootMargin: "100% 0%" });

const batch = document.createDocumentFragment();
photos.forEach((photo, number) => {
  const card = makeCard(photo, number);
  card.dataset.number = number;
  cards.push(card);
  batch.appendChild(card);
});
list.appendChild(batch);
cards.forEach((card) => observer.observe(card));
const ticking = setInterval(fillWaiting, 200);
document.addEventListener("DOMContentLoaded", () => {
  clearInterval(ticking);
  fillWaiting();
});

const form = document.getElementById("filter");
const search = document.getElementById("search");
const counts = {};
for (const option of form.elements.kind) {
  counts[option.value] = photos.filter((photo) => isOf(photo, option.value)).length;
  option.nextElementSibling.textContent += ` (${counts[option.value].toLocaleString()})`;
  option.disabled = counts[option.value] === 0 && option.value !== "all";
}
document.getElementById("summary").textContent = [
  counted(photos.length, "photo", "photos"),
  counted(counts.rendered, "rendered", "rendered"),
  ...(counts.unsure ? [counted(counts.unsure, "with an unsure subject", "with an unsure subject")] : []),
  counted(counts["no-subject"], "without a clear subject", "without a clear subject"),
  counted(counts.failed, "failed", "failed"),
].join(" \u00b7 ");

function filter() {
  const kind = form.elements.kind.value;
  const words = search.value.trim().toLowerCase();
  let shown = 0;
  photos.forEach((photo, number) => {
    const wanted = isOf(photo, kind) && photo.name.toLowerCase().includes(words);
    cards[number].hidden = !wanted;
    shown += wanted;
  });
  document.getElementById("shown").textContent = kind === "all" && !words ? "" : `${counted(shown, "photo", "photos")} shown`;
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());

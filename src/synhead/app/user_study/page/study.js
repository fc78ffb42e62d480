"use strict";
// One page at a time: show videos by letter, collect a ranking for each question, send, show the next.

const $ = (selector) => document.querySelector(selector);
const ORDINALS = ["1st", "2nd", "3rd"];
const ordinal = (rank) => ORDINALS[rank] || `${rank + 1}th`;

const state = { code: null, page: null, questions: {}, orders: {}, since: 0, sending: false, unknown: null };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function say(text) {
  $("#message").textContent = text;
  $("#message").hidden = !text;
  if (text) window.scrollTo({ top: 0 });
}

async function send(path, body) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({}));
  const text = typeof told.detail === "string" ? told.detail : "Codes are 3 to 40 letters, digits, - or _.";
  throw Object.assign(new Error(text), { status: response.status });
}

function show(reply) {
  state.code = reply.code;
  state.page = reply.page;
  state.questions = reply.questions;
  history.replaceState(null, "", `#${reply.code}`);
  $("#welcome").hidden = true;
  $("#page").hidden = !reply.page;
  $("#done").hidden = Boolean(reply.page);
  $("#whoami").hidden = false;
  $("#whoami strong").textContent = reply.code;
  $("#progress").hidden = !reply.page;
  if (reply.page) showPage(reply.page);
}

function showPage(page) {
  state.since = performance.now();
  state.orders = Object.fromEntries(Object.keys(state.questions).map((name) => [name, []]));
  $("progress").max = page.total;
  $("progress").value = page.number;
  $("#progress span").textContent = `Page ${page.number + 1} of ${page.total}`;
  $("#reference").replaceChildren(...(page.reference ? [reference(page)] : []));
  $("#videos").replaceChildren(
    ...page.videos.map(({ letter, token }) =>
      make("figure", {}, player(`video/${token}`, `Video ${letter}`), make("figcaption", {}, letter))),
  );
  $("#questions").replaceChildren(...Object.entries(state.questions).map(([name, words]) => question(name, words)));
  refresh();
  window.scrollTo({ top: 0 });
  playAll();
}

function player(source, label) {
  const video = make("video", { src: source, "aria-label": label, preload: "auto", loop: "", playsinline: "", controls: "" });
  video.setAttribute("controlslist", "nodownload noremoteplayback");
  video.disablePictureInPicture = true;
  video.muted = true;
  return video;
}

function reference(page) {
  const source = `reference/${page.token}`;
  const shown = page.reference === "image" ? make("img", { src: source, alt: "Source and driver" }) : player(source, "Source and driver");
  return make("figure", {}, shown, make("figcaption", {}, "What the programs were given"));
}

function question(name, words) {
  const buttons = state.page.videos.map(({ letter, token }) => {
    const button = make("button", { type: "button", class: "choice", "data-token": token }, letter, make("span"));
    button.addEventListener("click", () => toggle(name, token));
    return button;
  });
  return make("fieldset", { "data-question": name }, make("legend", {}, words),
    make("div", { class: "order", role: "group", "aria-label": "Choose from best to worst" }, ...buttons));
}

function toggle(name, token) {
  const order = state.orders[name];
  const place = order.indexOf(token);
  const all = state.page.videos.map((video) => video.token);
  if (place >= 0) order.splice(place);
  else order.push(token);
  if (place < 0 && order.length === all.length - 1) order.push(...all.filter((other) => !order.includes(other)));
  refresh();
}

const complete = (name) => state.orders[name].length === state.page.videos.length;
const openQuestion = () => Object.keys(state.questions).find((name) => !complete(name));

function refresh() {
  const active = openQuestion();
  for (const fieldset of document.querySelectorAll("fieldset")) {
    const name = fieldset.dataset.question;
    const order = state.orders[name];
    fieldset.classList.toggle("active", name === active);
    for (const button of fieldset.querySelectorAll(".choice")) {
      const place = order.indexOf(button.dataset.token);
      const letter = button.firstChild.textContent;
      button.setAttribute("aria-pressed", String(place >= 0));
      button.setAttribute("aria-label", place >= 0 ? `Video ${letter}, ${ordinal(place)}` : `Video ${letter}, not ranked`);
      button.querySelector("span").textContent = place >= 0 ? ordinal(place) : "–";
    }
  }
  $("#next").disabled = Boolean(active) || state.sending;
  $("#next").textContent = state.page.number + 1 === state.page.total ? "Finish" : "Next page";
  $("#missing").textContent = active ? "Choose from best to worst, in every question." : "";
}

function undo() {
  const names = Object.keys(state.questions).filter((name) => state.orders[name].length);
  const name = names[names.length - 1];
  if (!name) return;
  const order = state.orders[name];
  order.splice(complete(name) ? order.length - 2 : order.length - 1);
  refresh();
}

async function next() {
  if (openQuestion() || state.sending) return;
  state.sending = true;
  refresh();
  try {
    const seconds = (performance.now() - state.since) / 1000;
    const reply = await send("api/answer", { code: state.code, page: state.page.token, rankings: state.orders, seconds });
    say("");
    state.sending = false;
    show(reply);
  } catch (error) {
    state.sending = false;
    refresh();
    say(`${error.message} (Your ranking is still here: try again.)`);
  }
}

const players = () => [...document.querySelectorAll("#page video")];

function playAll() {
  for (const video of players()) {
    video.currentTime = 0;
    video.play().catch(() => {}); // the browser may wait for a click first
  }
}

function playOrPause() {
  const paused = players().some((video) => video.paused);
  for (const video of players()) paused ? video.play().catch(() => {}) : video.pause();
}

function onKey(event) {
  if ($("#page").hidden || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, video")) return;
  const active = openQuestion();
  // once all is ranked, Enter goes on even where the last click has left the focus
  const onButton = event.target.closest(active || event.key !== "Enter" ? "button" : "button:not(.choice)");
  const letter = state.page.videos.find((video) => video.letter === event.key.toUpperCase());
  if (letter && active && !state.orders[active].includes(letter.token)) toggle(active, letter.token);
  else if (event.key === "Backspace") undo();
  else if (event.key === " " && !onButton) playOrPause();
  else if (event.key === "Enter" && !onButton) next();
  else return;
  event.preventDefault();
}

async function join(code, begin = false) {
  offer(null);
  try {
    const reply = await send("api/join", code ? { code, begin } : {});
    say("");
    show(reply);
  } catch (error) {
    say(error.message);
    if (error.status === 404) offer(code);
  }
}

function offer(code) {
  state.unknown = code;
  $("#unknown").hidden = !code;
  $("#unknown strong").textContent = code || "";
  if (code) $("#code").value = code;
}

$("#welcome form").addEventListener("submit", (event) => {
  event.preventDefault();
  join($("#code").value.trim());
});
$("#begin").addEventListener("click", () => join(state.unknown, true));
$("#play").addEventListener("click", playAll);
$("#next").addEventListener("click", next);
document.addEventListener("keydown", onKey);
if (location.hash.length > 1) join(decodeURIComponent(location.hash.slice(1)));

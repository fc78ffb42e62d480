// One job at a time: send it, watch it, show it. The job's id is in the address, so that a reload goes on.

import { ENDED, call, outputOf, sentence, upload, wait } from "./api.js";
import { drawn, filled, setUp } from "./inputs.js";

const $ = (selector) => document.querySelector(selector);
const POLL_MS = 400;
const RETRIES = 10;
const ANNOUNCED = 0.25; // share of the frames between two announcements

const state = { id: null, upload: null, spoken: 0, status: null };

function show(...names) {
  for (const name of ["form", "running", "done"]) $(`#${name}`).hidden = !names.includes(name);
}

function complain(text) {
  $("#problem").textContent = text;
  $("#problem").hidden = !text;
  if (text) $("#problem").scrollIntoView({ block: "nearest" });
}

const speak = (text) => ($("#spoken").textContent = text);

function tell(text, share) {
  $("#now").textContent = text;
  if (share === null) $("#bar").removeAttribute("value");
  else $("#bar").value = share;
}

async function start(event) {
  event.preventDefault();
  complain("");
  let form;
  try {
    form = filled();
  } catch (error) {
    complain(error.message);
    return;
  }
  state.upload = new AbortController();
  begin("Sending the files…");
  try {
    const sent = await upload(form, (share) => tell(percent("Sending the files", share), share), state.upload.signal);
    state.upload = null;
    await watch(sent.id);
  } catch (error) {
    failed(error);
  }
}

const percent = (words, share) => (share === null ? `${words}…` : `${words}: ${Math.floor(100 * share)} %`);

function begin(words) {
  show("running");
  $("#thumb").hidden = !drawn();
  if (drawn()) $("#thumb").src = drawn();
  $("#cancel").disabled = false;
  tell(words, null);
  speak(words);
  state.spoken = 0;
  $("#running").focus({ preventScroll: false });
}

function back(problem, words = "", address = location.pathname) {
  state.id = state.upload = null;
  history.replaceState(null, "", address);
  show("form");
  complain(problem);
  speak(words);
  $("#start").focus();
}

/** A job of a server that cannot be reached may go on: the address keeps it. */
function failed(error) {
  if (error.name === "AbortError") back("");
  else if (error.status === 0 && state.id) back(`${error.message} Reload this page to go on with the job.`, "", `#${state.id}`);
  else back(error.message);
}

/** Until the job has ended; a server that cannot be reached for a moment is asked again. */
async function watch(id) {
  state.id = id;
  history.replaceState(null, "", `#${id}`);
  let failures = 0;
  for (;;) {
    let status;
    try {
      status = await call("GET", `jobs/${id}`);
      failures = 0;
    } catch (error) {
      failures += 1;
      if (error.status !== 0 || failures > RETRIES) throw error;
      tell("The server does not answer; trying again…", null);
      await wait(POLL_MS * failures);
      continue;
    }
    if (state.id !== id) return;
    if (ENDED.includes(status.state)) {
      end(status);
      return;
    }
    report(status);
    await wait(POLL_MS);
  }
}

function report({ state: now, place, frames_done: done, frames_total: total }) {
  if ($("#cancel").disabled) return;
  if (now === "queued") tell(place === 1 ? "Next in the queue…" : `Number ${place} in the queue…`, null);
  else if (!done) tell("Looking for faces and their movements…", null);
  else if (total === null) tell(`${done} frames`, null);
  else {
    const share = Math.min(1, done / total);
    tell(share < 1 ? `Frame ${done} of ${total}` : "Finishing the files…", share);
    if (share >= state.spoken + ANNOUNCED) {
      state.spoken = Math.floor(share / ANNOUNCED) * ANNOUNCED;
      speak(`${Math.round(100 * state.spoken)} % done`);
    }
  }
}

async function cancel() {
  $("#cancel").disabled = true;
  tell("Stopping…", null);
  state.upload?.abort();
  if (!state.id) return;
  try {
    await call("POST", `jobs/${state.id}/cancel`);
  } catch (error) {
    failed(error);
  }
}

function end(status) {
  if (status.state === "failed") return back(sentence(status.error));
  if (status.state === "cancelled") return back("", "Cancelled. Nothing was kept.");
  state.status = status;
  show("done");
  const { report: facts } = status;
  const notes = facts.warnings.map((text) => Object.assign(document.createElement("li"), { textContent: sentence(text) }));
  $("#notes").replaceChildren(...notes);
  const size = `${facts.width} × ${facts.height} pixels`;
  $("#kept").textContent = `${facts.frames} frames, ${size}, ${round(facts.fps)} frames a second. Kept on this server for ${Math.max(1, Math.round(status.kept_seconds / 60))} more minutes; your photo and clip are deleted already.`;
  $("#beside").hidden = !status.outputs.includes("side-by-side");
  $("#beside").setAttribute("aria-pressed", "false");
  play("result");
  speak("Done. The result is ready.");
  $("#done").focus();
  return undefined;
}

const round = (rate) => Math.round(rate * 100) / 100;

function play(which) {
  const source = outputOf(state.id, which);
  const name = which === "result" ? "The result" : "Portrait, driver and result side by side";
  const picture = document.createElement(state.status.kind === "gif" ? "img" : "video");
  if (picture.tagName === "IMG") picture.alt = name;
  else {
    Object.assign(picture, { controls: true, loop: true, muted: true, autoplay: true, playsInline: true });
    picture.setAttribute("aria-label", name);
  }
  picture.src = source;
  $("#player").replaceChildren(picture);
  $("#download").href = `${source}?download=1`;
}

function toggle() {
  const pressed = $("#beside").getAttribute("aria-pressed") === "true";
  $("#beside").setAttribute("aria-pressed", String(!pressed));
  play(pressed ? "result" : "side-by-side");
}

async function remove() {
  try {
    await call("DELETE", `jobs/${state.id}`);
    back("", "Deleted.");
  } catch (error) {
    failed(error);
  }
}

async function open() {
  const [facts, templates] = await Promise.all([call("GET", "options"), call("GET", "templates")]);
  setUp(facts, templates);
  $("#untrained").hidden = facts.trained;
  $("#untrained").textContent = `The weights of this server are untrained (${facts.model}): everything runs, but the result will not be a face.`;
  $("#live").hidden = !facts.live;
  $("#sign-out").hidden = !facts.locked;
  const id = location.hash.slice(1);
  if (!id) return;
  begin("Looking for the job…");
  await watch(id).catch(failed);
}

$("#form").addEventListener("submit", start);
$("#form").addEventListener("invalid", () => ($("#more").open = true), true); // a field out of sight cannot be told of
$("#cancel").addEventListener("click", cancel);
$("#beside").addEventListener("click", toggle);
$("#again").addEventListener("click", () => {
  $("#player").replaceChildren();
  back("");
});
$("#remove").addEventListener("click", remove);
$("#sign-out").addEventListener("click", async () => {
  await call("POST", "logout").catch(() => {});
  location.replace("login");
});
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault()); // no leaving
open().catch((error) => complain(error.message));

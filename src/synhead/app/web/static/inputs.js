// What the person chooses: two files or a template, and the options, with a preview of the crop.

import { call, sentence } from "./api.js";

const $ = (selector) => document.querySelector(selector);
const SEEN = ["crop", "face", "crop_scale", "upright"]; // options that the preview depends on
const DELAY_MS = 250;

const chosen = { portrait: null, driver: null };
let facts = null;
let looking = null;
let later = 0;

export function setUp(given, templates) {
  facts = given;
  for (const [name, value] of Object.entries(facts.defaults)) {
    const field = $("#form").elements[name];
    if (!field) continue;
    if (field.type === "checkbox") field.checked = value;
    else field.value = value ?? "";
  }
  $("#form").elements.side_by_side.checked = true; // on this page one wants to see it
  showValues();
  const { driving_bytes: bytes, seconds } = facts.limits;
  $("#clip-limit").textContent = `MP4, MOV or WebM, up to ${seconds} s and ${bytes / 1e6} MB`;
  for (const each of templates) {
    const length = each.seconds === null ? "" : `, ${each.seconds.toFixed(1)} s`;
    $("#template").append(new Option(`${each.name}${length}`, each.name));
  }
  $("#template-row").hidden = templates.length === 0;
  accept("portrait", "#portrait", "#portrait-drop");
  accept("driver", "#driver", "#driver-drop");
  $("#template").addEventListener("change", () => {
    if ($("#template").value) take("driver", null);
  });
  $("#form").addEventListener("input", (event) => {
    showValues();
    if (SEEN.includes(event.target.name)) preview();
  });
}

export const options = () => {
  const form = $("#form").elements;
  const number = (name) => (form[name].value === "" ? null : Number(form[name].value));
  return {
    crop: form.crop.value,
    face: form.face.value,
    crop_scale: number("crop_scale"),
    upright: form.upright.checked,
    driving_crop: form.driving_crop.value,
    motion: form.motion.value,
    reference: number("reference"),
    smooth: number("smooth"),
    multiplier: form.motion.value === "absolute" ? 1 : number("multiplier"),
    paste_back: form.paste_back.value,
    max_side: number("max_side") ?? facts.defaults.max_side,
    side_by_side: form.side_by_side.checked,
    kind: form.kind.value,
    sound: form.sound.checked,
    label: form.label.value.trim() || null,
  };
};

/** The picture with the crop, as far as there is one. */
export const drawn = () => ($("#preview").hidden ? "" : $("#preview").src);

/** The form to send, or an Error that says what is missing. */
export function filled() {
  if (!chosen.portrait) throw missing("#portrait", "Choose a photo first.");
  const template = $("#template").value;
  if (!chosen.driver && !template) throw missing("#driver", "Choose a clip first, or pick a motion.");
  const form = new FormData();
  form.append("options", new Blob([JSON.stringify(options())], { type: "application/json" }));
  form.append("portrait", chosen.portrait);
  if (chosen.driver) form.append("driving", chosen.driver);
  else form.append("template", template);
  return form;
}

function missing(field, words) {
  $(field).focus();
  return new Error(words);
}

function accept(which, input, zone) {
  const taken = () => $(input).files.length && take(which, $(input).files[0]);
  $(input).addEventListener("change", taken);
  taken(); // chosen before this ran, or kept by the browser over a reload
  $(zone).addEventListener("dragover", (event) => {
    event.preventDefault();
    $(zone).classList.add("over");
  });
  $(zone).addEventListener("dragleave", () => $(zone).classList.remove("over"));
  $(zone).addEventListener("drop", (event) => {
    event.preventDefault();
    $(zone).classList.remove("over");
    if (event.dataTransfer.files.length) take(which, event.dataTransfer.files[0]);
  });
}

function take(which, file) {
  const most = facts.limits[which === "portrait" ? "portrait_bytes" : "driving_bytes"];
  const told = $(`#${which}-told`);
  const large = file && file.size > most;
  chosen[which] = large ? null : file; // what was chosen before is not what is wanted now
  told.classList.toggle("bad", Boolean(large));
  if (large) told.textContent = `This file has ${Math.ceil(file.size / 1e6)} MB; ${most / 1e6} MB is the most.`;
  else told.textContent = file ? file.name : "";
  if (which === "portrait") {
    $("#preview").hidden = true;
    preview();
  } else {
    if (large) $("#template").value = "";
    showClip(chosen.driver);
  }
}

function showClip(file) {
  const video = $("#clip");
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.hidden = true;
  if (!file) {
    $("#driver").value = "";
    return;
  }
  $("#template").value = "";
  if (file.name.endsWith(".safetensors")) return;
  video.addEventListener("loadeddata", () => (video.hidden = false), { once: true }); // what cannot play stays a name
  video.src = URL.createObjectURL(file);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
}

/** Ask where the crop is, a moment after the last change; a later question takes the place of an earlier one. */
function preview() {
  clearTimeout(later);
  looking?.abort();
  $("#portrait-drop").classList.remove("busy");
  if (chosen.portrait) later = setTimeout(look, DELAY_MS);
}

async function look() {
  looking = new AbortController();
  const told = $("#portrait-told");
  $("#portrait-drop").classList.add("busy");
  told.classList.remove("bad");
  told.textContent = "Looking for faces…";
  const { crop, face, crop_scale, upright } = options();
  const form = new FormData();
  form.append("options", new Blob([JSON.stringify({ crop, face, crop_scale, upright })], { type: "application/json" }));
  form.append("portrait", chosen.portrait);
  try {
    const found = await call("POST", "preview", form, looking.signal);
    $("#preview").src = found.picture;
    $("#preview").alt = "The photo; the square that will be animated is drawn in green, faces in yellow";
    $("#preview").hidden = false;
    told.textContent = words(found);
    offerFaces(found.faces.length);
  } catch (error) {
    if (error.name === "AbortError") return;
    told.textContent = error.message;
    told.classList.add("bad");
  }
  $("#portrait-drop").classList.remove("busy");
}

function words({ faces, note }) {
  if (note) return sentence(note);
  if (!faces.length) return "The green square will be animated.";
  const found = faces.length === 1 ? "One face found" : `${faces.length} faces found, numbered`;
  return `${found}. The green square will be animated.`;
}

function offerFaces(count) {
  const select = $("#face");
  const before = select.value;
  for (const option of [...select.options]) if (/^\d/.test(option.value)) option.remove();
  if (count > 1) for (let i = 0; i < count; i += 1) select.append(new Option(`number ${i}`, String(i)));
  select.value = before;
}

function showValues() {
  for (const output of document.querySelectorAll("output[for]")) {
    output.textContent = document.getElementById(output.htmlFor.value).value;
  }
  const absolute = $("#motion").value === "absolute";
  for (const name of ["multiplier", "reference"]) $(`#${name}`).disabled = absolute;
}

"use strict";
// Camera frames out, animated portraits in. Nothing queues: a frame is taken only when the server can use it, and of
// replies that come faster than they are decoded the newest is shown.

const $ = (selector) => document.querySelector(selector);

const SOCKET = new URL("../api/v1/live", location.href.replace(/^http/, "ws"));
const IN_FLIGHT = 2; // one is drawn while the next one travels
const SHORT_SIDE = 320; // of frames sent: neither face search nor keypoints see finer
const QUALITY = 0.8;
const REMEMBERED = 60; // replies that latency and rate are of
const RATE_MS = 5000; // and the time they may be old
const TOO_LARGE = 1009; // with which the server closes on messages too large to be received
const LARGE = "The portrait's file is too large for this server. Choose a smaller one.";

const state = { portrait: null, live: null };

function say(text) {
  $("#message").textContent = text;
  $("#message").hidden = !text;
  if (text) window.scrollTo({ top: 0 });
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

// ---- messages: length of the header, header as JSON, picture

function pack(header, picture) {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, text.length);
  return new Blob([length.buffer, text, picture]).arrayBuffer();
}

function unpack(message) {
  const length = new DataView(message).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  return { header, picture: new Blob([new Uint8Array(message, 4 + length)], { type: "image/jpeg" }) };
}

// ---- setting up

function choose(file) {
  if (!file) return;
  if (state.portrait) URL.revokeObjectURL($("#preview").src);
  state.portrait = file;
  $("#preview").src = URL.createObjectURL(file);
  $("#preview").hidden = false;
  $("#drop strong").textContent = "Choose another portrait";
  say("");
  refresh();
}

function refresh() {
  const missing = [state.portrait ? "" : "choose a portrait", $("#consent").checked ? "" : "say that the person agrees"].filter(Boolean);
  $("#start").disabled = missing.length > 0 || Boolean(state.live);
  $("#start").textContent = state.live ? "Starting …" : "Start camera";
  $("#missing").textContent = missing.length ? `To start, ${missing.join(" and ")}.` : "";
  for (const output of document.querySelectorAll("output")) output.textContent = $(`#${output.htmlFor}`).value;
}

function options() {
  return {
    crop: $("#center").checked ? "center" : "auto",
    multiplier: Number($("#multiplier").value),
    smooth: Number($("#smooth").value),
  };
}

// ---- a session

async function start() {
  const live = {
    sent: 0, settled: 0, camera: 0, shown: 0, dropped: 0, encoding: false, fresh: false, decoding: false, next: null,
    face: null, replies: [], encodeMs: 0, mirror: $("#mirror").checked, stream: null, socket: null, timer: 0, ready: false,
  };
  state.live = live;
  refresh();
  say("");
  try {
    live.stream = await openCamera();
    live.stream.getVideoTracks()[0].addEventListener("ended", () => stop(live, "The camera has gone. Connect it and start again."));
    $("#camera").srcObject = live.stream;
    await $("#camera").play();
    await connect(live);
  } catch (error) {
    stop(live, error.message);
  }
}

async function openCamera() {
  if (!navigator.mediaDevices) throw new Error("Browsers give the camera only to pages of this machine or over https. Open this page so.");
  const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" };
  try {
    return await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch (error) {
    if (error.name === "NotAllowedError") throw new Error("The camera is not allowed. Allow it in the address bar and start again.");
    if (error.name === "NotFoundError") throw new Error("No camera was found. Connect one and start again.");
    throw new Error(`The camera cannot be used (${error.message}). Close other programs that use it and start again.`);
  }
}

async function connect(live) {
  const hello = await pack(options(), state.portrait);
  const socket = new WebSocket(SOCKET);
  socket.binaryType = "arraybuffer";
  live.socket = socket;
  socket.addEventListener("open", () => socket.send(hello));
  socket.addEventListener("close", ({ code }) => stop(live, code === TOO_LARGE ? LARGE : "The connection was lost. Start again."));
  socket.addEventListener("message", ({ data }) => (typeof data === "string" ? told(live, JSON.parse(data)) : replied(live, data)));
  tell(live, "Looking at the portrait …");
}

function told(live, message) {
  if (message.type === "ready") {
    live.ready = true;
    $("#result").width = $("#result").height = message.size;
    $("#note").textContent = [message.note, message.faces ? "" : "This server cannot look for faces: keep yours in the middle."].join(" ").trim();
    $("#note").hidden = !$("#note").textContent;
    $("#setup").hidden = true;
    $("#stage").hidden = false;
    $("#recentre").focus();
    tell(live, "Looking for your face …");
    $("#camera").requestVideoFrameCallback(() => onCameraFrame(live));
    live.timer = setInterval(() => showFigures(live), 500);
  } else if (message.type === "error" && "number" in message) {
    live.settled = Math.max(live.settled, message.number);
    pump(live);
  } else if (message.type === "error") {
    const sentence = message.message[0].toUpperCase() + message.message.slice(1);
    stop(live, `${sentence}: ${message.remedy}.`);
  }
}

function onCameraFrame(live) {
  if (state.live !== live) return;
  live.camera += 1;
  live.fresh = true;
  pump(live);
  $("#camera").requestVideoFrameCallback(() => onCameraFrame(live));
}

function pump(live) {
  const busy = live.encoding || live.sent - live.settled >= IN_FLIGHT || live.socket.bufferedAmount > 0;
  if (!live.fresh || busy || live.socket.readyState !== WebSocket.OPEN) return;
  live.fresh = false;
  live.encoding = true;
  const time = performance.now();
  live.sent += 1;
  const number = live.sent;
  captured(live).toBlob(async (picture) => {
    const message = await pack({ number, time }, picture);
    live.encoding = false;
    live.encodeMs = performance.now() - time;
    if (live.socket.readyState === WebSocket.OPEN) live.socket.send(message);
    pump(live);
  }, "image/jpeg", QUALITY);
}

const canvas = document.createElement("canvas");
const pen = canvas.getContext("2d", { alpha: false, willReadFrequently: true });

function captured(live) {
  const video = $("#camera");
  const scale = Math.min(1, SHORT_SIDE / Math.min(video.videoWidth, video.videoHeight));
  const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  pen.setTransform(live.mirror ? -1 : 1, 0, 0, 1, live.mirror ? width : 0, 0);
  pen.drawImage(video, 0, 0, width, height);
  return canvas;
}

function replied(live, message) {
  const reply = { ...unpack(message), arrived: performance.now() };
  live.settled = Math.max(live.settled, reply.header.number); // older ones were dropped: replies come in order
  live.next = reply;
  pump(live);
  if (!live.decoding) show(live);
}

async function show(live) {
  live.decoding = true;
  while (live.next && state.live === live) {
    const { header, picture, arrived } = live.next;
    live.next = null;
    const bitmap = await createImageBitmap(picture);
    $("#result").getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    bitmap.close();
    const now = performance.now();
    live.shown += 1;
    live.dropped = header.dropped;
    live.replies.push({ at: now, latency: now - header.time, showMs: now - arrived, serverMs: header.ms });
    if (live.replies.length > REMEMBERED) live.replies.shift();
    if (header.face !== live.face) {
      live.face = header.face;
      tell(live, header.face ? "Following your face" : "No face is seen: the last picture stays");
    }
  }
  live.decoding = false;
}

function tell(live, text) {
  if (state.live === live) $("#state").textContent = text;
}

function figures(live) {
  const recent = live.replies.filter(({ at }) => at > performance.now() - RATE_MS);
  if (recent.length < 2) return null;
  const rate = (1000 * (recent.length - 1)) / (recent[recent.length - 1].at - recent[0].at);
  return { latency: median(recent.map(({ latency }) => latency)), rate };
}

function showFigures(live) {
  const found = figures(live);
  $("#latency").textContent = found ? `${Math.round(found.latency)} ms` : "–";
  $("#rate").textContent = found ? `${found.rate.toFixed(1)}` : "–";
  const dropped = Math.max(0, live.camera - live.shown - (live.sent - live.settled));
  $("#dropped").textContent = `${dropped} of ${live.camera}`;
}

function stop(live, reason = "") {
  if (state.live !== live) return; // stopped already
  state.live = null;
  clearInterval(live.timer);
  if (live.socket) live.socket.close();
  if (live.stream) for (const track of live.stream.getTracks()) track.stop();
  $("#camera").srcObject = null;
  $("#stage").hidden = true;
  $("#note").hidden = true;
  $("#setup").hidden = false;
  say(reason);
  refresh();
  $("#start").focus();
}

refresh();
$("#portrait").addEventListener("change", (event) => choose(event.target.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("#drop").classList.add("over");
});
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => $("#drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (!state.live) choose(event.dataTransfer.files[0]);
});
$("#setup").addEventListener("input", refresh);
$("#setup").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("#recentre").addEventListener("click", () => state.live?.socket.send(JSON.stringify({ command: "recentre" })));
$("#stop").addEventListener("click", () => state.live && stop(state.live));

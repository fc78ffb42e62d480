// The page's side of the HTTP API: every failure is an Error with a line for people.

const BASE = "api/v1";
export const ENDED = ["done", "failed", "cancelled"];
export const outputOf = (id, which) => `${BASE}/jobs/${id}/${which}`;

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function call(method, path, body, signal) {
  let answer;
  try {
    answer = await fetch(`${BASE}/${path}`, { method, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached; is it still running?");
  }
  if (answer.status === 401) location.replace(`login${location.hash}`); // which brings back to the same job
  if (answer.status === 204) return null;
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, sentence(told.detail || `The server answers ${answer.status}.`));
  return told;
}

/** A form sent with its progress (0 to 1) told; fetch cannot tell it. */
export function upload(form, tell, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${BASE}/jobs`);
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => tell(event.lengthComputable ? event.loaded / event.total : null));
    request.addEventListener("load", () => {
      if (request.status === 202) resolve(request.response);
      else reject(new Refused(request.status, sentence(request.response?.detail || `The server answers ${request.status}.`)));
    });
    request.addEventListener("error", () => reject(new Refused(0, "The upload was cut off; is the server still running?")));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

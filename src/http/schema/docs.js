// Shows the OpenAPI document and sends requests from it. Text is always set as text, never
// as markup.
"use strict";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function field(form, name, note, required) {
  const label = element("label", name + (required ? " (required)" : "") + (note ? ": " + note : ""));
  const input = element("input");
  input.name = name;
  label.append(input);
  form.append(label);
  return input;
}

function schemaOf(operation) {
  const content = (operation.requestBody || {}).content || {};
  return (content["multipart/form-data"] || {}).schema;
}

function noteOf(schema) {
  const limits = ["minimum", "maximum", "minLength", "maxLength", "maxItems"]
    .filter((key) => key in schema).map((key) => key + " " + schema[key]);
  return [schema.enum ? schema.enum.join(" or ") : schema.type, schema.format]
    .concat(limits).filter(Boolean).join(", ");
}

async function send(method, path, inputs, output) {
  const query = new URLSearchParams();
  const headers = {};
  let target = path;
  const body = new FormData();
  let hasBody = false;
  for (const { input, place, name } of inputs) {
    const files = input.type === "file" ? Array.from(input.files) : null;
    if (files ? files.length === 0 : input.value === "") continue;
    if (place === "path") target = target.replace("{" + name + "}", encodeURIComponent(input.value));
    else if (place === "query") query.set(name, input.value);
    else if (place === "header") headers[name] = input.value;
    else {
      hasBody = true;
      if (files) files.forEach((file) => body.append(name, file));
      else body.append(name, input.value);
    }
  }
  const url = target + (query.size ? "?" + query : "");
  output.textContent = method.toUpperCase() + " " + url;
  try {
    const answer = await fetch(url, {
      method: method.toUpperCase(), headers, credentials: "same-origin",
      body: hasBody ? body : undefined,
    });
    let text = await answer.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
    output.textContent = answer.status + " " + url + "\n\n" + text;
  } catch (error) {
    output.textContent = "The request failed: " + error;
  }
}

function show(path, method, operation) {
  const box = element("details");
  const head = element("summary");
  head.append(element("span", method, "method"), element("code", path), " " + operation.summary);
  box.append(head);
  const form = element("form");
  const inputs = [];
  for (const parameter of operation.parameters) {
    const input = field(form, parameter.name, noteOf(parameter.schema), parameter.required);
    inputs.push({ input, place: parameter.in, name: parameter.name });
  }
  const schema = schemaOf(operation);
  for (const [name, property] of Object.entries((schema || {}).properties || {})) {
    const input = field(form, name, noteOf(property), schema.required.includes(name));
    const isFile = property.format === "binary" || (property.items || {}).format === "binary";
    if (isFile) { input.type = "file"; input.multiple = property.type === "array"; }
    if (name === "password") input.type = "password";
    inputs.push({ input, place: "body", name });
  }
  form.append(element("p", "Answers: " + Object.entries(operation.responses)
    .map(([status, response]) => status + " " + response.description).join(", ")));
  const isStream = "text/event-stream" in ((operation.responses["200"] || {}).content || {});
  if (!isStream) form.append(element("button", "Send"));
  const output = element("pre");
  output.setAttribute("aria-live", "polite");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, output);
  });
  box.append(form, output);
  return box;
}

async function start() {
  const status = document.getElementById("status");
  try {
    const schema = await (await fetch("/api/schema/")).json();
    const rooms = new Map();
    for (const [path, methods] of Object.entries(schema.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        const room = operation.tags[0];
        if (!rooms.has(room)) rooms.set(room, []);
        rooms.get(room).push(show(path, method, operation));
      }
    }
    const place = document.getElementById("operations");
    for (const [room, boxes] of rooms) place.append(element("h2", room), ...boxes);
    status.textContent = "Version " + schema.info.version;
  } catch (error) {
    status.textContent = "The document could not be loaded: " + error;
  }
}

start();

// Shows the OpenAPI document and sends requests from it. Text is always set as text, never
// as markup.
"use strict";

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** A bearer token that goes with every request; without one it is the session's cookie. */
let token = "";

// --- schemas ---------------------------------------------------------------

let schemas = {};

const resolve = (schema) => (schema && schema.$ref ? schemas[schema.$ref.split("/").pop()] : schema) || {};

/** What a value looks like, in the words of the contract: {"id":int,"user":User}. */
function shape(schema, depth = 0) {
  if (!schema) return "";
  if (schema.$ref && depth > 0) return schema.$ref.split("/").pop();
  const { type, properties, items, ...rest } = resolve(schema);
  if ("const" in rest) return JSON.stringify(rest.const);
  if (rest.enum) return rest.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (items) return "[" + shape(items, depth + 1) + "]";
  if (!properties) return [type].flat().filter(Boolean).join(" | ") || "any";
  const indent = "  ".repeat(depth + 1);
  const fields = Object.entries(properties)
    .map(([name, field]) => indent + JSON.stringify(name) + ": " + shape(field, depth + 1));
  return "{\n" + fields.join(",\n") + "\n" + "  ".repeat(depth) + "}";
}

function noteOf(schema) {
  const limits = ["minimum", "maximum", "minLength", "maxLength", "maxItems"]
    .filter((key) => key in schema).map((key) => key + " " + schema[key]);
  const kind = schema.enum ? schema.enum.join(" or ") : [schema.type].flat().join(" or ");
  return [kind, schema.format, schema.description].concat(limits).filter(Boolean).join(", ");
}

// --- requests --------------------------------------------------------------

async function ask(method, url, { headers = {}, body } = {}) {
  const all = token ? { ...headers, Authorization: "Bearer " + token } : headers;
  return fetch(url, { method: method.toUpperCase(), headers: all, body, credentials: "same-origin" });
}

/** The request that a form amounts to. */
function request(path, inputs) {
  const query = new URLSearchParams();
  const headers = {};
  const body = new FormData();
  let target = path;
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
  return { url: target + (query.size ? "?" + query : ""), headers, body: hasBody ? body : undefined };
}

async function send(method, path, inputs, output) {
  const { url, headers, body } = request(path, inputs);
  output.textContent = method.toUpperCase() + " " + url + " …";
  try {
    const answer = await ask(method, url, { headers, body });
    if ((answer.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
      return await listen(answer, method + " " + url, output);
    }
    let text = await answer.text();
    try { text = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
    output.textContent = answer.status + " " + url + "\n\n" + text;
    if (path.startsWith("/api/accounts/")) showAccount();
  } catch (error) {
    output.textContent = "The request failed: " + error.message;
  }
}

/** Shows the first events of a stream and lets go of it after a minute. */
async function listen(answer, title, output) {
  output.textContent = title + "\n\n";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const timer = setTimeout(() => reader.cancel(), 60000);
  for (;;) {
    const { value, done } = await reader.read();
    if (done || output.textContent.length > 100000) break;
    output.textContent += value;
  }
  clearTimeout(timer);
  reader.cancel();
  output.textContent += "\n(closed)";
}

// --- who is asking ---------------------------------------------------------

function labelled(text, name, type, autocomplete) {
  const label = element("label", text);
  const input = element("input");
  Object.assign(input, { name, type, autocomplete, required: true });
  label.append(input);
  return label;
}

async function showAccount() {
  const place = document.getElementById("account");
  const status = await (await ask("GET", "/api/accounts/login_status/")).json();
  if (status.has_logged_in) {
    const text = element("span", "Logged in as " + status.user.username + " (id " + status.user.id + ")"
      + (token ? ", by bearer token. " : ", by session cookie. "));
    const out = element("button", token ? "Forget the token" : "Log out", "quiet");
    out.type = "button";
    out.addEventListener("click", async () => {
      if (token) token = "";
      else await ask("POST", "/api/accounts/logout/");
      showAccount();
    });
    return place.replaceChildren(text, out);
  }
  const form = element("form");
  const problem = element("span", "", "note");
  problem.setAttribute("role", "alert");
  const log = element("button", "Log in");
  const take = element("button", "Get a token", "quiet");
  take.value = "token";
  form.append(labelled("User name", "username", "text", "username"),
    labelled("Password", "password", "password", "current-password"), log, take, problem);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const byToken = event.submitter === take;
    const path = byToken ? "/api/accounts/token/" : "/api/accounts/login/";
    const answer = await ask("POST", path, { body: new FormData(form) });
    const body = await answer.json();
    if (!answer.ok) {
      problem.textContent = body.message;
      return;
    }
    if (byToken) token = body.token;
    showAccount();
  });
  place.replaceChildren(form);
}

// --- operations ------------------------------------------------------------

function field(name, note, required) {
  const label = element("label", name + (required ? " (required) " : " "));
  label.append(element("span", note, "note"));
  const input = element("input");
  input.name = name;
  input.required = required;
  label.append(input);
  return { label, input };
}

function bodyOf(operation) {
  const content = (operation.requestBody || {}).content || {};
  return resolve((content["multipart/form-data"] || Object.values(content)[0] || {}).schema);
}

function answers(operation) {
  const table = element("table");
  for (const [status, response] of Object.entries(operation.responses)) {
    const row = element("tr");
    row.append(element("td", status), element("td", response.description));
    table.append(row);
  }
  const success = Object.keys(operation.responses).find((status) => status.startsWith("2"));
  const content = Object.values((operation.responses[success] || {}).content || {})[0];
  const text = content && content.schema ? shape(content.schema) : "";
  return [element("h3", "Answers"), table].concat(text.startsWith("{") ? [element("pre", text)] : []);
}

function fill(box, path, method, operation) {
  const form = element("form");
  const inputs = [];
  const add = (name, schema, place, required) => {
    const { label, input } = field(name, noteOf(schema), required);
    const isFile = schema.format === "binary" || (schema.items || {}).format === "binary";
    if (isFile) { input.type = "file"; input.multiple = schema.type === "array"; }
    if (name === "password") { input.type = "password"; input.autocomplete = "off"; }
    inputs.push({ input, place, name });
    form.append(label);
  };
  for (const parameter of operation.parameters || []) {
    add(parameter.name, resolve(parameter.schema), parameter.in, Boolean(parameter.required));
  }
  const body = bodyOf(operation);
  for (const [name, property] of Object.entries(body.properties || {})) {
    add(name, resolve(property), "body", (body.required || []).includes(name));
  }
  form.append(element("button", "Send"));
  const output = element("pre", "", "output");
  output.setAttribute("aria-live", "polite");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(method, path, inputs, output);
  });
  const description = operation.description ? [element("p", operation.description)] : [];
  box.append(...description, form, output, ...answers(operation));
}

function show(path, method, operation) {
  const box = element("details", "", "operation");
  const head = element("summary");
  head.append(element("span", method, "method " + method), element("code", path),
    element("span", operation.summary, "what"));
  box.append(head);
  // Filled in when it is looked at: most are not.
  box.addEventListener("toggle", () => fill(box, path, method, operation), { once: true });
  return box;
}

async function start() {
  const status = document.getElementById("status");
  try {
    const schema = await (await fetch("/api/schema/")).json();
    schemas = (schema.components || {}).schemas || {};
    const methods = ["get", "post", "put", "patch", "delete"];
    const rooms = new Map();
    for (const [path, item] of Object.entries(schema.paths)) {
      for (const method of methods.filter((method) => item[method])) {
        const operation = item[method];
        const room = (operation.tags || ["other"])[0];
        if (!rooms.has(room)) rooms.set(room, []);
        rooms.get(room).push(show(path, method, operation));
      }
    }
    const place = document.getElementById("operations");
    for (const [room, boxes] of rooms) {
      const head = element("h2", room);
      head.id = room;
      const link = element("a", room);
      link.href = "#" + room;
      document.getElementById("rooms").append(link);
      place.append(head, ...boxes);
    }
    document.getElementById("version").textContent = schema.info.version;
    document.getElementById("about").textContent = schema.info.description || "";
    status.remove();
    await showAccount();
  } catch (error) {
    status.textContent = "The document could not be loaded: " + error.message;
  }
}

start();

// Logging in and signing up.
import { api } from "./api.js";
import { el } from "./dom.js";

const FIELDS = {
  username: { label: "User name", autocomplete: "username", autocapitalize: "none", spellcheck: false },
  email: { label: "E-mail", type: "email", autocomplete: "email" },
  password: { label: "Password", type: "password" },
};

/** Keeps the room of a hint that is still to come. */
const BLANK = "\u00a0";

const KINDS = {
  login: {
    title: "Log in", names: ["username", "password"], send: api.logIn, password: "current-password",
    other: ["New here? ", "#/signup", "Sign up"],
  },
  signup: {
    title: "Sign up", names: ["username", "email", "password"], send: api.signUp, password: "new-password",
    other: ["Have an account? ", "#/login", "Log in"],
    hints: { username: BLANK, password: BLANK }, rules,
  },
};

/** What the service wants of a new account: lengths are its settings. */
async function rules() {
  const { username, password } = await api.signUpFields();
  return {
    username: username.minLength + " to " + username.maxLength + " letters, digits or _",
    password: "At least " + password.minLength + " characters",
  };
}

/** Shows the form on `page`; `entered` is called with the user (u). */
export function showEntry(page, kind, entered) {
  const { title, names, send, password, other, rules } = KINDS[kind];
  let { hints = {} } = KINDS[kind];
  const inputs = new Map();
  const problem = el("p", { className: "wrong", role: "alert" });
  const button = el("button", { className: "button" }, title);
  const rows = names.map((name) => {
    const { label, ...properties } = FIELDS[name];
    const id = "entry-" + name;
    const input = el("input", {
      id, name, required: true, "aria-describedby": id + "-note", ...properties,
      ...(name === "password" ? { autocomplete: password } : {}),
    });
    const note = el("span", { id: id + "-note", className: "hint" }, hints[name] || "");
    inputs.set(name, { input, note });
    return el("div", { className: "field" }, el("label", { for: id }, label), input, note);
  });

  /** Shows the hints; where a complaint stands, later. */
  async function hint() {
    try {
      hints = await rules();
    } catch { /* Then only the API knows. */ }
    for (const [name, { note }] of inputs) {
      if (note.className === "hint") note.textContent = hints[name] || "";
    }
  }

  /** Puts each complaint under its field and the focus on the first. */
  function complain(error) {
    let first = null;
    for (const [name, { input, note }] of inputs) {
      const wrong = (error.fields[name] || []).join(" ");
      note.textContent = wrong || hints[name] || "";
      note.className = wrong ? "wrong" : "hint";
      input.setAttribute("aria-invalid", String(Boolean(wrong)));
      if (wrong && !first) first = input;
    }
    problem.textContent = first ? "" : error.message;
    if (first) first.focus();
  }

  const form = el("form", {
    className: "card", noValidate: true,
    on: {
      submit: async (event) => {
        event.preventDefault();
        if (button.disabled) return;
        button.disabled = true;
        try {
          const fields = names.map((name) => [name, inputs.get(name).input.value]);
          const { user } = await send(Object.fromEntries(fields));
          entered(user);
        } catch (error) {
          complain(error);
        }
        button.disabled = false;
      },
    },
  },
    el("h1", { tabIndex: -1 }, title),
    el("p", { className: "motto" }, "Roost shows what the people you follow have posted."), rows, problem, button,
    el("p", { className: "other" }, other[0], el("a", { href: other[1] }, other[2])));
  page.replaceChildren(el("div", { className: "entry" }, form));
  if (rules) hint();
  return () => {};
}

// Making elements. Text from others is always set as text, never read as markup.

/** An element with properties and children. `on` names listeners; `role`, `for` and names with a
 *  dash are attributes, all else are properties; null and false children are left out. */
export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    } else if (key.includes("-") || key === "role" || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== false));
  return made;
}

const ICONS = {
  heart: "M12 20s-7.5-4.6-9-9.2C2 7.5 4 5 6.8 5c2.2 0 3.8 1.2 5.2 3.2C13.4 6.2 15 5 17.2 5 20 5 22 7.5 21 10.8 19.5 15.4 12 20 12 20z",
  talk: "M4 5h16v11H11l-5 4v-4H4z",
  trash: "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12",
  turn: "M19 12a7 7 0 1 1-2.1-5M19 4v4h-4",
  photo: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  home: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c1-4 4-6 7.5-6s6.5 2 7.5 6",
  plus: "M12 5v14M5 12h14",
  out: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
};

/** A picture that says nothing to a screen reader: the text beside it does. */
export function icon(name) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 24 24");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  made.append(path);
  return made;
}

/** Text for screen readers only. */
export const hidden = (text) => el("span", { className: "hidden" }, text);

/** The name to show for a user (U). */
export const nameOf = (user) => user.nickname || user.username;

/** The way to a user's page. */
export const userLink = (user) => "#/u/" + user.username;

/** A user's picture, or the first letter. The name stands beside it, so it is not read out. */
export function avatar(user, size = "") {
  const className = ("avatar " + size).trim();
  if (user.avatar_url) return el("img", { className, src: user.avatar_url, alt: "", loading: "lazy" });
  const letter = Array.from(nameOf(user))[0].toUpperCase();
  return el("span", { className, "aria-hidden": "true" }, letter);
}

const SPANS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });

/** When something was: "5m ago" for a week, then the date. */
export function time(iso) {
  return el("time", { dateTime: iso, title: new Date(iso).toLocaleString("en") }, ago(iso));
}

function ago(iso) {
  const then = new Date(iso);
  const seconds = (Date.now() - then) / 1000;
  if (seconds >= 7 * 86400) {
    return then.toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
  }
  const span = SPANS.find(([, length]) => seconds >= length);
  return span ? AGO.format(-Math.floor(seconds / span[1]), span[0]) : "just now";
}

setInterval(() => {
  for (const shown of document.querySelectorAll("time")) shown.textContent = ago(shown.dateTime);
}, 60000);

let notice;

/** Says something at the bottom of the window, for a moment, and to screen readers. */
export function tell(text) {
  const place = document.getElementById("notice");
  clearTimeout(notice);
  place.textContent = text;
  notice = setTimeout(() => { place.textContent = ""; }, 6000);
}

/** Runs `work` while `button` cannot be pressed; a failure is told and not passed on. */
export async function busy(button, work) {
  if (button.disabled) return;
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    tell(error.message);
  } finally {
    button.disabled = false;
  }
}

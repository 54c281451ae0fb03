// Where everything begins: who is logged in, which page is asked for, and the way between them.
//
// The page uses nothing but the public API (api.js), so it is an example of a client, too.
import { api } from "./api.js";
import { el, icon, tell } from "./dom.js";
import { showFeed } from "./feed.js";
import { showPeople } from "./people.js";
import { showProfile } from "./profile.js";
import { showEntry } from "./session.js";
import { tweetCard } from "./tweet.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const find = document.getElementById("find");

let me = null;
let leave = () => {};
let visit = 0;

const ROUTES = [
  [/^$/, (page) => (me ? showFeed(page, me) : showEntry(page, "login", entered))],
  [/^login$/, (page) => showEntry(page, "login", entered)],
  [/^signup$/, (page) => showEntry(page, "signup", entered)],
  [/^u\/([^/]+)$/, (page, name) => showProfile(page, me, name)],
  [/^u\/([^/]+)\/(followers|followings)$/, (page, name, side) => showPeople(page, me, name, side)],
  [/^t\/(\d+)$/, showTweet],
];

async function showTweet(page, id) {
  const tweet = await api.tweet(id);
  // The detail shows the short form of the author; the card wants the full one.
  const user = await api.profileOf(tweet.user.username);
  const card = tweetCard({ ...tweet, user }, { me, open: true, removed: () => { location.hash = "#/"; } });
  card.classList.add("alone");
  page.replaceChildren(el("div", { className: "top" }, el("h1", { tabIndex: -1 }, "Tweet")), card);
  return () => {};
}

/** What stands behind the #, also when somebody has typed nonsense there. */
function address() {
  try {
    return decodeURIComponent(location.hash);
  } catch {
    return location.hash;
  }
}

/** Shows what the address asks for. What is ready only after the next call is dropped. */
async function route() {
  const path = address().replace(/^#\/?/, "");
  const number = ++visit;
  leave();
  leave = () => {};
  drawNav();
  const [pattern, show] = ROUTES.find(([pattern]) => pattern.test(path)) || [/^/, showNothing];
  const page = el("div");
  let left = () => {};
  main.setAttribute("aria-busy", "true");
  try {
    left = await show(page, ...path.match(pattern).slice(1));
  } catch (error) {
    showNothing(page, error.status === 404 ? undefined : error.message);
  }
  if (number !== visit) return left();
  leave = left;
  main.replaceChildren(page);
  main.removeAttribute("aria-busy");
  arrive();
}

/** The window's title, its place, and the focus: screen readers hear of the new page so. */
function arrive() {
  const title = main.querySelector("h1");
  document.title = title ? title.textContent + " · Roost" : "Roost";
  scrollTo({ top: 0 });
  const field = main.querySelector(".entry input");
  (field || title || main).focus({ preventScroll: true });
}

function showNothing(page, text = "There is nobody and nothing here.") {
  page.replaceChildren(el("div", { className: "empty" },
    el("h1", { tabIndex: -1 }, "Not shown"), el("p", {}, text), el("a", { href: "#/" }, "Home")));
  return () => {};
}

function drawNav() {
  const here = address();
  const link = (href, name, text) => el("a", {
    href, "aria-current": here === href || (href === "#/" && here === "") ? "page" : null,
  }, icon(name), text);
  nav.replaceChildren(...(me
    ? [link("#/", "home", "Home"), link("#/u/" + me.username, "person", "Profile"),
      el("button", { type: "button", className: "out", on: { click: logOut } }, icon("out"), "Log out")]
    : [link("#/login", "person", "Log in"), link("#/signup", "plus", "Sign up")]));
}

function entered(user) {
  me = user;
  go("#/");
}

async function logOut() {
  try {
    await api.logOut();
    me = null;
    go("#/login");
  } catch (error) {
    tell(error.message);
  }
}

/** Goes there, also when the address says so already. */
function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

find.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = find.elements.username.value.trim().replace(/^@/, "");
  if (name) location.hash = "#/u/" + encodeURIComponent(name.toLowerCase());
  find.reset();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", route);
window.addEventListener("roost:logged-out", () => {
  if (!me) return;
  me = null;
  tell("You have been logged out.");
  go("#/login");
});

try {
  const status = await api.status();
  me = status.has_logged_in ? status.user : null;
} catch (error) {
  tell(error.message);
}
route();

// Followers and followings, newest first.
import { api } from "./api.js";
import { avatar, busy, el, nameOf, userLink } from "./dom.js";
import { followButton } from "./profile.js";

const TITLES = { followers: "Followers of ", followings: "Followed by " };

/** Shows one of the two lists of `username` on `page`; returns how to leave. */
export async function showPeople(page, me, username, side) {
  const profile = await api.profileOf(username);
  const list = el("ul", { className: "people card" });
  const more = el("button", { type: "button", className: "button quiet" }, "Show more");
  let last;

  async function load() {
    const page = await api.friends(profile.id, side, last);
    last = page.results.at(-1)?.created_at;
    list.append(...page.results.map((friend) => person(friend, me)));
    more.hidden = !page.has_next_page;
    if (!list.hasChildNodes()) list.append(el("li", { className: "hint" }, "Nobody yet."));
  }

  more.addEventListener("click", () => busy(more, load));
  await load();
  const title = TITLES[side] + nameOf(profile);
  page.replaceChildren(
    el("div", { className: "top" }, el("h1", { tabIndex: -1 }, title),
      el("a", { href: userLink(profile) }, "Back to the profile")),
    list, el("div", { className: "more" }, more));
  return () => {};
}

function person({ user, has_followed: hasFollowed }, me) {
  const isMe = me && me.id === user.id;
  return el("li", {},
    avatar(user),
    el("div", { className: "who" },
      el("a", { className: "name", href: userLink(user) }, nameOf(user)),
      el("span", { className: "hint" }, "@" + user.username)),
    me && !isMe && followButton({ ...user, has_followed: hasFollowed }));
}

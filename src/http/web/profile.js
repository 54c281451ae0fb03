// Somebody's page: who it is, whom they follow, what they have posted.
import { api } from "./api.js";
import { avatar, busy, el, nameOf, tell } from "./dom.js";
import { timeline } from "./timeline.js";

/** Shows the page of `username` on `page`; returns how to leave. */
export async function showProfile(page, me, username) {
  const profile = await api.profileOf(username);
  const tweets = timeline({
    read: (cursors) => api.tweetsOf(profile.id, cursors), me,
    label: "Tweets by " + nameOf(profile), empty: "No tweets yet.",
  });
  const head = el("section", { className: "card profile", "aria-label": "Profile" });
  const draw = () => head.replaceChildren(...parts());

  function parts() {
    const isMine = me && me.id === profile.id;
    return [
      avatar(profile, "large"),
      el("div", { className: "who" },
        el("h1", { tabIndex: -1 }, nameOf(profile)),
        el("span", { className: "hint" }, "@" + profile.username)),
      isMine || !me ? el("span") : followButton(profile, draw),
      el("ul", { className: "counts" },
        count(profile.tweets_count, "tweet", "tweets"),
        count(profile.followers_count, "follower", "followers", "followers"),
        count(profile.followings_count, "following", "following", "followings")),
      isMine && editor(),
    ].filter(Boolean);
  }

  function count(number, one, many, side) {
    const text = [el("strong", {}, String(number)), " " + (number === 1 ? one : many)];
    const link = side && el("a", { href: "#/u/" + profile.username + "/" + side }, text);
    return el("li", {}, link || text);
  }

  function editor() {
    const nickname = el("input", { id: "nickname", maxLength: 200, value: profile.nickname || "" });
    const picture = el("input", { id: "avatar", type: "file", accept: "image/jpeg,image/png,image/webp,image/gif" });
    const button = el("button", { className: "button" }, "Save");
    const form = el("form", {
      on: {
        submit: (event) => {
          event.preventDefault();
          busy(button, save);
        },
      },
    },
      el("div", { className: "field" }, el("label", { for: "nickname" }, "Name"), nickname),
      el("div", { className: "field" }, el("label", { for: "avatar" }, "Picture"), picture), button);

    async function save() {
      const change = new FormData();
      if (nickname.value.trim()) change.append("nickname", nickname.value);
      if (picture.files[0]) change.append("avatar", picture.files[0]);
      const saved = await api.changeProfile(profile.id, change);
      profile.nickname = saved.nickname;
      profile.avatar_url = saved.avatar;
      draw();
      tweets.restart();
      tell("Saved.");
      head.querySelector("summary").focus();
    }
    return el("details", {}, el("summary", {}, "Edit your profile"), form);
  }

  draw();
  page.replaceChildren(head, tweets.box);
  tweets.older();
  return tweets.close;
}

/** Follows or unfollows, and keeps the profile's own numbers right. */
export function followButton(person, changed = () => {}) {
  const button = el("button", { type: "button", className: "button" });
  const show = () => {
    button.textContent = person.has_followed ? "Unfollow" : "Follow";
    button.classList.toggle("quiet", person.has_followed);
    button.setAttribute("aria-label", button.textContent + " " + nameOf(person));
  };
  button.addEventListener("click", () => busy(button, async () => {
    const was = person.has_followed;
    await (was ? api.unfollow(person.id) : api.follow(person.id));
    person.has_followed = !was;
    if ("followers_count" in person) person.followers_count += was ? -1 : 1;
    show();
    changed();
    const again = document.querySelector(".profile > .button");
    if (again) again.focus();
  }));
  show();
  return button;
}

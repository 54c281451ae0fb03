// One tweet as a card: who, when, what, photos, and what can be done with it.
import { api } from "./api.js";
import { avatar, busy, el, hidden, icon, nameOf, tell, time, userLink } from "./dom.js";
import { commentsOf } from "./comments.js";

/** A tweet (T). `me` is the viewer or null; `open` shows the comments at once;
 *  `removed` is called after the tweet has been deleted. */
export function tweetCard(tweet, { me, open = false, removed } = {}) {
  const headId = "tweet-" + tweet.id;
  const talk = talkButton(tweet, me);
  const card = el("article", { className: "tweet", tabIndex: 0, "aria-labelledby": headId },
    el("div", { className: "head" },
      el("a", { href: userLink(tweet.user), tabIndex: -1, "aria-hidden": "true" }, avatar(tweet.user)),
      el("div", { className: "who", id: headId },
        el("a", { className: "name", href: userLink(tweet.user) }, nameOf(tweet.user)),
        el("span", { className: "meta" }, "@" + tweet.user.username + " · ",
          el("a", { href: "#/t/" + tweet.id }, time(tweet.created_at)))),
      me && me.id === tweet.user.id && removeButton(tweet, removed)),
    el("p", { className: "text" }, tweet.content),
    photos(tweet),
    el("div", { className: "actions" },
      likeButton("tweet", tweet, me),
      talk.button),
    talk.panel);
  if (open) talk.toggle();
  return card;
}

function photos({ photo_urls: urls, user }) {
  if (urls.length === 0) return null;
  const shape = urls.length === 1 ? "one" : urls.length === 2 || urls.length === 4 ? "" : "many";
  return el("div", { className: ("photos " + shape).trim() }, urls.map((url, place) =>
    el("a", { href: url, target: "_blank", rel: "noopener" },
      el("img", {
        src: url, loading: "lazy",
        alt: "Photo " + (place + 1) + " of " + urls.length + " by " + nameOf(user),
      }))));
}

/** Likes or takes the like back; shown at once, and put back when the API refuses. */
export function likeButton(kind, item, me) {
  const count = el("span");
  const button = el("button", { type: "button", className: "action" }, icon("heart"), count);
  const show = () => {
    count.textContent = item.likes_count || "";
    button.setAttribute("aria-pressed", String(item.has_liked));
    const likes = item.likes_count === 1 ? "1 like" : item.likes_count + " likes";
    button.setAttribute("aria-label", "Like this " + kind + ", " + likes);
  };
  const turn = () => {
    item.has_liked = !item.has_liked;
    item.likes_count += item.has_liked ? 1 : -1;
    show();
  };
  let isBusy = false;
  button.addEventListener("click", async () => {
    if (!me) return tell("Log in to like.");
    if (isBusy) return;
    isBusy = true;
    turn();
    try {
      await (item.has_liked ? api.like(kind, item.id) : api.unlike(kind, item.id));
    } catch (error) {
      turn();
      tell(error.message);
    }
    isBusy = false;
  });
  show();
  return button;
}

/** The button that opens and closes the comments, and the place where they are shown. */
function talkButton(tweet, me) {
  const count = el("span");
  const panel = el("div", { hidden: true, id: "comments-" + tweet.id });
  const button = el("button", {
    type: "button", className: "action", "aria-expanded": "false", "aria-controls": panel.id,
  }, icon("talk"), count);
  const show = () => {
    const comments = tweet.comments_count === 1 ? "1 comment" : tweet.comments_count + " comments";
    count.textContent = tweet.comments_count || "";
    button.setAttribute("aria-label", comments);
  };
  const changed = (by) => { tweet.comments_count += by; show(); };
  const toggle = () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hasChildNodes()) panel.append(commentsOf(tweet, me, changed));
  };
  button.addEventListener("click", toggle);
  show();
  return { button, panel, toggle };
}

function removeButton(tweet, removed) {
  const button = el("button", { type: "button", className: "round" }, icon("trash"), hidden("Delete this tweet"));
  button.addEventListener("click", () => {
    if (!confirm("Delete this tweet for good?")) return;
    busy(button, async () => {
      await api.remove(tweet.id);
      tell("The tweet is gone.");
      if (removed) removed(tweet);
    });
  });
  return button;
}

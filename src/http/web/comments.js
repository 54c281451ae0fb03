// The comments of a tweet: oldest first, more on demand, and a line to write one.
import { api, idempotencyKey } from "./api.js";
import { avatar, busy, el, hidden, icon, nameOf, time, userLink } from "./dom.js";
import { likeButton } from "./tweet.js";

/** The list and its form; `changed` hears of +1 and -1. Loads by itself. */
export function commentsOf(tweet, me, changed) {
  const list = el("ol", { "aria-label": "Comments" });
  const state = el("div", { className: "hint", role: "status" }, "Loading …");
  const box = el("div", { className: "comments" }, list, state, me && form(tweet, add, changed));
  const shown = new Set();

  function add(comment) {
    if (shown.has(comment.id)) return;
    shown.add(comment.id);
    list.append(line(comment, me, (by) => { changed(by); note(); }));
    note();
  }

  /** Says that there is nothing, unless a button stands there. */
  function note() {
    if (!state.querySelector("button")) state.textContent = list.hasChildNodes() ? "" : "No comments yet.";
  }

  async function load(after) {
    try {
      const page = await api.comments(tweet.id, after);
      state.replaceChildren();
      page.comments.forEach(add);
      note();
      if (page.has_next_page) {
        const last = page.comments.at(-1).created_at;
        offer("Show more comments", () => load(last));
      }
    } catch (error) {
      offer(error.message + " Try again", () => load(after));
    }
  }

  function offer(text, then) {
    const button = el("button", { type: "button", className: "linkish" }, text);
    button.addEventListener("click", () => busy(button, then));
    state.replaceChildren(button);
  }

  load();
  return box;
}

function line(comment, me, changed) {
  const item = el("li", {},
    avatar(comment.user, "small"),
    el("div", { className: "said" },
      el("div", { className: "meta" },
        el("a", { className: "name", href: userLink(comment.user) }, nameOf(comment.user)), " ",
        time(comment.created_at)),
      el("p", {}, comment.content)),
    me && me.id === comment.user.id && removeButton(),
    likeButton("comment", comment, me));

  function removeButton() {
    const button = el("button", { type: "button", className: "action" }, icon("trash"), hidden("Delete this comment"));
    button.addEventListener("click", () => busy(button, async () => {
      await api.uncomment(comment.id);
      const next = item.nextElementSibling || item.previousElementSibling;
      item.remove();
      changed(-1);
      const other = next && next.querySelector("a");
      if (other) other.focus();
    }));
    return button;
  }
  return item;
}

function form(tweet, add, changed) {
  const id = "comment-on-" + tweet.id;
  const input = el("input", { id, name: "content", placeholder: "Write a comment", autocomplete: "off", required: true });
  const button = el("button", { className: "button" }, "Send");
  let key = idempotencyKey();
  return el("form", {
    on: {
      input: () => { key = idempotencyKey(); },
      submit: (event) => {
        event.preventDefault();
        busy(button, async () => {
          // The same key again after a failure: it may have been stored all the same.
          add(await api.comment(tweet.id, input.value, key));
          changed(1);
          input.value = "";
          key = idempotencyKey();
        });
      },
    },
  }, el("label", { className: "hidden", for: id }, "Comment"), input, button);
}

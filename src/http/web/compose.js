// Writing a tweet: text with a count, up to nine photos with a preview each.
import { api, idempotencyKey } from "./api.js";
import { busy, el, hidden, icon, tell } from "./dom.js";

// The API has the last word; these spare a round trip.
const MOST_PHOTOS = 9;
const LARGEST_PHOTO = 10 * 1024 * 1024;

/** The form; `posted` is called with the new tweet (T). */
export function composer(posted) {
  let files = [];
  let key = idempotencyKey();
  let longest = Infinity;
  const count = el("span", { className: "count" });
  const text = el("textarea", {
    id: "compose", name: "content", rows: 3, placeholder: "What has happened?",
    "aria-describedby": "compose-count",
  });
  count.id = "compose-count";
  const picker = el("input", {
    id: "compose-files", className: "hidden", type: "file", multiple: true,
    accept: "image/jpeg,image/png,image/webp,image/gif",
  });
  const previews = el("ul", { className: "previews", "aria-label": "Photos" });
  const button = el("button", { className: "button" }, "Post");

  const measure = () => {
    const length = Array.from(text.value.trim()).length;
    const left = longest - length;
    count.textContent = left < 60 ? left + " left" : "";
    count.classList.toggle("over", left < 0);
    button.disabled = length === 0 || left < 0;
  };

  // Another text or photo is another request; the same one again keeps its key.
  const changed = () => {
    key = idempotencyKey();
    measure();
  };

  const take = (chosen) => {
    const fitting = chosen.filter((file) => file.size <= LARGEST_PHOTO);
    if (fitting.length < chosen.length) tell("A photo may have at most 10 MiB.");
    if (files.length + fitting.length > MOST_PHOTOS) tell("At most nine photos.");
    files = files.concat(fitting).slice(0, MOST_PHOTOS);
    draw();
  };

  const draw = () => {
    previews.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
    previews.replaceChildren(...files.map((file) => {
      const drop = el("button", { type: "button" }, "×", hidden(" Remove " + file.name));
      drop.setAttribute("aria-label", "Remove " + file.name);
      drop.addEventListener("click", () => {
        files = files.filter((other) => other !== file);
        draw();
        picker.focus();
      });
      return el("li", {}, el("img", { src: URL.createObjectURL(file), alt: file.name }), drop);
    }));
    changed();
  };

  const send = async () => {
    const form = new FormData();
    form.append("content", text.value);
    files.forEach((file) => form.append("files", file));
    const tweet = await api.post(form, key);
    text.value = "";
    files = [];
    draw();
    posted(tweet);
  };

  text.addEventListener("input", changed);
  text.addEventListener("focus", async () => {
    try {
      longest = (await api.tweetFields()).content.maxLength;
      measure();
    } catch { /* Then only the API knows. */ }
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  picker.addEventListener("change", () => {
    take(Array.from(picker.files));
    picker.value = "";
  });
  const form = el("form", {
    className: "compose",
    on: {
      submit: async (event) => {
        event.preventDefault();
        if (button.disabled) return;
        await busy(button, send);
        measure();
      },
    },
  },
    el("label", { className: "hidden", for: "compose" }, "New tweet"), text, previews,
    el("div", { className: "row" },
      picker,
      el("label", { className: "round", for: "compose-files", title: "Add photos" }, icon("photo"), hidden("Add photos")),
      count, button));
  measure();
  return form;
}

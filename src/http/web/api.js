// The Roost API as this page uses it. The session cookie is the browser's business.

/** A refusal: the status, the API's message, and what is wrong with each field. */
export class ApiError extends Error {
  constructor(status, body, retryAfter) {
    super(sentence(status, body, retryAfter));
    this.status = status;
    this.code = body.code;
    this.fields = body.errors || {};
  }
}

function sentence(status, body, retryAfter) {
  if (status === 429 && retryAfter) return "Too fast. Try again in " + retryAfter + " s.";
  // Complaints of no field of ours, such as too many photos.
  const general = (body.errors || {}).message;
  return general ? general.join(" ") : body.message || "The request failed (" + status + ").";
}

/** Sends a request and gives the JSON of the answer.
 *  `query`: parameters; `body`: fields as an object (JSON) or FormData; `headers`; `signal`. */
async function send(method, path, { query, body, headers = {}, signal } = {}) {
  const url = query ? path + "?" + new URLSearchParams(query) : path;
  const init = { method, headers: { ...headers }, credentials: "same-origin", signal };
  if (body instanceof FormData) init.body = body;
  else if (body) {
    init.body = JSON.stringify(body);
    init.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(url, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { message: "The server cannot be reached." });
  }
  const json = await answer.json().catch(() => ({}));
  if (answer.ok) return json;
  if (answer.status === 403 && json.code === "not_authenticated") {
    window.dispatchEvent(new Event("roost:logged-out"));
  }
  throw new ApiError(answer.status, json, answer.headers.get("Retry-After"));
}

/** A key under which a request may be sent again without being carried out twice. */
export function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

let described;

/** The description of the API, asked for once: it is long. */
function description() {
  described ??= send("GET", "/api/schema/").catch((error) => {
    described = undefined;
    throw error;
  });
  return described;
}

/** What a POST takes, by field: `minLength`, `maxLength`. They are settings of the service. */
async function fieldsOf(path) {
  const { content } = (await description()).paths[path].post.requestBody;
  return content["application/json"].schema.properties;
}

const once = (key) => ({ "Idempotency-Key": key });
const target = (kind, id) => ({ content_type: kind, object_id: id });

export const api = {
  status: () => send("GET", "/api/accounts/login_status/"),
  signUpFields: () => fieldsOf("/api/accounts/signup/"),
  signUp: (fields) => send("POST", "/api/accounts/signup/", { body: fields }),
  logIn: (fields) => send("POST", "/api/accounts/login/", { body: fields }),
  logOut: () => send("POST", "/api/accounts/logout/"),

  feed: (cursors, signal) => send("GET", "/api/newsfeeds/", { query: cursors, signal }),
  tweetsOf: (userId, cursors, signal) =>
    send("GET", "/api/tweets/", { query: { user_id: userId, ...cursors }, signal }),
  tweet: (id) => send("GET", "/api/tweets/" + id + "/"),
  tweetFields: () => fieldsOf("/api/tweets/"),
  post: (form, key) => send("POST", "/api/tweets/", { body: form, headers: once(key) }),
  remove: (id) => send("DELETE", "/api/tweets/" + id + "/"),

  comments: (tweetId, after) => send("GET", "/api/comments/", {
    query: after ? { tweet_id: tweetId, created_at__gt: after } : { tweet_id: tweetId },
  }),
  comment: (tweetId, content, key) =>
    send("POST", "/api/comments/", { body: { tweet_id: tweetId, content }, headers: once(key) }),
  uncomment: (id) => send("DELETE", "/api/comments/" + id + "/"),
  like: (kind, id) => send("POST", "/api/likes/", { body: target(kind, id) }),
  unlike: (kind, id) => send("POST", "/api/likes/cancel/", { body: target(kind, id) }),

  profileOf: (username) => send("GET", "/api/profiles/", { query: { username } }),
  changeProfile: (id, form) => send("PATCH", "/api/profiles/" + id + "/", { body: form }),
  follow: (id) => send("POST", "/api/friendships/" + id + "/follow/"),
  unfollow: (id) => send("POST", "/api/friendships/" + id + "/unfollow/"),
  friends: (id, side, before) => send("GET", "/api/friendships/" + id + "/" + side + "/", {
    query: before ? { created_at__lt: before } : {},
  }),
};

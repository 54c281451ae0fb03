//! Every operation of the API, as the OpenAPI document shows it.

/// One method of one path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    /// Names of query and header parameters, described in `parameters`.
    pub(super) parameters: &'static [&'static str],
    /// Fields of the body: (name, type in `fields`, required). Files make it a multipart body.
    pub(super) body: &'static [(&'static str, &'static str, bool)],
    pub(super) success: u16,
    /// The schema of the answer, in `components`.
    pub(super) answer: &'static str,
    /// Other statuses that it may answer with, beside those that all of its sort may.
    pub(super) others: &'static [u16],
}

/// Who may call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nobody is asked who they are.
    Blind,
    /// Anybody; who is logged in sees it with their own eyes.
    Open,
    /// Whoever is logged in.
    Login,
}

const CURSORS: &[&str] = &["created_at__lt", "created_at__gt", "page_size"];
const AUTHOR_CURSORS: &[&str] = &["user_id", "created_at__lt", "created_at__gt", "page_size"];
const FRIENDS: &[&str] = &["page", "size", "created_at__lt"];
const NONE: &[&str] = &[];

macro_rules! operations {
    ($($method:ident $path:literal $summary:literal $access:ident [$parameters:expr] [$(($field:literal, $kind:literal, $required:literal)),*] => $success:literal $answer:literal [$($other:literal),*];)*) => {
        /// All of them.
        pub(super) const OPERATIONS: &[Operation] = &[$(Operation {
            method: stringify!($method),
            path: $path,
            summary: $summary,
            access: Access::$access,
            parameters: $parameters,
            body: &[$(($field, $kind, $required)),*],
            success: $success,
            answer: $answer,
            others: &[$($other),*],
        }),*];
    };
}

operations! {
    post "/api/accounts/signup/" "Sign up and log in" Blind [NONE] [("username", "new_username", true), ("email", "email", true), ("password", "new_password", true)] => 201 "LoggedIn" [400, 403];
    post "/api/accounts/login/" "Log in" Blind [NONE] [("username", "text", true), ("password", "text", true)] => 200 "LoggedIn" [400, 403];
    post "/api/accounts/logout/" "Log out: this session ends" Open [NONE] [] => 200 "Success" [];
    get "/api/accounts/login_status/" "Who am I" Open [NONE] [] => 200 "LoginStatus" [];
    post "/api/accounts/token/" "Get a bearer token" Blind [NONE] [("username", "text", true), ("password", "text", true)] => 201 "Token" [400];
    delete "/api/accounts/token/" "Revoke this token, or all of the user's" Login [NONE] [] => 200 "Success" [];
    get "/api/profiles/" "Find a profile by user name" Open [&["username"]] [] => 200 "Profile" [304, 400, 404];
    get "/api/profiles/{user_id}/" "A profile with its counts" Open [NONE] [] => 200 "Profile" [304, 404];
    put "/api/profiles/{user_id}/" "Change one's own profile" Login [NONE] [("nickname", "nickname", false), ("avatar", "file", false)] => 200 "ProfileChange" [400, 404];
    patch "/api/profiles/{user_id}/" "Change one's own profile" Login [NONE] [("nickname", "nickname", false), ("avatar", "file", false)] => 200 "ProfileChange" [400, 404];
    get "/api/tweets/" "What a user has posted, newest first" Open [AUTHOR_CURSORS] [] => 200 "TweetPage" [304, 400];
    post "/api/tweets/" "Post a tweet, with photos" Login [&["Idempotency-Key"]] [("content", "tweet", true), ("files", "files", false)] => 201 "Tweet" [400, 409];
    get "/api/tweets/{id}/" "A tweet with comments and likes" Open [NONE] [] => 200 "TweetDetail" [304, 404];
    delete "/api/tweets/{id}/" "Delete one's own tweet" Login [NONE] [] => 200 "Success" [404];
    get "/api/newsfeeds/" "The home timeline, newest first" Login [CURSORS] [] => 200 "FeedPage" [400];
    get "/api/newsfeeds/stream/" "New feed entries as server-sent events" Login [&["Last-Event-ID"]] [] => 200 "EventStream" [400];
    post "/api/friendships/{user_id}/follow/" "Follow a user" Login [NONE] [] => 201 "Followed" [400, 404];
    post "/api/friendships/{user_id}/unfollow/" "Unfollow a user" Login [NONE] [] => 200 "Deleted" [400, 404];
    get "/api/friendships/{user_id}/followers/" "Followers, newest first" Open [FRIENDS] [] => 200 "FriendPage" [304, 400, 404];
    get "/api/friendships/{user_id}/followings/" "Whom the user follows, newest first" Open [FRIENDS] [] => 200 "FriendPage" [304, 400, 404];
    get "/api/comments/" "Comments of a tweet, oldest first" Open [&["tweet_id", "created_at__gt", "comments_page_size"]] [] => 200 "CommentPage" [304, 400];
    post "/api/comments/" "Comment on a tweet" Login [&["Idempotency-Key"]] [("tweet_id", "id", true), ("content", "comment", true)] => 201 "Comment" [400, 409];
    put "/api/comments/{id}/" "Edit one's own comment" Login [NONE] [("content", "comment", true)] => 200 "Comment" [400, 404];
    delete "/api/comments/{id}/" "Delete one's own comment" Login [NONE] [] => 200 "Success" [404];
    post "/api/likes/" "Like a tweet or a comment" Login [NONE] [("content_type", "kind", true), ("object_id", "id", true)] => 201 "Like" [400];
    post "/api/likes/cancel/" "Take a like back" Login [NONE] [("content_type", "kind", true), ("object_id", "id", true)] => 200 "Deleted" [400];
    get "/api/notifications/" "Notifications, newest first" Login [&["unread", "page"]] [] => 200 "NotificationPage" [400, 404];
    get "/api/notifications/unread-count/" "How many are unread" Login [NONE] [] => 200 "UnreadCount" [];
    post "/api/notifications/mark-all-as-read/" "Mark all as read" Login [NONE] [] => 200 "MarkedCount" [];
    put "/api/notifications/{id}/" "Mark one as read or unread" Login [NONE] [("unread", "flag", true)] => 200 "Notification" [400, 404];
    get "/api/schema/" "This document" Blind [NONE] [] => 200 "Document" [304];
    get "/api/docs/" "A page that shows this document" Blind [NONE] [] => 200 "Page" [304];
    get "/api/docs/docs.js" "Its script" Blind [NONE] [] => 200 "Script" [304];
    get "/api/docs/docs.css" "Its looks" Blind [NONE] [] => 200 "Looks" [304];
    get "/media/{random}/{name}" "A photo or avatar" Blind [NONE] [] => 200 "Photo" [304, 404];
    get "/healthz" "Whether the process is alive" Blind [NONE] [] => 200 "Text" [];
    get "/readyz" "Whether it can serve" Blind [NONE] [] => 200 "Text" [];
    get "/metrics" "Prometheus metrics" Blind [NONE] [] => 200 "Text" [];
}

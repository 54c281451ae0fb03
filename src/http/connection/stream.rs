//! The socket of a connection, as the HTTP dispatcher sees it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Conduct, HEAD_LIMIT, LEFTOVER_BYTES, LEFTOVER_TIME, refusal};
use crate::http::middleware::RequestIds;

/// A stream that comes to its end when the client's time is over, and from which nothing is read
/// while nothing can be written to it.
pub struct Guarded<S> {
    stream: S,
    conduct: Rc<Conduct>,
    ids: Rc<RequestIds>,
    /// Goes off at `armed`, which may be too early, never too late. One timer, seldom set, does
    /// for all the limits of a connection: a request in time moves them all on.
    timer: Pin<Box<Sleep>>,
    /// None as long as nobody waits for the timer.
    armed: Option<Instant>,
    /// The client does not take what it is sent.
    is_stuffed: bool,
    /// It was not read from, so nothing but a write wakes the task.
    is_held_back: bool,
    /// Bytes since others have had a turn.
    taken: usize,
    /// Once nothing else is to be said: an answer may still be on its way.
    is_to_be_told: bool,
    farewell: Farewell,
}

/// What is said to a client without asking the application.
enum Farewell {
    Nothing,
    Saying(Bytes),
    /// It is said; what the client still sends would else drive it off before it has heard.
    Draining {
        until: Instant,
        bytes: usize,
    },
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guarded<S> {
    /// Guards a new connection; `ids` number the answers that come from here.
    pub fn new(stream: S, ids: Rc<RequestIds>) -> Guarded<S> {
        Guarded {
            stream,
            conduct: Rc::new(Conduct::new()),
            ids,
            timer: Box::pin(sleep_until(Instant::now() + HEAD_LIMIT)),
            armed: None,
            is_stuffed: false,
            is_held_back: false,
            taken: 0,
            is_to_be_told: false,
            farewell: Farewell::Nothing,
        }
    }

    /// For the data of the connection, where [`Visit`](super::Visit) looks for it.
    pub fn conduct(&self) -> Rc<Conduct> {
        Rc::clone(&self.conduct)
    }

    fn must_be_set(&self, limit: Instant) -> bool {
        self.timer.is_elapsed() || self.armed.is_none_or(|armed| armed > limit)
    }

    /// Whether `limit` has passed; otherwise the task is woken then.
    fn is_past(&mut self, limit: Instant, cx: &mut Context<'_>) -> bool {
        loop {
            if self.must_be_set(limit) {
                if Instant::now() >= limit {
                    return true;
                }
                self.timer.as_mut().reset(limit);
                self.armed = Some(limit);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
    }

    /// No bytes now; the end of the stream when the client's time is over.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.conduct.limit() {
            Some(limit) if self.is_past(limit, cx) => {
                if let Some((reason, is_told)) = self.conduct.fault() {
                    metrics::counter!("roost_http_cut_off_total", "reason" => reason).increment(1);
                    self.is_to_be_told = is_told;
                }
                Poll::Ready(Ok(()))
            }
            _ => Poll::Pending,
        }
    }

    /// After an answer nobody may ask for bytes again: the time starts here.
    fn watch(&mut self, cx: &mut Context<'_>) {
        let limit = self.conduct.limit();
        let Some(limit) = limit.filter(|limit| self.must_be_set(*limit)) else { return };
        if self.is_past(limit, cx) {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Farewell::Saying(words) = &mut self.farewell {
            let said = ready!(Pin::new(&mut self.stream).poll_write(cx, words))?;
            if said == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            words.advance(said);
            if words.is_empty() {
                let until = Instant::now() + LEFTOVER_TIME;
                self.farewell = Farewell::Draining { until, bytes: LEFTOVER_BYTES };
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 4096];
        while let Farewell::Draining { until, bytes } = self.farewell {
            let mut waste = ReadBuf::new(&mut waste);
            let read = match bytes {
                0 => Poll::Pending,
                _ => Pin::new(&mut self.stream).poll_read(cx, &mut waste),
            };
            match read {
                Poll::Ready(Ok(())) if !waste.filled().is_empty() => {
                    let bytes = bytes.saturating_sub(waste.filled().len());
                    self.farewell = Farewell::Draining { until, bytes };
                }
                Poll::Pending if !self.is_past(until, cx) => return Poll::Pending,
                _ => self.farewell = Farewell::Over,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.conduct.turn();
        if this.is_stuffed || this.conduct.is_fed_up() {
            this.is_held_back = true;
            return this.wait(cx);
        }
        if this.conduct.is_enough(std::mem::take(&mut this.taken)) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Pending => this.wait(cx),
            Poll::Ready(Ok(())) => {
                let number = buf.filled().len() - before;
                if number > 0 {
                    this.taken = number;
                    this.conduct.received(number);
                }
                Poll::Ready(Ok(()))
            }
            error => error,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.farewell, Farewell::Nothing)
            && this.conduct.awaits_a_head()
            && let Some(words) = refusal::instead_of(buf, &this.ids)
        {
            this.farewell = Farewell::Saying(words);
        }
        if !matches!(this.farewell, Farewell::Nothing) {
            ready!(this.poll_say(cx))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            ready!(this.poll_drain(cx));
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        match &written {
            Poll::Pending => this.is_stuffed = true,
            Poll::Ready(_) => {
                this.is_stuffed = false;
                if std::mem::take(&mut this.is_held_back) {
                    // What could not be read meanwhile.
                    cx.waker().wake_by_ref();
                }
                this.conduct.sent();
                this.watch(cx);
            }
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.is_to_be_told) {
            this.farewell = Farewell::Saying(refusal::too_slow(&this.ids));
        }
        ready!(this.poll_say(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
